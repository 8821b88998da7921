"""Rules that wait: when they fire, what starts the time anew, what calls them off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from rewards.domain.apply import apply
from rewards.domain.commands import Command, Event, MemberRef, MergeIn, MergeOut
from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.ids import Ids
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.play.timers import HEARD, MECHANIC, PER_MEMBER_MAX, PER_RULE_MAX, WAITING_BYTES_MAX
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

DOCUMENT: Final = """
rewards: 1
program: {key: shop, timezone: UTC, late_window: 72h}
currencies: {points: {}}
events:
  cart_updated: {properties: {cart: string, total: number}}
  viewed: {properties: {cart: string, seconds: number}}
  ordered: {properties: {cart: string, total: number}}
  refunded: {properties: {total: number}}
  help_opened: {}
  clicked: {}
  scratched: {}
groups: {activity: [cart_updated, viewed, ordered]}
metrics:
  cart: {last: cart_updated, value: event.total}
  views_by_cart: {count: viewed, by: event.cart}
rules:
  - {key: rescue, on: cart_updated, when: metrics.cart > 50, quiet: {for: 10m, of: activity}, unless: ordered,
     limit: {times: 1, per: day}, then: [{earn: {currency: points, amount: event.total}}]}
  - {key: thanks, on: ordered, delay: 20h, unless: refunded, then: [{earn: {currency: points, amount: 1000 + event.total}}]}
  - {key: hint, on: help_opened, quiet: {for: 15s, of: clicked}, then: [{earn: {currency: points, amount: 7}}]}
  - {key: looked, on: viewed, when: event.seconds > 5, quiet: {for: 1h, match: cart}, still: metrics.views_by_cart > 1,
     then: [{earn: {currency: points, amount: metrics.views_by_cart}}]}
  - {key: six, on: scratched, delay: 1h, then: [SIX]}
""".replace("[SIX]", "[" + ", ".join(["{earn: {currency: points, amount: 1}}"] * 6) + "]")
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def compiled(*, without: str = "") -> Program:
    text = DOCUMENT
    if without:
        lines = DOCUMENT.splitlines()
        begins = next(index for index, line in enumerate(lines) if f"key: {without}," in line)
        ends = begins + 1
        while ends < len(lines) and not lines[ends].startswith("  - "):
            ends += 1
        text = "\n".join([*lines[:begins], *lines[ends:]])
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


class World:
    """Members in memory, with what they were paid and when (minutes from the start)."""

    def __init__(self) -> None:
        self.paid: list[tuple[float, str, int]] = []
        self.results: list[str] = []
        self.members = Members(compiled(), heard=self._hear)
        self._number = 0

    def member(self, identifier: UUID = ADA, name: str = "ada") -> Member:
        return self.members.member(identifier, MemberRef("user", name))

    def happen(self, minute: float, kind: str, *, arrives: float | None = None, **properties: Any) -> Outcome:
        now = START + timedelta(minutes=minute if arrives is None else arrives)
        self.members.advance(now)
        self._number += 1
        event = Event(f"e{self._number}", kind, START + timedelta(minutes=minute), properties)
        return self.members.decide(self.member(), event, now)

    def until(self, minute: float) -> None:
        self.members.advance(START + timedelta(minutes=minute))

    def _hear(self, _member: Member, _command: Command, outcome: Outcome) -> None:
        minute = (outcome.now - START).total_seconds() / 60
        self.paid += [
            (minute, effect["rule"], effect["amount"]) for effect in outcome.effects if effect["type"] == "earn"
        ]
        self.results += [line["result"] for line in outcome.trace if "due_at" in line]


Happening = tuple[Any, ...]


@pytest.mark.parametrize(
    ("happenings", "paid"),
    [
        # Ten silent minutes with more than 50 in the cart.
        ([(0, "cart_updated", {"cart": "a", "total": 80})], [(10, "rescue", 80)]),
        ([(0, "cart_updated", {"cart": "a", "total": 50})], []),
        # Every activity begins the silence anew; a newer cart takes the place of the older.
        ([(0, "cart_updated", {"total": 80}), (8, "viewed", {"seconds": 1})], [(18, "rescue", 80)]),
        ([(0, "cart_updated", {"total": 80}), (8, "cart_updated", {"total": 90})], [(18, "rescue", 90)]),
        # What is in the cart is asked again when the silence is over.
        ([(0, "cart_updated", {"total": 80}), (8, "cart_updated", {"total": 10})], []),
        # An order calls it off; one that was placed before the cart was filled does not.
        ([(0, "cart_updated", {"total": 80}), (9, "ordered", {"total": 80})], [(1209, "thanks", 1080)]),
        (
            [(5, "cart_updated", {"total": 80}), (1, "ordered", {"total": 5}, 6)],
            [(15, "rescue", 80), (1201, "thanks", 1005)],
        ),
        # A cart that comes late, older than the one that is waited for, begins nothing.
        (
            [(8, "cart_updated", {"total": 90}), (0, "cart_updated", {"total": 80}, 9)],
            [(18, "rescue", 90)],
        ),
        # What came before a late cart and happened after it counts: an order calls it off, a view starts the time anew.
        ([(1, "ordered", {"total": 80}), (0, "cart_updated", {"total": 80}, 2)], [(1201, "thanks", 1080)]),
        ([(5, "viewed", {"seconds": 1}), (0, "cart_updated", {"total": 80}, 6)], [(15, "rescue", 80)]),
        ([(1, "refunded", {"total": 1}), (0, "ordered", {"total": 1}, 2)], []),
        (
            [(40, "viewed", {"cart": "b", "seconds": 1}), (30, "viewed", {"cart": "a", "seconds": 1}),
             (0, "viewed", {"cart": "a", "seconds": 9}, 45), (50, "viewed", {"cart": "c", "seconds": 1})],
            [(90, "looked", 2)],
        ),
        # A limit counts when the rule fires.
        ([(0, "cart_updated", {"total": 80}), (30, "cart_updated", {"total": 90})], [(10, "rescue", 80)]),
        # A delay runs for every event.
        ([(0, "ordered", {"total": 1}), (1, "ordered", {"total": 2})], [(1200, "thanks", 1001), (1201, "thanks", 1002)]),
        ([(0, "ordered", {"total": 1}), (60, "refunded", {"total": 1})], []),
        # Fifteen seconds on the help page without a click.
        ([(0, "help_opened", {})], [(0.25, "hint", 7)]),
        ([(0, "help_opened", {}), (0.2, "clicked", {})], [(0.45, "hint", 7)]),
        # Only what happens to the same cart counts; `still` sees the cart's own views.
        (
            [(0, "viewed", {"cart": "a", "seconds": 9}), (30, "viewed", {"cart": "b", "seconds": 9}),
             (40, "viewed", {"cart": "a", "seconds": 9})],
            [(100, "looked", 2)],
        ),
        # An event that comes late starts the time when it happened: if that is over, at once.
        ([(0, "help_opened", {}, 5)], [(5, "hint", 7)]),
    ],
)  # fmt: skip
def test_when_a_rule_that_waits_fires(happenings: list[Happening], paid: list[tuple[float, str, int]]) -> None:
    world = World()
    for minute, kind, properties, *arrives in happenings:
        world.happen(minute, kind, arrives=arrives[0] if arrives else None, **properties)
    world.until(3 * 1440)
    assert world.paid == paid


def test_what_fell_due_is_done_in_order_before_the_next_command() -> None:
    """Nobody woke the member: the command that comes two days later finds it done, each at its moment."""
    world = World()
    outcome = world.happen(0, "ordered", total=1)
    world.happen(1, "cart_updated", total=80)
    world.members._wakes.clear()
    outcome = world.happen(2880, "clicked")
    assert [(effect["rule"], effect["amount"]) for effect in outcome.effects] == [("rescue", 80), ("thanks", 1001)]
    assert [entry.effective_at - START for entry in outcome.transactions] == [
        timedelta(minutes=11),
        timedelta(hours=20),
    ]
    assert world.happen(2881, "clicked").effects == []


def test_what_falls_due_at_one_moment_goes_by_priority_and_then_by_order() -> None:
    rules = "\n".join(
        f"  - {{key: {key}, on: scratched, delay: 1h, priority: {priority}, then: [{{earn: {{currency: points, amount: 1}}}}]}}"
        for key, priority in (("a_last", 0), ("b_second", 5), ("c_third", 5), ("d_first", 9))
    )
    head = DOCUMENT.split("rules:")[0]
    report = check(read_document(f"{head}rules:\n{rules}\n".encode()))
    assert report.document is not None, report.errors
    world = World()
    world.members = Members(compile_program(report.document, version=1), heard=world._hear)
    world.happen(0, "scratched")
    world.until(60)
    assert [rule for _, rule, _ in world.paid] == ["d_first", "b_second", "c_third", "a_last"]


def program_of(*rules: str) -> Program:
    """The same events, other rules."""
    head = DOCUMENT.split("rules:")[0]
    report = check(read_document("\n".join([f"{head}rules:", *(f"  - {{{rule}}}" for rule in rules)]).encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


@pytest.mark.parametrize(
    ("rules", "results"),
    [
        # Of those that fall due at one moment the one of the highest priority acts.
        ({"a": "delay: 1h, exclusive: g", "b": "delay: 1h, exclusive: g, priority: 9"}, {"b": "fired", "a": "exclusive"}),
        ({"a": "delay: 1h, exclusive: g", "b": "quiet: {for: 1h, of: clicked}, exclusive: g"}, {"a": "fired", "b": "exclusive"}),
        # One that is blocked leaves its place to the next.
        (
            {"a": "delay: 1h, exclusive: g", "b": "delay: 1h, exclusive: g, priority: 9, still: metrics.cart > 50"},
            {"b": "condition_false", "a": "fired"},
        ),
        ({"a": "delay: 1h, exclusive: g", "b": "delay: 1h, exclusive: h"}, {"a": "fired", "b": "fired"}),
        ({"a": "delay: 1h, exclusive: g", "b": "delay: 2h, exclusive: g"}, {"a": "fired", "b": "fired"}),
        # One that acts at once is of another moment.
        ({"a": "exclusive: g", "b": "delay: 1h, exclusive: g"}, {"a": "fired", "b": "fired"}),
    ],
)  # fmt: skip
def test_of_an_exclusive_group_one_acts_at_a_moment(rules: dict[str, str], results: dict[str, str]) -> None:
    then = "then: [{earn: {currency: points, amount: 1}}]"
    world = World()
    told: list[tuple[str, str]] = []

    def heard(_member: Member, _command: Command, outcome: Outcome) -> None:
        told.extend((line["rule"], line["result"]) for line in outcome.trace if line["result"] != "waiting")

    written = [f"key: {key}, on: scratched, {terms}, {then}" for key, terms in rules.items()]
    world.members = Members(program_of(*written), heard=heard)
    world.happen(0, "scratched")
    world.until(3 * 60)
    assert told == list(results.items())


def test_who_begins_to_wait_later_is_of_another_moment() -> None:
    rule = "delay: 1h, exclusive: g, then: [{earn: {currency: points, amount: 1}}]"
    world = World()
    world.members = Members(
        program_of(f"key: a, on: scratched, {rule}", f"key: b, on: clicked, {rule}"), heard=world._hear
    )
    world.happen(0, "scratched")
    world.happen(1, "clicked")
    world.members._wakes.clear()  # one command finds both over
    world.happen(100, "help_opened")
    assert [rule for _, rule, _ in world.paid] == ["a", "b"]


@pytest.mark.parametrize(
    ("on", "when", "result"),
    [
        ("scratched", "", "fired"),
        ("[clicked, scratched]", "", "fired"),
        ("clicked", "", "rule_changed"),
        ("ordered", "when: event.total > 5,", "rule_changed"),  # not that its condition was false
    ],
)
def test_what_waits_of_a_rule_that_something_else_starts_now_ends(on: str, when: str, result: str) -> None:
    world = World()
    rule = "key: a, on: {}, {} delay: 1h, then: [{{earn: {{currency: points, amount: 1}}}}]"
    world.members = Members(program_of(rule.format("scratched", "")), heard=world._hear)
    world.happen(0, "scratched")
    world.members.program = program_of(rule.format(on, when))
    world.until(60)
    assert world.results == ["waiting", result]
    assert len(world.paid) == (result == "fired")
    assert MECHANIC not in world.member().state.play


@pytest.mark.parametrize(
    ("other", "warned"),
    [("delay: 1h, exclusive: g", []), ("delay: 1h", ["rules.a.exclusive"]), ("exclusive: g", ["rules.a.exclusive"])],
)
def test_a_group_of_one_that_waits_is_warned_of(other: str, warned: list[str]) -> None:
    then = "then: [{earn: {currency: points, amount: 1}}]"
    head = DOCUMENT.split("rules:")[0]
    rules = f"  - {{key: a, on: scratched, delay: 1h, exclusive: g, {then}}}\n  - {{key: b, on: scratched, {other}, {then}}}\n"
    report = check(read_document(f"{head}rules:\n{rules}".encode()))
    assert [each.path for each in report.warnings if each.code == "no-effect"] == warned


def test_what_fires_is_traced_to_the_event_that_began_it() -> None:
    world = World()
    began = world.happen(0, "cart_updated", total=80)
    [line] = [line for line in began.trace if line["rule"] == "rescue"]
    assert (line["result"], line["due_at"]) == ("waiting", "2026-11-21T10:10:00Z")
    fired: list[Outcome] = []
    world.members._heard = lambda _member, _command, outcome: fired.append(outcome)
    world.until(10)
    [outcome] = fired
    assert outcome.transactions[0].origin.event == began.id
    assert outcome.trace == [
        {
            "rule": "rescue",
            "event": str(began.id),
            "due_at": "2026-11-21T10:10:00Z",
            "seen": {"metrics.cart": 80},
            "result": "fired",
        }
    ]
    assert outcome.event is not None
    assert outcome.event.type == "time.passed"


def test_a_rule_that_is_gone_waits_no_more() -> None:
    world = World()
    world.happen(0, "cart_updated", total=80)
    world.happen(1, "ordered", total=1)
    world.happen(2, "cart_updated", total=80)
    world.members.program = compiled(without="rescue")
    world.until(3 * 1440)
    assert world.paid == [(1201, "thanks", 1001)]
    assert MECHANIC not in world.member().state.play


def test_a_paused_rule_does_not_fire() -> None:
    world = World()
    world.happen(0, "cart_updated", total=80)
    world.members.program = replace(world.members.program, paused=frozenset({"rescue"}))
    world.until(60)
    assert world.results == ["waiting", "paused"]


def test_too_much_waits() -> None:
    world = World()
    for minute in range(PER_RULE_MAX + 1):
        world.happen(minute / 10, "ordered", total=1)
    assert world.results.count("waiting") == PER_RULE_MAX
    world.until(3 * 1440)
    assert len(world.paid) == PER_RULE_MAX


def test_what_waits_goes_with_a_merge() -> None:
    world = World()
    world.happen(0, "ordered", total=5)
    world.members.member(BEN, MemberRef("user", "ben"))
    world.members.decide(world.member(), MergeOut(MemberRef("user", "ben"), BEN), START + timedelta(minutes=1))
    world.until(3 * 1440)
    assert world.paid == [(1200, "thanks", 1005)]
    assert world.members.member(BEN, MemberRef("user", "ben")).state.wallet.accounts["points"].available == 1005


def test_a_silence_of_two_that_become_one_is_waited_for_once() -> None:
    world = World()
    ben = world.members.member(BEN, MemberRef("user", "ben"))
    world.happen(0, "cart_updated", total=80)
    five = START + timedelta(minutes=5)
    world.members.decide(ben, Event("b1", "cart_updated", five, {"total": 90}), five)
    world.members.decide(world.member(), MergeOut(MemberRef("user", "ben"), BEN), START + timedelta(minutes=6))
    world.until(3 * 1440)
    assert world.paid == [(15, "rescue", 90)]


@pytest.mark.parametrize(
    ("of_ada", "of_ben", "paid"),
    [
        # Who became known on another device ordered there meanwhile: nothing is left to rescue.
        ([(0, "cart_updated", {"total": 80})], [(5, "ordered", {"total": 1})], [(1205, "thanks", 1001)]),
        ([(5, "ordered", {"total": 1})], [(0, "cart_updated", {"total": 80})], [(1205, "thanks", 1001)]),
        ([(5, "cart_updated", {"total": 80})], [(1, "ordered", {"total": 1})], [(15, "rescue", 80), (1201, "thanks", 1001)]),
        # What either did starts the silence of both anew, whether the other had one or not.
        ([(0, "cart_updated", {"total": 80})], [(5, "viewed", {"seconds": 1})], [(15, "rescue", 80)]),
        ([(5, "viewed", {"seconds": 1})], [(0, "cart_updated", {"total": 80})], [(15, "rescue", 80)]),
        # Of the same cart only.
        (
            [(0, "viewed", {"cart": "a", "seconds": 9}), (1, "viewed", {"cart": "a", "seconds": 9})],
            [(4, "viewed", {"cart": "a", "seconds": 1}), (5, "viewed", {"cart": "b", "seconds": 1})],
            [(64, "looked", 3)],
        ),
        # A delay is not moved on by what only silences hear.
        ([(0, "ordered", {"total": 1})], [(5, "viewed", {"seconds": 1})], [(1200, "thanks", 1001)]),
        ([(0, "ordered", {"total": 1})], [(5, "refunded", {"total": 1})], []),
    ],
)  # fmt: skip
def test_what_two_heard_holds_for_what_waits_of_the_one_that_they_become(
    of_ada: list[Happening], of_ben: list[Happening], paid: list[tuple[float, str, int]]
) -> None:
    world = World()
    ben = world.members.member(BEN, MemberRef("user", "ben"))
    for name, member, happenings in (("a", world.member(), of_ada), ("b", ben, of_ben)):
        for number, (minute, kind, properties) in enumerate(happenings):
            at = START + timedelta(minutes=minute)
            world.members.decide(member, Event(f"{name}{number}", kind, at, properties), at)
    world.members.decide(world.member(), MergeOut(MemberRef("user", "ben"), BEN), START + timedelta(minutes=6))
    world.until(3 * 1440)
    assert world.paid == paid


def test_a_rule_that_goes_while_two_members_merge_waits_no_more() -> None:
    """The one that goes was packed up under a version that still had the rule; who takes it over starts to wait at once."""
    then = "then: [{earn: {currency: points, amount: 1}}]"
    head = DOCUMENT.split("rules:")[0].replace("metrics:", "metrics:\n  views: {count: viewed}")
    greet = f"  - {{key: greet, on: segment.entered, delay: 1h, {then}}}\n"
    text = head + "segments: {keen: metrics.views >= 2}\nrules:\n" + greet

    def version(text: str) -> Program:
        report = check(read_document(text.encode()))
        assert report.document is not None, report.errors
        return compile_program(report.document, version=1)

    before, after = version(f"{text}  - {{key: thanks, on: viewed, delay: 20h, {then}}}\n"), version(text)
    world = World()
    ben = world.members.member(BEN, MemberRef("user", "ben"))
    world.members.program = before
    world.happen(0, "viewed")
    world.members.decide(ben, Event("b", "viewed", START, {}), START)
    ada = world.member()
    packed = apply(
        before, ada.load(START, complete=True), MergeOut(MemberRef("user", "ben"), BEN), now=START,
        ids=Ids(b"a", bucket=0, unix_ms=0, seq=0), counters={},
    )  # fmt: skip
    world.members.program = after
    world.members.decide(ben, MergeIn(ADA, packed.legs[0].payload), START)
    assert list(ben.state.play[MECHANIC]) == ["greet"]
    world.until(3 * 1440)
    assert world.paid == [(60, "greet", 1)]


def test_two_that_become_one_wait_for_no_more_than_one_may() -> None:
    then = "delay: 1h, then: [{earn: {currency: points, amount: 1}}]"
    world = World()
    world.members.program = program_of(*(f"key: r{number}, on: scratched, {then}" for number in range(6)))
    ben = world.members.member(BEN, MemberRef("user", "ben"))
    for number in range(PER_RULE_MAX):
        world.happen(number / 10, "scratched")
        at = START + timedelta(minutes=number / 10)
        world.members.decide(ben, Event(f"b{number}", "scratched", at, {}), at)
    world.members.decide(world.member(), MergeOut(MemberRef("user", "ben"), BEN), START + timedelta(minutes=6))
    waiting = ben.state.play[MECHANIC].values()
    assert sum(map(len, waiting)) == PER_MEMBER_MAX
    assert all(due == sorted(due) for due in ([entry[0] for entry in entries] for entries in waiting))


def test_what_waits_of_a_rule_that_was_gone_does_not_come_back() -> None:
    world = World()
    world.happen(0, "ordered", total=1)
    world.members.program = compiled(without="thanks")
    world.happen(1, "clicked")
    world.members.program = compiled()
    world.until(3 * 1440)
    assert world.paid == []


@pytest.mark.parametrize("length", [10, 400, 5_000])
def test_what_waits_stays_small(length: int) -> None:
    world = World()
    for number in range(PER_MEMBER_MAX):
        world.happen(number / 10, "viewed", cart=f"{number:03}" + "x" * length, seconds=9)
    play = world.member().state.play
    assert state_size(play[MECHANIC]) < WAITING_BYTES_MAX + 1_000
    assert state_size(play[HEARD]) < 2 * PER_RULE_MAX * 30
    assert "waiting" in world.results


def test_what_waited_takes_no_room_from_the_event_itself() -> None:
    """A hundred effects are the bound of one event; what fell due before it has its own."""
    world = World()
    for minute in range(PER_RULE_MAX):
        world.happen(minute / 10, "scratched")
    world.members._wakes.clear()
    outcome = world.happen(2880, "cart_updated", total=80)
    assert len(outcome.effects) == 6 * PER_RULE_MAX > EFFECTS_MAX
    assert [line["result"] for line in outcome.trace if line.get("rule") == "rescue"] == ["waiting"]


@pytest.mark.parametrize("waits", ["", "delay: 1h, "])
def test_what_an_event_had_no_room_for_is_not_decided_with_what_comes_next(waits: str) -> None:
    def earns(times: int) -> str:
        return "then: [" + ", ".join(["{earn: {currency: points, amount: 1}}"] * times) + "]"

    world = World()
    world.members.program = program_of(
        f"key: start, on: scratched, {waits}then: [{{event: {{type: ordered}}}}]",
        "key: first, on: ordered, then: [{event: {type: help_opened}}, {event: {type: clicked}}]",
        "key: second, on: help_opened, then: [{event: {type: refunded}}]",
        *(f"key: filler{number}, on: help_opened, {earns(20)}" for number in range(4)),
        f"key: last, on: help_opened, {earns(16)}",
        f"key: beyond, on: refunded, {earns(1)}",
    )
    world.happen(0, "scratched")
    world.until(60)
    world.happen(61, "viewed")
    assert len(world.paid) + 4 == EFFECTS_MAX
    assert "beyond" not in {rule for _, rule, _ in world.paid}
