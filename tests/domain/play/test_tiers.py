"""Tiers: when they are reached, how long they are kept, what they multiply, and that the order of arrival is no matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest

from rewards.domain.commands import (
    Backfill,
    Command,
    Due,
    Earn,
    Event,
    Import,
    MemberRef,
    MergeOut,
    Reverse,
    ReverseReference,
    SetProfile,
    Spend,
)
from rewards.domain.commands import Cause as Why
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.play.tier_held import tier_at
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

DOCUMENT: Final = """
rewards: 1
program: {key: shop, timezone: UTC, late_window: 72h}
currencies: {points: {qualifying: true}, stars: {}, karma: {spendable: false, qualifying: true}}
events:
  ordered: {properties: {id: string, total: number}}
  refunded: {properties: {id: string}}
  asked: {}
  visited: {properties: {id: string}}
metrics: {visits: {count: visited}}
rules:
  - {key: buy, on: ordered, then: [{earn: {currency: points, amount: event.total, reference: event.id}}]}
  - {key: back, on: refunded, then: [{reverse: {reference: event.id}}]}
  - {key: ask, on: asked, then: [{earn: {currency: stars, amount: 3}}, {earn: {currency: karma, amount: 3}}]}
  - {key: came, on: visited, then: [{earn: {currency: karma, amount: 1, reference: event.id}}]}
tiers:
  qualify: {QUALIFY}
  TERMS
  levels:
    silver: {at: 500, earn_rate: 1.5}
    gold: {at: 1000, earn_rate: 2, rewards: [{earn: {currency: stars, amount: 100}}]}
"""
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def program(
    terms: str = "per: year",
    qualify: str = "earned: points",
    *,
    thresholds: tuple[int, int] = (500, 1_000),
    levels: str = "",
    budget: str = "",
    more: str = "",
) -> Program:
    text = DOCUMENT.replace("TERMS", terms.replace("; ", "\n  ") + "\n  multiplies: [stars]").replace(
        "QUALIFY", qualify
    )
    text = text.replace("at: 500,", f"at: {thresholds[0]},").replace("at: 1000,", f"at: {thresholds[1]},")
    text = text.replace("on: asked, then", f"on: asked, {budget}then").replace("\ntiers:", f"{more}\ntiers:")
    if levels:
        text = text[: text.index("    silver:")] + "    " + levels.replace("; ", "\n    ") + "\n"
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class World:
    """Members in memory, and what was told of tiers: when, which, from which, in which direction."""

    def __init__(self, made: Program) -> None:
        self.told: list[tuple[datetime, str, str, str]] = []
        self.achieved: dict[tuple[str, int], datetime | None] = {}
        self.members = Members(made, heard=self._hear)
        self.now = moment("2026-01-01")
        self._number = 0

    def member(self, identifier: UUID = ADA, name: str = "ada") -> Member:
        return self.members.member(identifier, MemberRef("user", name))

    def at(self, arrives: datetime) -> None:
        self.now = max(self.now, arrives)
        self.members.advance(self.now)

    def do(self, command: Command, who: UUID = ADA) -> Outcome:
        return self.members.decide(self.member(who), command, self.now)

    def happen(self, kind: str, occurs: datetime, *, who: UUID = ADA, **properties: Any) -> Outcome:
        self.at(occurs)
        self._number += 1
        return self.do(Event(f"e{self._number}", kind, occurs, properties), who)

    def held(self, at: datetime | None = None, who: UUID = ADA) -> str:
        made = self.members.program
        assert made.tiers is not None
        tier = tier_at(made.tiers, self.member(who).state.play, at or self.now)
        return "-" if tier is None else tier.key

    def _hear(self, _member: Member, _command: Command, outcome: Outcome) -> None:
        self.told += [
            (outcome.now, effect["key"] or "-", effect["from"] or "-", effect["direction"])
            for effect in outcome.effects
            if effect["type"] == "tier"
        ]
        for each in outcome.achievements:
            if each.kind == "tier":
                self.achieved[each.key, each.instance] = each.revoked_at


def walked(world: World, orders: str) -> None:
    for number, order in enumerate(orders.split(", ") if orders else ()):
        occurs, total = order.split()
        world.happen("ordered", moment(occurs), id=f"o{number}", total=int(total))


@pytest.mark.parametrize(
    ("terms", "orders", "held"),
    [
        # A calendar year: reached at once, kept until the end of the next year.
        ("per: year", "2026-03-01 499", "2026-03-02 -"),
        ("per: year", "2026-03-01 499, 2026-03-05 1", "2026-03-04 -, 2026-03-05 silver, 2027-12-31 silver, 2028-01-01 -"),
        ("per: year", "2026-03-01 400, 2027-03-01 400", "2027-04-01 -"),
        ("per: year", "2026-03-01 1200", "2026-03-01 gold, 2027-12-31 gold, 2028-01-01 -"),
        # Earned again, it is kept for another year; part of it earned again keeps that part.
        ("per: year", "2026-03-01 1200, 2027-05-01 1000", "2028-12-31 gold, 2029-01-01 -"),
        ("per: year", "2026-03-01 1200, 2027-05-01 600", "2027-12-31 gold, 2028-01-01 silver, 2028-12-31 silver, 2029-01-01 -"),
        ("per: year", "2026-03-01 600, 2027-05-01 1000", "2027-04-30 silver, 2027-05-01 gold, 2028-12-31 gold, 2029-01-01 -"),
        # Grace: a while longer, in which it can still be earned.
        ("per: year; grace: 30d", "2026-03-01 1200", "2028-01-30 gold, 2028-01-31 -"),
        ("per: year; grace: 30d", "2026-03-01 1200, 2028-01-20 1000", "2028-02-01 gold, 2030-01-30 gold, 2030-01-31 -"),
        ("per: year; grace: 30d", "2026-03-01 1200, 2028-01-20 500", "2028-01-30 gold, 2028-02-01 silver, 2030-01-31 -"),
        # One level a period, or never.
        ("per: year; downgrade: one_level", "2026-03-01 1200", "2028-01-01 silver, 2028-12-31 silver, 2029-01-01 -"),
        ("per: year; downgrade: one_level; grace: 10d", "2026-03-01 1200", "2028-01-10 gold, 2028-01-11 silver, 2029-01-11 -"),
        ("per: year; downgrade: never", "2026-03-01 1200", "2030-01-01 gold"),
        # Months.
        ("per: month", "2026-01-10 500, 2026-02-05 500", "2026-03-31 silver, 2026-04-01 -"),
        ("per: month", "2026-01-10 300, 2026-01-31 200", "2026-01-30 -, 2026-02-28 silver, 2026-03-01 -"),
        # A lifetime is never over.
        ("per: lifetime", "2026-01-10 300, 2029-01-31 200", "2029-01-30 -, 2029-01-31 silver, 2040-01-01 silver"),
        # A rolling window of 60 days: held while the last 60 days have enough.
        ("per: 60d", "2026-02-01 300, 2026-03-01 250", "2026-03-01 silver, 2026-04-01 silver, 2026-04-02 -"),
        ("per: 60d", "2026-02-01 300, 2026-03-01 250, 2026-03-30 300", "2026-04-02 silver, 2026-04-29 silver, 2026-04-30 -"),
        ("per: 60d; grace: 10d", "2026-02-01 500", "2026-04-11 silver, 2026-04-12 -"),
        ("per: 60d; grace: 10d", "2026-02-01 500, 2026-04-05 500", "2026-04-13 silver, 2026-06-13 silver, 2026-06-14 -"),
        ("per: 60d; grace: 10d; downgrade: one_level", "2026-02-01 1000", "2026-04-12 silver, 2026-04-21 silver, 2026-04-22 -"),
        ("per: 60d", "2026-02-01 600, 2026-03-01 600", "2026-03-01 gold, 2026-04-02 silver, 2026-04-30 -"),
        ("per: 12mo", "2026-02-01 600", "2027-01-30 silver, 2027-02-15 -"),
    ],
)  # fmt: skip
def test_when_a_tier_is_held(terms: str, orders: str, held: str) -> None:
    world = World(program(terms))
    expected = [tuple(each.split()) for each in held.split(", ")]
    walked(world, orders)
    world.at(moment("2041-01-01"))
    world.do(Due())
    assert [(at, world.held(moment(at))) for at, _ in expected] == expected


def test_what_is_told_of_a_climb_and_a_fall() -> None:
    world = World(program("per: month"))
    walked(world, "2026-01-10 500, 2026-01-11 500")
    world.at(moment("2026-06-01"))
    assert world.told == [
        (moment("2026-01-10"), "silver", "-", "up"),
        (moment("2026-01-11"), "gold", "silver", "up"),
        (moment("2026-03-01"), "-", "gold", "down"),
    ]
    assert world.achieved == {("silver", 1): None, ("gold", 1): None}


def test_rewards_are_for_the_first_time_also_of_levels_passed_by() -> None:
    world = World(program("per: month"))
    first = world.happen("ordered", moment("2026-01-10"), id="a", total=1_200)
    assert [(effect["type"], effect.get("tier")) for effect in first.effects] == [
        ("earn", None),
        ("tier", None),
        ("earn", "gold"),
    ]
    assert list(world.achieved) == [("silver", 1), ("gold", 1)]
    again = world.happen("ordered", moment("2026-06-10"), id="b", total=1_200)
    assert [effect["type"] for effect in again.effects] == ["earn", "tier"]
    assert list(world.achieved) == [("silver", 1), ("gold", 1), ("silver", 2), ("gold", 2)]


def test_what_was_earned_counts_and_what_is_spent_takes_nothing_away() -> None:
    world = World(program("per: year"))
    world.at(moment("2026-02-01"))
    world.do(Earn("points", 400, Why("api")))
    world.do(Spend("points", 400, Why("api")))
    assert world.held() == "-"
    world.do(Earn("points", 100, Why("api")))
    assert world.held() == "silver"


@pytest.mark.parametrize(
    ("asked", "stars", "karma", "told"),
    [
        ("2026-01-05", 3, 3, None),
        ("2026-01-10T00:00:01", 4, 3, "1.5"),  # 3 × 1.5, rounded down as the action says
        ("2026-01-12", 6, 3, "2"),
    ],
)
def test_rules_earn_at_the_rate_of_the_tier_held(asked: str, stars: int, karma: int, told: str | None) -> None:
    world = World(program("per: year"))
    walked(world, "2026-01-10 500, 2026-01-11 500")
    occurs = moment(asked)
    event = Event("late", "asked", occurs, {}, received_at=occurs)
    world.at(moment("2026-01-12"))
    outcome = world.do(event)
    earned = {effect["currency"]: effect for effect in outcome.effects if effect["type"] == "earn"}
    assert {currency: effect["amount"] for currency, effect in earned.items()} == {"stars": stars, "karma": karma}
    assert earned["stars"].get("tier_rate") == told
    assert [line.get("tier_rate") for line in outcome.trace if line.get("rule") == "ask"] == [told]
    assert "tier_rate" not in earned["karma"]  # only what can be spent is multiplied, unless the program says otherwise


def test_a_programs_own_rules_see_the_tier_and_follow_its_changes() -> None:
    world = World(
        program(
            "per: month",
            more="""
  - {key: lounge, on: asked, when: member.tier == "gold", then: [{earn: {currency: karma, amount: 50}}]}
  - {key: stairs, on: tier.changed, when: event.direction == "up" && event.from == "", then: [{earn: {currency: karma, amount: 9}}]}
segments: {best: 'member.tier in ["silver", "gold"]'}""",
        )
    )
    assert world.happen("asked", moment("2026-01-02")).state.segments == ()
    climbed = world.happen("ordered", moment("2026-01-10"), id="a", total=500)
    assert ("stairs", 9) in [(effect.get("rule"), effect.get("amount")) for effect in climbed.effects]
    assert climbed.state.segments == ("best",)
    world.happen("ordered", moment("2026-01-11"), id="b", total=500)
    asked = world.happen("asked", moment("2026-01-12"))
    assert ("lounge", 50) in [(effect.get("rule"), effect.get("amount")) for effect in asked.effects]
    world.at(moment("2026-03-02"))
    assert world.member().state.segments == ()  # left when the tier was lost, though nobody did anything


def test_a_budget_counts_what_is_paid_at_the_tiers_rate() -> None:
    world = World(program("per: year", budget="budget: {points: 8, currency: stars, per: month}, "))
    walked(world, "2026-01-10 1000")
    first, second = (world.happen("asked", moment(f"2026-01-{day}")) for day in (11, 12))
    assert [effect["amount"] for effect in first.effects] == [6, 3]
    assert second.effects == []
    assert [line["needed"] for line in second.trace if line.get("result") == "budget"] == [6]


def test_direct_earnings_and_rewards_are_not_multiplied() -> None:
    world = World(program("per: year"))
    reached = world.happen("ordered", moment("2026-01-10"), id="a", total=1_000)
    assert [
        (effect["amount"], "tier_rate" in effect) for effect in reached.effects if effect.get("tier") == "gold"
    ] == [(100, False)]
    made = world.do(Earn("stars", 10, Why("api")))
    assert made.answer["transactions"][0]["amount"] == 10


def test_what_is_moved_in_from_another_system_does_not_count() -> None:
    world = World(program("per: year"))
    world.do(Import("points", 5_000, Why("import")))
    assert world.held() == "-"


def test_a_late_event_is_the_ground_at_the_moment_when_it_happened() -> None:
    world = World(program("per: year"))
    world.happen("ordered", moment("2026-01-10"), id="a", total=300)
    world.at(moment("2026-01-12"))
    late = world.happen("ordered", moment("2026-01-09T12:00"), id="b", total=250)
    assert [effect["key"] for effect in late.effects if effect["type"] == "tier"] == ["silver"]
    assert [world.held(moment(at)) for at in ("2026-01-09T13:00", "2026-01-10")] == ["-", "silver"]


def test_points_taken_back_correct_the_tier_at_once_and_only_as_far_as_they_were_its_ground() -> None:
    world = World(program("per: year; grace: 30d"))
    walked(world, "2026-01-10 600, 2026-02-10 600")
    assert world.held() == "gold"
    world.happen("refunded", moment("2026-05-01"), id="o1")
    assert world.told[-1][1:] == ("silver", "gold", "down")
    assert world.achieved[("gold", 1)] == moment("2026-05-01")
    assert world.held(moment("2026-04-30")) == "gold"  # what was told of the past stays told
    world.happen("ordered", moment("2026-05-02"), id="again", total=500)
    assert (world.held(), world.achieved[("gold", 2)]) == ("gold", None)


def test_partly_taken_back() -> None:
    world = World(program("per: year"))
    world.at(moment("2026-01-10"))
    earned = world.do(Earn("points", 600, Why("api"))).transactions[0]
    world.do(Reverse(earned.id, amount=50))
    assert world.held() == "silver"
    world.do(Reverse(earned.id, amount=100))
    assert world.held() == "-"


def test_a_metric_counts_over_the_tiers_own_period() -> None:
    world = World(program("per: month", qualify="metric: visits", thresholds=(2, 3)))
    for day in ("01-10", "01-31", "02-01"):
        world.happen("visited", moment(f"2026-{day}"), id=day)
    assert [world.held(moment(at)) for at in ("2026-01-30", "2026-01-31", "2026-02-01")] == ["-", "silver", "silver"]
    world.happen("refunded", moment("2026-02-02"), id="01-31")
    assert world.held() == "-"


def test_of_two_members_that_become_one_the_higher_tier_holds_and_what_they_earned_adds_up() -> None:
    world = World(program("per: month"))
    for who, total in ((ADA, 300), (BEN, 800)):
        world.happen("ordered", moment("2026-01-10"), who=who, id=f"o{who}", total=total)
    assert (world.held(), world.held(who=BEN)) == ("-", "silver")
    world.at(moment("2026-01-20"))
    world.do(MergeOut(MemberRef("user", "ada"), ADA), BEN)
    assert world.held() == "gold"
    assert world.told[-1][1:] == ("gold", "silver", "up")
    world.at(moment("2026-03-02"))
    assert world.held() == "-"


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (
            "silver: {at: 500}; gold: {at: 1000}",
            "silver: {at: 500}; gold: {at: 600}",
            "gold",
        ),  # at once, when it is lowered
        (
            "silver: {at: 500}; gold: {at: 1000}",
            "silver: {at: 900}; gold: {at: 1000}",
            "silver",
        ),  # what is held is kept
        ("silver: {at: 500}; gold: {at: 650}", "silver: {at: 500}", "silver"),  # gold is gone
        ("silver: {at: 500}", "bronze: {at: 100}; silver: {at: 500}; gold: {at: 1000}", "silver"),
    ],
)
def test_a_new_version_of_the_ladder(before: str, after: str, held: str) -> None:
    world = World(program("per: year", levels=before))
    world.happen("ordered", moment("2026-01-10"), id="a", total=700)
    world.members.program = program("per: year", levels=after)
    world.happen("asked", moment("2026-01-11"))
    world.at(moment("2026-01-11T00:01"))
    assert world.held() == held
    world.at(moment("2028-01-02"))
    assert world.held() == "-"


@pytest.mark.parametrize("per", ["year", "60d", "lifetime"])
@pytest.mark.parametrize("kind", ["ordered", "asked"])
def test_a_lowered_threshold_lifts_at_the_next_command_whichever_that_is(kind: str, per: str) -> None:
    world = World(program(f"per: {per}", levels="silver: {at: 500}; gold: {at: 1000}"))
    world.happen("ordered", moment("2026-01-10"), id="a", total=700)
    world.members.program = program(f"per: {per}", levels="silver: {at: 500}; gold: {at: 600, earn_rate: 3}")
    outcome = world.happen(kind, moment("2026-01-11"), id="b", total=10)
    assert [effect["key"] for effect in outcome.effects if effect["type"] == "tier"] == ["gold"]
    assert world.held() == "gold"
    assert world.achieved["gold", 1] is None
    world.happen("ordered", moment("2026-01-12"), id="c", total=10)
    assert [told[1:] for told in world.told] == [("silver", "-", "up"), ("gold", "silver", "up")]


@pytest.mark.parametrize(
    ("before", "after", "published", "told"),
    [
        # In the grace of a window: it is over after the new one, from the version on, and never before that.
        ("per: 30d; grace: 20d", "per: 30d; grace: 2d", "2026-02-20", ["2026-02-22 -"]),
        ("per: 30d; grace: 20d", "per: 30d", "2026-02-20", ["2026-02-20 -"]),
        ("per: 30d; grace: 20d", "per: 30d; grace: 40d", "2026-02-20", ["2026-03-21 -"]),
        ("per: 30d; grace: 20d", "per: 31d", "2026-02-20", ["2026-02-20 -"]),
        # What was never lost is looked at from then on.
        ("per: 30d; downgrade: never", "per: 30d; grace: 2d", "2026-06-01", ["2026-06-03 -"]),
        ("per: 30d; downgrade: never", "per: 30d; grace: 2d; downgrade: one_level", "2026-06-01", ["2026-06-03 silver", "2026-06-05 -"]),
        # By calendar periods the running one is held to its end.
        ("per: month; grace: 20d", "per: month; grace: 5d", "2026-03-10", ["2026-04-06 -"]),
        ("per: month; grace: 5d", "per: month; grace: 20d", "2026-03-10", ["2026-03-10 gold", "2026-03-21 -"]),
        ("per: month; downgrade: never", "per: month", "2026-06-10", ["2026-07-01 -"]),
        ("per: month; downgrade: never", "per: month; downgrade: one_level", "2026-06-10", ["2026-07-01 silver", "2026-08-01 -"]),
    ],
)  # fmt: skip
def test_other_terms_take_nothing_away_at_once(before: str, after: str, published: str, told: list[str]) -> None:
    world = World(program(before))
    world.happen("ordered", moment("2026-01-10"), id="a", total=1_200)
    world.at(moment(published))
    before_that = len(world.told)
    world.members.program = program(after)
    world.happen("asked", moment(published))
    world.at(moment("2026-12-01"))
    assert [f"{at:%Y-%m-%d} {key}" for at, key, *_ in world.told[before_that:]] == told


GOLD: Final = "gold: {at: 1000, rewards: [{earn: {currency: stars, amount: 100}}]}"


@pytest.mark.parametrize(
    ("versions", "paid"),
    [
        ([f"silver: {{at: 500}}; {GOLD}", f"silver: {{at: 400}}; {GOLD}"], 100),
        # Published by mistake and rolled back: who had been rewarded for the level has been.
        ([f"silver: {{at: 500}}; {GOLD}", "silver: {at: 500}", f"silver: {{at: 500}}; {GOLD}"], 100),
        ([f"silver: {{at: 500}}; {GOLD}", "silver: {at: 500}", "tin: {at: 5}", f"silver: {{at: 500}}; {GOLD}"], 100),
    ],
)
@pytest.mark.parametrize("merged", [False, True])
def test_a_level_that_comes_back_has_rewarded_already(versions: list[str], paid: int, *, merged: bool) -> None:
    world = World(program("per: year", levels=versions[0]))
    world.happen("ordered", moment("2026-01-10"), id="a", total=1_200)
    for day, levels in enumerate(versions[1:], start=11):
        world.members.program = program("per: year", levels=levels)
        world.happen("visited", moment(f"2026-01-{day}"), id=f"v{day}")
        world.at(moment(f"2026-01-{day}T00:01"))
        if merged and day == 11:
            world.happen("ordered", moment(f"2026-01-{day}T00:02"), id="b", total=500, who=BEN)
            world.do(MergeOut(MemberRef("user", "ben"), BEN))
    who = BEN if merged else ADA
    world.happen("ordered", moment("2026-02-01"), id="c", total=1_200, who=who)
    assert world.held(who=who) == "gold"
    wallet = world.member(who, "ben" if merged else "ada").state.wallet
    assert wallet.accounts["stars"].available == paid


def test_a_year_ends_where_the_member_is() -> None:
    world = World(program("per: year"))
    world.happen("ordered", moment("2026-06-10"), id="a", total=700)
    world.do(SetProfile(timezone="Pacific/Auckland"))  # thirteen hours ahead, in January
    world.at(moment("2027-12-31T10:59"))
    assert world.held() == "silver"
    world.at(moment("2027-12-31T11:00"))
    assert world.held() == "-"


def without_tiers() -> Program:
    report = check(read_document(DOCUMENT[: DOCUMENT.index("tiers:")].encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


@pytest.mark.parametrize("terms", ["per: year", "per: 90d", "per: lifetime"])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("filled_in", [False, True])
@pytest.mark.parametrize("changed", [False, True])
def test_what_was_earned_before_there_were_tiers_takes_nothing_from_them(
    terms: str, *, merged: bool, filled_in: bool, changed: bool
) -> None:
    """Unless it was filled in."""
    world = World(without_tiers())
    world.happen("ordered", moment("2026-03-01"), id="a", total=600)
    made = world.members.program = program(terms)
    assert made.tiers is not None
    world.happen("ordered", moment("2026-03-10"), id="b", total=700)
    if filled_in:
        world.do(Backfill((made.tiers.metric.id,), announce=True, rewards=True))
    if changed:
        world.members.program = program(f"{terms}; grace: 20d")
    if merged:
        world.do(MergeOut(MemberRef("user", "ben"), BEN))
    who = BEN if merged else ADA
    assert world.held(who=who) == ("gold" if filled_in else "silver")
    world.happen("refunded", moment("2026-03-12"), who=who, id="a")
    assert world.held(who=who) == "silver"
    world.happen("refunded", moment("2026-03-13"), who=who, id="b")
    assert world.held(who=who) == "-"
    world.happen("ordered", moment("2026-03-14"), who=who, id="c", total=500)
    assert world.held(who=who) == "silver"


@pytest.mark.parametrize("terms", ["per: year", "per: month", "per: 90d", "per: lifetime"])
@pytest.mark.parametrize("qualify", ["metric: visits", "earned: karma"])
@pytest.mark.parametrize("day", ["2026-03-03", "2026-03-04", "2026-03-12"])  # while late events may come, and later
def test_what_was_filled_in_and_is_taken_back_is_no_ground_any_more(terms: str, qualify: str, day: str) -> None:
    world = World(without_tiers())
    for number, name in ((1, "a"), (2, "b")):
        world.happen("visited", moment(f"2026-03-0{number}"), id=name)
    made = world.members.program = program(terms, qualify, thresholds=(1, 2))
    assert made.tiers is not None
    world.at(moment("2026-03-03"))
    world.do(Backfill((made.tiers.metric.id,)))
    held = [world.held()]
    world.at(moment(day))
    for name in ("b", "a"):
        world.do(ReverseReference(name))
        held.append(world.held())
    world.happen("visited", world.now, id="c")
    assert [*held, world.held()] == ["gold", "silver", "-", "silver"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("earned", ["2026-01-31T23:30", "2026-02-01T00:30"])
@pytest.mark.parametrize("refunded", ["2026-02-02", "2026-02-08"])  # while it could still be disordered, and later
def test_points_are_taken_back_from_the_month_that_they_were_counted_in(zone: str, earned: str, refunded: str) -> None:
    """Where the member is by then, they would belong to another one."""
    world = World(program("per: month"))
    world.happen("ordered", moment(earned), id="o", total=600)
    world.at(moment("2026-02-01T01:00"))
    world.do(SetProfile(timezone=zone))
    world.happen("ordered", moment("2026-02-01T12:00"), id="p", total=100)
    assert world.held() == "silver"
    world.happen("refunded", moment(refunded), id="o")
    assert world.held() == "-"
    world.happen("ordered", moment("2026-02-09"), id="q", total=400)
    assert world.held() == "silver"  # by the 500 of February


@pytest.mark.parametrize(
    ("written", "path", "code"),
    [
        ("qualify: {earned: stars}", "tiers.qualify.earned", "not-qualifying"),
        ("qualify: {earned: coins}", "tiers.qualify.earned", "unknown-currency"),
        ("qualify: {metric: biggest}", "tiers.qualify.metric", "type"),
        ("qualify: {metric: by_id}", "tiers.qualify.metric", "split-metric"),
        ("qualify: {metric: visits, earned: points}", "tiers.qualify", "value"),
        ("qualify: {earned: points}, per: 2d", "tiers.per", "too-short"),
        ("qualify: {earned: points}, per: 500d", "tiers.per", "too-long"),
        ("qualify: {earned: points}, per: month, grace: 28d", "tiers.grace", "too-long"),
        ("qualify: {earned: points}, multiplies: [coins]", "tiers.multiplies.0", "unknown-currency"),
        ("qualify: {earned: points}, gold: 1", "tiers.gold", "unknown-key"),
    ],
)
def test_what_is_wrong_with_tiers_is_said_where_it_is(written: str, path: str, code: str) -> None:
    text = DOCUMENT[: DOCUMENT.index("tiers:")].replace(
        "{visits: {count: visited}}",
        "{visits: {count: visited}, biggest: {max: ordered, value: event.total}, by_id: {count: ordered, by: event.id}}",
    )
    text += f"tiers: {{{written}, levels: {{silver: {{at: 5}}}}}}\n"
    errors = check(read_document(text.encode())).errors
    assert [(problem.path, problem.code) for problem in errors] == [(path, code)]


@pytest.mark.parametrize(
    ("condition", "codes"),
    [
        ('member.tier == "golf"', ["unknown-tier"]),
        ('member.tier in ["silver", "golf"]', ["unknown-tier"]),
        ('"gold" != member.tier', []),
        ('member.tier == ""', []),
    ],
)
def test_tiers_that_conditions_name_are_declared(condition: str, codes: list[str]) -> None:
    text = DOCUMENT.replace("key: ask, on: asked,", f"key: ask, on: asked, when: '{condition}',")
    text = text.replace("QUALIFY", "earned: points").replace("TERMS", "per: year")
    assert [problem.code for problem in check(read_document(text.encode())).errors] == codes


def test_levels_rise() -> None:
    text = DOCUMENT.replace("QUALIFY", "earned: points").replace("TERMS", "per: year")
    twice = check(read_document(text.replace("at: 1000", "at: 500").encode()))
    assert [(problem.path, problem.code) for problem in twice.errors] == [("tiers", "value")]
    everybodys = check(read_document(text.replace("at: 1000", "at: 0").encode()))
    assert [(problem.path, problem.code) for problem in everybodys.errors] == [
        ("tiers.levels.gold.rewards", "never-given")
    ]
