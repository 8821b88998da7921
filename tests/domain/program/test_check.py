import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties import explored

from rewards.domain.ledger.expiry import expires_at
from rewards.domain.program.check import check, check_bytes
from rewards.domain.program.compiling.currencies import shortest_life
from rewards.domain.program.currency import ExpiresAfter, Round
from rewards.domain.program.problems import Position
from rewards.domain.program.read import Source, read_document

SEEDS = Path(__file__).parents[3] / "seeds"
SHOP: dict[str, Any] = read_document((SEEDS / "shop.yaml").read_bytes()).data
RULES = {rule["key"]: position for position, rule in enumerate(SHOP["rules"])}
Change = Callable[[dict[str, Any]], object]


def put(path: str, value: Any) -> Change:
    """Sets what is at a path, in which rules go by their keys."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = document
        for part in parents:
            node = node[RULES.get(part, int(part) if part.isdigit() else part) if isinstance(node, list) else part]
        node[int(last) if isinstance(node, list) else last] = value

    return change


def changed(*changes: Change) -> dict[str, Any]:
    document = copy.deepcopy(SHOP)
    for change in changes:
        change(document)
    return document


def errors_of(*changes: Change) -> list[tuple[str, str, str | None]]:
    return [(each.path, each.code, each.near) for each in check(Source(changed(*changes))).errors]


EARN = {"earn": {"currency": "points", "amount": 1}}


@pytest.mark.parametrize(
    ("change", "path", "code", "near"),
    [
        (put("rules.audio_interest.limt", {}), "rules.audio_interest.limt", "unknown-key", "limit"),
        (put("program.timezon", "UTC"), "program.timezon", "unknown-key", "timezone"),
        (put("metric", {}), "metric", "unknown-key", "metrics"),
        (put("events.app_opened.clint", True), "events.app_opened.clint", "unknown-key", "client"),
        (put("types.text.maxlength", 3), "types.text.maxlength", "unknown-key", "maxLength"),
        (
            put("rules.share_points.then.0", {"earn": {**EARN["earn"], "rouund": "up"}}),
            "rules.share_points.then.0.earn.rouund",
            "unknown-key",
            "round",
        ),
        (put("rules.share_points.then.0", {"ern": {}}), "rules.share_points.then.0.ern", "unknown-key", "earn"),
        (put("rewards", 2), "rewards", "value", None),
        (put("program.timezone", "Mars/Olympus"), "program.timezone", "value", None),
        (put("program.timezone", "localtime"), "program.timezone", "value", None),
        (put("program.money", "euro"), "program.money", "value", None),
        (put("currencies.points.clawback", "within_balanc"), "currencies.points.clawback", "value", "within_balance"),
        (put("currencies.points.expires", {"on": "02-30"}), "currencies.points.expires.on", "value", None),
        (put("currencies.points.expires", {"on": "12-31", "after": "7d"}), "currencies.points.expires", "value", None),
        (put("currencies.points.worth", "1"), "currencies.points.worth", "value", None),
        (put("events.app_opened.properties", {"x": "txt"}), "events.app_opened.properties.x", "unknown-type", "text"),
        (put("events.app_opened.required", ["x"]), "events.app_opened", "value", None),
        (put("events.profile_completed.aka", ["Product Viewed"]), "events.profile_completed.aka", "duplicate-name", None),
        (put("types.id", {"type": "string", "pattern": "(a"}), "types.id.pattern", "pattern", None),
        (put("types.id", {"type": "string", "format": "data-time"}), "types.id.format", "unknown-format", "date-time"),
        (put("types.id", "text2"), "types.id", "unknown-type", "text"),
        (put("types.money", "number"), "types.money", "reserved", None),
        (put("types.text", "text"), "types.text", "cycle", None),
        (put("groups.activity", ["app_open"]), "groups.activity.0", "unknown-event", "app_opened"),
        (put("groups.order_placed", ["app_opened"]), "groups.order_placed", "duplicate-name", None),
        (put("groups.a", ["a"]), "groups.a.0", "cycle", None),
        (put("attributes.segments", "string"), "attributes.segments", "reserved", None),
        (put("metrics.orders", {"count": "order_place"}), "metrics.orders.count", "unknown-event", "order_placed"),
        (put("metrics.orders", {}), "metrics.orders", "value", None),
        (put("metrics.orders", {"count": "order_placed", "sum": "order_placed"}), "metrics.orders", "value", None),
        (put("metrics.orders", {"count": "order_placed", "over": "500d"}), "metrics.orders.over", "too-long", None),
        (put("metrics.orders", {"count": "order_placed", "over": "2 weeks"}), "metrics.orders.over", "value", None),
        (put("metrics.orders", {"count": "order_placed", "previous": True}), "metrics.orders", "value", None),
        (
            put("metrics.orders", {"count": "order_placed", "where": "metrics.spent_6mo > 3"}),
            "metrics.orders.where",
            "not-here",
            None,
        ),
        (put("metrics.orders", {"sum": "order_placed", "value": "event.order_id"}), "metrics.orders.value", "type", None),
        (put("segments.loyal", "metrics.order > 3"), "segments.loyal.when", "unknown-field", "metrics.orders"),
        (put("segments.loyal", "event.total > 3"), "segments.loyal.when", "not-here", None),
        (put("segments.loyal", '"at_rsk" in member.segments'), "segments.loyal.when", "unknown-segment", "at_risk"),
        (put("segments.loyal", '"loyal" in member.segments'), "segments.loyal.when", "cycle", None),
        (put("segments.loyal", "metrics.views_by_product > 3"), "segments.loyal.when", "split-metric", None),
        (put("segments.loyal", {"top": "0%", "of": "orders"}), "segments.loyal", "value", None),
        (put("segments.loyal", {"top": "5%", "of": "order"}), "segments.loyal.of", "unknown-metric", "orders"),
        (put("rules.share_points.on", "product_share"), "rules.share_points.on", "unknown-event", "product_shared"),
        (put("rules.share_points.on", "badge.awarde"), "rules.share_points.on", "unknown-event", "badge.awarded"),
        (put("rules.share_points.when", "event.catgory == ''"), "rules.share_points.when", "unknown-field", "event.network"),
        (put("rules.share_points.when", "metrics.views_by_product > 1"), "rules.share_points.when", "split-metric", None),
        (
            put("rules.share_points.then.0.earn.amount", "metrics.views_by_product"),
            "rules.share_points.then.0.earn.amount",
            "split-metric",
            None,
        ),
        (put("rules.share_points.when", "1 / 0 > 1"), "rules.share_points.when", "constant", None),
        (put("rules.share_points.limit", {"times": 1, "per": "fortnight"}), "rules.share_points.limit.per", "value", None),
        (put("rules.share_points.starts", "tomorrow"), "rules.share_points.starts", "value", None),
        (put("rules.share_points.budget", {"money": 1, "times": 1}), "rules.share_points.budget", "value", None),
        (put("rules.share_points.budget", {"times": 1, "per": "7d"}), "rules.share_points.budget", "value", None),
        (put("rules.share_points.key", "audio_interest"), f"rules.{RULES['share_points']}.key", "duplicate-key", None),
        (
            put("rules.share_points.then.0", {"earn": {"currency": "coins", "amount": 1}}),
            "rules.share_points.then.0.earn.currency",
            "unknown-currency",
            "points",
        ),
        (
            put("rules.share_points.then.0", {"earn": {"currency": "points", "amount": "event.network"}}),
            "rules.share_points.then.0.earn.amount",
            "amount",
            None,
        ),
        (
            put("rules.share_points.then.0", {"earn": {"currency": "points", "amount": -1}}),
            "rules.share_points.then.0.earn.amount",
            "value",
            None,
        ),
        (
            put("rules.share_points.then.0", {"earn": {**EARN["earn"], "hold": "until_matured"}}),
            "rules.share_points.then.0.earn",
            "value",
            None,
        ),
        (put("rules.share_points.then.0", {}), "rules.share_points.then.0", "value", None),
        (
            put("rules.share_points.then.0", {"set": {"attribute": "vpi", "value": True}}),
            "rules.share_points.then.0.set.attribute",
            "unknown-attribute",
            "vip",
        ),
        (put("rules.share_points.then.0", {"set": {"attribute": "vip", "value": 3}}), "rules.share_points.then.0.set.value", "type", None),
        (
            put("rules.share_points.then.0", {"set": {"attribute": "vip", "value": "gold"}}),
            "rules.share_points.then.0.set.value",
            "unknown-field",
            None,
        ),
        (
            put("rules.share_points.then.0", {"event": {"type": "app_open"}}),
            "rules.share_points.then.0.event.type",
            "unknown-event",
            "app_opened",
        ),
        (
            put("rules.share_points.then.0", {"event": {"type": "order_refunded"}}),
            "rules.share_points.then.0.event.properties",
            "required",
            None,
        ),
        (put("vouchers", {}), "vouchers", "not-available-yet", None),
        (put("rules.share_points.goal", {}), "rules.share_points.goal", "not-available-yet", None),
        (put("rules.share_points.delay", "soon"), "rules.share_points.delay", "value", None),
        (put("rules.share_points.quiet", {"for": "10m", "of": "activty"}), "rules.share_points.quiet.of", "unknown-event", "activity"),
        (put("rules.refund.quiet", {"for": "9m", "match": "order"}), "rules.refund.quiet.match", "unknown-property", "order_id"),
        (put("rules.share_points.quiet", {"of": "activity"}), "rules.share_points.quiet.for", "missing", None),
        (put("rules.share_points.unless", "app_opened"), "rules.share_points", "value", None),
        (put("rules.share_points.still", "metrics.reviews > 1"), "rules.share_points", "value", None),
        (put("rules.share_points.then.0", {"unlock": {"key": "x"}}), "rules.share_points.then.0.unlock", "not-available-yet", None),
        (put("rules.share_points.when", '"revewer" in member.badges'), "rules.share_points.when", "unknown-badge", "reviewer"),
        (put("segments.loyal", '"revewer" in member.badges'), "segments.loyal.when", "unknown-badge", "reviewer"),
        (put("rules.share_points.then.0", {"badge": {"key": "profil"}}), "rules.share_points.then.0.badge.key", "unknown-badge", None),
        (put("rules.share_points.then.0", {"badge": {"key": "reviewer"}}), "rules.share_points.then.0.badge.key", "not-given", None),
        (put("rules.profile_badge.then.0.badge.level", 2), "rules.profile_badge.then.0.badge.level", "value", None),
        (put("rules.profile_badge.then.0.badge.level", 0), "rules.profile_badge.then.0.badge.level", "value", None),
        (put("badges.reviewer.metric", "review"), "badges.reviewer.metric", "unknown-metric", "reviews"),
        (put("badges.reviewer.metric", "views_by_product"), "badges.reviewer.metric", "split-metric", None),
        (put("badges.reviewer.metric", "cart_value"), "badges.reviewer.metric", "unfit-metric", None),
        (put("badges.reviewer.metric", "favorite_category"), "badges.reviewer.metric", "unfit-metric", None),
        (put("badges.reviewer.levels", [1, 10, 10]), "badges.reviewer", "value", None),
        (put("badges.reviewer.levels", []), "badges.reviewer.levels", "value", None),
        (put("badges.reviewer.levels", [0]), "badges.reviewer.levels.0", "value", None),
        (put("badges.reviewer.levels", [{"at": 1, "nmae": "First"}]), "badges.reviewer.levels.0.nmae", "unknown-key", "name"),
        (put("badges.reviewer.levels", [{"name": "First"}]), "badges.reviewer", "value", None),
        (put("badges.profile_complete.levels", [1, 2]), "badges.profile_complete", "value", None),
        (put("badges.profile_complete.revocable", True), "badges.profile_complete", "value", None),
        (put("badges.profile_complete.secert", True), "badges.profile_complete.secert", "unknown-key", "secret"),
        (put("badges.reviewer.levels.1.rewards.0.earn.currency", "point"), "badges.reviewer.levels.1.rewards.0.earn.currency",
         "unknown-currency", "points"),
        (put("badges.reviewer.levels.1.rewards.0.earn.amount", "event.total"), "badges.reviewer.levels.1.rewards.0.earn.amount",
         "not-here", None),
        (
            put("rules.share_points.then.0.earn.expires", {"inactive": "12mo"}),
            "rules.share_points.then.0.earn.expires.inactive",
            "inactive",
            None,
        ),
        (put("tests.0.advance", "3 h"), "tests.0.advance", "value", None),
        (put("tests.0.variants", {}), "tests.0.variants", "not-available-yet", None),
        (put("tests.0.expect.ada.none", ["voucher"]), "tests.0.expect.ada.none", "not-available-yet", None),
        (put("tests.0.expect.ada.balances", {"pionts": 3}), "tests.0.expect.ada.balances", "unknown-currency", "points"),
        (put("tests.0.expect.ada.exactly", [{"badge": {"key": "revewer"}}]), "tests.0.expect.ada.exactly.0.badge.key",
         "unknown-badge", "reviewer"),
        (put("tests.0.expect.ada.effects", [{"earn": {"badge": "revewer"}}]), "tests.0.expect.ada.effects.0.earn.badge",
         "unknown-badge", "reviewer"),
        (put("tests.0.expect.ada.exactly", [{"earn": {"rule": "audio"}}]), "tests.0.expect.ada.exactly.0.earn.rule", "unknown-rule", None),
    ],
)  # fmt: skip
def test_one_mistake_is_one_error(change: Change, path: str, code: str, near: str | None) -> None:
    found = errors_of(change)
    assert found[0][:2] == (path, code)
    assert near is None or found[0][2] == near
    assert len(found) == 1


def test_all_mistakes_at_once_and_none_twice() -> None:
    found = errors_of(
        put("program.timezone", "Mars"),
        put("metrics.orders_6mo.over", "180days"),  # read by two segments, which are not reported for it
        put("events.product_shared.clint", True),  # read by a metric and a rule
        put("segments.top_spenders", {"top": "10%", "of": "spent"}),
        put("rules.audio_interest.when", 'event.catgory == "audio" && event.dwell_seconds > 30'),
        put("rules.refund.then.0", {"reverse": {"reference": "event.order"}}),
        put("rules.share_points.then.0.earn.rouund", "up"),
    )
    assert found == [
        ("program.timezone", "value", None),
        ("events.product_shared.clint", "unknown-key", "client"),
        ("metrics.orders_6mo.over", "value", None),
        ("rules.share_points.then.0.earn.rouund", "unknown-key", "round"),
        ("segments.top_spenders.of", "unknown-metric", "spent_6mo"),
        ("rules.audio_interest.when", "unknown-field", "event.category"),
        ("rules.refund.then.0.reverse.reference", "unknown-field", "event.order_id"),
    ]


def test_an_unknown_event_hides_no_other_mistake() -> None:
    rule = {
        "key": "typo",
        "on": "order_plaecd",
        "when": "event.total > 5 && metrics.ordres_6mo > 1",  # what the event would carry is not known
        "then": [
            {"earn": {"currency": "pionts", "amount": "event.total * 2", "reference": "event.?order_id.orValue('x')"}},
            {"earn": {"currency": "points", "amount": "event.total +"}},
            {"set": {"attribute": "nickname", "value": "event.name"}},
        ],
    }
    found = errors_of(
        lambda document: document["rules"].append(rule),
        put("metrics.typo", {"sum": "order_plaecd", "value": "event.total", "where": "metrics.orders_6mo > 1"}),
    )
    assert sorted(found) == [
        ("metrics.typo.sum", "unknown-event", "order_placed"),
        ("metrics.typo.where", "not-here", None),
        ("rules.typo.on", "unknown-event", "order_placed"),
        ("rules.typo.then.0.earn.currency", "unknown-currency", "points"),
        ("rules.typo.then.1.earn.amount", "syntax", None),
        ("rules.typo.then.2.set.attribute", "unknown-attribute", None),
        ("rules.typo.when", "unknown-field", "metrics.orders_6mo"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("program.late_window", 72), "72 has no unit: write a duration such as 90s, 10m, 72h, 7d or 12mo"),
        (put("program.key", "Shop"), "'Shop' is no key: small letters, digits and _ after a first letter"),
        (put("program.locale", "english"), "'english' is no language such as en or pt-BR"),
        (put("program.money", "EURO"), "'EURO' is no currency code such as EUR"),
        (put("quests.share_three.steps", []), "must have 1 or more of these"),
        (put("rules.audio_interest.limit.times", -1), "must be 0 or more"),
        (put("rules.purchase_points.then.0.earn.rate", "abc"), "must be a number"),
        (put("rules.purchase_points.then.0.earn.amount", -5), "must be 0 or more or a text"),
    ],
)
def test_what_would_be_right_is_said_in_words(change: Change, message: str) -> None:
    assert [each.message for each in check(Source(changed(change))).errors] == [message]


def test_mistakes_are_told_where_they_stand_and_in_the_order_of_the_file() -> None:
    source = b"""rewards: 1
program: {key: cafe}
metrics:
  cups: {count: cup_bougt}
events: {cup_bought: {propertys: {}}}
rules:
  - {key: cup, on: cup_bought, then: [{earn: {currency: beans, amount: 1}}]}
  - {key: cup, on: cup_bought, when: event.size ==, limit: {times: 1, per: dayly}, then: []}
currencies: {beans: {nam: Beans}}
"""
    report = check_bytes(source)
    assert [(each.place.line if each.place else 0, each.path, each.near) for each in report.errors] == [
        (4, "metrics.cups.count", "cup_bought"),
        (5, "events.cup_bought.propertys", "properties"),
        (8, "rules.1.key", None),
        (8, "rules.1.when", None),
        (8, "rules.1.limit.per", None),
        (9, "currencies.beans.nam", "name"),
    ]


def test_places_in_the_file_and_in_the_expression() -> None:
    source = b"rewards: 1\nprogram: {key: p}\nevents: {e: {properties: {x: number}}}\nrules:\n"
    source += b"  - key: r\n    on: e\n    when: |\n      event.x > 1 &&\n      event.y > 2\n    then: []\n"
    (problem,) = check_bytes(source).errors
    assert (problem.path, problem.position, problem.place) == ("rules.r.when", Position(2, 7), Position(7, 5))


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        (put("rules.share_points.limit", {"times": 0, "per": "day"}), "rules.share_points.limit", "never-fires"),
        (put("rules.advent_double.ends", "2026-11-30T00:00:00"), "rules.advent_double.ends", "never-fires"),
        (put("rules.share_points.when", "1 > 2"), "rules.share_points.when", "never-fires"),
        (put("rules.share_points.otherwise", [EARN]), "rules.share_points.otherwise", "never-fires"),
        (put("rules.share_points.then", []), "rules.share_points.then", "no-effect"),
        (
            lambda document: [
                change(document)
                for change in (put("currencies.points.worth", 0), put("rules.win_back.budget", {"times": 5}))
            ],
            "rules.advent_double.budget",
            "budget-without-cost",
        ),
        (put("rules.refund.budget", {"money": 5}), "rules.refund.budget", "budget-without-cost"),
        (put("attributes.vip", "boolean"), "attributes.vip", "no-purpose"),
        (put("currencies.points.hold", "14d"), "rules.win_back.then.0.earn.expires", "expires-before-maturing"),
        (put("rules.win_back.then.0.earn.hold", "20d"), "rules.win_back.then.0.earn.hold", "expires-before-maturing"),
        (
            put("rules.share_points.then.0.earn.hold", "365d"),
            "rules.share_points.then.0.earn.hold",
            "expires-before-maturing",
        ),
        (
            put("badges.reviewer.rewards", [{"earn": {**EARN["earn"], "hold": "2h", "expires": {"after": "2h"}}}]),
            "badges.reviewer.rewards.0.earn.hold",
            "expires-before-maturing",
        ),
        (
            put("currencies.coins", {"hold": "30d", "expires": {"after": "1mo"}}),
            "currencies.coins.hold",
            "expires-before-maturing",
        ),
        (
            put("rules.feedback_thanks.then.0", {"event": {"type": "feedback_given"}}),
            "rules.feedback_thanks",
            "may-loop",
        ),
        (
            put("rules.profile_badge.then.0", {"earn": {"currency": "points", "amount": 1}}),
            "badges.profile_complete",
            "never-given",
        ),
        (
            put("badges.reviewer.rewards", [{"earn": {"currency": "points", "amount": 1, "reference": "member.id"}}]),
            "badges.reviewer.revocable",
            "not-taken-back",
        ),
        (
            lambda document: [
                change(document)
                for change in (
                    put("metrics.spent_6mo.value", "event.total - 5"),
                    put("badges.reviewer.metric", "spent_6mo"),
                )
            ],
            "badges.reviewer.metric",
            "may-fall",
        ),
        (put("segments.loyal", 'at > timestamp("2026-01-01T00:00:00Z")'), "segments.loyal.when", "reads-time"),
    ],
)
def test_warning(change: Change, path: str, code: str) -> None:
    report = check(Source(changed(change)))
    assert report.ok, report.errors
    assert [(each.path, each.code) for each in report.warnings] == [(path, code)]


@pytest.mark.parametrize(
    ("hold", "expires"),
    [
        ("13d", {"after": "14d"}),
        ("27d", {"after": "1mo"}),
        ("30d", {"after": "1mo", "round": "year_end"}),  # 30 November to the end of December
        ("364d", {"on": "12-31"}),
        ("9999h", {"inactive": "1d"}),  # as long as the member does something
        ("3650d", "never"),
    ],
)
def test_points_that_mature_in_time(hold: str, expires: Any) -> None:
    assert check(Source(changed(put("currencies.coins", {"hold": hold, "expires": expires})))).warnings == ()


LIVES = [
    *(ExpiresAfter(timedelta(0), months, rounded) for months in (1, 2, 3, 7, 12, 13, 120) for rounded in Round),
    *(ExpiresAfter(timedelta(days=days), 0, rounded) for days in (1, 45, 400) for rounded in Round),
]


@pytest.mark.parametrize("expiry", LIVES, ids=lambda of: f"{of.months}mo {of.length.days}d {of.round}")
def test_how_long_points_last_at_least_is_the_least_of_all_days(expiry: ExpiresAfter) -> None:
    """Rounding adds to a length nearly nothing, at worst; a year's end comes so soon only after some of them."""
    before_midnight = datetime(2024, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)
    days = (before_midnight + timedelta(days=day) for day in range(4 * 366))
    lives = [end - earned for earned in days if (end := expires_at(expiry, earned, ZoneInfo("UTC"))) is not None]
    least = shortest_life(expiry)
    assert least is not None
    if expiry.months:
        assert min(lives) - timedelta(seconds=1) < least <= min(lives)
    else:
        assert expiry.length == least <= min(lives)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"", "type"),
        (b"[]", "type"),
        (b"3", "type"),
        (b"a: [", "syntax"),
        (b'a: "\\UFFFFFFFF"', "syntax"),
        (b'a: "\\U00110000"', "syntax"),
        (b"{}", "missing"),
        (b"x" * 2_000_000, "too-large"),
    ],
)
def test_what_is_no_document(source: bytes, code: str) -> None:
    assert check_bytes(source).errors[0].code == code


def test_json_and_yaml_are_one() -> None:
    assert check_bytes(json.dumps(SHOP).encode()).document == check_bytes((SEEDS / "shop.yaml").read_bytes()).document


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["day", "points", "event.total", "7d"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.sampled_from(["key", "on", "then", "earn", "currency", "when", "type"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=10,
)
PATHS = [
    *SHOP,
    *(f"{section}.{key}" for section in SHOP if isinstance(SHOP[section], dict) for key in SHOP[section]),
    *(f"rules.{key}.{name}" for key, position in RULES.items() for name in SHOP["rules"][position]),
    *("rules.share_points.then.0", "rules.share_points.then.0.earn", "tests.0.given.0", "tests.0.expect.ada"),
    *("events.product_viewed.properties.dwell_seconds", "rules.share_points.limit", "program.name"),
]


@explored(given(path=st.sampled_from(PATHS), value=JSON), few=40, at_length=300)
def test_no_json_in_any_place_crashes_the_check(path: str, value: Any) -> None:
    report = check(Source(changed(put(path, value))))
    assert report.ok == (report.document is not None)
    json.dumps(report.as_json())


@settings(max_examples=200, deadline=None)
@given(value=JSON)
def test_no_json_crashes_the_check(value: Any) -> None:
    assert not check(Source(value)).ok


def conditional(source: str) -> dict[str, Any]:
    """A document with a condition and little else: the shop takes ten times as long to check."""
    return {
        "rewards": 1,
        "program": {"key": "small", "timezone": "UTC"},
        "currencies": {"points": {}},
        "events": {"ordered": {"properties": {"total": {"type": "integer"}}}},
        "rules": [{"key": "paid", "on": "ordered", "when": source, "then": [EARN]}],
    }


@settings(max_examples=300, deadline=None)
@given(source=st.text("event.total >=<&|!()[]{}\"'+-*/%?:,1a\\\n", max_size=40))
def test_no_text_crashes_a_condition(source: str) -> None:
    json.dumps(check(Source(conditional(source))).as_json())


def test_a_condition_may_be_right() -> None:
    assert check(Source(conditional("event.total > 1"))).ok


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        (
            [put("rules.share_points.limt", {}), put("rules.share_points.when", "event.chanel == 'x'")],
            {"rules.share_points.limt", "rules.share_points.when"},
        ),
        (
            [
                put("rules.share_points.then.0", {"ern": {}}),
                put("rules.share_points.on", "shred"),
                put("rules.share_points.when", "1 +"),
            ],
            {"rules.share_points.then.0.ern", "rules.share_points.on", "rules.share_points.when"},
        ),
        (
            [put("rules.share_points.limit", {"tmes": 1}), put("rules.share_points.then.0.earn.currency", "pionts")],
            {
                "rules.share_points.limit.times",
                "rules.share_points.limit.tmes",
                "rules.share_points.then.0.earn.currency",
            },
        ),
        (  # what cannot be told apart is not guessed at
            [put("rules.share_points.on", 3), put("rules.share_points.when", "event.chanel == 'x'")],
            {"rules.share_points.on"},
        ),
    ],
)
def test_what_else_is_wrong_in_a_rule_is_told_at_once(changes: list[Change], paths: set[str]) -> None:
    report = check(Source(changed(*changes)))
    assert {each.path for each in report.errors} == paths
    assert [each for each in report.warnings if each.path.startswith("rules.share_points")] == []
