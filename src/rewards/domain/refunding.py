"""Giving back what a member had spent who was merged since, in two commands.

The one that it has become is refunded at once, from `transit`. What was spent still stands in the books of the other, so
that one passes it on: its redeemed points go down by as much, and transit nets to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from rewards.domain.commands import PassOn
from rewards.domain.ledger.accounts import Book, Origin, Transaction
from rewards.domain.ledger.reverse import Original
from rewards.domain.ledger.transfer import pass_on
from rewards.domain.outcome import Leg, Outcome, Status
from rewards.domain.work import Work

NAME: Final = "pass_on"
SOURCE: Final = "merge"


def ask_for(work: Work, original: Original, refund: Transaction) -> None:
    """Leaves the second leg of a refund of what `original.owner` spent; nothing for any other reversal."""
    shares = [[str(made.lot), made.amount] for made in refund.postings if made.debit is Book.TRANSIT]
    if original.owner is None or not shares:
        return
    payload = {"transaction": str(original.transaction), "currency": original.currency, "shares": shares}
    # Whoever was merged has a row, and is known by it alone.
    work.legs.append(Leg(len(work.legs) + 1, original.owner, "user", "", NAME, payload))


def command_of(payload: Mapping[str, Any]) -> PassOn:
    """The second leg as it was sent. Raises `KeyError` where something is missing."""
    shares = tuple((UUID(lot), amount) for lot, amount in payload["shares"])
    return PassOn(UUID(payload["transaction"]), payload["currency"], shares)


def decide_pass_on(work: Work, command: PassOn) -> Outcome:
    """Nothing else changes: who was merged is paid nothing any more, and counts nowhere."""
    origin = Origin(source=SOURCE, actor=work.actor)
    pass_on(work.draft, command.currency, command.shares, origin, transaction=command.transaction)
    return work.finish(Status.PROCESSED)
