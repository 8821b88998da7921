"""Freezes that were paid for: what their transaction says of them, so that taking it back takes them too."""

from __future__ import annotations

from typing import NamedTuple, Self

from rewards.domain.ledger.accounts import Kind
from rewards.domain.ledger.reverse import Original
from rewards.domain.program.streak import Streak

_FREEZES = "freezes"


class Purchase(NamedTuple):
    """So many freezes of a streak."""

    streak: str
    freezes: int

    @classmethod
    def of(cls, original: Original) -> Self | None:
        """What a transaction paid for; None where that is no freezes."""
        kind, _, rest = original.source.partition(":")
        key, _, what = rest.partition(":")
        name, _, count = what.partition(":")
        if original.kind is not Kind.SPEND or kind != "streak" or name != _FREEZES:
            return None
        return cls(key, int(count))


def source_of(streak: Streak, count: int) -> str:
    """The source of the transaction that pays for freezes."""
    return f"{streak.cause.source}:{_FREEZES}:{count}"
