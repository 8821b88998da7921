"""What fires and what not, and what that uses up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from rewards.domain.commands import Event
from rewards.domain.outcome import Outcome
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.replay import Replay

DOCUMENT: Final = """
rewards: 1
program: {key: shop, timezone: UTC}
currencies:
  points: {}
attributes:
  vip: {type: boolean, purpose: service}
events:
  ordered: {properties: {total: number, order: string}}
rules:
"""
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
EARN: Final = "{earn: {currency: points, amount: event.total / 10}}"
SPEND: Final = "{spend: {currency: points, amount: event.total / 10}}"


def results(rules: str, totals: list[float]) -> list[str]:
    """Orders a minute apart: what became of each rule of each."""
    report = check(read_document((DOCUMENT + rules).encode()))
    assert report.document is not None, report.errors
    replay = Replay(compile_program(report.document, version=1))
    found = []
    for number, total in enumerate(totals):
        event = Event(f"order-{number}", "ordered", None, {"total": total, "order": f"o{number}"})
        outcome = replay.submit("ada", event, START + timedelta(minutes=number))
        assert isinstance(outcome, Outcome), outcome
        found += [line["result"] for line in outcome.trace if "rule" in line]
        used = {claim.key: claim.amount for claim in outcome.reservations}
        assert bool(used) == ("budget" in rules and "fired" in found[-1]), used
    return found


@pytest.mark.parametrize(
    ("rule", "totals", "expected"),
    [
        (f"limit: {{times: 1, per: day}}, then: [{EARN}]", [9, 10, 10], "no_effect fired limit"),
        (f"limit: {{times: 1, per: lifetime}}, then: [{EARN}]", [9, 9, 20, 9], "no_effect no_effect fired limit"),
        (f"cooldown: 1h, then: [{EARN}]", [9, 10, 10], "no_effect fired cooldown"),
        (f"budget: {{times: 1, per: day}}, then: [{EARN}]", [9, 10, 10], "no_effect fired budget"),
        # what changes something has fired, were it only in part
        (f"cooldown: 1h, then: [{EARN}, {{set: {{attribute: vip, value: true}}}}]", [9, 10], "fired cooldown"),
        # nothing new, nothing to take back
        ("cooldown: 1h, then: [{set: {attribute: vip, value: true}}]", [1, 1], "fired cooldown"),
        ("then: [{set: {attribute: vip, value: true}}]", [1, 1], "fired no_effect"),
        ("cooldown: 1h, then: [{reverse: {reference: event.order}}]", [1, 1], "no_effect no_effect"),
        (f"cooldown: 1h, then: [{SPEND}]", [9], "no_effect"),
    ],
)
def test_what_awards_nothing_uses_up_nothing(rule: str, totals: list[float], expected: str) -> None:
    assert results(f"  - {{key: a, on: ordered, {rule}}}\n", totals) == expected.split()


@pytest.mark.parametrize(("total", "expected"), [(10, "fired exclusive"), (9, "no_effect exclusive")])
def test_of_an_exclusive_group_the_rule_that_was_chosen_is_the_only_one(total: float, expected: str) -> None:
    rules = f"""  - {{key: a, on: ordered, exclusive: one, then: [{EARN}]}}
  - {{key: b, on: ordered, exclusive: one, then: [{{earn: {{currency: points, amount: 1}}}}]}}
"""
    assert results(rules, [total]) == expected.split()


SPLIT: Final = """
  - {key: a, on: ordered, when: metrics.large == 1, then: [{earn: {currency: points, amount: 1}}]}
  - {key: b, on: ordered, when: metrics.large == 0, then: [{earn: {currency: points, amount: 1}}]}
metrics:
  large: {count: ordered, by: event.order, where: event.total > 50}
"""


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        # what one order counted is read by the next of the same shop, whether that counts or not
        ([("tea", 60), ("tea", 5), ("tea", 5)], "a a a"),
        ([("tea", 60), ("oil", 5), ("tea", 5)], "a b a"),
        ([("tea", 5)], "b"),
        ([("tea", 60), (None, 5)], "a -"),  # names none
    ],
)
def test_a_split_metric_is_read_for_what_the_event_names(orders: list[tuple[str | None, float]], expected: str) -> None:
    report = check(read_document((DOCUMENT + SPLIT).encode()))
    assert report.document is not None, report.errors
    replay = Replay(compile_program(report.document, version=1))
    fired = []
    for number, (order, total) in enumerate(orders):
        properties = {"total": total} if order is None else {"total": total, "order": order}
        outcome = replay.submit("ada", Event(f"o{number}", "ordered", None, properties), START)
        assert isinstance(outcome, Outcome), outcome
        came = [line["rule"] for line in outcome.trace if line["result"] == "fired"]
        fired.append("".join(came) or "-")
    assert fired == expected.split()


def test_a_rule_whose_alternative_changes_nothing_says_so() -> None:
    report = check(
        read_document(
            (
                DOCUMENT + f"  - {{key: a, on: ordered, when: event.total > 99, then: [{EARN}], otherwise: [{EARN}]}}\n"
            ).encode()
        )
    )
    assert report.document is not None, report.errors
    replay = Replay(compile_program(report.document, version=1))
    said = []
    for number, total in enumerate((9, 10)):
        outcome = replay.submit("ada", Event(f"o{number}", "ordered", None, {"total": total}), START)
        assert isinstance(outcome, Outcome)
        said += [(line["result"], line["otherwise"]) for line in outcome.trace]
    assert said == [("condition_false", "no_effect"), ("condition_false", "fired")]
