"""What besides rules follows from events: badges, quests, streaks, tiers, boards. Each is a `Mechanic`, and all are alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from rewards.domain.play.badges import Badges
from rewards.domain.play.boards import Boards
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.metrics import Stored
from rewards.domain.play.quests import Quests
from rewards.domain.play.streaks import Streaks
from rewards.domain.play.tiers import Tiers
from rewards.domain.program.compiled import Program
from rewards.domain.work import Work

MECHANICS: Final[tuple[Mechanic, ...]] = (Badges(), Quests(), Boards(), Tiers(), Streaks())
"""In the order in which they follow an event."""


@lru_cache(maxsize=256)
def _named(names: tuple[str, ...]) -> tuple[Mechanic, ...]:
    return tuple(mechanic for mechanic in MECHANICS if mechanic.name in names)


def mechanics_of(program: Program) -> tuple[Mechanic, ...]:
    """Those that the program uses."""
    return _named(program.mechanics)


def follow(work: Work, event_type: str, facts: EventFacts) -> None:
    """All mechanics, after an event's rules have run."""
    for mechanic in mechanics_of(work.program):
        mechanic.follow(work, event_type, facts)
    hear_earnings(work)


def hear_earnings(work: Work) -> None:
    """Tells the mechanics what was earned since they were last told."""
    while work.earnings:
        told, work.earnings = work.earnings, []
        for mechanic in mechanics_of(work.program):
            for earning in told:
                mechanic.earned(work, earning)


def reassess(work: Work, at: datetime) -> None:
    """All mechanics, after metrics changed otherwise than by an event."""
    for mechanic in mechanics_of(work.program):
        mechanic.reassess(work, at)
    hear_earnings(work)


def take_back(work: Work, name: str, key: str, stored: Stored) -> None:
    """Tells the mechanic of that name what no longer counts; one that the program has no more remembers nothing of it."""
    for mechanic in mechanics_of(work.program):
        if mechanic.name == name:
            mechanic.take_back(work, key, stored)


def moved(work: Work) -> None:
    """All mechanics, after the member's time zone has changed."""
    for mechanic in mechanics_of(work.program):
        if mechanic.name in work.play:
            mechanic.moved(work)


def next_of(work: Work) -> tuple[datetime, Mechanic] | None:
    """The mechanic for which time next does something, and when."""
    first: tuple[datetime, Mechanic] | None = None
    for mechanic in mechanics_of(work.program):
        moment = mechanic.next_at(work)
        if moment is not None and (first is None or moment < first[0]):
            first = moment, mechanic
    return first


def merge(work: Work, play: Mapping[str, Mapping[str, Any]]) -> None:
    """Takes over what the mechanics remembered of a member that becomes this one."""
    for mechanic in mechanics_of(work.program):
        other = play.get(mechanic.name)
        if other:
            mechanic.merge(work, other)


def drop_removed(work: Work) -> None:
    """Forgets what belongs to parts that the program no longer has."""
    for mechanic in mechanics_of(work.program):
        if mechanic.name in work.play:
            mechanic.drop_removed(work)
