"""Quests under random events in random order of arrival, beside an oracle that recomputes everything each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.domain.commands import Event, JoinQuest, LeaveQuest, MemberRef
from rewards.domain.errors import RewardsError
from rewards.domain.memory import Member, Members
from rewards.domain.play import quests
from rewards.domain.play.questing.continuing import continued
from rewards.domain.play.questing.counting import count
from rewards.domain.play.questing.reading import State, progress_of
from rewards.domain.play.questing.standing import Entry, Kept
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work

LATE_HOURS: Final = 72
START: Final = datetime(2026, 11, 20, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DOCUMENT: Final = """
rewards: 1
program: {key: oracle, timezone: UTC, late_window: 72h}
currencies: {points: {}}
events:
  did: {properties: {what: string, much: integer}}
  other: {properties: {much: integer}}
quests:
  thrice: {steps: [{event: did, target: 3}], window: 30h, repeat: {after: 5h}, rewards: [PAID]}
  once: {steps: [{event: did, sum: event.much, target: 12}, {event: other, target: 2}], window: 60h, rewards: [PAID]}
  kinds: {steps: [{event: [did, other], distinct: event.much, target: 4, rewards: [PAID]}, {event: did, distinct: event.what, target: 2}],
          repeat: {after: 20h, times: 3}, rewards: [PAID]}
  turns: {order: sequence, steps: [{event: did, rewards: [PAID]}, {event: other, target: 2}, {event: [did, other], where: event.much > 2}],
          window: 3d, repeat: {after: 1h}, rewards: [PAID]}
  either: {order: any, steps: [{event: did, max: event.much, target: 5, rewards: [PAID]}, {event: other, sum: event.much, target: 6}],
           window: day, repeat: {after: day}, rewards: [PAID]}
  after: {requires: {quests: [once]}, steps: [{event: [did, other], target: 4}], window: 50h, repeat: {after: 1h}, rewards: [PAID]}
  asked: {opt_in: true, steps: [{event: did, target: 3}], window: 40h, repeat: {after: 1h}, rewards: [PAID]}
""".replace("PAID", "{earn: {currency: points, amount: 1}}")


@dataclass(frozen=True)
class Rule:
    """A quest as the oracle reads it: what each step takes of (type, what, much), its target, and the times in hours."""

    steps: tuple[Any, ...]
    order: str = "all"
    window: Any = None
    after: Any = None
    times: int | None = 1
    opt_in: bool = False


def _if(type_: str, value: Any) -> Any:
    return lambda event: value(event) if event.kind == type_ else None


ORACLE: Final = {
    "thrice": Rule((("count", _if("did", lambda _: 1), 3),), window=30, after=5, times=None),
    "once": Rule((("sum", _if("did", lambda e: e.much), 12), ("count", _if("other", lambda _: 1), 2)), window=60),
    "kinds": Rule(
        (("distinct", lambda e: e.much, 4), ("distinct", _if("did", lambda e: e.what), 2)), after=20, times=3
    ),
    "turns": Rule(
        (
            ("count", _if("did", lambda _: 1), 1),
            ("count", _if("other", lambda _: 1), 2),
            ("count", lambda e: 1 if e.much > 2 else None, 1),
        ),
        order="sequence",
        window=72,
        after=1,
        times=None,
    ),
    "either": Rule(
        (("max", _if("did", lambda e: e.much), 5), ("sum", _if("other", lambda e: e.much), 6)),
        order="any",
        window="day",
        after="day",
        times=None,
    ),
    "after": Rule((("count", lambda _: 1, 4),), window=50, after=1, times=None),
    "asked": Rule((("count", _if("did", lambda _: 1), 3),), window=40, after=1, times=None, opt_in=True),
}


@dataclass(frozen=True, order=True)
class Seen:
    """One event, or a command about a quest (`joined`, `left`), as the oracle remembers it."""

    at: datetime
    id: UUID
    kind: str = field(compare=False)
    what: str = field(default="", compare=False)
    much: int = field(default=0, compare=False)


def _later(span: Any, moment: datetime) -> datetime:
    if span == "day":
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC) + timedelta(days=1)
    later: datetime = moment + span * HOUR
    return later


@dataclass
class Told:
    """What the oracle says: when each completion was, which steps each had, and what the open attempt has seen."""

    completed: list[datetime] = field(default_factory=list)
    steps: set[tuple[int, int]] = field(default_factory=set)
    began: datetime | None = None
    seen: list[list[Any]] = field(default_factory=list)


def _value(kind: str, values: list[Any]) -> float:
    tell: dict[str, Callable[[list[Any]], float]] = {
        "count": len,
        "sum": sum,
        "distinct": lambda each: len(set(each)),
        "max": lambda each: max(each, default=0),
    }
    return tell[kind](values)


def begins(rule: Rule, event: Seen, taken: list[Any], completed: list[datetime]) -> bool:
    """Whether an attempt begins with an event, where none is under way."""
    if rule.opt_in and event.kind != "joined":
        return False
    steps = zip(rule.steps, taken, strict=True)
    counts = [value is not None and (kind != "sum" or value > 0) for (kind, _, _), value in steps]
    if not rule.opt_in and not (counts[0] if rule.order == "sequence" else any(counts)):
        return False
    if rule.times is not None and len(completed) >= rule.times:
        return False
    return not completed or (rule.after is not None and event.at >= _later(rule.after, completed[-1]))


def recompute(rule: Rule, events: list[Seen], *, unlocked: datetime | None) -> Told:
    """The definition, word for word, over all events in their order."""
    told = Told()
    reached: set[int] = set()
    for event in sorted(events):
        if event.kind in {"joined", "left"} and not rule.opt_in:
            continue
        ended = told.began is not None and rule.window is not None and event.at >= _later(rule.window, told.began)
        if ended or event.kind == "left":
            told.began = None
        taken = [take(event) if event.kind in {"did", "other"} else None for _, take, _ in rule.steps]
        if told.began is None:
            if unlocked is None or event.at <= unlocked or not begins(rule, event, taken, told.completed):
                continue
            told.began, told.seen, reached = event.at, [[] for _ in rule.steps], set()
        turn = len(reached)
        for index, value in enumerate(taken):
            if value is not None and (rule.order != "sequence" or index == turn):
                told.seen[index].append(value)
                kind, _, target = rule.steps[index]
                if _value(kind, told.seen[index]) >= target:
                    reached.add(index)
                    told.steps.add((len(told.completed) + 1, index + 1))
        if len(reached) == len(rule.steps) or (rule.order == "any" and reached):
            told.completed.append(event.at)
            told.began = None
    return told


@dataclass
class World:
    """A member in memory beside the oracle. What was ever paid is the union of what each arrival grounded."""

    members: Members
    seen: list[Seen] = field(default_factory=list)
    paid: dict[str, int] = field(default_factory=dict)
    paid_steps: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    effects: list[dict[str, Any]] = field(default_factory=list)
    now: datetime = START
    unlocked: datetime | None = None
    """The earliest moment at which `once` was ever known to be completed."""

    @property
    def member(self) -> Member:
        return self.members.member(UUID(int=0xADA << 100), MemberRef("user", "ada"))

    def arrive(self, at: datetime, kind: str, what: str = "", much: int = 0) -> None:
        self.now = max(self.now, at)
        self.members.advance(self.now)
        command: Any = Event(f"e{len(self.seen)}", kind, at, {"what": what, "much": much})
        if kind in {"joined", "left"}:
            # Never at the very moment of an event: what came before it is not kept for a quest that nobody has joined.
            self.now += timedelta(microseconds=1)
            self.members.advance(self.now)
            command, at = (JoinQuest if kind == "joined" else LeaveQuest)("asked"), self.now
        try:
            outcome = self.members.decide(self.member, command, self.now)
        except RewardsError:
            return  # joined already, or not yet again
        self.effects += outcome.effects
        self.seen.append(Seen(at, outcome.id, kind, what, much))
        for key in ORACLE:
            self._ground(key)

    def _told(self, key: str) -> Told:
        return recompute(ORACLE[key], self.seen, unlocked=self.unlocked if key == "after" else START - HOUR)

    def _ground(self, key: str) -> None:
        told = self._told(key)
        if key == "once" and told.completed and (self.unlocked is None or told.completed[0] < self.unlocked):
            self.unlocked = told.completed[0]
        before = self.paid.get(key, 0)
        steps = self.paid_steps.setdefault(key, set())
        whole = ORACLE[key].order != "any"
        steps |= {each for each in told.steps if not (whole and each[0] <= before)}
        self.paid[key] = max(before, len(told.completed))

    def check(self) -> None:
        """Nothing is paid twice, nothing grounded stays unpaid, and the open attempts are as recomputed."""
        quests = [(effect["key"], effect["instance"]) for effect in self.effects if effect["type"] == "quest"]
        assert sorted(quests) == [(key, 1 + n) for key in sorted(self.paid) for n in range(self.paid[key])]
        steps = [
            (effect["key"], effect["instance"], effect["step"])
            for effect in self.effects
            if effect["type"] == "quest_step"
        ]
        assert sorted(steps) == sorted((key, *each) for key, all_ in self.paid_steps.items() for each in all_)
        for progress in progress_of(self.members.program, self.member.state, now=self.now):
            key = progress.quest.key
            told = self._told(key)
            if progress.state is State.COMPLETED or len(told.completed) < self.paid.get(key, 0):
                continue  # finished for good, or undone by what came late: what was paid stays
            window = ORACLE[key].window
            open_ = told.began is not None and (window is None or self.now < _later(window, told.began))
            assert progress.began_at == (told.began if open_ else None), key
            if open_:
                values = [_value(kind, seen) for (kind, _, _), seen in zip(ORACLE[key].steps, told.seen, strict=True)]
                assert [step.value for step in progress.steps] == values, key
        earned = sum(effect["amount"] for effect in self.effects if effect["type"] == "earn")
        assert earned == len(quests) + sum((key, step) in _PAID_STEPS for key, _, step in steps)


_PAID_STEPS: Final = {("kinds", 1), ("turns", 1), ("either", 1)}


@pytest.fixture(scope="module")
def program() -> Any:
    report = check(read_document(DOCUMENT.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


_HAPPENING = st.tuples(
    st.integers(0, 30),  # hours until the next arrival, in thirds
    st.sampled_from([0, 0, 0, 1, 2, 5, 20, 40, 71]),  # hours late
    st.sampled_from(["did", "did", "did", "other", "other", "joined", "left"]),
    st.sampled_from("abc"),
    st.integers(0, 6),
)


@given(happenings=st.lists(_HAPPENING, min_size=5, max_size=32))
@settings(max_examples=60, deadline=None)
def test_whatever_the_order(program: Any, happenings: list[Any]) -> None:
    world = World(Members(program))
    clock = START + LATE_HOURS * HOUR
    for thirds, late, kind, what, much in happenings:
        clock += thirds * HOUR / 3
        world.now = max(world.now, clock)
        world.arrive(clock - late * HOUR, kind, what, much)
    world.check()


def at_length(*seeds: int) -> list[Any]:
    """Each seed with a few hundred events, and, marked slow, with a thousand."""
    return [*((seed, 300) for seed in seeds), *(pytest.param(seed, 1_000, marks=pytest.mark.slow) for seed in seeds)]


@pytest.mark.parametrize(("seed", "events"), at_length(1, 2))
def test_hundreds_of_events(program: Any, seed: int, events: int) -> None:
    chance = Random(seed)
    world = World(Members(program))
    clock = START + LATE_HOURS * HOUR
    for _ in range(events):
        clock += chance.choice([0, 1, 2, 5, 12]) * HOUR
        world.now = clock
        kind = chance.choice(["did", "did", "other", "joined", "left"])
        world.arrive(
            clock - chance.choice([0, 0, 1, 3, 30, 71]) * HOUR, kind, chance.choice("abc"), chance.randrange(7)
        )
    world.check()


@pytest.mark.parametrize(("seed", "events"), at_length(3, 4))
def test_the_short_way_keeps_what_the_whole_way_keeps(
    program: Any, seed: int, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened = 0

    def both(work: Work, quest: Quest, plain: list[Any], entry: Entry) -> list[Any] | None:
        nonlocal shortened
        further = continued(work, quest, plain, entry)
        if further is not None:
            shortened += 1
            before, effects, emitted = work.play, list(work.effects), list(work.emitted)
            assert count(work, quest, Kept.of(plain), entry) == "counted"
            assert work.play["quests"][quest.key] == further
            assert (work.effects, work.emitted) == (effects, emitted)
            work.play = before
        return further

    monkeypatch.setattr(quests, "continued", both)
    test_hundreds_of_events(program, seed, events)
    assert shortened > events / 5


UNDONE: Final = """
rewards: 1
program: {key: undone, timezone: UTC, late_window: 72h}
currencies: {points: {clawback: allow_debt}}
events:
  did: {properties: {what: string, much: integer}}
  undone: {properties: {what: string}, required: [what]}
rules:
  - {key: paid, on: did, then: [{earn: {currency: points, amount: 1, reference: event.what}}]}
  - {key: undo, on: undone, then: [{reverse: {reference: event.what}}]}
quests:
  thrice: {revocable: true, steps: [{event: did, target: 3, rewards: [PAID]}], window: 10h, repeat: {after: 2h}, rewards: [PAID]}
  much: {revocable: true, rewards: [PAID],
         steps: [{event: did, sum: event.much, target: 12}, {event: did, distinct: event.much, target: 3, rewards: [PAID]}]}
  most: {revocable: true, order: any, window: day, repeat: {after: 1h}, rewards: [PAID],
         steps: [{event: did, max: event.much, target: 6, rewards: [PAID]}, {event: did, target: 4, rewards: [PAID]}]}
""".replace("PAID", "{earn: {currency: points, amount: 1}}")
UNDONE_ORACLE: Final = {
    "thrice": Rule((("count", lambda _: 1, 3),), window=10, after=2, times=None),
    "much": Rule((("sum", lambda e: e.much, 12), ("distinct", lambda e: e.much, 3))),
    "most": Rule(
        (("max", lambda e: e.much, 6), ("count", lambda _: 1, 4)), order="any", window="day", after=1, times=None
    ),
}
_PAID_WHEN_UNDONE: Final = {("thrice", 1), ("much", 2), ("most", 1), ("most", 2)}


@pytest.fixture(scope="module")
def undone() -> Any:
    report = check(read_document(UNDONE.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


@given(
    happenings=st.lists(
        st.tuples(st.integers(0, 24), st.integers(0, 7), st.one_of(st.none(), st.none(), st.integers(0, 20))),
        min_size=4,
        max_size=25,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_taken_back_is_as_if_it_had_never_been(undone: Any, happenings: list[Any]) -> None:
    """Revocable quests after each event taken back: what stands and what was paid is what the other events ground."""
    members = Members(undone)
    member = members.member(UUID(int=0xADA << 100), MemberRef("user", "ada"))
    alive: dict[int, Seen] = {}
    clock = START
    for number, (thirds, much, back) in enumerate(happenings):
        clock += thirds * HOUR / 3
        members.advance(clock)
        if back is None:
            event = Event(f"e{number}", "did", clock, {"what": f"w{number}", "much": much})
            alive[number] = Seen(clock, members.decide(member, event, clock).id, "did", "", much)
        else:
            members.decide(member, Event(f"e{number}", "undone", clock, {"what": f"w{back}"}), clock)
            alive.pop(back, None)
        expected = len(alive)
        for key, rule in UNDONE_ORACLE.items():
            told = recompute(rule, list(alive.values()), unlocked=START - HOUR)
            expected += len(told.completed) + sum((key, step) in _PAID_WHEN_UNDONE for _, step in told.steps)
            progress = next(each for each in progress_of(undone, member.state, now=clock) if each.quest.key == key)
            assert progress.completed == len(told.completed), key
        account = member.state.wallet.accounts.get("points")
        assert (0 if account is None else account.available - account.debt) == expected
