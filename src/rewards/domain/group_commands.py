"""Commands about groups: who belongs to one, and what goes between a group and its members for team quests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """The member belongs to a group from now on. `group` is the id that callers use for it, without its prefix."""

    group: str
    group_id: UUID


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """The member belongs to a group no longer."""

    group: str


@dataclass(frozen=True, slots=True)
class Contribute:
    """To a group: what an event of one of its members (`member`) adds to the steps of a team quest.

    `sort` says whether it may begin an attempt, `definition` for which steps it was counted.
    """

    quest: str
    definition: str
    micros: int
    event: UUID
    sort: int
    parts: tuple[tuple[int, Any], ...]
    member: UUID


@dataclass(frozen=True, slots=True)
class TakeContributionBack:
    """To a group: a contribution counts no longer, because its event was taken back. `name` is whose it was, "" if unknown."""

    quest: str
    definition: str
    micros: int
    event: UUID
    parts: list[Any]
    name: str = ""


@dataclass(frozen=True, slots=True)
class RewardWithTeam:
    """To a member who contributed: its group has completed a quest for the `instance`-th time, or reached a `step` (from 1).

    `turn` orders what a group says of one completion, whatever the order of arrival; 0 where it was sent without.
    """

    quest: str
    group: UUID
    instance: int
    step: int
    micros: int
    turn: int = 0


@dataclass(frozen=True, slots=True)
class LoseWithTeam:
    """To a member who contributed: its group has lost what `RewardWithTeam` rewarded."""

    quest: str
    group: UUID
    instance: int
    step: int
    micros: int
    turn: int = 0
