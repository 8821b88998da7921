"""To whom completions were paid, once members became one: they are numbered anew, and ledger entries keep their numbers.

Without any `PaidAs` each completion was paid under its own number, to whoever carries that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

OWN = ""
"""Instead of the name of a member: the one whose quest it is."""
Payment: TypeAlias = tuple[str, int]
"""Whom a completion was paid to, by name or `OWN`, and as which of that member's."""


class PaidAs(NamedTuple):
    """`length` completions from number `first` on were paid to `member`, as its own from `number` on.

    With a `length` of 0 just steps were, on the way to completion `first`.
    """

    first: int
    length: int
    member: str
    number: int


def payments(known: Sequence[PaidAs], instance: int, *, step: bool) -> list[Payment]:
    """What a completion, or a step of it, was paid as; empty where nothing is known."""
    if not known:
        return []
    paid = [(each.member, each.number) for each in known if step and each.first == instance and not each.length]
    for first, length, member, number in known:
        if first <= instance < first + length:
            return [*paid, (member, number + instance - first)]
    return [*paid, (OWN, instance)]


def until(known: Sequence[PaidAs], paid: int) -> tuple[PaidAs, ...]:
    """What is left once no more than `paid` completions are: the next one is the member's own, but for steps that stay."""
    left = []
    for each in known:
        if each.length == 0 and each.first <= paid + 1:
            left.append(each)
        kept = min(each.length, paid - each.first + 1)
        if kept > 0:
            left.append(each._replace(length=kept))
        if 0 <= kept < each.length:
            left.append(PaidAs(paid + 1, 0, each.member, each.number + kept))
    return tuple(left)


def after(known: Sequence[PaidAs], settled: int) -> tuple[PaidAs, ...]:
    """What is still needed once the first so many completions are for good."""
    return tuple(each for each in known if each.first + max(each.length - 1, 0) > settled)
