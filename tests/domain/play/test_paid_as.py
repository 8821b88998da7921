"""To whom completions were paid, against a list that says so of each one."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from tests.properties import explored

from rewards.domain.play.questing.paid_as import OWN, PaidAs, Payment, after, payments, until

NAMES: Final = ("ben", "cem")
Told = list[tuple[Payment, list[Payment]]]
"""Of each completion from the first on: its payment, and those of steps that were made under other numbers besides."""


@st.composite
def told(draw: st.DrawFn) -> tuple[tuple[PaidAs, ...], Told, list[Payment]]:
    """What is written, what it says of the completions that were paid, and what of steps on the way to the next."""
    known: list[PaidAs] = []
    completions: Told = []
    for name in draw(st.lists(st.sampled_from((OWN, *NAMES)), max_size=5)):
        length, number = draw(st.integers(1, 3)), draw(st.integers(1, 9))
        first = len(completions) + 1
        if name != OWN:
            known.append(PaidAs(first, length, name, number))
        completions += [
            ((name, number + each) if name != OWN else (OWN, first + each), list[Payment]()) for each in range(length)
        ]
    following: list[Payment] = []
    for at in draw(st.lists(st.integers(0, len(completions)), max_size=3, unique=True)):
        payment = draw(st.sampled_from(NAMES)), draw(st.integers(1, 9))
        known.append(PaidAs(at + 1, 0, *payment))
        (completions[at][1] if at < len(completions) else following).append(payment)
    return tuple(draw(st.permutations(known))), completions, following


def agrees(known: tuple[PaidAs, ...], completions: Told, following: list[Payment], *, since: int = 0) -> None:
    for instance, (payment, steps) in enumerate(completions, 1):
        if instance > since and known:
            assert payments(known, instance, step=False) == [payment]
            assert sorted(payments(known, instance, step=True)) == sorted([*steps, payment])
    if known:
        following_number = len(completions) + 1
        assert payments(known, following_number, step=False) == [(OWN, following_number)]
        assert sorted(payments(known, following_number, step=True)) == sorted([*following, (OWN, following_number)])
        assert payments(known, following_number + 1, step=True) == [(OWN, following_number + 1)]


@explored(given(written=told(), lost=st.integers(0, 4)), few=60, at_length=1_000)
def test_completions_that_are_lost_leave_their_steps_to_the_next(
    written: tuple[tuple[PaidAs, ...], Told, list[Payment]], lost: int
) -> None:
    known, completions, following = written
    agrees(known, completions, following)
    for _ in range(min(lost, len(completions))):
        payment, steps = completions.pop()
        following = [*steps, *([payment] if payment[0] != OWN else [])]
        known = until(known, len(completions))
        agrees(known, completions, following)


@explored(given(written=told(), settled=st.integers(0, 9)), few=60, at_length=1_000)
def test_what_is_settled_is_not_needed_any_more(
    written: tuple[tuple[PaidAs, ...], Told, list[Payment]], settled: int
) -> None:
    known, completions, following = written
    settled = min(settled, len(completions))
    agrees(after(known, settled), completions, following, since=settled)
