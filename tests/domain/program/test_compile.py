from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.domain.program.given import Given
from tests.domain.program.test_check import Change, changed, put

from rewards.domain.program.compile import InvalidProgram, compile_program
from rewards.domain.program.compiled import (
    EarnAction,
    Missing,
    Program,
)
from rewards.domain.program.currency import (
    ExpiresAfter,
    Round,
)
from rewards.domain.program.models import Document


def program(*changes: Change) -> Program:
    return compile_program(Document.model_validate(changed(*changes)), version=7, paused=frozenset({"refund"}))


SHOP = program()


def test_header() -> None:
    assert (SHOP.key, SHOP.version, SHOP.zone, SHOP.money) == ("shop", 7, ZoneInfo("Europe/Berlin"), "EUR")
    assert SHOP.late_window == timedelta(hours=72)
    assert SHOP.paused == {"refund"}
    assert SHOP.currencies["points"].expires == ExpiresAfter(timedelta(0), 12, Round.MONTH_END)
    assert SHOP.currencies["points"].worth == Decimal(1)


def test_names() -> None:
    for name in ("order_placed", "Order Completed"):
        found = SHOP.event_type(name)
        assert found is not None
        assert found.key == "order_placed"
    assert SHOP.event_type("Order Cancelled") is None


def test_rules_of_an_event_by_priority_then_position() -> None:
    assert [rule.key for rule in SHOP.rules_by_event["review_posted"]] == [
        "thorough_review",
        "short_review",
        "win_back",
        "exclusive_content",
    ]
    turned = program(put("rules.short_review.priority", 30))
    assert [rule.key for rule in turned.rules_by_event["review_posted"]] == [
        "short_review",
        "thorough_review",
        "win_back",
        "exclusive_content",
    ]


def test_a_schedule_is_in_the_programs_zone() -> None:
    rule = SHOP.rules["advent_double"]
    assert rule.starts == datetime.fromisoformat("2026-12-01T00:00:00+01:00")
    assert rule.ends == datetime.fromisoformat("2026-12-24T23:59:59+01:00")


def test_groups() -> None:
    counted = program(put("metrics.orders", {"count": "activity"})).metrics["orders"]
    assert counted.events == {
        "app_opened",
        "product_viewed",
        "product_shared",
        "cart_updated",
        "order_placed",
        "review_posted",
    }


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (put("metrics.orders", {"count": ["order_placed"]}), True),
        (put("metrics.orders", {"count": "order_placed", "over": "lifetime", "name": "Orders"}), True),
        (put("metrics.orders", {"count": "order_placed", "over": "7d"}), False),
        (put("metrics.orders", {"count": "order_placed", "where": "event.total > 3"}), False),
        (put("metrics.orders", {"count": "order_refunded"}), False),
        (put("metrics.orders", {"sum": "order_placed", "value": "event.total"}), False),
    ],
)
def test_a_metric_is_known_by_what_it_counts(change: Change, same: bool) -> None:
    assert (program(change).metrics["orders"].id == SHOP.metrics["orders"].id) is same


def test_a_segment_names_its_metrics_also_through_others() -> None:
    chained = program(put("segments.both", '"loyal" in member.segments && metrics.cart_value > 3'))
    (both,) = (segment for segment in chained.segments if segment.key == "both")
    assert both.metrics == ("orders_6mo", "cart_value")
    assert both.when is not None
    member: dict[str, Any] = {"segments": []}
    for orders, value, expected in ((4, 5, True), (3, 5, False), (4, 1, False)):
        facts = Given({}, member=member, metrics={"orders_6mo": orders, "cart_value": value})
        assert both.when.test(chained.bind_member(facts)) is expected  # decided on one snapshot, not on `segments`


def test_one_snapshot_serves_all_rules_of_an_event() -> None:
    """What is bound does not change when effects change the facts."""
    metrics = {"orders": 3.0, "views_by_product": 3}
    bound = SHOP.bind("product_viewed", Given({"category": "audio", "dwell_seconds": 31}, metrics=metrics))
    metrics["views_by_product"] = 4
    when = [rule.when for rule in SHOP.rules_by_event["product_viewed"]]
    assert [condition.test(bound) for condition in when if condition] == [True, True]


def test_inputs_of_metrics_are_bound_apart() -> None:
    metric = program(
        put("metrics.orders", {"sum": "order_placed", "value": "event.total * 2", "where": "event.total > 3"})
    )
    facts = Given({"total": 5}, metrics={})
    bound = metric.bind_inputs("order_placed", facts)
    orders = metric.metrics["orders"]
    assert orders.where is not None
    assert orders.value is not None
    assert (orders.where.test(bound), orders.value.read(bound)) == (True, 10)


def test_fields_of_several_triggers() -> None:
    """A rule for several events sees the properties of all; what one of them lacks is missing, not false."""
    both = program(
        put("rules.share_points.on", ["product_shared", "order_placed"]),
        put("rules.share_points.when", "event.total > 3"),
    )
    when = both.rules["share_points"].when
    assert when is not None
    assert when.test(both.bind("order_placed", Given({"total": 5}))) is True
    assert when.test(both.bind("product_shared", Given({"network": "x"}))) == Missing("event.total")


def test_weights_of_a_score() -> None:
    scored = program(put("metrics.warmth", {"score": {"order_placed": 10, "app_opened": 0.5}, "half_life": "7d"}))
    value = scored.metrics["warmth"].value
    assert value is not None
    assert [value.read(scored.bind_inputs(event, Given({}))) for event in ("order_placed", "app_opened")] == [10, 0.5]


@pytest.mark.parametrize(
    ("change", "lots", "references"),
    [
        (put("program.name", "x"), {"order_refunded"}, {"order_refunded"}),
        (
            put(
                "rules.share_points.then.0",
                {"event": {"type": "order_refunded", "properties": {"order_id": "event.product_id"}}},
            ),
            {"order_refunded", "product_shared"},
            {"order_refunded", "product_shared"},
        ),
        (
            put("rules.share_points.then.0", {"mature": {"reference": "event.product_id"}}),
            {"order_refunded"},
            {"order_refunded", "product_shared"},
        ),
    ],
)
def test_what_must_be_loaded_also_through_raised_events(change: Change, lots: set[str], references: set[str]) -> None:
    found = program(change)
    assert found.needs_lots == lots
    assert found.needs_references == references


def test_spending_on_entering_a_segment_can_follow_any_event() -> None:
    found = program(put("rules.welcome_to_loyal.then.0", {"spend": {"currency": "points", "amount": 1}}))
    assert found.needs_lots >= set(found.events)


def test_amounts_keep_their_decimals() -> None:
    found = program(put("rules.purchase_points.then.0.earn.rate", 0.1))
    action = found.rules["purchase_points"].then[0]
    assert isinstance(action, EarnAction)
    assert action.rate == Decimal("0.1")
    assert action.amount.compute(found.bind("order_placed", Given({"total": 49.99, "order_id": "o"}))) == Decimal(
        "49.99"
    )
    assert action.reference is not None
    assert action.reference.read(found.bind("order_placed", Given({"total": 1, "order_id": "o"}))) == "o"


def test_mistakes_are_refused_with_all_of_them() -> None:
    document = Document.model_validate(changed(put("rules.refund.on", "nope"), put("rules.share_points.on", "nope")))
    with pytest.raises(InvalidProgram) as caught:
        compile_program(document, version=1)
    assert [error["path"] for error in caught.value.details["errors"]] == ["rules.share_points.on", "rules.refund.on"]


def test_compiling_is_repeatable() -> None:
    assert replace(SHOP.metrics["orders"], where=None) == replace(program().metrics["orders"], where=None)
