"""`apply`: the one function that decides. Start reading here.

It is pure: the same program, state, command, moment, ids and counters give the same outcome, in live traffic, dry runs,
document tests and simulations alike. It raises `RewardsError` for what is refused (nothing changed) and `Unloaded` when it
needs facts that the caller has not loaded yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from rewards.domain import moves, streak_moves
from rewards.domain.commands import (
    AwardPrize,
    Backfill,
    BuyFreezes,
    Capture,
    Command,
    Due,
    Earn,
    Event,
    GiveFreezes,
    Import,
    JoinQuest,
    LeaveQuest,
    MergeIn,
    MergeOut,
    ModerateBoard,
    OptOut,
    PassOn,
    PauseStreak,
    PlaceHold,
    Release,
    RestoreStreak,
    ResumeStreak,
    Reverse,
    ReverseReference,
    SetProfile,
    SetSegments,
    Spend,
)
from rewards.domain.errors import MemberErased
from rewards.domain.group_commands import (
    Contribute,
    JoinGroup,
    LeaveGroup,
    LoseWithTeam,
    RewardWithTeam,
    TakeContributionBack,
)
from rewards.domain.ids import Ids
from rewards.domain.ledger.upkeep import post_due
from rewards.domain.merging import decide_merge_in, decide_merge_out
from rewards.domain.outcome import Outcome
from rewards.domain.periods import rfc3339
from rewards.domain.play import boards, mechanics, timers
from rewards.domain.play.backfilling import decide_backfill
from rewards.domain.play.deciding import decide_event
from rewards.domain.play.groups import decide_join_group, decide_leave_group
from rewards.domain.play.passing import arrange, pass_time
from rewards.domain.play.prizes import decide_moderation, decide_opt_out, decide_prize
from rewards.domain.play.questing.asked import decide_join, decide_leave
from rewards.domain.play.questing.teams import decide_contribution, decide_loss, decide_reward, decide_taken_back
from rewards.domain.play.recounting import of_time, without_event
from rewards.domain.profile import decide_due, decide_profile, decide_segments
from rewards.domain.program.compiled import Program
from rewards.domain.refunding import decide_pass_on
from rewards.domain.state import MemberState
from rewards.domain.work import Work

_DECIDE: Final[dict[type, Callable[[Work, Any], Outcome]]] = {
    Event: decide_event,
    Earn: moves.decide_earn,
    Spend: moves.decide_spend,
    PlaceHold: moves.decide_hold,
    Capture: moves.decide_capture,
    Release: moves.decide_release,
    Reverse: moves.decide_reverse,
    ReverseReference: moves.decide_reverse_reference,
    Import: moves.decide_import,
    SetProfile: decide_profile,
    MergeOut: decide_merge_out,
    MergeIn: decide_merge_in,
    PassOn: decide_pass_on,
    Due: decide_due,
    SetSegments: decide_segments,
    JoinQuest: decide_join,
    LeaveQuest: decide_leave,
    JoinGroup: decide_join_group,
    LeaveGroup: decide_leave_group,
    Contribute: decide_contribution,
    TakeContributionBack: decide_taken_back,
    RewardWithTeam: decide_reward,
    LoseWithTeam: decide_loss,
    Backfill: decide_backfill,
    ModerateBoard: decide_moderation,
    OptOut: decide_opt_out,
    AwardPrize: decide_prize,
    BuyFreezes: streak_moves.decide_buy_freezes,
    GiveFreezes: streak_moves.decide_give_freezes,
    PauseStreak: streak_moves.decide_pause,
    ResumeStreak: streak_moves.decide_resume,
    RestoreStreak: streak_moves.decide_restore,
}


def apply(
    program: Program,
    state: MemberState,
    command: Command,
    *,
    now: datetime,
    ids: Ids,
    counters: Mapping[str, int],
    actor: str = "system",
) -> Outcome:
    """Decides one command for one member at `now` (never before the member's last command).

    `counters` tells what of the shared budgets is used. What has matured or expired by `now` is posted first,
    and what time has done besides comes before the command, so hardly an answer depends on how punctual a worker is.
    """
    if state.erased_at is not None:
        raise MemberErased("the member was erased", since=rfc3339(state.erased_at))
    work = Work(program, state, now=now, ids=ids, counters=counters, actor=actor)
    post_due(work.draft, program.currencies, program.zone)
    looks_anew = state.wake_at is not None and state.wake_at <= work.now
    if state.play and state.play_terms != program.play_terms:
        timers.drop_removed(work)
        mechanics.drop_removed(work)
        looks_anew = True  # other terms may make something due at once
    # Who was merged away has nothing left that could be counted, and is paid nothing any more.
    if looks_anew and program.keeps_time and state.merged_into is None:
        pass_time(work)
        if work.contributions:
            # They are kept with the event that came next, and are none of its own: it does not take them with it.
            work.contributions = of_time(work)
    outcome = _DECIDE[type(command)](work, command)
    if outcome.event is None and (work.counted or work.trace):
        outcome.event = without_event(work, outcome)
    if program.boards is not None:
        boards.record(work, outcome)
    if program.keeps_time:
        arrange(work, outcome, anew=type(command) is Due)
    return outcome
