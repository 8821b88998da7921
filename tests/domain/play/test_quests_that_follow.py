"""Quests that begin when another one is completed: alike in whatever order the events of both arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from tests.domain.play.teams_world import START as TEAM_START
from tests.domain.play.teams_world import Club

from rewards.domain.commands import Due, Event, MemberRef, MergeOut
from rewards.domain.memory import Members
from rewards.domain.play.questing.reading import progress_of
from rewards.domain.play.questing.sending import REWARD
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

START: Final = datetime(2026, 11, 20, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
LATE: Final = timedelta(hours=72)
DOCUMENT: Final = """
rewards: 1
program: {key: chain, timezone: UTC, late_window: 72h}
currencies: {points: {}}
events: {did: {}, other: {}, third: {}}
rules:
  - {key: go_on, on: quest.completed, when: event.quest == "first", then: [{quest: {key: second}}]}
  - {key: at_last, on: [quest.completed, third], when: has(event.quest) && event.quest == "second", then: [{quest: {key: last}}]}
quests:
  first: {steps: [{event: did, target: 3}], FIRST rewards: [{quest: {key: given}}]}
  second: {opt_in: true, steps: [{event: other, target: 3}], window: 30h, repeat: {after: 1h}}
  given: {opt_in: true, steps: [{event: [other, third], target: 4}], repeat: {after: 1h}}
  last: {opt_in: true, steps: [{event: third, target: 2}], window: 60h, repeat: {after: 2h}}
"""
ONCE: Final = ""
AGAIN: Final = "repeat: {after: 1h},"


def compiled(first: str) -> Program:
    report = check(read_document(DOCUMENT.replace("FIRST", first).encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


def stand(program: Program, sent: Sequence[tuple[Event, datetime]], end: datetime) -> dict[str, Any]:
    """Where all quests stand, once the events have arrived at their moments and time has passed."""
    members = Members(program)
    member = members.member(UUID(int=0xADA << 100), MemberRef("user", "ada"))
    for event, arrives_at in sent:
        members.advance(arrives_at)
        members.decide(member, event, arrives_at)
    members.advance(end)
    members.decide(member, Due(), end)
    return {
        each.quest.key: (
            each.completed,
            each.completed_at,
            each.began_at and (each.began_at - START) / HOUR,
            [step.value for step in each.steps],
        )
        for each in progress_of(program, member.state, now=end)
    }


def at(hours: float, kind: str) -> Event:
    return Event(f"{kind}{hours}", kind, START + hours * HOUR, {})


@pytest.mark.parametrize(
    ("first", "occurring", "arriving", "began"),
    [
        (ONCE, "did 1, did 2, did 3", [0, 1, 2], 3),
        (ONCE, "did 1, did 2, did 3", [0, 2, 1], 3),  # what completes it comes before what comes late
        (ONCE, "did 1, did 2, did 3", [2, 1, 0], 3),
        (ONCE, "did 1, did 2, did 3, did 4", [0, 1, 3, 2], 3),  # what comes late moves the completion
        (ONCE, "did 1, did 2, did 3, did 4, other 3.5", [0, 1, 3, 4, 2], 3),
        (AGAIN, "did 1, did 2, did 3, did 5, did 6, did 7", [5, 4, 3, 2, 1, 0], 3),
        (AGAIN, "did 1, did 2, did 3, did 3.5, did 5, did 6, did 7", [0, 1, 3, 4, 5, 6, 2], 3),
    ],
)
@pytest.mark.parametrize("key", ["second", "given"])
def test_it_begins_at_the_moment_of_the_completion(
    first: str, occurring: str, arriving: list[int], began: float, key: str
) -> None:
    events = [at(float(each.split()[1]), each.split()[0]) for each in occurring.split(", ")]
    arrived = START + 10 * HOUR
    program = compiled(first)
    found = stand(program, [(events[number], arrived) for number in arriving], arrived)
    assert found == stand(program, [(event, arrived) for event in events], arrived)
    assert found[key][2] == began


@pytest.mark.parametrize("first", [ONCE, AGAIN])
@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_order(first: str, seed: int) -> None:
    chance = Random(seed)
    hours = sorted(chance.sample(range(1, 60), chance.randrange(8, 26)))
    events = [at(hour, chance.choice(["did", "did", "other", "other", "third"])) for hour in hours]
    sent = [
        (event, START + (hour + chance.choice([0, 0, 5, 20, 71]) * 1.0) * HOUR)
        for event, hour in zip(events, hours, strict=True)
    ]
    end = START + 70 * HOUR
    program = compiled(first)
    in_order = stand(program, [(event, START + hour * HOUR) for event, hour in zip(events, hours, strict=True)], end)
    assert stand(program, sorted(((e, min(a, end)) for e, a in sent), key=lambda each: each[1]), end) == in_order


def test_what_was_told_stays_told_and_so_does_what_follows_from_it() -> None:
    """The late event moves the beginning of `second`, whose window now ends before it was complete."""
    occurring = [*((hour, "did") for hour in (10, 11, 12)), *((hour, "other") for hour in (20, 30, 41)), (5, "did")]
    end = START + 50 * HOUR
    program = compiled(ONCE)
    before, after = (stand(program, [(at(*each), end) for each in occurring[:until]], end) for until in (6, 7))
    assert (before["second"], before["last"][2]) == ((1, START + 41 * HOUR, None, [0]), 41)
    assert (after["second"][0], after["last"][2]) == (1, 41)
    in_order = stand(program, [(at(*each), end) for each in sorted(occurring)], end)
    assert (in_order["second"][0], in_order["last"][2]) == (0, None)


FOLLOWS_TEAM: Final = """
rewards: 1
program: {key: club, timezone: UTC, late_window: 72h}
currencies: {points: {}}
events: {walked: {}, read: {}}
rules:
  - {key: go_on, on: quest.completed, then: [{quest: {key: mine}}]}
quests:
  ours: {team: true, steps: [{event: walked, target: 2}]}
  mine: {opt_in: true, steps: [{event: read, target: 3}], window: 10h}
"""


def test_what_follows_from_a_team_quest_begins_when_the_group_completed_it() -> None:
    """However much later the member hears of it."""
    club = Club(document=FOLLOWS_TEAM)
    club.join("ada", "red")
    club.hold_back(REWARD)
    for hour, kind in ((1, "walked"), (2, "read"), (3, "walked"), (4, "read")):
        club.happen("ada", kind, hour)
    for leg, _ in club.held:
        club.deliver(leg, TEAM_START + 5 * HOUR)
    now = TEAM_START + 6 * HOUR
    [mine] = [each for each in progress_of(club.members.program, club.member("ada").state, now=now) if each.began_at]
    assert (mine.quest.key, mine.began_at, mine.steps[0].value) == ("mine", TEAM_START + 3 * HOUR, 1)


def test_two_who_become_one_keep_what_they_had_begun() -> None:
    """Completions are numbered anew, so what followed from one stays where it began, whatever comes late."""
    members = Members(compiled(AGAIN))
    refs = [MemberRef.parse(name) for name in ("ada", "anon:a")]
    ada, other = (members.member(UUID(int=number << 100), ref) for number, ref in enumerate(refs, start=1))
    for member, hours in ((other, (1, 2, 3)), (ada, (11, 12, 13))):
        for hour in hours:
            members.decide(member, at(hour, "did"), START + hour * HOUR)
    arrives = START + 20 * HOUR
    members.decide(other, MergeOut(refs[0], ada.state.id), arrives)

    def begun() -> list[datetime | None]:
        told = progress_of(members.program, ada.state, now=arrives)
        return [each.began_at for each in told if each.quest.key in {"second", "given"}]

    before = begun()
    assert before == [START + 3 * HOUR] * 2
    members.decide(ada, at(2.5, "did"), arrives)
    members.decide(ada, at(11.5, "did"), arrives)
    assert begun() == before
