"""Which movements each kind of transaction may hold, and which of them its amount counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from rewards.domain.ledger.accounts import Book, Kind

Move: TypeAlias = tuple[Book, Book]

_SETTLES: Final[Move] = (Book.AVAILABLE, Book.DEBT)
_REVOKES: Final[tuple[Move, ...]] = ((Book.AVAILABLE, Book.REVOKED), (Book.DEBT, Book.REVOKED))
_ISSUES: Final = tuple((Book.ISSUED, into) for into in (Book.AVAILABLE, Book.PENDING, Book.EXPIRED))

COUNTED: Final[Mapping[Kind, tuple[Move, ...]]] = {
    Kind.EARN: _ISSUES,
    Kind.IMPORT: _ISSUES,
    Kind.SPEND: ((Book.AVAILABLE, Book.REDEEMED),),
    Kind.HOLD: ((Book.AVAILABLE, Book.HELD),),
    Kind.CAPTURE: ((Book.HELD, Book.REDEEMED),),
    Kind.RELEASE: ((Book.HELD, Book.AVAILABLE), (Book.HELD, Book.EXPIRED)),
    Kind.MATURE: ((Book.PENDING, Book.AVAILABLE),),
    Kind.EXPIRE: ((Book.PENDING, Book.EXPIRED), (Book.AVAILABLE, Book.EXPIRED)),
    Kind.CLAWBACK: ((Book.PENDING, Book.REVOKED), *_REVOKES),
    Kind.REFUND: tuple(
        (source, into) for source in (Book.REDEEMED, Book.TRANSIT) for into in (Book.AVAILABLE, Book.EXPIRED)
    ),
    Kind.SEND: (
        (Book.PENDING, Book.TRANSIT),
        (Book.AVAILABLE, Book.TRANSIT),
        (Book.REDEEMED, Book.TRANSIT),
        (Book.REVOKED, Book.DEBT),
    ),
    Kind.RECEIVE: (
        *((Book.TRANSIT, into) for into in (Book.AVAILABLE, Book.PENDING, Book.EXPIRED)),
        *_REVOKES,
    ),
}
"""By kind, the movements from debit to credit that its amount is the sum of."""

SETTLING: Final = frozenset({Kind.EARN, Kind.IMPORT, Kind.RELEASE, Kind.MATURE, Kind.REFUND, Kind.RECEIVE})
"""Kinds that make points available, which pay debt at once: a movement that no amount counts."""


def movements() -> list[tuple[Kind, Book, Book, bool]]:
    """Every (kind, debit, credit, whether the amount counts it) that there is."""
    found = [(kind, debit, credit, True) for kind, moves in COUNTED.items() for debit, credit in moves]
    found += [(kind, *_SETTLES, False) for kind in sorted(SETTLING)]
    return found
