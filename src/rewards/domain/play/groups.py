"""The groups that a member belongs to. A group is a member itself, of the kind `group`; it knows nothing of who belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final
from uuid import UUID

from rewards.domain.commands import MemberRef
from rewards.domain.errors import Refusal
from rewards.domain.group_commands import JoinGroup, LeaveGroup
from rewards.domain.outcome import Outcome, Status
from rewards.domain.program.models.checks import GROUPS_MAX
from rewards.domain.work import Work

NAME: Final = "groups"
GROUP: Final = "group"
_PREFIX: Final = f"{GROUP}:"
MERGED_MAX: Final = 20
"""Who becomes one member keeps the groups of both, up to so many."""


class TooManyGroups(Refusal):
    """The member belongs to as many groups as it may."""

    code = "too-many-groups"


class GroupInGroup(Refusal):
    """A group belongs to no group."""

    code = "group-in-group"


class NotInGroup(Refusal):
    """There is nothing to leave: the member does not belong to this group."""

    code = "not-in-group"


def group_ref(text: str) -> MemberRef:
    """The group of an id with or without `group:` before it. Raises `InvalidInput` for an empty or overlong one."""
    return MemberRef.parse(f"{_PREFIX}{text.removeprefix(_PREFIX)}")


def groups_of(play: Mapping[str, Mapping[str, Any]]) -> dict[str, UUID]:
    """The groups by the id that callers use for them, in the order in which they were joined."""
    return {external_id: UUID(identifier) for external_id, identifier in play.get(NAME, {}).items()}


def decide_join_group(work: Work, command: JoinGroup) -> Outcome:
    """Saying it twice changes nothing. Raises `TooManyGroups` and `GroupInGroup`."""
    if work.state.kind == GROUP:
        raise GroupInGroup("a group belongs to no group")
    mine = groups_of(work.play)
    if command.group not in mine:
        if len(mine) >= GROUPS_MAX:
            raise TooManyGroups(f"a member belongs to at most {GROUPS_MAX} groups", most=GROUPS_MAX)
        work.set_play(NAME, command.group, str(command.group_id))
    return _told(work)


def decide_leave_group(work: Work, command: LeaveGroup) -> Outcome:
    """What was contributed before still counts for the group. Raises `NotInGroup`."""
    if command.group not in groups_of(work.play):
        raise NotInGroup("the member does not belong to this group", group=str(MemberRef(GROUP, command.group)))
    work.set_play(NAME, command.group, None)
    return _told(work)


def merge(work: Work, other: Mapping[str, Any]) -> None:
    """The member belongs to the groups of both from now on."""
    if work.state.kind == GROUP:
        return
    mine = work.play.get(NAME, {})
    more = {group: identifier for group, identifier in other.items() if group not in mine}
    for group, identifier in islice(more.items(), max(0, MERGED_MAX - len(mine))):
        work.set_play(NAME, group, identifier)


def _told(work: Work) -> Outcome:
    outcome = work.finish(Status.PROCESSED)
    outcome.answer = {"groups": [str(MemberRef(GROUP, group)) for group in groups_of(work.play)]}
    return outcome
