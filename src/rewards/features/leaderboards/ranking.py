"""Boards in Valkey: writing absolute scores, and reading ranks. Nothing is kept only here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from rewards.domain.errors import RewardsError
from rewards.domain.ids import uuid_of
from rewards.features.leaderboards import scripts
from rewards.features.leaderboards.asking import Answer, Asking, Question
from rewards.valkey import VALKEY_ERRORS, Valkey

LAYOUT_VERSION: Final = 2
WRITTEN_AT_ONCE_MAX: Final = 250
"""Members that one call of a script writes: it keeps the server from everybody else for about a millisecond."""
SCANNED_AT_ONCE: Final = 500
BUILT_KEPT_SECONDS: Final = 6 * 3600
"""What a rebuild that never ended has left goes by itself."""

_MOMENT_BYTES: Final = 8
_NAME_AT: Final = 24
"""In an entry: after the moment and the member."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MOMENT_ZERO: Final = 1 << 62
"""Added to the microseconds, so that moments before 1970 too stand in the order of their bytes."""


class BoardUnavailable(RewardsError):
    """The board cannot be read now: Valkey does not answer, or the board is being built from the database."""

    code = "board-unavailable"


class Fenced(Exception):
    """Another process has begun to write the board since; what was to be written is its business now."""


class Incomplete(Exception):
    """Valkey does not hold the whole board: it lost it, started anew, or the board is written in another way now."""


@dataclass(frozen=True, slots=True)
class BoardId:
    """A board of a program, and how it is written. Higher scores first, unless `ascending`.

    `definition` names what the board counts: under another one it is another board, which has to be built. `realm` tells
    programs of different databases apart, which may share a Valkey.
    """

    program_id: int
    key: str
    ascending: bool = False
    definition: str = ""
    realm: str = ""

    @property
    def tag(self) -> str:
        """What is in the braces keeps all keys of the board in one slot of a cluster."""
        return f"{{{self.realm}{self.program_id}:{self.key}}}"

    @property
    def prefix(self) -> str:
        return f"rewards:board:{self.tag}:"

    @property
    def layout(self) -> str:
        return f"{LAYOUT_VERSION}{'<' if self.ascending else '>'}{self.definition}"

    @property
    def meta(self) -> str:
        return self.prefix + "meta"

    @property
    def sets(self) -> str:
        return self.prefix + "sets"

    def stored(self, score: float) -> float:
        """Sets are read from the lowest up; the sign of a double is exact."""
        return (score if self.ascending else -score) + 0.0


@dataclass(frozen=True, slots=True)
class SetId:
    """One set of a board: a period, and of a board that is split a part."""

    board: BoardId
    period: str
    part: str = ""

    @property
    def name(self) -> str:
        return f"{self.period}/{self.part}"

    @property
    def layout(self) -> str:
        return self.board.layout

    @property
    def read_from(self) -> tuple[str, str, str]:
        return self.board.meta, self.entries, self.members

    @property
    def entries(self) -> str:
        return f"{self.board.prefix}entries/{self.name}"

    @property
    def members(self) -> str:
        return f"{self.board.prefix}members/{self.name}"

    def built(self, fence: str) -> tuple[str, str]:
        """Where a rebuild writes before it is whole."""
        return (
            f"{self.board.prefix}built/{fence}/entries/{self.name}",
            f"{self.board.prefix}built/{fence}/members/{self.name}",
        )


class Score(Struct, frozen=True):
    """A member's score as PostgreSQL has it. `name` is what the board shows for the member to those who may know."""

    member: UUID
    score: float
    achieved_at: datetime
    name: str


class Entry(Struct, frozen=True):
    """A member on a board. `position` counts from 0 and differs for all; `before` members have a strictly better score."""

    member: UUID
    position: int
    before: int
    score: float
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A member's entry, and the scores ahead of it: right before, and the nearest that is strictly better.

    `better_before` members have a score that is strictly better than that.
    """

    entry: Entry
    neighbour: float | None
    better: float | None
    better_before: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a board held at one moment. Everything that was committed until `as_of` is in it."""

    as_of: datetime
    version: int
    total: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Standings:
    """Several members of a set, those that are in it, in no particular order."""

    as_of: datetime
    version: int
    total: int
    standings: list[Standing]


def microseconds(moment: datetime) -> int:
    """Since 1970; exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    return _EPOCH + timedelta(microseconds=count)


def fence_of(moment: datetime, random: str) -> str:
    """A writer's token: later ones are greater, and none is equal to another."""
    return f"{microseconds(moment):020}-{random}"


def _moment_bytes(moment: datetime) -> bytes:
    return (microseconds(moment) + _MOMENT_ZERO).to_bytes(8, "big")


class Ranking:
    """Reads and writes boards. Whatever it raises beside the errors named is of `VALKEY_ERRORS`."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._asking = Asking(valkey)

    async def write(self, of: SetId, fence: str, scores: Iterable[Score], gone: Iterable[UUID] = ()) -> int:
        """Writes absolute scores, and takes out who is gone; returns how many changed. Raises Fenced, Incomplete.

        Writing the same again, or a part of it, changes nothing.
        """
        board = of.board
        keys = (board.meta, board.sets, of.entries, of.members)
        rows: list[tuple[bytes | str | float, ...]] = [
            (each.member.bytes, _moment_bytes(each.achieved_at), repr(board.stored(each.score)), each.name)
            for each in scores
        ]
        rows += [(member.bytes, b"", b"", b"") for member in gone]
        changed = 0
        for some in _chunks(rows):
            answer = await scripts.WRITE(
                self._valkey, keys, fence, board.layout, of.name, *(value for row in some for value in row)
            )
            changed += _obeyed(answer)
        return changed

    async def vouch(self, board: BoardId, as_of: datetime) -> None:
        """Everything committed until then has been written. Raises Incomplete."""
        _obeyed(await scripts.VOUCH(self._valkey, (board.meta,), board.layout, microseconds(as_of)))

    async def page(self, of: SetId, offset: int, limit: int) -> Reading:
        """The entries from a position on. Raises BoardUnavailable."""
        return _reading(of.board, await self._asked(of, Question("page", offset, limit)))

    async def around(self, of: SetId, member: UUID, radius: int) -> Reading:
        """The member with up to `radius` neighbours on each side; no entries if the member is not in the set."""
        return _reading(of.board, await self._asked(of, Question("around", member.bytes, radius)))

    async def standings(self, of: SetId, members: Sequence[UUID]) -> Standings:
        """Raises BoardUnavailable."""
        answer = await self._asked(of, Question("places", b"".join(member.bytes for member in members), b""))
        standings = [_standing(of.board, row) for row in answer.found]
        return Standings(from_microseconds(int(answer.as_of)), int(answer.version), answer.total, standings)

    async def scores(self, of: SetId, members: Sequence[UUID]) -> list[Score]:
        """What was written of those members that are in the set. Raises BoardUnavailable."""
        answer = await self._asked(of, Question("scores", b"".join(member.bytes for member in members), b""))
        return [
            Score(UUID(bytes=member), of.board.stored(float(score)), _moment_of(known), _name_of(known))
            for member, known, score in answer.found
            if score is not None
        ]

    async def members(self, of: SetId) -> AsyncIterator[list[UUID]]:
        """Everybody in the set, some at a time; who comes or goes meanwhile may or may not be told of."""
        cursor = 0
        while True:
            found: Any = await self._valkey.hscan(of.members, cursor, count=SCANNED_AT_ONCE, no_values=True)
            cursor, fields = found
            yield [UUID(bytes=field) for field in fields]
            if not cursor:
                return

    async def retire(self, of: SetId, seconds: int) -> None:
        """The set goes after a while, whatever happens."""
        await scripts.RETIRE(self._valkey, (of.board.sets, of.entries, of.members), of.name, seconds * 1000)

    async def forget(self, board: BoardId) -> None:
        """Nothing is left of the board, how it was written included."""
        await scripts.FORGET(self._valkey, (board.meta, board.sets), board.prefix)

    async def names(self, board: BoardId) -> list[SetId]:
        """The sets that the board has."""
        found: Any = await self._valkey.smembers(board.sets)
        split = (name.decode().partition("/") for name in found)
        return [SetId(board, period, part) for period, _, part in split]

    async def aclose(self) -> None:
        """Leaves unanswered what is being asked."""
        await self._asking.aclose()

    async def _asked(self, of: SetId, question: Question) -> Answer:
        try:
            answer = await self._asking.ask(of, question)
        except VALKEY_ERRORS as error:
            raise BoardUnavailable("The board cannot be read: Valkey does not answer.") from error
        if answer is None:
            raise BoardUnavailable("The board is being built; it will be here soon.")
        return answer


class Build:
    """A whole board, written beside the one that is read until `install` puts it in its place, in one step."""

    def __init__(self, valkey: Valkey, board: BoardId, fence: str) -> None:
        self._valkey = valkey
        self._board = board
        self._fence = fence
        self._sets: set[SetId] = set()
        self._run = ""

    async def start(self) -> None:
        """Remembers which run of the server it writes to; what an earlier run may have lost is of no use."""
        self._run = await server_run(self._valkey, self._board)

    async def add(self, rows: Sequence[tuple[SetId, Score]]) -> None:
        """In any order, and as often as one likes."""
        by_set: dict[SetId, list[Score]] = {}
        for of, score in rows:
            by_set.setdefault(of, []).append(score)
        for of, scores in by_set.items():
            entries, members = of.built(self._fence)
            for some in _chunks(scores):
                pipeline = self._valkey.pipeline(transaction=False)
                known = [(each, _moment_bytes(each.achieved_at), each.name.encode()) for each in some]
                scored = {
                    moment + each.member.bytes + name: self._board.stored(each.score) for each, moment, name in known
                }
                pipeline.zadd(entries, scored)
                pipeline.hset(members, mapping={each.member.bytes: moment + name for each, moment, name in known})
                if of not in self._sets:
                    pipeline.expire(entries, BUILT_KEPT_SECONDS)
                    pipeline.expire(members, BUILT_KEPT_SECONDS)
                    self._sets.add(of)
                await pipeline.execute()

    async def install(self, as_of: datetime) -> None:
        """Raises Fenced, and Incomplete when the server lost what was built."""
        board, sets = self._board, sorted(self._sets, key=lambda of: of.name)
        keys = [key for of in sets for key in (*of.built(self._fence), of.entries, of.members)]
        told = (self._fence, board.layout, microseconds(as_of), self._run, board.prefix)
        _obeyed(await scripts.INSTALL(self._valkey, (board.meta, board.sets, *keys), *told, *(of.name for of in sets)))


async def server_run(valkey: Valkey, board: BoardId) -> str:
    """The run id of the server that has the board."""
    run: bytes = await scripts.RUN(valkey, (board.meta,))
    return run.decode()


def ranked(entries: Iterable[Entry], *, shared: bool) -> Iterable[tuple[int, Entry]]:
    """Each entry with its rank from 1: equal scores share one (1224), or none does."""
    return ((1 + (each.before if shared else each.position), each) for each in entries)


def _moment_of(known: bytes) -> datetime:
    try:
        return from_microseconds(int.from_bytes(known[:_MOMENT_BYTES], "big") - _MOMENT_ZERO)
    except OverflowError:  # nothing that we wrote
        return datetime.min.replace(tzinfo=UTC)


def _name_of(known: bytes) -> str:
    return known[_MOMENT_BYTES:].decode()


def _chunks(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (rows[start : start + WRITTEN_AT_ONCE_MAX] for start in range(0, len(rows), WRITTEN_AT_ONCE_MAX))


def _obeyed(answer: int) -> int:
    if answer == scripts.FENCED:
        raise Fenced
    if answer == scripts.INCOMPLETE:
        raise Incomplete
    return answer


def _reading(board: BoardId, answer: Answer) -> Reading:
    position, before, found = answer.found
    entries: list[Entry] = []
    last: bytes | None = None
    values = iter(found)
    for entry, score in zip(values, values, strict=True):
        if last is not None and score != last:
            before = position
        last = score
        member = uuid_of(int.from_bytes(entry[_MOMENT_BYTES:_NAME_AT], "big"))
        entries.append(Entry(member, position, before, board.stored(float(score)), entry[_NAME_AT:].decode()))
        position += 1
    return Reading(from_microseconds(int(answer.as_of)), int(answer.version), answer.total, entries)


def _standing(board: BoardId, row: Any) -> Standing:
    member, position, before, score, known, neighbour, better, better_before = row
    entry = Entry(UUID(bytes=member), position, before, board.stored(float(score)), _name_of(known))
    ahead = [board.stored(float(each)) if each is not None else None for each in (neighbour, better)]
    return Standing(entry, ahead[0], ahead[1], better_before)
