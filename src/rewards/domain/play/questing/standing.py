"""What a member's document keeps of a quest, and how that is written down.

`base` is where the quest stood before the contributions of the `tail`, `head` where it stands after them (None: as before).
The tail holds, in the order of (occurred at, id), what may still be reordered by an event that comes late or taken back:
what is younger than the late window, and what counts for the attempt that is under way. Past its bound the oldest settle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import eq
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from rewards.domain.play.questing.paid_as import PaidAs

TAIL_MAX: Final = 100
"""Contributions that one quest keeps in order."""
TAILS_MAX: Final = 250
"""Contributions that all quests of a member keep in order, together."""
TAIL_MIN: Final = 25
"""What a quest may keep in order, however much the member's other quests keep."""


UNCOUNTED: Final = 1 << 30
"""Contributions of one who was written down before they were counted: more than can be taken back."""
Contributors = tuple[tuple[str, int], ...]
"""Names in order of appearance, each with the number of its contributions; negative as long as none of them has moved
anything, for such a one is no contributor."""


class Attempt(NamedTuple):
    """A quest under way: since `began`, until `ends` (exclusive), in microseconds.

    `counts` holds what each step has counted: a number, or the sorted different values, none of which is changed in place.
    `done` has a bit for each step reached. `by` says whose the contributions are, in a team quest.
    """

    began: int
    ends: int | None
    counts: list[Any]
    done: int
    by: Contributors = ()

    def plain(self) -> list[Any]:
        written = [self.began, self.ends, self.counts, self.done]
        return [*written, [list(each) for each in self.by]] if self.by else written

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        began, ends, counts, done, *by = plain
        return cls(began, ends, counts, done, contributors_of(by[0]) if by else ())


def contributors_of(plain: list[Any]) -> Contributors:
    """As they are written down; once they were names alone."""
    return tuple((each, UNCOUNTED) if isinstance(each, str) else (each[0], each[1]) for each in plain)


def with_contribution(by: Contributors, name: str, *, moved: bool) -> Contributors:
    """One contribution more; `moved` says whether it changed what was counted."""
    count = dict(by).get(name, 0)
    more = abs(count) + 1 if moved or count > 0 else count - 1
    return _with_count(by, name, more)


def without_contribution(by: Contributors, name: str) -> Contributors:
    """One contribution less; who has none left is not named any more."""
    count = dict(by).get(name, 0)
    return _with_count(by, name, count - 1 if count > 0 else min(count + 1, 0))


def named(by: Contributors) -> tuple[str, ...]:
    """Who has contributed."""
    return tuple(name for name, count in by if count > 0)


def _with_count(by: Contributors, name: str, count: int) -> Contributors:
    if not count:
        return tuple(each for each in by if each[0] != name)
    if any(each[0] == name for each in by):
        return tuple((name, count) if each[0] == name else each for each in by)
    return (*by, (name, count))


class Standing(NamedTuple):
    """How often a quest was completed, when first and last, and the attempt under way."""

    completed: int = 0
    first: int | None = None
    last: int | None = None
    attempt: Attempt | None = None

    def plain(self) -> list[Any]:
        completed, first, last, attempt = self
        return [completed, first, last, None if attempt is None else attempt.plain()]

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        completed, first, last, attempt = plain
        return cls(completed, first, last, None if attempt is None else Attempt.of(attempt))


COUNTS: Final = 0
"""An event that counts for an attempt under way, but may not begin one."""
BEGINS: Final = 1
"""An event that may begin an attempt."""
JOINS: Final = 2
LEAVES: Final = 3


class Entry(NamedTuple):
    """One contribution: when, the event's id in two halves (by which those of one moment are ordered), what it may do,
    and what it adds to which steps, as (index, payload). `by` names whose it is, in a team quest; of a joining that
    follows from another quest it says from which completion, and the joining has the place of that."""

    micros: int
    high: int
    low: int
    sort: int
    parts: tuple[tuple[int, Any], ...]
    by: str = ""

    @classmethod
    def made(
        cls, micros: int, event: UUID, sort: int, parts: tuple[tuple[int, Any], ...] = (), *, by: str = ""
    ) -> Self:
        return cls(micros, event.int >> 64, event.int & 0xFFFF_FFFF_FFFF_FFFF, sort, parts, by)

    @property
    def place(self) -> tuple[int, int, int]:
        """What it is ordered by."""
        return self.micros, self.high, self.low

    def plain(self) -> list[Any]:
        written = [self.micros, self.high, self.low, self.sort, [list(part) for part in self.parts]]
        return [*written, self.by] if self.by else written

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        micros, high, low, sort, parts, *by = plain
        return cls(micros, high, low, sort, tuple((index, payload) for index, payload in parts), by[0] if by else "")


def with_joins_at(
    tail: Sequence[list[Any]], places: Mapping[str, tuple[int, int, int]]
) -> tuple[list[Any], ...] | None:
    """The tail with the joinings that follow from completions at the places of these; None where they are there."""
    moved = [
        [*places[plain[5]], *plain[3:]] if len(plain) > 5 and plain[3] == JOINS and plain[5] in places else plain
        for plain in tail
    ]
    if all(map(eq, moved, tail)):
        return None
    # What completes a quest is not yet of one that follows from it.
    return tuple(sorted(moved, key=lambda plain: (*plain[:3], plain[3] == JOINS)))


def untied(tail: Sequence[list[Any]]) -> tuple[list[Any], ...]:
    """The tail with its joinings where they are, whatever they followed from."""
    return tuple(plain[:5] if plain[3] == JOINS else plain for plain in tail)


NOTHING: Final = Standing().plain()


class Kept(NamedTuple):
    """All that is kept of a quest.

    `paid` is how many completions were paid, `steps` which steps were, as (completion, bits): neither is paid again,
    whatever comes late. `started` and `told` are the newest beginning and the newest end of a window that were told.
    """

    definition: str
    settled: list[Any] = NOTHING
    """The base, as written down: most of the time it is not looked at."""
    head: Standing = Standing()
    tail: tuple[list[Any], ...] = ()
    """As written down: most of the time only its ends are looked at."""
    paid: int = 0
    steps: tuple[tuple[int, int], ...] = ()
    started: int = 0
    told: int = 0
    first: int | None = None
    """The earliest moment at which it was ever known to be completed; what waits for this quest may begin after that."""
    paid_as: tuple[PaidAs, ...] = ()
    """Which completions were paid under other numbers, or to members merged into this one."""

    @property
    def base(self) -> Standing:
        return Standing.of(self.settled)

    @property
    def completed(self) -> int:
        """How often it was completed, what was paid for and not undone included."""
        return max(self.paid, self.head.completed)

    def open_attempt(self, micros: int) -> Attempt | None:
        """The attempt under way at a moment, if its window has not ended."""
        attempt = self.head.attempt
        return attempt if attempt is not None and (attempt.ends is None or micros < attempt.ends) else None

    def paid_steps(self, instance: int) -> int | None:
        """The bits of the steps that were paid on the way to a completion; None where that is not known (any more)."""
        return next((bits for number, bits in self.steps if number == instance), None)

    def with_steps(self, instance: int, bits: int) -> Self:
        others = [each for each in self.steps if each[0] != instance]
        return self._replace(steps=(*others, (instance, bits)))

    def plain(self) -> list[Any]:
        written = [
            self.definition,
            self.settled,
            self.head.plain() if self.tail else None,
            list(self.tail),
            self.paid,
            [list(each) for each in self.steps],
            self.started,
            self.told,
            self.first,
        ]
        return [*written, [list(each) for each in self.paid_as]] if self.paid_as else written

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        definition, settled, head, tail, paid, steps, started, told, first, *paid_as = plain
        return cls(
            definition,
            settled,
            Standing.of(settled if head is None else head),
            tuple(tail),
            paid,
            tuple((instance, bits) for instance, bits in steps),
            started,
            told,
            first,
            tuple(PaidAs(*each) for each in paid_as[0]) if paid_as else (),
        )


def ends_micros(plain: list[Any]) -> int | None:
    """When the window of the attempt under way ends, read from what is written down; None if it does not, or was told."""
    attempt = (plain[1] if plain[2] is None else plain[2])[3]
    if attempt is None:
        return None
    ends: int | None = attempt[1]
    return None if ends is None or ends <= plain[7] else ends
