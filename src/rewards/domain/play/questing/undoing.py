"""Contributions that count no longer, because their event was taken back.

An attempt that is unfinished loses them. One that is finished stays so, unless the quest is revocable: then the quest is
folded anew without them, and what is no longer grounded is lost, rewards included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rewards.domain.errors import Refusal
from rewards.domain.outcome import Achievement
from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play.metrics import Stored
from rewards.domain.play.questing.folding import COMPLETED, STARTED, STEP, Happening, fold, without
from rewards.domain.play.questing.keeping import fold_anew, kept_of, reference, terms_of
from rewards.domain.play.questing.paid_as import PaidAs, payments, until
from rewards.domain.play.questing.sending import member_of, take_from_all
from rewards.domain.play.questing.standing import COUNTS, Entry, Kept
from rewards.domain.play.reversing import take_back
from rewards.domain.program.compiled import Cause
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work


def undo(work: Work, quest: Quest, stored: Stored, name: str = "") -> bool:
    """Removes what an event had contributed, and what follows from that; False where it takes nothing away.

    `name` is whose it was, in a team quest: what is no longer kept by itself tells nothing of that.
    """
    definition, parts = stored.contribution[0], stored.contribution[1]
    kept = kept_of(work, quest)
    if definition != quest.definition or kept.definition != definition:
        return False  # it counted for steps that the quest no longer has
    plain = [epoch_micros(stored.occurred_at), *_halves(stored.order)]
    _, before = fold(quest, kept.base, kept.tail, terms_of(work, quest))
    if not quest.revocable and _is_of_finished(kept, before, tuple(plain)):
        return False
    at = next((at for at, each in enumerate(kept.tail) if each[:3] == plain and each[4] == parts), None)
    if at is not None:
        kept = kept._replace(tail=(*kept.tail[:at], *kept.tail[at + 1 :]))
    elif kept.base.attempt is not None and plain[0] >= kept.base.attempt.began:
        entry = Entry.of([*plain, COUNTS, parts, name])
        base = kept.base._replace(attempt=without(quest, kept.base.attempt, entry))
        kept = kept._replace(settled=base.plain())
    else:
        return False
    _, after = fold(quest, kept.base, kept.tail, terms_of(work, quest))
    work.trace.append({"quest": quest.key, "result": "taken_back"})
    if quest.revocable:
        kept = _revoke(work, quest, kept, before, after)
    fold_anew(work, quest, kept)
    return True


def _halves(order: str) -> tuple[int, int]:
    return int(order[:16], 16), int(order[16:], 16)


def _is_of_finished(kept: Kept, happened: Sequence[Happening], place: tuple[int, ...]) -> bool:
    """Whether a contribution belongs to an attempt that was completed."""
    began = kept.base.attempt.began if kept.base.attempt is not None else None
    for each in happened:
        if each.what is STARTED:
            began = each.micros
        elif each.what is COMPLETED and began is not None and began <= place[0] <= each.micros:
            return True
    return False


def _revoke(work: Work, quest: Quest, kept: Kept, before: Sequence[Happening], after: Sequence[Happening]) -> Kept:
    """Takes back what was paid and is no longer grounded: of completions the last ones, for they are all alike."""
    known = kept.paid_as
    completions = {each.instance: each for each in before if each.what is COMPLETED}
    lost = len(completions) - sum(each.what is COMPLETED for each in after)
    ahead = max(0, kept.paid - max(completions, default=kept.paid))
    for instance in sorted(completions, reverse=True)[: max(0, lost)]:
        _lose(work, quest, known, completions[instance]._replace(instance=instance + ahead))
        paid = kept.paid - 1
        kept = kept._replace(paid=paid, paid_as=until(kept.paid_as, paid))
    grounded = {(each.instance, each.step) for each in after if each.what is STEP}
    for each in before:
        bits = kept.paid_steps(each.instance) or 0
        bit = 1 << each.step - 1 if each.what is STEP else 0
        if bits & bit and (each.instance, each.step) not in grounded:
            _lose(work, quest, known, each)
            kept = kept.with_steps(each.instance, bits & ~bit)
    return kept if kept.paid else kept._replace(first=None)


def _lose(work: Work, quest: Quest, known: Sequence[PaidAs], each: Happening) -> None:
    if quest.team:
        _record(work, quest, each.instance, each.step, each.micros)
        take_from_all(work, quest, each)
    else:
        paid = payments(known, each.instance, step=bool(each.step))
        carried: list[tuple[str, UUID | None]] = [
            (reference(quest, number, each.step), member_of(name) if name else work.state.id) for name, number in paid
        ] or [(reference(quest, each.instance, each.step), None)]
        lose(work, quest, each.instance, each.step, each.micros, carried=carried)


def _record(work: Work, quest: Quest, instance: int, step: int, micros: int) -> None:
    kind = "quest_step" if step else "quest"
    effect: dict[str, Any] = {"type": f"{kind}_revoked", "key": quest.key, "instance": instance}
    if step:
        effect["step"] = step
    work.effects.append(effect)
    reached = from_epoch_micros(micros)
    work.achieve(Achievement(kind, quest.key, step, instance, reached, revoked_at=work.now, event=work.cause))


def lose(
    work: Work, quest: Quest, instance: int, step: int, micros: int, *, carried: Sequence[tuple[str, UUID | None]]
) -> None:
    """The member loses a completion, or with `step` (from 1) a step, with all that it was rewarded.

    That `carried` these references, each with the member who was rewarded; None for whoever was.
    """
    _record(work, quest, instance, step, micros)
    line: dict[str, Any] = {"quest": quest.key, "result": "revoked"}
    point = work.savepoint()
    cause = Cause("quest", quest.key)
    try:
        for each, issued_to in carried:
            take_back(work, each, source=cause.source, cause=cause, issued_to=issued_to)
    except Refusal as refusal:
        work.rollback(point)
        line |= {"code": refusal.code, "why": refusal.message}
    work.trace.append(line)
