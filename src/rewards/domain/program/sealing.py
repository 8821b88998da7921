"""What a publication means for periods of leaderboards that have ended: some stand from then on, whatever comes late.

A version that counts something else can add nothing to a period that had ended before it: that stands as it was counted.
And a version that gives late events more time opens nothing that was closed under the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rewards.domain.program.board import Board, Boards
from rewards.domain.program.compiling.leaderboards import board_identity
from rewards.domain.program.durations import parse_duration
from rewards.domain.program.models.document import Document


@dataclass(frozen=True, slots=True)
class Counting:
    """What a board counts (a hash), how long late events count, and until when ended periods are sealed (None: none is)."""

    definition: str
    grace: timedelta
    sealed_until: datetime | None = None


def declared(document: Document) -> dict[str, Counting]:
    """The boards of a document, by key."""
    return {
        key: Counting(board_identity(document, key), parse_duration(board.grace))
        for key, board in document.leaderboards.items()
    }


def published(before: Mapping[str, Counting], document: Document, now: datetime) -> dict[str, Counting]:
    """All boards that there ever were once `document` is published at `now`; `before` are those until then."""
    after = dict(before)
    for key, board in declared(document).items():
        known = before.get(key)
        after[key] = replace(board, sealed_until=_sealed_until(known, board, now)) if known is not None else board
    return after


def _sealed_until(known: Counting, board: Counting, now: datetime) -> datetime | None:
    if board.definition != known.definition:
        return now
    if board.grace <= known.grace:
        return known.sealed_until  # the clock closes what it closes
    closed = now - known.grace
    return closed if known.sealed_until is None else max(closed, known.sealed_until)


def sealed(boards: Boards, until: Mapping[str, datetime | None]) -> Boards:
    """The same boards, each knowing until when its ended periods are sealed."""
    by_key = {key: replace(board, sealed_until=until.get(key)) for key, board in boards.by_key.items()}

    def same(found: tuple[Board, ...]) -> tuple[Board, ...]:
        return tuple(by_key[board.key] for board in found)

    return Boards(
        by_key,
        {event: same(found) for event, found in boards.by_event.items()},
        {currency: same(found) for currency, found in boards.by_currency.items()},
    )
