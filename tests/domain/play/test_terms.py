"""The terms of a program name all by which what members' mechanics remember is brought into line with a new version.

Every single change of a rich document is tried, there and back. Either its terms are others, or nothing of what members came to
remember under one of the two is touched under the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pytest
from pydantic import ValidationError

from rewards.domain.commands import Event, MemberRef
from rewards.domain.group_commands import JoinGroup
from rewards.domain.ids import Ids
from rewards.domain.memory import Members
from rewards.domain.play import mechanics, timers
from rewards.domain.program import InvalidProgram, compile_program, read_document
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.document import Document
from rewards.domain.replay import replay_id
from rewards.domain.state import MemberState
from rewards.domain.work import Work

DOCUMENT: Final = """
rewards: 1
program: {key: club, timezone: Europe/Berlin, late_window: 72h, locale: en}
currencies: {points: {qualifying: true}, coins: {qualifying: true}}
events:
  walked: {properties: {km: number, place: string}}
  read: {properties: {pages: integer}}
  called: {}
attributes: {vip: {type: boolean, purpose: who comes first}, city: {type: string, purpose: boards by city}}
metrics:
  ways: {sum: walked, value: event.km}
  texts: {count: read}
  places: {distinct: walked, value: event.place, over: 30d}
segments: {readers: {when: metrics.texts >= 2}}
rules:
  - {key: way, on: walked, priority: 3, then: [{earn: {currency: points, amount: 10}}]}
  - {key: rest, on: walked, delay: 20h, unless: called, then: [{earn: {currency: points, amount: 1}}]}
  - {key: silence, on: read, quiet: {for: 2h, of: walked}, then: [{earn: {currency: coins, amount: 1}}]}
  - {key: place, on: walked, when: event.km > 1, quiet: {for: 3h, match: place}, still: metrics.texts > 1,
     limit: {times: 2, per: day}, then: [{earn: {currency: coins, amount: 1}}]}
badges:
  reader: {metric: texts, levels: [1, {at: 3, rewards: [{earn: {currency: points, amount: 5}}]}], revocable: true}
quests:
  far:
    name: Far
    steps:
      - {event: walked, sum: event.km, target: 30, where: event.km > 1}
      - {name: Some pages, event: read, target: 2, rewards: [{earn: {currency: coins, amount: 1}}]}
    order: any
    window: 7d
    repeat: {after: 1d}
    rewards: [{earn: {currency: points, amount: 100}}]
  once: {steps: [{event: walked, target: 2}], rewards: [{earn: {currency: points, amount: 1}}]}
  then: {requires: {quests: [once]}, steps: [{metric: texts, target: 9}]}
  asked: {opt_in: true, secret: true, steps: [{event: walked, target: 2}]}
  together:
    team: true
    steps: [{event: walked, target: 3, rewards: [{earn: {currency: coins, amount: 2}}]}, {event: read, target: 9}]
streaks:
  daily: {name: Daily, on: walked, where: event.km > 1, freezes: {most: 2, start: 1, earn_every: 7}, pause: {longest: 30d},
          warn_before: 4h, milestones: [{at: 2, rewards: [{earn: {currency: points, amount: 3}}]}]}
  weekly: {on: read, per: week, target: 2, value: event.pages}
tiers:
  qualify: {earned: points}
  per: year
  grace: 14d
  downgrade: to_qualified
  levels:
    guest: {at: 0}
    regular: {at: 20, earn_rate: 1.5, rewards: [{earn: {currency: coins, amount: 7}}]}
    friend: {at: 60, name: Friend}
leaderboards:
  walkers: {name: Walkers, score: {metric: ways, operator: sum}, period: {every: week}, grace: 2h, ties: first,
            prizes: [{ranks: [1, 2], then: [{earn: {currency: coins, amount: 5}}]}]}
  longest: {score: {metric: ways, operator: best}, order: descending, by: {attribute: city}, visibility: {names: external_id}}
  readers: {score: {metric: texts, operator: sum}, period: {every: month}, by: {segment: readers}}
"""
START: Final = datetime(2026, 11, 16, 10, tzinfo=UTC)
MEMBERS: Final = ("user:ada", "user:ben", "group:club")
REMEMBERED: Final = {"timers", "heard", "quests", "streaks", "tiers", "leaderboards"}
"""Parts of `play` that a version may have to bring into line."""
TRIED_MIN: Final = 200
UNTOUCHED_MIN: Final = 120


class Change(NamedTuple):
    """One document made of another by a single change: what stands at `path` becomes `value`, or goes."""

    path: tuple[str | int, ...]
    value: Any
    data: dict[str, Any]


def compiled(data: dict[str, Any]) -> Program | None:
    """None of a document that is not in order."""
    try:
        return compile_program(Document.model_validate(data), version=1)
    except (ValidationError, InvalidProgram):
        return None


def changes(data: dict[str, Any]) -> Iterator[Change]:
    """Without each part, or with it under another name; with each number another one; with each word what such a word is
    elsewhere in the document."""
    words: dict[str | int, set[str]] = {"per": {"day", "week", "month"}, "every": {"day", "week", "month"}}
    words |= {"order": {"any", "strict", "ascending", "descending"}, "operator": {"sum", "best", "last", "distinct"}}
    words |= {"downgrade": {"to_qualified", "one_level"}, "grace": {"1d"}, "late_window": {"96h"}, "timezone": {"UTC"}}
    words |= {"delay": {"5h"}, "for": {"5h"}, "window": {"9d"}, "where": {"event.km > 2"}, "ties": {"shared"}}
    leaves = list(_leaves(data))
    for path, value in leaves:
        if isinstance(value, str):
            words.setdefault(path[-1], set()).add(value)
    for path, value in leaves:
        yield _changed(data, path, None)
        if isinstance(value, dict) and isinstance(path[-1], str):
            yield _renamed(data, path)
        elif isinstance(value, bool):
            yield _changed(data, path, not value)
        elif isinstance(value, (int, float)):
            yield _changed(data, path, value + 1)
        elif isinstance(value, str):
            for word in sorted(words[path[-1]] - {value}):
                yield _changed(data, path, word)


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every part of a document below its root."""
    if path:
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from _leaves(each, (*path, key))


def _changed(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> Change:
    changed = deepcopy(data)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return Change(path, value, changed)


def _renamed(data: dict[str, Any], path: tuple[str | int, ...]) -> Change:
    without = _changed(data, path, None).data
    found, place = data, without
    for key in path[:-1]:
        found, place = found[key], place[key]  # type: ignore[index]
    name = f"{path[-1]}_anew"
    place[name] = found[path[-1]]  # type: ignore[index]
    return Change(path, name, without)


def earlier(data: dict[str, Any]) -> Program:
    """A version before: by it members came to remember what has to be brought into line, or put aside, by the next one."""
    before = deepcopy(data)
    before["quests"]["far"]["steps"][0]["target"] = 31
    before["quests"]["bygone"] = {"steps": [{"event": "walked", "target": 2}]}
    before["streaks"]["weekly"]["per"] = "month"
    before["tiers"]["levels"]["regular"]["at"] = 15
    before["tiers"]["levels"]["bygone"] = {"at": 18}
    before["leaderboards"]["walkers"]["period"] = {"every": "month"}
    before["leaderboards"]["bygone"] = {"score": {"metric": "texts", "operator": "sum"}}
    program = compiled(before)
    assert program is not None
    return program


def lived(*programs: Program) -> list[MemberState]:
    """Some days of two members and their club under each of the programs, one after the other."""
    members = Members(programs[0])
    ada, ben, club = (members.member(replay_id(ref), ref) for ref in map(MemberRef.parse, MEMBERS))
    for each in (ada, ben):
        members.decide(each, JoinGroup(club.state.external_id, club.state.id), START)
    day = number = 0
    for program in programs:
        members.program = program
        happenings: tuple[tuple[str, dict[str, Any]], ...] = (
            *(("walked", {"km": km, "place": "sea"}) for km in (3, 4)),
            *(("read", {"pages": pages}) for pages in (1, 2)),
            *(("walked", {"km": km, "place": "wood"}) for km in (2, 5)),
            ("read", {"pages": 1}),
        )
        for kind, said in happenings:
            day, number = day + 1, number + 1
            now = START + timedelta(hours=23 * day)
            members.advance(now)
            for who in (ada, ben)[: 1 + number % 2]:
                members.decide(who, Event(f"e{number}", kind, now, said), now)
    return [each.state for each in (ada, ben, club)]


def touched(program: Program, state: MemberState) -> set[str]:
    """The parts of what a member remembers that are brought into line with a program, and what else comes of that."""
    before = deepcopy(state.play)
    state = replace(state, play=deepcopy(state.play), metrics=deepcopy(state.metrics))
    assert state.last_now is not None
    now = state.last_now + timedelta(hours=1)
    ids = Ids(state.id.bytes, bucket=state.bucket, unix_ms=int(now.timestamp() * 1000), seq=state.seq)
    work = Work(program, state, now=now, ids=ids, counters={}, actor="tests")
    timers.drop_removed(work)
    mechanics.drop_removed(work)
    found = {name for name in before.keys() | work.play.keys() if before.get(name) != work.play.get(name)}
    told = (work.effects, work.trace, work.emitted, work.achievements, work.contributions, work.legs)
    return found | ({"told"} if any(told) or work.metrics != state.metrics else set())


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_has_the_same_terms_has_nothing_to_bring_into_line(*, back: bool) -> None:
    """`back`: from the changed document to this one, and not from this one to the changed one."""
    data = read_document(DOCUMENT.encode()).data
    program, before = compiled(data), earlier(data)
    assert program is not None
    remembered = lived(before, program)
    assert {name for state in remembered for name in state.play} >= REMEMBERED
    brought: set[str] = set()
    tried = untouched = 0
    for change in changes(data):
        changed = compiled(change.data)
        if changed is None:
            continue
        tried += 1
        since, states = (program, lived(before, changed)) if back else (changed, remembered)
        found = set().union(*(touched(since, state) for state in states))
        if changed.play_terms == program.play_terms:
            untouched += 1
            assert not found, change[:2]
        brought |= found
    assert brought >= REMEMBERED, "changes were tried that matter to each of them"
    assert min(tried / TRIED_MIN, untouched / UNTOUCHED_MIN) >= 1, (tried, untouched)
