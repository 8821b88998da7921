"""All ways to play at once: a member's progress is the same in whatever order ten thousand events arrive in the late window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from rewards.domain.commands import Due, Event, MemberRef
from rewards.domain.memory import Member, Members, Remember
from rewards.domain.play.boards import NAME as BOARDS
from rewards.domain.play.standings import standing
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Metric, MetricKind, Program
from rewards.features.progress.badge_views import badges_of
from rewards.features.progress.quest_views import quests_of
from rewards.features.progress.streak_views import streaks_of
from rewards.features.progress.tier_views import standing_of
from rewards.pipeline.load import Clock
from rewards.pipeline.lookup import Found, FoundWallet

DOCUMENT: Final = """
rewards: 1
program: {key: play, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {qualifying: true}, stars: {}}
events:
  viewed: {properties: {item: string, seconds: number}}
  shared: {properties: {item: string}}
  ordered: {properties: {total: number}}
  reviewed: {properties: {stars: integer}}
metrics:
  views_week: {count: viewed, over: 7d}
  items: {distinct: shared, value: event.item, over: month}
  spent: {sum: ordered, value: event.total, over: 30d}
  biggest: {max: ordered, value: event.total, over: week}
  last_stars: {last: reviewed, value: event.stars}
  contributions: {count: [shared, reviewed]}
rules:
  - {key: buy, on: ordered, then: [{earn: {currency: points, amount: event.total}}]}
badges:
  viewer: {metric: views_week, levels: [50, 200, 400, 600, 900]}
  sharer: {metric: items, levels: [5, 20, 39, 40]}
  spender: {metric: spent, levels: [1000, 20000, 50000, 90000]}
  big: {metric: biggest, levels: [90, 99, 100]}
quests:
  three: {steps: [{metric: items, target: 3}], window: 7d, repeat: {after: 9d}}
  path: {steps: [{event: viewed, where: event.seconds > 50, target: 20}, {event: ordered, target: 7}, {event: reviewed, target: 3}],
         order: sequence, window: 4d, repeat: {after: 1d}}
  both: {steps: [{event: shared, distinct: event.item, target: 25}, {event: ordered, sum: event.total, target: 900}], window: week,
         repeat: {after: week}}
  never: {steps: [{event: reviewed, where: event.stars > 9}], window: 10d}
streaks:
  daily: {on: viewed, target: 40, per: day, freezes: {most: 2, earn_every: 3}, milestones: [{at: 2}, {every: 4}]}
  buyer: {on: ordered, value: event.total, target: 1200, per: day}
  weekly: {on: [shared, reviewed], target: 300, per: week}
tiers:
  qualify: {earned: points}
  per: month
  downgrade: to_qualified
  levels: {bronze: {at: 0}, silver: {at: 15000}, gold: {at: 40000}}
leaderboards:
  spenders: {score: {metric: spent, operator: sum}, period: {every: month}}
  best: {score: {metric: biggest, operator: best}, period: all_time}
  latest: {score: {metric: last_stars, operator: last}, period: {every: week}}
  earners: {score: {currency: points}, period: all_time}
"""
START: Final = datetime(2026, 10, 5, tzinfo=UTC)
ADA: Final = UUID(int=0xADA << 100)
REF: Final = MemberRef("user", "ada")
LATE_MAX: Final = timedelta(hours=72) - timedelta(microseconds=1)


def _compiled() -> Program:
    report = check(read_document(DOCUMENT.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


PROGRAM: Final = _compiled()


@dataclass(frozen=True, slots=True)
class Sent:
    """An event, and when it arrives."""

    event: Event
    arrives_at: datetime


def random_events(seed: int, count: int, days: int) -> list[Event]:
    """Distinct moments over the days, some of them quiet."""
    chance = Random(seed)
    quiet = {day for day in range(days) if chance.random() < 0.25}
    micros = days * 86_400_000_000
    moments = sorted(chance.sample(range(micros), count))
    moments = [moment for moment in moments if moment // 86_400_000_000 not in quiet or chance.random() < 0.02]
    made = []
    for number, moment in enumerate(moments):
        kind = chance.choices(("viewed", "shared", "ordered", "reviewed"), (5, 2, 2, 1))[0]
        carried: dict[str, dict[str, Any]] = {
            "viewed": {"item": f"i{chance.randrange(60)}", "seconds": chance.randrange(90)},
            "shared": {"item": f"i{chance.randrange(60)}"},
            "ordered": {"total": chance.randrange(1, 101)},
            "reviewed": {"stars": chance.randrange(1, 6)},
        }
        made.append(Event(f"e{number}", kind, START + timedelta(microseconds=moment), carried[kind]))
    return made


def in_order(events: Sequence[Event]) -> list[Sent]:
    return [Sent(event, event.occurred_at) for event in events if event.occurred_at is not None]


def disordered(events: Sequence[Event], seed: int) -> list[Sent]:
    """Most come at once, a third some time within the late window."""
    chance = Random(seed)
    sent = [
        Sent(each.event, each.arrives_at + (chance.random() * LATE_MAX if chance.random() < 1 / 3 else timedelta()))
        for each in in_order(events)
    ]
    return sorted(sent, key=lambda each: each.arrives_at)


def progress(sent: Sequence[Sent], days: int) -> dict[str, Any]:
    """What is told of the member once all has arrived and nothing can come late any more."""
    members = Members(PROGRAM, remember=Remember.NOTHING)
    for each in sent:
        members.advance(each.arrives_at)
        members.decide(members.member(ADA, REF), each.event, each.arrives_at)
    end = START + timedelta(days=days) + 2 * LATE_MAX
    members.advance(end)
    members.decide(members.member(ADA, REF), Due(), end)
    return _told(members.member(ADA, REF), end)


def _told(member: Member, now: datetime) -> dict[str, Any]:
    state = member.state
    wallet = FoundWallet(Found(REF, (ADA,), state, Clock(now, timedelta(0), 1, seen=False)), PROGRAM)
    boards = PROGRAM.boards
    assert boards is not None
    plain = msgspec.to_builtins
    return {
        "metrics": {metric.key: _counted(metric, state.metrics.get(metric.id)) for metric in PROGRAM.metrics.values()},
        "badges": {each.key: each.level for each in badges_of(wallet, state, {}).badges},
        "quests": [_without(plain(each), "available_at") for each in quests_of(wallet, state).quests],
        "streaks": [plain(each) for each in streaks_of(wallet, state).streaks],
        "tier": plain(standing_of(wallet, state)),
        "boards": {
            key: {period: standing(board.tally, kept) for period, kept in state.play[BOARDS][key][1].items()}
            for key, board in boards.by_key.items()
            if key in state.play[BOARDS]
        },
    }


def _counted(metric: Metric, kept: Any) -> Any:
    """Of the last one its moment and value: its id tells when it arrived."""
    return [kept[0], kept[2]] if metric.kind is MetricKind.LAST and kept is not None else kept


def _without(told: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != name}


@pytest.mark.parametrize(
    ("seed", "count", "days"),
    [(1, 600, 45), (2, 600, 20), (3, 2_000, 45), pytest.param(4, 10_000, 210, marks=pytest.mark.slow)],
)
def test_progress_does_not_depend_on_the_order_of_arrival(seed: int, count: int, days: int) -> None:
    events = random_events(seed, count, days)
    expected = progress(in_order(events), days)
    found = progress(disordered(events, seed), days)
    for what in expected:
        assert found[what] == expected[what], what
