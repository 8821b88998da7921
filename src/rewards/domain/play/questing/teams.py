"""Team quests: what a group makes of its members' contributions, and what its members are rewarded for that.

The group follows the quest as any member follows its own, but is paid nothing. Each who contributed to the attempt is
rewarded as for a completion of its own, and counts these by itself, with whichever group that was. Ledger entries name the
group and its own count instead (`Share.name`): the member's is another one once it has become somebody else.
"""

from __future__ import annotations

from typing import Final

from rewards.domain.group_commands import Contribute, LoseWithTeam, RewardWithTeam, TakeContributionBack
from rewards.domain.outcome import EventRecord, Outcome
from rewards.domain.periods import from_epoch_micros
from rewards.domain.play.metrics import Stored
from rewards.domain.play.questing.counting import count, is_locked, why_never
from rewards.domain.play.questing.keeping import MECHANIC, kept_of, reference, tell
from rewards.domain.play.questing.sending import name_of
from rewards.domain.play.questing.shares import Share, Shares
from rewards.domain.play.questing.standing import Entry, contributors_of
from rewards.domain.play.questing.undoing import lose, undo
from rewards.domain.profile import finish_profile
from rewards.domain.program.quest import Quest
from rewards.domain.recorded import TIME_PASSED
from rewards.domain.work import Work

AHEAD: Final = "team_taken_back"
"""Where a group remembers which contributions were taken back before they came, by quest."""
CONTRIBUTORS_MAX: Final = 500
"""Who contributes to what a group has under way, in all its quests together. Beyond that contributions count, and whose
they are is not kept: they are not rewarded."""
REMEMBERED_MAX: Final = 50
"""Contributions to one quest that were taken back before they came."""


def decide_contribution(work: Work, command: Contribute) -> Outcome:
    """One contribution more. What changed meanwhile (no such quest any more, or other steps) makes it nothing."""
    quest = _quest(work, command.quest)
    if quest is None or quest.definition != command.definition:
        result = "removed"
    elif _was_taken_back_before(work, command):
        result = "taken_back"
    else:
        result = _count(work, quest, command)
    work.trace.append({"quest": command.quest, "member": str(command.member), "result": result})
    return _explained(work)


def _count(work: Work, quest: Quest, command: Contribute) -> str:
    kept = kept_of(work, quest)
    never = why_never(quest, kept, command.micros)
    if never is not None:
        return never
    if is_locked(kept, command.sort, command.micros):
        return "locked"
    name = name_of(command.member)
    named = name if _has_room(work, quest, name) else ""
    entry = Entry.made(command.micros, command.event, command.sort, command.parts, by=named)
    result = count(work, quest, kept, entry)
    return result if named else "too_many_contributors"


def _has_room(work: Work, quest: Quest, name: str) -> bool:
    """Whether one more may be kept; who contributes to this quest already may."""
    count = 0
    for key, plain in work.play.get(MECHANIC, {}).items():
        _, base, head, tail, *_ = plain
        attempts = [standing[3] for standing in (base, head) if standing is not None and standing[3] is not None]
        names = {name for attempt in attempts for name, _ in contributors_of(attempt[4] if len(attempt) > 4 else [])}
        names |= {entry[5] for entry in tail if len(entry) > 5}
        if key == quest.key and name in names:
            return True
        count += len(names)
    return count < CONTRIBUTORS_MAX


def decide_taken_back(work: Work, command: TakeContributionBack) -> Outcome:
    """One contribution less. One that has not come yet will not count when it does."""
    quest = _quest(work, command.quest)
    if quest is not None and quest.definition == command.definition:
        at = from_epoch_micros(command.micros)
        if not undo(work, quest, Stored(at, command.event.hex, [command.definition, command.parts]), command.name):
            before = work.play.get(AHEAD, {}).get(quest.key, [])
            work.set_play(AHEAD, quest.key, [*before, command.event.hex][-REMEMBERED_MAX:])
            work.trace.append({"quest": quest.key, "result": "not_counted"})
    return _explained(work)


def _was_taken_back_before(work: Work, command: Contribute) -> bool:
    before = work.play.get(AHEAD, {}).get(command.quest, [])
    if command.event.hex not in before:
        return False
    work.set_play(AHEAD, command.quest, [each for each in before if each != command.event.hex] or None)
    return True


def decide_reward(work: Work, command: RewardWithTeam) -> Outcome:
    """What the group has reached is the member's as well, unless the group is known to have said something else since."""
    quest = _quest(work, command.quest)
    if quest is None or command.step > len(quest.steps):
        work.trace.append({"quest": command.quest, "result": "removed"})
        return _explained(work)
    shares = Shares(work, quest.key)
    share = shares.of(name_of(command.group), command.instance)
    rewarded = share.is_rewarded(command.step)
    if _is_overtaken(share, command):
        work.trace.append({"quest": quest.key, "result": "rewarded_before" if rewarded else "overtaken"})
        return _explained(work)
    own = share.own or shares.next_own
    shares.keep(share.having_heard(command.step, command.turn).rewarded(command.step, own))
    if rewarded:
        work.trace.append({"quest": quest.key, "result": "rewarded_before"})
    else:
        tell(work, quest, own, command.step, command.micros, carries=reference(quest, share.name, command.step))
    return _explained(work)


def decide_loss(work: Work, command: LoseWithTeam) -> Outcome:
    """What the group has lost is taken back, if the member was rewarded for it; if not, it is not rewarded for it any more."""
    quest = _quest(work, command.quest)
    if quest is None:
        work.trace.append({"quest": command.quest, "result": "removed"})
        return _explained(work)
    shares = Shares(work, quest.key)
    share = shares.of(name_of(command.group), command.instance)
    if _is_overtaken(share, command):
        work.trace.append({"quest": quest.key, "result": "overtaken"})
        return _explained(work)
    if share.is_rewarded(command.step) or command.turn:
        shares.keep(share.having_heard(command.step, command.turn).lost(command.step))
    if share.is_rewarded(command.step):
        carried = reference(quest, share.name, command.step)
        lose(work, quest, share.own, command.step, command.micros, carried=[(carried, None)])
    else:
        work.trace.append({"quest": quest.key, "result": "not_rewarded"})
    return _explained(work)


def _is_overtaken(share: Share, command: RewardWithTeam | LoseWithTeam) -> bool:
    """Whether what the group said later was heard before, or the same was. Without a turn nobody can tell."""
    return command.turn != 0 and command.turn <= share.heard(command.step)


def _quest(work: Work, key: str) -> Quest | None:
    quest = work.program.quests.quests.get(key)
    return quest if quest is not None and quest.team else None


def _explained(work: Work) -> Outcome:
    """What was done is kept like an event, with its trace."""
    outcome = finish_profile(work)
    name = f"{TIME_PASSED}:{outcome.id}"
    outcome.event = EventRecord(TIME_PASSED, name, work.now, {}, {}, work.contributions)
    return outcome
