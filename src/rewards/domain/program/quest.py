"""Quests ready to be followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rewards.domain.periods import Span

if TYPE_CHECKING:
    from rewards.domain.program.compiled import Action, Condition, MetricKind, Value

DISTINCT_TARGET_MAX: Final = 200
"""The different values that a step has seen are kept with the member, one by one."""


class Order(StrEnum):
    """Which steps complete a quest: all of them, any one, or one after the other."""

    ALL = "all"
    ANY = "any"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `number` counts from 1. `kind` is count, sum, distinct or max.

    An event of `events` counts where all `conditions` hold. `target` is what the author wrote, `goal` the same as it is
    counted (a sum in millionths).
    """

    number: int
    names: Mapping[str, str]
    kind: MetricKind
    events: frozenset[str]
    conditions: tuple[Condition, ...]
    value: Value | None
    target: int | float
    goal: int | float
    rewards: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """When a completed quest can begin anew, and how often it can be completed in all."""

    after: Span
    times: int | None


@dataclass(frozen=True, slots=True)
class Quest:
    """`definition` is the hash of what is counted: progress is kept under it, and starts over when it changes.

    `joined_by_rule`: some rule or reward can begin it, also by an event that comes late. `team`: groups follow it, not single members.
    """

    key: str
    names: Mapping[str, str]
    descriptions: Mapping[str, str]
    images: Mapping[str, str]
    definition: str
    steps: tuple[Step, ...]
    order: Order
    window: Span
    again: Again | None
    quests: tuple[str, ...]
    badges: tuple[str, ...]
    when: Condition | None
    opt_in: bool
    joined_by_rule: bool
    starts: datetime | None
    ends: datetime | None
    secret: bool
    revocable: bool
    team: bool
    rewards: tuple[Action, ...]

    @property
    def times(self) -> int | None:
        """How often it can be completed; None: without end."""
        return 1 if self.again is None else self.again.times

    @property
    def all_done(self) -> int:
        """The bits of all steps."""
        return (1 << len(self.steps)) - 1


@dataclass(frozen=True, slots=True)
class BeginQuest:
    """The action of a rule that begins a quest for the member.

    `after` reads the quest and the number of the completion that the rule may follow from.
    """

    quest: str
    bind: str | None = None
    after: tuple[Value, Value] | None = None


@dataclass(frozen=True, slots=True)
class QuestBook:
    """The quests of a program by key, by the events that advance them, and by the quest that they wait for."""

    quests: Mapping[str, Quest] = field(default_factory=dict)
    by_event: Mapping[str, tuple[tuple[Quest, tuple[Step, ...]], ...]] = field(init=False)
    for_teams: bool = field(init=False)
    unlocked_by: Mapping[str, tuple[Quest, ...]] = field(init=False)
    joined: tuple[Quest, ...] = field(init=False)
    """Those that a rule or a reward can begin for a member."""

    def __post_init__(self) -> None:
        by_event: dict[str, dict[str, list[Step]]] = {}
        unlocked_by: dict[str, list[Quest]] = {}
        for quest in self.quests.values():
            for step in quest.steps:
                for event in step.events:
                    by_event.setdefault(event, {}).setdefault(quest.key, []).append(step)
            for required in quest.quests:
                unlocked_by.setdefault(required, []).append(quest)
        concerned = {
            event: tuple((self.quests[key], tuple(steps)) for key, steps in each.items())
            for event, each in by_event.items()
        }
        object.__setattr__(self, "by_event", concerned)
        joined = tuple(quest for quest in self.quests.values() if quest.joined_by_rule and not quest.team)
        object.__setattr__(self, "joined", joined)
        object.__setattr__(self, "for_teams", any(quest.team for quest in self.quests.values()))
        object.__setattr__(self, "unlocked_by", {key: tuple(each) for key, each in unlocked_by.items()})
