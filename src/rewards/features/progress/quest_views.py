"""Quests on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from rewards.domain.commands import MemberRef
from rewards.domain.play.groups import GROUP, groups_of
from rewards.domain.play.questing.reading import Progress, StepProgress, progress_of
from rewards.domain.program.compiled import Program
from rewards.domain.program.wording import worded
from rewards.domain.state import MemberState
from rewards.pipeline.lookup import FoundWallet


class StepOut(Struct, frozen=True):
    """One step: `value` of `target` is reached in the attempt under way."""

    step: int
    name: str
    value: float
    target: float
    done: bool


class MissingOut(Struct, frozen=True):
    """What a locked quest waits for: a `quest` or a `badge`, with its key and name unless it is secret, a `condition` over the
    member, or a `group` that the member would have to belong to."""

    kind: Literal["quest", "badge", "condition", "group"]
    key: str | None
    name: str | None


class QuestOut(Struct, frozen=True):
    """One quest. `completed` counts how often; `available_at` is when it can begin, where that is later than now.

    `state`: `locked` (see `missing`), `available`, `active` (until `ends_at`, null without an end), `completed`, and `over`
    where it is no longer offered. A `team` quest is told as it stands for `group`, once for each of the member's groups.
    """

    key: str
    name: str
    description: str | None
    image: str | None
    state: Literal["locked", "available", "active", "completed", "over"]
    opt_in: bool
    order: Literal["all", "any", "sequence"]
    steps: list[StepOut]
    began_at: datetime | None
    ends_at: datetime | None
    completed: int
    completed_at: datetime | None
    available_at: datetime | None
    missing: list[MissingOut]
    team: bool
    group: str | None


class QuestsOut(Struct, frozen=True):
    """The quests of one member, and the `groups` that it belongs to. After a merge they are of the member named by
    `merged_into`."""

    member: str
    merged_into: str | None
    groups: list[str]
    quests: list[QuestOut]


class QuestJoinedOut(Struct, frozen=True, omit_defaults=True):
    """A quest that was joined or left, and what that set off."""

    quest: str = ""
    active: bool = False
    began_at: datetime | None = None
    ends_at: datetime | None = None
    effects: list[dict[str, Any]] = []
    balances: dict[str, dict[str, int]] = {}
    answer_expired: bool = False


def quests_of(wallet: FoundWallet, state: MemberState, groups: Mapping[str, MemberState] | None = None) -> QuestsOut:
    """The quests that the member may see, in the member's language. `groups` are those that it belongs to, by id."""
    found = wallet.found
    told = progress_of(wallet.program, state, now=wallet.now, groups=groups)
    quests = [_quest(each, state.locale, wallet.program) for each in told]
    named = [str(MemberRef(GROUP, group)) for group in groups_of(state.play)]
    return QuestsOut(str(found.ref), found.merged_into, named, quests)


def _quest(each: Progress, locale: str | None, program: Program) -> QuestOut:
    quest = each.quest
    return QuestOut(
        key=quest.key,
        name=worded(quest.names, locale, program.locale) or quest.key,
        description=worded(quest.descriptions, locale, program.locale),
        image=worded(quest.images, locale, program.locale),
        state=each.state.value,
        opt_in=quest.opt_in,
        order=quest.order.value,
        steps=[_step(step, locale, program) for step in each.steps],
        began_at=each.began_at,
        ends_at=each.ends_at,
        completed=each.completed,
        completed_at=each.completed_at,
        available_at=each.available_at,
        missing=[_missing(lacking, locale, program) for lacking in each.missing],
        team=quest.team,
        group=None if each.group is None else str(MemberRef(GROUP, each.group)),
    )


def _step(each: StepProgress, locale: str | None, program: Program) -> StepOut:
    name = worded(each.step.names, locale, program.locale) or ""
    return StepOut(each.step.number, name, each.value, each.step.target, each.done)


def _missing(lacking: dict[str, str], locale: str | None, program: Program) -> MissingOut:
    if "group" in lacking:
        return MissingOut("group", None, None)
    if "quest" in lacking:
        quest = program.quests.quests[lacking["quest"]]
        if quest.secret:
            return MissingOut("quest", None, None)
        return MissingOut("quest", quest.key, worded(quest.names, locale, program.locale))
    if "badge" in lacking:
        badge = program.badges.by_key[lacking["badge"]] if program.badges is not None else None
        if badge is not None and badge.secret:
            return MissingOut("badge", None, None)
        name = None if badge is None else worded(badge.name, locale, program.locale)
        return MissingOut("badge", lacking["badge"], name)
    return MissingOut("condition", None, None)
