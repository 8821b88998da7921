"""What badges, quests, streaks and tiers give: actions that name no event, all or none of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.errors import Refusal
from rewards.domain.play.actions import Firing, perform
from rewards.domain.play.facts import MemberFacts
from rewards.domain.program.compiled import Action, Cause
from rewards.domain.work import Work


def give(work: Work, cause: Cause, actions: tuple[Action, ...], *, at: datetime, reference: str) -> bool:
    """Performs the rewards of `cause` as of `at`; False, with the reason in the trace, when they were refused.

    `reference` is what their ledger entries carry where the author names none, such as `badge:reviewer:2`: by it what was
    given can be taken back.
    """
    if not actions:
        return True
    line: dict[str, Any] = {cause.kind: cause.key, "result": "rewarded"}
    if work.unrewarded:
        work.trace.append({**line, "result": "unrewarded"})
        return True
    if len(actions) > work.room():
        work.trace.append({**line, "result": "effects_exceeded", "most": EFFECTS_MAX})
        return False
    point = work.savepoint()
    bound = work.program.bind_member(MemberFacts(work, at=at))
    try:
        perform(Firing(work, cause, bound, at, reference), actions)
    except Refusal as refusal:
        work.rollback(point)
        work.trace.append({**line, "result": "refused", "code": refusal.code, "why": refusal.message})
        return False
    work.trace.append(line)
    return True
