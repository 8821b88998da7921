"""The whole document, and which keys belong to later versions of the grammar's implementation."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from rewards.domain.program.models.badges import Badge
from rewards.domain.program.models.base import SECTION_MAX, Key, Part
from rewards.domain.program.models.checks import Check
from rewards.domain.program.models.events import Attribute, EventType, Groups, Property, TypeName
from rewards.domain.program.models.header import Currency, Header
from rewards.domain.program.models.leaderboards import BOARDS_MAX, Leaderboard
from rewards.domain.program.models.members import Metric, Segment
from rewards.domain.program.models.quests import Quest
from rewards.domain.program.models.rules import Rule
from rewards.domain.program.models.streaks import STREAKS_MAX, Streak
from rewards.domain.program.models.tiers import Tiers


class Document(Part):
    """A program as its authors write it. `rewards` is the version of the grammar."""

    rewards: Literal[1]
    program: Header
    currencies: Annotated[dict[Key, Currency], Field(max_length=50)] = Field(default_factory=dict)
    types: Annotated[dict[TypeName, TypeName | Property], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    events: Annotated[dict[Key, EventType], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    groups: Annotated[Groups, Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    attributes: Annotated[dict[Key, TypeName | Attribute], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    metrics: Annotated[dict[Key, Metric], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    segments: Annotated[dict[Key, Segment], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    badges: Annotated[dict[Key, Badge], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    quests: Annotated[dict[Key, Quest], Field(max_length=SECTION_MAX)] = Field(default_factory=dict)
    leaderboards: Annotated[dict[Key, Leaderboard], Field(max_length=BOARDS_MAX)] = Field(default_factory=dict)
    tiers: Tiers | None = None
    streaks: Annotated[dict[Key, Streak], Field(max_length=STREAKS_MAX)] = Field(default_factory=dict)
    rules: Annotated[list[Rule], Field(max_length=SECTION_MAX)] = Field(default_factory=list)
    tests: Annotated[list[Check], Field(max_length=SECTION_MAX)] = Field(default_factory=list)


LATER_SECTIONS: Final = frozenset(
    {"vouchers", "catalog", "unlocks", "referrals"} | {"templates", "contact", "placements", "experiments"}
)
LATER_RULE_KEYS: Final = frozenset({"experiment", "goal", "variants"})
LATER_ACTIONS: Final = frozenset({"voucher", "unlock", "message", "webhook", "timer"})
LATER_TEST_KEYS: Final = frozenset({"variants"})
INTERNAL_EVENTS: Final = {
    "tier.changed": ("tier", "from", "direction"),
    "segment.entered": ("segment",),
    "segment.left": ("segment",),
    "badge.awarded": ("badge", "level"),
    "badge.revoked": ("badge", "level"),
    "quest.started": ("quest",),
    "quest.step": ("quest", "step"),
    "quest.completed": ("quest", "instance"),
    "quest.expired": ("quest",),
    "streak.kept": ("streak", "length"),
    "streak.milestone": ("streak", "length"),
    "streak.at_risk": ("streak", "length"),
    "streak.broken": ("streak", "length"),
}
NUMBERS_OF_EVENTS: Final = frozenset({"instance", "step", "level", "length"})
"""Those properties of internal events that are numbers; the others are texts."""
LATER_INTERNAL_EVENTS: Final[frozenset[str]] = frozenset()
