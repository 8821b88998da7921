"""A file of events, one JSON object a line: where each event is, so that they can be read in time order without holding them.

The index takes about 100 bytes an event while it is sorted, 12 afterwards.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappush, heapreplace
from pathlib import Path
from typing import Any, Final

import msgspec

from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput
from rewards.domain.periods import epoch_micros, from_epoch_micros

BAD_LINES_SHOWN_MAX: Final = 20
PROGRESS_EVENTS: Final = 5_000
_COUNTED_BYTES: Final = 1 << 20
_OFFSET_BITS: Final = 48
_NUMBER_BITS: Final = 32
_TIME_BITS: Final = 64
_TIME_BIAS: Final = 1 << 62  # keeps moments before 1970 positive


class Line(msgspec.Struct):
    """One event as in `POST /v1/events`; `occurred_at` is needed here, `attributes` are set on the member before it."""

    id: str
    type: str
    member: str
    occurred_at: datetime
    received_at: datetime | None = None
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    attributes: dict[str, Any] = {}


class _Head(msgspec.Struct):
    member: str
    occurred_at: datetime
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event, or an event that was rejected, and why. The first line is 1."""

    number: int
    message: str


class Rejected:
    """Counts lines that were rejected, in whatever order they come, and keeps the first of the file: `BAD_LINES_SHOWN_MAX`."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[int, str]] = []  # a heap, the last of them on top: (-offset, message)

    def add(self, offset: int, message: str) -> None:
        """One more, that begins at `offset`."""
        self.count += 1
        self._keep(-offset, message)

    def join(self, other: Rejected) -> None:
        """Those of another part of the same file."""
        self.count += other.count
        for offset, message in other._first:
            self._keep(offset, message)

    def _keep(self, offset: int, message: str) -> None:
        if len(self._first) < BAD_LINES_SHOWN_MAX:
            heappush(self._first, (offset, message))
        elif offset > self._first[0][0]:
            heapreplace(self._first, (offset, message))

    def lines(self, path: Path) -> list[BadLine]:
        """The first ones with their numbers, for which the file is read once more, as far as they go."""
        found: list[BadLine] = []
        if self._first:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                number, counted = 1, 0
                for offset, message in sorted((-offset, message) for offset, message in self._first):
                    while counted < offset:
                        until = min(offset, counted + _COUNTED_BYTES)
                        number += content[counted:until].count(b"\n")
                        counted = until
                    found.append(BadLine(number, message))
        return found


@dataclass(frozen=True, slots=True)
class Part:
    """Some events of a file in the order in which they are to be decided."""

    path: Path
    offsets: array[int]
    numbers: array[int]

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(slots=True)
class Index:
    """`until` is the last moment in the file. Members are numbered by first appearance."""

    path: Path
    events: int = 0
    members: int = 0
    until: datetime | None = None
    bad: list[BadLine] = field(default_factory=list)
    bad_count: int = 0
    _packed: list[int] = field(default_factory=list, repr=False)

    def parts(self, count: int, *, apart: bool) -> list[Part]:
        """The events in time order; if `apart`, by member and then in time order, in `count` parts of whole members."""
        if not apart:
            self._packed.sort()
            return [self._part(self._packed)]
        offset_mask, number_mask = (1 << _OFFSET_BITS) - 1, (1 << _NUMBER_BITS) - 1
        times = _OFFSET_BITS + _NUMBER_BITS
        by_member = sorted(
            (each & number_mask) << _TIME_BITS + _OFFSET_BITS
            | (each >> times) << _OFFSET_BITS
            | each >> _NUMBER_BITS & offset_mask
            for each in self._packed
        )
        self._packed.clear()
        shift = _TIME_BITS + _OFFSET_BITS
        return [
            Part(
                self.path,
                array("Q", [each & offset_mask for each in some]),
                array("I", [each >> shift for each in some]),
            )
            for some in _cut(by_member, count, shift)
        ]

    def _part(self, packed: Sequence[int]) -> Part:
        offset_mask, number_mask = (1 << _OFFSET_BITS) - 1, (1 << _NUMBER_BITS) - 1
        return Part(
            self.path,
            array("Q", [each >> _NUMBER_BITS & offset_mask for each in packed]),
            array("I", [each & number_mask for each in packed]),
        )


def _cut(by_member: list[int], count: int, shift: int) -> Iterator[list[int]]:
    """About equal parts, none of which shares a member with another."""
    start = 0
    for part in range(1, count + 1):
        end = max(start, len(by_member) * part // count)
        while 0 < end < len(by_member) and by_member[end] >> shift == by_member[end - 1] >> shift:
            end += 1
        if end > start:
            yield by_member[start:end]
        start = end


def index_file(path: Path, progress: Callable[[int], None]) -> Index:
    """Reads the file once. `progress` hears how many bytes were read. Lines that are no events are counted in `bad`."""
    index = Index(path)
    decode = msgspec.json.Decoder(_Head).decode
    numbers: dict[str, int] = {}
    packed = index._packed  # noqa: SLF001 - built here, owned there
    latest = 0
    offset = told = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            here, offset = offset, offset + len(line)
            if not line.strip():
                continue
            try:
                head = decode(line)
                micros = epoch_micros(_aware(head.received_at or head.occurred_at)) + _TIME_BIAS
                number = numbers.get(head.member)
                if number is None:
                    number = numbers.setdefault(str(MemberRef.parse(head.member)), len(numbers))
            except (msgspec.DecodeError, UnicodeDecodeError, InvalidInput) as error:
                index.bad_count += 1
                if len(index.bad) < BAD_LINES_SHOWN_MAX:
                    index.bad.append(BadLine(line_number, str(error)))
                continue
            latest = max(latest, micros)
            packed.append(micros << _OFFSET_BITS + _NUMBER_BITS | here << _NUMBER_BITS | number)
            if line_number % PROGRESS_EVENTS == 0:
                progress(offset - told)
                told = offset
    progress(offset - told)
    index.events, index.members = len(packed), len(numbers)
    index.until = from_epoch_micros(latest - _TIME_BIAS) if packed else None
    return index


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidInput("a moment without a time zone", path="occurred_at", expected="2026-11-21T10:00:00Z")
    return moment


def read_part(part: Part) -> Iterator[tuple[int, int, Line | str]]:
    """The events with their offsets and their members' numbers; why, for a line that is no event after all (its head was)."""
    decode = msgspec.json.Decoder(Line).decode
    with part.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        find = content.find
        for offset, number in zip(part.offsets, part.numbers, strict=True):
            end = find(b"\n", offset)
            line = content[offset : end if end >= 0 else None]
            try:
                yield offset, number, decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                yield offset, number, str(error)
