"""What a member remembers of its groups' completions: which were rewarded to it, and what it heard of each last.

Rewards and losses of one completion are commands of their own and may arrive in any order. Each carries the group's
`turn`, which is higher in whatever the group says later: the highest one that was heard holds.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from rewards.domain.work import Work

NAME: Final = "team_quests"
REMEMBERED_MAX: Final = 50
"""Completions of its groups that a member remembers of one quest, the newest; long before, the group can change none of them."""
FIRST: Final = 1
"""The turn of what a group says before it ever took anything back. It is not written down: what is rewarded has been heard."""


class Share(NamedTuple):
    """A member's part in the completion `number` of a group: for the member it is the one of number `own`.

    `own` is 0 while it has not been rewarded for anything of it. `bits` says what it is rewarded for now: bit 0 is the
    completion, bit N the step N. `turns` holds the highest turn that was heard of each, where that is more than `FIRST`.
    """

    group: str
    number: int
    own: int = 0
    bits: int = 0
    turns: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        """What is the same for all contributors, whoever they become."""
        return f"{self.group}:{self.number}"

    def is_rewarded(self, step: int) -> bool:
        return bool(self.bits >> step & 1)

    def heard(self, step: int) -> int:
        """The highest turn that was heard of a step, or with 0 of the completion; 0 where nothing was."""
        written = next((turn for each, turn in self.turns if each == step), 0)
        return max(written, FIRST if self.is_rewarded(step) else 0)

    def having_heard(self, step: int, turn: int) -> Self:
        if turn <= FIRST:
            return self
        return self._replace(turns=(*(each for each in self.turns if each[0] != step), (step, turn)))

    def rewarded(self, step: int, own: int) -> Self:
        return self._replace(own=own, bits=self.bits | 1 << step)

    def lost(self, step: int) -> Self:
        return self._replace(bits=self.bits & ~(1 << step))

    def plain(self) -> list[Any]:
        written = [self.group, self.number, self.own, self.bits]
        return [*written, [list(each) for each in self.turns]] if self.turns else written

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        group, number, own, bits, *turns = plain
        return cls(group, number, own, bits, tuple((step, turn) for step, turn in turns[0]) if turns else ())


class Shares:
    """All shares of a member in one quest, in the order in which it first heard of them."""

    def __init__(self, work: Work, quest: str) -> None:
        self._work = work
        self._quest = quest
        self._kept = [Share.of(plain) for plain in work.play.get(NAME, {}).get(quest, ())]

    def of(self, group: str, number: int) -> Share:
        return next((each for each in self._kept if each[:2] == (group, number)), Share(group, number))

    @property
    def next_own(self) -> int:
        """The member's number of the next completion that it is rewarded for."""
        return 1 + max((each.own for each in self._kept), default=0)

    def keep(self, share: Share) -> None:
        """Remembers a share as it is now, beyond the bound instead of the oldest."""
        at = next((at for at, each in enumerate(self._kept) if each[:2] == share[:2]), None)
        if at is None:
            self._kept.append(share)
        else:
            self._kept[at] = share
        self._work.set_play(NAME, self._quest, [each.plain() for each in self._remembered()])

    def _remembered(self) -> list[Share]:
        """Of so many as are remembered one is the last that was numbered, whenever it was heard of: the next number follows it."""
        beyond = len(self._kept) - REMEMBERED_MAX
        if beyond <= 0:
            return self._kept
        last = max(range(len(self._kept)), key=lambda at: self._kept[at].own)
        if last < beyond and self._kept[last].own:
            return [self._kept[last], *self._kept[beyond + 1 :]]
        return self._kept[beyond:]


def merge(work: Work, other: dict[str, Any]) -> None:
    """What either remembers, both do: for one completion of a group nobody is rewarded twice."""
    for key, theirs in other.items():
        mine = Shares(work, key)
        last = mine.next_own - 1
        for plain in theirs:
            share = Share.of(plain)
            known = mine.of(share.group, share.number)
            numbered = share._replace(own=known.own or (share.own and last + share.own))
            mine.keep(_together(known, numbered))


def _together(mine: Share, other: Share) -> Share:
    """Of what both heard about, the higher turn. What only one is rewarded for, both are, as of the turn at which that was:
    where the other one heard of a loss since, it was sent to this one as well and is yet to come."""
    both = other._replace(bits=0, turns=())
    for step in sorted({step for share in (mine, other) for step in _steps_of(share)}):
        a, b = mine.is_rewarded(step), other.is_rewarded(step)
        turn = max(mine.heard(step), other.heard(step)) if a == b else (mine if a else other).heard(step)
        both = both.having_heard(step, turn)
        if a or b:
            both = both.rewarded(step, both.own)
    return both


def _steps_of(share: Share) -> set[int]:
    return {step for step in range(share.bits.bit_length()) if share.is_rewarded(step)} | {
        step for step, _ in share.turns
    }
