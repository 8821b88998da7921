"""Publications, one after the other: until when the ended periods of a board stand as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rewards.domain.periods import Calendar
from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.models.document import Document
from rewards.domain.program.sealing import Counting, published, sealed

DAY: Final = datetime(2026, 11, 21, tzinfo=UTC)
PROGRAM: Final = """
rewards: 1
program: {key: play, timezone: UTC}
events: {scored: {properties: {points: number}}}
metrics: {total: {sum: scored, value: event.points}}
leaderboards:
"""


def hour(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def document(operator: str | None, grace: str) -> Document:
    """With a board of that operator and grace, or without it."""
    daily = f"{{score: {{metric: total, operator: {operator}}}, period: {{every: day}}, grace: {grace}}}"
    other = "{score: {metric: total}, period: {every: week}}"
    boards = {"other": other} | ({"daily": daily} if operator is not None else {})
    report = check_bytes((PROGRAM + "".join(f"  {key}: {board}\n" for key, board in boards.items())).encode())
    assert report.ok, report.errors
    return Document.model_validate(report.data)


@pytest.mark.parametrize(
    ("publications", "expected"),
    [
        # what the board counts, its grace, and the hour at which that is published
        ([("sum", "2h", 0)], None),
        ([("sum", "2h", 0), ("sum", "2h", 5)], None),
        ([("sum", "2h", 0), ("best", "2h", 5)], 5),
        ([("sum", "2h", 0), ("best", "2h", 5), ("sum", "2h", 6)], 6),  # back again: members started anew in between
        ([("sum", "2h", 0), ("sum", "6h", 5)], 3),
        ([("sum", "2h", 0), ("sum", "1h", 5)], None),  # shorter: the clock closes
        ([("sum", "2h", 0), ("sum", "1h", 5), ("sum", "2h", 6)], 5),
        ([("sum", "6h", 0), ("sum", "1h", 5), ("sum", "6h", 5.5), ("sum", "7h", 6)], 4.5),  # never less than before
        ([("sum", "2h", 0), ("best", "6h", 5)], 5),
        ([("sum", "2h", 0), (None, "", 5), ("sum", "2h", 6)], None),
        ([("sum", "2h", 0), (None, "", 5), ("best", "2h", 6)], 6),
    ],
)
def test_ended_periods_are_sealed_by_publications(
    publications: list[tuple[str | None, str, float]], expected: float | None
) -> None:
    known: dict[str, Counting] = {}
    for operator, grace, at in publications:
        known = published(known, document(operator, grace), hour(at))
    assert known["daily"].sealed_until == (None if expected is None else hour(expected))
    assert known["other"].sealed_until is None


@pytest.mark.parametrize(
    ("until", "now", "is_open"),
    [(None, 1.9, True), (None, 2.0, False), (0, 1, False), (1, 1, False), (-1, 1, True), (-1, 2, False)],
)
def test_a_sealed_period_is_open_no_more(until: float | None, now: float, *, is_open: bool) -> None:
    """A day that ended at hour 0, with a grace of two hours."""
    program = compile_program(document("sum", "2h"), version=1)
    assert program.boards is not None
    boards = sealed(program.boards, {"daily": None if until is None else hour(until)})
    found: Any = [boards.by_key["daily"], *(board for board in boards.by_event["scored"] if board.key == "daily")]
    assert len(found) == 2
    assert found[0].schedule.every is Calendar.DAY
    for board in found:
        assert board.is_open("2026-11-20", hour(now)) is is_open
        assert board.is_open("2026-11-21", hour(now))
    assert boards.by_key["other"] == program.boards.by_key["other"]
