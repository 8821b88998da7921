"""A group's word on what it has reached with a team quest: whom it rewards, whom it takes that from, and in which order.

A completion, or a step, may be rewarded, lost, and rewarded again. What the group says of it each time carries a `turn`,
higher than the one before, so that the last word wins wherever it arrives first.
"""

from __future__ import annotations

from typing import Any, Final

from rewards.domain.play.questing.folding import Happening
from rewards.domain.play.questing.standing import Kept
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work

TURNS: Final = "team_turns"
"""Where a group counts, under `LOSSES`, how often it took back what it had rewarded. One number serves all its quests: it
only has to rise, and it takes no room to speak of."""
LOSSES: Final = "losses"
REWARDED: Final = "team_rewarded"
"""Where a group remembers, by revocable quest, whom it rewarded for what, as [completion, step, names]. What comes late may
name others for it afterwards; it is these who lose it."""
REWARDED_MAX: Final = 500
"""Names in that, of one quest. Beyond it the oldest are forgotten, and who is named then loses what is lost."""


NUMBERS: Final = "team_numbers"
"""Where a group remembers, by quest, how far it had counted when the quest was taken out of the program. Should it come back, the
group's first completion is another one, for its members too."""


def number_of(work: Work, quest: Quest, instance: int) -> int:
    """What the group's completion is called before its members: no other one ever was, or will be, called so."""
    before: int = work.play.get(NUMBERS, {}).get(quest.key, 0)
    return before + instance


def end_numbers(work: Work, key: str, kept: Kept) -> None:
    """The quest is gone; what it had under way may have been named as well."""
    if kept.paid or kept.steps:
        before: int = work.play.get(NUMBERS, {}).get(key, 0)
        work.set_play(NUMBERS, key, before + kept.paid + 1)


def rewarding(work: Work, quest: Quest, each: Happening, settled: int) -> tuple[int, tuple[str, ...]]:
    """The turn in which the group rewards what it has reached, and to whom. Its first `settled` completions are for good."""
    if quest.revocable:
        rewarded = [one for one in _rewarded(work, quest) if one[0] > settled and one[:2] != [each.instance, each.step]]
        rewarded.append([each.instance, each.step, list(each.by)])
        while sum(len(names) for *_, names in rewarded) > REWARDED_MAX:
            del rewarded[0]
        work.set_play(REWARDED, quest.key, rewarded or None)
    return 2 * _losses(work) + 1, each.by


def losing(work: Work, quest: Quest, each: Happening) -> tuple[int, tuple[str, ...]]:
    """The turn in which the group takes that back, and from whom."""
    work.set_play(TURNS, LOSSES, _losses(work) + 1)
    rewarded = _rewarded(work, quest)
    mine = next((one for one in rewarded if one[:2] == [each.instance, each.step]), None)
    if mine is None:
        return 2 * _losses(work), each.by
    work.set_play(REWARDED, quest.key, [one for one in rewarded if one is not mine] or None)
    return 2 * _losses(work), tuple(mine[2])


def _losses(work: Work) -> int:
    count: int = work.play.get(TURNS, {}).get(LOSSES, 0)
    return count


def _rewarded(work: Work, quest: Quest) -> list[list[Any]]:
    rewarded: list[list[Any]] = work.play.get(REWARDED, {}).get(quest.key, [])
    return rewarded
