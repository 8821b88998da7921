"""Taking transactions back, with what follows from it: events that earned them, freezes that were bought with them."""

from __future__ import annotations

from uuid import UUID

from rewards.domain import refunding
from rewards.domain.ledger.accounts import Origin, Transaction
from rewards.domain.ledger.reverse import REFUNDED, NotReversible, Original, asked, reverse
from rewards.domain.play.actions import Firing, performs, read_text
from rewards.domain.play.streaking.purchases import Purchase
from rewards.domain.play.streaks import Change
from rewards.domain.program.compiled import Cause, ReverseAction
from rewards.domain.program.currency import Clawback
from rewards.domain.work import REVERSIBLE, Work


def reverse_one(
    work: Work,
    original: Original,
    origin: Origin,
    *,
    amount: int | None = None,
    policy: Clawback | None = None,
) -> Transaction:
    """As `ledger.reverse`. Freezes that were bought go with their points; `NotReversible` where that cannot be, and for a
    currency that the program has no more.
    """
    currency = work.program.currencies.get(original.currency)
    if currency is None:
        raise NotReversible(f"the program has no currency {original.currency} any more", kind=str(original.kind))
    buying = _buying(work, original, amount)
    made = reverse(
        work.draft, original, origin, currency=currency, zone=work.program.zone, amount=amount, policy=policy
    )
    work.reversed[original.transaction] = original.reversed_so_far + asked(made)
    work.note_taken_back(original, asked(made))
    refunding.ask_for(work, original, made)
    if buying is not None:
        purchase, change = buying
        change.take_freezes(purchase.freezes, original.transaction)
        change.tell()
        work.trace.append({"streak": purchase.streak, "result": "freezes_taken_back", "freezes": purchase.freezes})
    return made


def _buying(work: Work, original: Original, amount: int | None) -> tuple[Purchase, Change] | None:
    """The freezes that are to be taken back, if any were bought and the streak still is one of the program.

    Raises `NotReversible` for a part of the price, and for freezes of which some are used.
    """
    purchase = Purchase.of(original)
    if purchase is None or original.remaining <= 0:
        return None
    transaction = str(original.transaction)
    if amount is not None and amount < original.remaining:
        message = "what was paid for freezes can be taken back as a whole only"
        raise NotReversible(message, transaction=transaction, amount=original.amount)
    streak = work.program.streaks.get(purchase.streak)
    if streak is None:
        return None  # its freezes went with it
    change = Change(work, streak, work.now)
    unused = change.standing.bought
    if unused < purchase.freezes:
        left = "none is" if unused == 0 else f"only {unused} of them {'is' if unused == 1 else 'are'}"
        bought = f"{purchase.freezes} freeze{'s' if purchase.freezes > 1 else ''} of {purchase.streak}"
        message = f"the transaction bought {bought}; of all that were bought {left} unused"
        raise NotReversible(message, transaction=transaction, bought=purchase.freezes, unused=unused)
    return purchase, change


def take_back(
    work: Work,
    reference: str,
    *,
    source: str,
    cause: Cause | None = None,
    policy: Clawback | None = None,
    reason: str | None = None,
    note: str | None = None,
    issued_to: UUID | None = None,
) -> list[Transaction]:
    """Reverses what is left of every reversible transaction that carries `reference`, what was spent before what was earned;
    returns the reversals. With `issued_to` only of those of that member: this one, or one that was merged into it.

    What paid for freezes that are used stays as it is, as does what is of a currency that the program has no more, and an
    effect says so; `NotReversible` where nothing else is left.
    """
    made = []
    refused: list[tuple[Original, NotReversible]] = []
    # What was spent comes back first (within each, the oldest first): a clawback takes only what is there.
    for original in sorted(work.carrying(reference), key=lambda original: original.kind not in REFUNDED):
        if original.kind not in REVERSIBLE or original.remaining <= 0:
            continue
        if issued_to not in {None, original.owner or work.state.id}:
            continue
        origin = work.origin(source, reference=reference, reason=reason, note=note)
        try:
            transaction = reverse_one(work, original, origin, policy=policy)
        except NotReversible as refusal:
            refused.append((original, refusal))
            continue
        work.ledger_effect(transaction, name="reverse", cause=cause, reverses=str(original.transaction))
        made.append(transaction)
    for original, why in refused:
        if not made:
            raise why
        left = str(original.transaction)
        work.effects.append({"type": "not_reversed", "transaction": left, "why": why.message})
    return made


@performs(ReverseAction)
def _reverse(firing: Firing, action: ReverseAction) -> None:
    reference = read_text(action.reference, firing.bound)
    assert reference is not None
    take_back(firing.work, reference, source=firing.cause.source, cause=firing.cause)
