"""Commands that move points directly: what staff, apps and imports ask of the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rewards.domain.commands import Capture, Cause, Earn, Import, PlaceHold, Release, Reverse, ReverseReference, Spend
from rewards.domain.errors import InvalidInput, Refusal
from rewards.domain.ledger.accounts import Kind, Origin, Transaction
from rewards.domain.ledger.earn import NO_HOLD, earn, term
from rewards.domain.ledger.hold import HoldResolved, capture, place_hold, release
from rewards.domain.ledger.spend import spend
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import Outcome, Status
from rewards.domain.periods import rfc3339
from rewards.domain.play.deciding import follow_emitted, place_in_segments
from rewards.domain.play.reversing import reverse_one, take_back
from rewards.domain.play.segments import reassess
from rewards.domain.play.taking_back import take_back_events
from rewards.domain.program.currency import (
    Currency,
)
from rewards.domain.work import Work, balances


class NothingToReverse(Refusal):
    """No transaction of the member that carries this reference has anything left to take back."""

    code = "nothing-to-reverse"


def currency(work: Work, key: str) -> Currency:
    found = work.program.currencies.get(key)
    if found is None:
        raise InvalidInput(
            f"the program has no currency {key!r}",
            path="currency",
            expected=f"one of {', '.join(sorted(work.program.currencies))}",
        )
    return found


def _origin(cause: Cause) -> Origin:
    return Origin(
        source=cause.source, actor=cause.actor, reason=cause.reason, reference=cause.reference, note=cause.note
    )


def answered(work: Work, *transactions: Transaction, **more: Any) -> Outcome:
    """The outcome with its answer: what was posted, what that led to, and the balances afterwards."""
    already = len(work.effects)
    take_back_events(work)
    place_in_segments(work)  # conditions may read balances
    follow_emitted(work, work.now)
    outcome = work.finish(Status.PROCESSED)
    outcome.answer = {
        **more,
        "transactions": [transaction_view(made) for made in transactions],
        "balances": balances(outcome.state, work.program),
    }
    if len(work.effects) > already:
        outcome.answer["effects"] = work.effects[already:]
    return outcome


def transaction_view(made: Transaction) -> dict[str, Any]:
    """A transaction on the wire, right after it was made."""
    view: dict[str, Any] = {
        "id": str(made.id),
        "kind": made.kind.value,
        "currency": made.currency,
        "amount": made.amount,
        "recorded_at": rfc3339(made.recorded_at),
        "effective_at": rfc3339(made.effective_at),
        "balance_after": {"available": made.available, "pending": made.pending, "held": made.held, "debt": made.debt},
    }
    if made.requested is not None:
        view["requested"] = made.requested
    if made.reverses is not None:
        view["reverses"] = str(made.reverses)
    if made.hold is not None:
        view["hold"] = str(made.hold)
    return view


def decide_earn(work: Work, command: Earn) -> Outcome:
    policy = currency(work, command.currency)
    if command.expires_at is not None and command.expires_at <= work.now:
        raise InvalidInput(
            "the points would have expired already", path="expires_at", expected="a moment in the future"
        )
    _check_term(work, policy, command)
    made = earn(
        work.draft,
        policy,
        command.amount,
        _origin(command.cause),
        zone=work.program.zone,
        effective_at=work.now,
        hold=command.hold,
        until_matured=command.until_matured,
        expires=command.expires_at,
    )
    work.note_earning(made)
    return answered(work, made)


def _check_term(work: Work, policy: Currency, command: Earn) -> None:
    """Refuses what nobody could ever spend, where the command itself says so; of a currency that does, `check` warns."""
    if command.until_matured or (command.hold is None and command.expires_at is None):
        return
    matures_at, expiry = term(policy, work.now, zone=work.program.zone, hold=command.hold, expires=command.expires_at)
    if matures_at is None or expiry is None or matures_at < expiry:
        return
    if command.expires_at is not None:
        path, expected = "expires_at", f"a moment after {rfc3339(matures_at)}"
    else:
        path, expected = "hold", f"a time that ends before {rfc3339(expiry)}"
    raise InvalidInput(
        f"the points would expire at {rfc3339(expiry)}, before they mature at {rfc3339(matures_at)}",
        path=path,
        expected=expected,
    )


def decide_import(work: Work, command: Import) -> Outcome:
    for key, value in command.attributes.items():
        attribute = work.program.attributes.get(key)
        if attribute is not None:
            work.set_attribute(key, attribute.accept(value))
    policy = currency(work, command.currency)
    if command.amount == 0:
        return _imported(work)
    made = earn(
        work.draft,
        policy,
        command.amount,
        _origin(command.cause),
        zone=work.program.zone,
        effective_at=work.now,
        hold=NO_HOLD,  # the other system has let the member have them long ago
        expires=command.expires_at,
        kind=Kind.IMPORT,
    )
    return _imported(work, made)


def _imported(work: Work, *made: Transaction) -> Outcome:
    """Who moves in from another system is in its segments from the start, without having entered them just now."""
    reassess(work)
    return answered(work, *made)


def decide_spend(work: Work, command: Spend) -> Outcome:
    made = spend(work.draft, currency(work, command.currency), command.amount, _origin(command.cause))
    return answered(work, made)


def decide_hold(work: Work, command: PlaceHold) -> Outcome:
    made = place_hold(
        work.draft,
        currency(work, command.currency),
        command.amount,
        _origin(command.cause),
        expires_at=work.now + command.until if isinstance(command.until, timedelta) else command.until,
    )
    assert made.hold is not None
    return answered(work, made, hold=hold_view(work, made.hold))


def hold_view(work: Work, hold_id: Any) -> dict[str, Any]:
    hold = work.draft.hold(hold_id)
    assert hold is not None
    return {
        "id": str(hold.id),
        "currency": hold.currency,
        "amount": hold.amount,
        "captured": hold.captured,
        "released": hold.released,
        "remaining": hold.remaining,
        "expires_at": rfc3339(hold.expires_at),
    }


def _held(work: Work, command: Capture | Release) -> Currency | None:
    """The hold's currency, for a hold that was loaded.

    None when the program has it no more: what was promised before is kept all the same. A hold that the member does not have
    was another's who was merged into this one: callers name the hold, and holds do not travel.
    """
    hold = work.draft.hold(command.hold)
    if hold is None:
        if command.hold not in work.state.absent:
            raise Unloaded(hold=command.hold)
        raise HoldResolved("the hold was released when its member was merged into another", hold=str(command.hold))
    return work.program.currencies.get(hold.currency)


def decide_capture(work: Work, command: Capture) -> Outcome:
    policy = _held(work, command)
    made = [capture(work.draft, command.hold, command.amount, _origin(command.cause))]
    hold = work.draft.hold(command.hold)
    if command.final and hold is not None and hold.remaining:
        made.append(
            release(work.draft, command.hold, None, _origin(command.cause), currency=policy, zone=work.program.zone)
        )
    return answered(work, *made, hold=hold_view(work, command.hold))


def decide_release(work: Work, command: Release) -> Outcome:
    policy = _held(work, command)
    made = release(
        work.draft, command.hold, command.amount, _origin(command.cause), currency=policy, zone=work.program.zone
    )
    return answered(work, made, hold=hold_view(work, command.hold))


def decide_reverse(work: Work, command: Reverse) -> Outcome:
    original = work.original(command.transaction)
    already = len(work.effects)
    made = reverse_one(
        work,
        original,
        _origin(command.cause),
        amount=command.amount,
        policy=command.policy,
    )
    return _reversed(work, already, made)


def decide_reverse_reference(work: Work, command: ReverseReference) -> Outcome:
    already = len(work.effects)
    cause = command.cause
    made = take_back(
        work,
        command.reference,
        source=cause.source,
        policy=command.policy,
        reason=cause.reason,
        note=cause.note,
    )
    if not made:
        raise NothingToReverse("nothing with this reference is left to reverse", reference=command.reference)
    return _reversed(work, already, *made)


def _reversed(work: Work, already: int, *made: Transaction) -> Outcome:
    """The answer tells what followed; the reversals themselves are its transactions."""
    outcome = answered(work, *made)
    followed = [effect for effect in work.effects[already:] if effect["type"] != "reverse"]
    if followed:
        outcome.answer["effects"] = followed
    return outcome
