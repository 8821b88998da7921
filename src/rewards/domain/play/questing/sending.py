"""What a team quest sends from member to member: contributions to the group, and what the group is rewarded to who contributed.

All of it are commands that run after commit, each once. Who contributed is known to the group by name alone (`name_of`).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from rewards.domain.commands import Command
from rewards.domain.group_commands import Contribute, LoseWithTeam, RewardWithTeam, TakeContributionBack
from rewards.domain.outcome import Leg
from rewards.domain.play.groups import GROUP, groups_of
from rewards.domain.play.questing.folding import Happening
from rewards.domain.play.questing.word import losing, number_of, rewarding
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work

CONTRIBUTE: Final = "contribute"
TAKE_BACK: Final = "take_contribution_back"
REWARD: Final = "reward_with_team"
LOSE: Final = "lose_with_team"
NAMES: Final = frozenset({CONTRIBUTE, TAKE_BACK, REWARD, LOSE})


def name_of(member: UUID) -> str:
    """The id of a member in 22 characters: a group's document holds many."""
    return urlsafe_b64encode(member.bytes).decode().rstrip("=")


def member_of(name: str) -> UUID:
    """The reverse of `name_of`."""
    return UUID(bytes=urlsafe_b64decode(f"{name}=="))


def contribute(work: Work, quest: Quest, parts: Sequence[tuple[int, Any]], micros: int, sort: int) -> dict[str, str]:
    """Sends what the member's event adds to each of the member's groups; returns those, to be taken back there."""
    groups = groups_of(work.play)
    written = [list(part) for part in parts]
    said = {"quest": quest.key, "definition": quest.definition, "micros": micros, "event": str(work.id)}
    for group, identifier in groups.items():
        payload = {**said, "sort": sort, "parts": written, "member": str(work.state.id)}
        _send(work, identifier, group, CONTRIBUTE, payload)
    return {group: str(identifier) for group, identifier in groups.items()}


def send_back(work: Work, quest: Quest, event: str, micros: int, contribution: Sequence[Any]) -> None:
    """Takes a contribution back from all the groups that it went to. `event` is the id in hex."""
    definition, parts, groups, *name = contribution
    said = {"quest": quest.key, "definition": definition, "micros": micros, "event": str(UUID(hex=event))}
    whose = name[0] if name else name_of(work.state.id)
    for group, identifier in groups.items():
        _send(work, UUID(identifier), group, TAKE_BACK, {**said, "parts": parts, "name": whose})


def reward_all(work: Work, quest: Quest, each: Happening, settled: int) -> None:
    """What the group has reached is rewarded to all who contributed until then; `settled` completions are for good."""
    _to_members(work, quest, each, REWARD, *rewarding(work, quest, each, settled))


def take_from_all(work: Work, quest: Quest, each: Happening) -> None:
    """What the group has lost is taken from those who were rewarded for it."""
    _to_members(work, quest, each, LOSE, *losing(work, quest, each))


def _to_members(work: Work, quest: Quest, each: Happening, name: str, turn: int, names: Sequence[str]) -> None:
    number = number_of(work, quest, each.instance)
    said = {"quest": quest.key, "group": str(work.state.id), "instance": number, "step": each.step, "turn": turn}
    for contributor in names:
        # Whoever contributed has a row, and is known by it alone.
        _send(work, member_of(contributor), "", name, {**said, "micros": each.micros}, kind="user")


def _send(
    work: Work, member: UUID, external_id: str, name: str, payload: Mapping[str, Any], *, kind: str = GROUP
) -> None:
    work.legs.append(Leg(len(work.legs) + 1, member, kind, external_id, name, payload))


def command_of(name: str, payload: Mapping[str, Any]) -> Command:
    """The command of a leg as it was sent. Raises `KeyError` where something is missing."""
    if name in {CONTRIBUTE, TAKE_BACK}:
        said = payload["quest"], payload["definition"], payload["micros"], UUID(payload["event"])
        if name == TAKE_BACK:
            return TakeContributionBack(*said, payload["parts"], payload.get("name", ""))
        parts = tuple((index, value) for index, value in payload["parts"])
        return Contribute(*said, payload["sort"], parts, UUID(payload["member"]))
    # What was recorded before there were turns has none.
    reached = payload["instance"], payload["step"], payload["micros"], payload.get("turn", 0)
    if name == REWARD:
        return RewardWithTeam(payload["quest"], UUID(payload["group"]), *reached)
    return LoseWithTeam(payload["quest"], UUID(payload["group"]), *reached)
