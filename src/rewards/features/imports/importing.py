"""Opening balances through the lanes: every row is a command with an identity of its own, so repeating one adds nothing."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

from rewards.db.transact import StorageError
from rewards.domain.commands import Cause, Import
from rewards.domain.errors import InvalidInput, RewardsError, SchemaViolation
from rewards.domain.program.compiled import Attribute
from rewards.features.imports.reading import BadRow, Row, Table
from rewards.features.imports.runs import Progress, Runs
from rewards.pipeline.intake import Addressed
from rewards.pipeline.lanes import Overloaded
from rewards.pipeline.submission import Receipt, Result

ROWS_PER_CHUNK: Final = 400
CHUNKS_IN_FLIGHT: Final = 2
TRIES_MAX: Final = 8
TRY_AGAIN_SECONDS: Final = 0.25
_BUSY: Final = frozenset({"database-busy", "overloaded"})
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)

Line: TypeAlias = Row | BadRow | None
Submit: TypeAlias = Callable[[int, Sequence[Addressed]], Awaitable[list[Result]]]
"""Rows of a program, and an answer or an error for each, in order."""


class ImportInterrupted(RewardsError):
    """The database stayed away. What was imported is kept; the same command goes on where it stopped."""

    code = "import-interrupted"


@dataclass(frozen=True, slots=True)
class Opening:
    """What the file is: whose books, which currency, and the name that makes its rows repeats when they come again."""

    program_id: int
    currency: str
    source: str
    attributes: Mapping[str, Attribute]

    def addressed(self, row: Row) -> Addressed:
        """The command of a row. Raises `SchemaViolation` for a cell that does not fit its attribute."""
        attributes = {
            column: typed(self.attributes[column], cell)
            for column, cell in row.more.items()
            if column in self.attributes
        }
        command = Import(self.currency, row.balance, Cause("cli", f"import:{self.source}"), attributes=attributes)
        content = {"currency": self.currency, "amount": row.balance, "attributes": attributes}
        return Addressed(row.ref, command, f"import/{self.source}/{self.currency}", content, "cli")


def typed(attribute: Attribute, cell: str) -> Any:
    """The cell as the attribute's type: as text where that fits, else as a flag or a number. Raises `SchemaViolation`."""
    readings: list[Any] = [cell]
    if cell.lower() in {"true", "false"}:
        readings.append(cell.lower() == "true")
    if _NUMBER.fullmatch(cell):
        readings.append(float(cell) if "." in cell else int(cell))
    for reading in readings[:-1]:
        with suppress(SchemaViolation):
            return attribute.accept(reading)
    try:
        return attribute.accept(readings[-1])
    except SchemaViolation as wrong:
        raise SchemaViolation(f"{attribute.key}: {_reason(wrong)}") from None


@dataclass(slots=True)
class Tally:
    """What an import came to so far. `line` is the last one that is durable."""

    line: int = 1
    imported: int = 0
    repeated: int = 0
    failed: int = 0
    amount: int = 0
    empty: int = 0

    @property
    def rows(self) -> int:
        return self.imported + self.repeated + self.failed


@dataclass(slots=True)
class _Chunk:
    """Lines that go together, with what became of those that were submitted."""

    lines: list[Line]
    last_line: int
    bad: list[BadRow] = field(default_factory=list)
    sent: list[Row] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


class Importer:
    """Imports a table. `submit` answers rows: `Intake.many`, or `Rehearsal.many` of an import that is only tried, which has
    no `runs`. `report` hears of bad rows, in order, before they count as done."""

    def __init__(
        self,
        opening: Opening,
        submit: Submit,
        runs: Runs | None,
        *,
        report: Callable[[list[BadRow]], None],
    ) -> None:
        self._opening = opening
        self._many = submit
        self._runs = runs
        self._report = report
        self.tally = Tally()

    async def run(self, table: Table, before: Progress, *, progressed: Callable[[Tally], None]) -> Tally:
        """From where `before` stopped to the end. Raises `ImportInterrupted`; whatever happened by then is kept."""
        self.tally = Tally(line=before.rows_done + 1, failed=before.rows_failed)
        in_flight: deque[asyncio.Task[_Chunk]] = deque()
        try:
            for chunk in _chunks(table.rows(after_line=self.tally.line), self.tally.line):
                in_flight.append(asyncio.create_task(self._submit(chunk)))
                if len(in_flight) == CHUNKS_IN_FLIGHT:
                    await self._settle(await in_flight.popleft())
                    progressed(self.tally)
            while in_flight:
                await self._settle(await in_flight.popleft())
                progressed(self.tally)
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)
        await self._save(finished=True)
        return self.tally

    async def _submit(self, chunk: _Chunk) -> _Chunk:
        items: list[Addressed] = []
        for line in chunk.lines:
            if isinstance(line, BadRow):
                chunk.bad.append(line)
            elif line is not None:
                try:
                    items.append(self._opening.addressed(line))
                    chunk.sent.append(line)
                except InvalidInput as wrong:
                    chunk.bad.append(BadRow(line.line, _reason(wrong), line.text))
        if items:
            chunk.results = await self._answered(items)
        return chunk

    async def _answered(self, items: list[Addressed]) -> list[Result]:
        """An answer for each. What the database could not do now is tried again. Raises `ImportInterrupted`."""
        results: dict[int, Result] = {}
        left = list(range(len(items)))
        for attempt in range(TRIES_MAX):
            if attempt:
                await asyncio.sleep(TRY_AGAIN_SECONDS * 2**attempt)
            try:
                answers = await self._many(self._opening.program_id, [items[index] for index in left])
            except (StorageError, Overloaded):
                continue
            results.update(zip(left, answers, strict=True))
            left = [index for index in left if _passes(results[index])]
            if not left:
                return [results[index] for index in range(len(items))]
        raise ImportInterrupted("the database is not available; run the same command again when it is")

    async def _settle(self, chunk: _Chunk) -> None:
        tally = self.tally
        for row, result in zip(chunk.sent, chunk.results, strict=True):
            reason = _refusal(result)
            if reason is not None:
                chunk.bad.append(BadRow(row.line, reason, row.text))
            elif isinstance(result, Receipt) and result.replayed:
                tally.repeated += 1
            else:
                tally.imported += 1
                tally.amount += row.balance
        chunk.bad.sort(key=lambda bad: bad.line)
        tally.failed += len(chunk.bad)
        tally.line = chunk.last_line
        if chunk.bad:
            self._report(chunk.bad)
        await self._save(finished=False)

    async def _save(self, *, finished: bool) -> None:
        if self._runs is not None:
            await self._runs.save(Progress(self.tally.line - 1, self.tally.failed, finished))


def _chunks(lines: Iterable[Line], line: int) -> Iterator[_Chunk]:
    lines = iter(lines)
    while chunk := list(islice(lines, ROWS_PER_CHUNK)):
        line += len(chunk)
        yield _Chunk(chunk, line)


def _passes(result: Result) -> bool:
    """Whether it may well work in a moment."""
    return isinstance(result, RewardsError) and (isinstance(result, StorageError) or result.code in _BUSY)


def _refusal(result: Result) -> str | None:
    """Why the row was not taken, or None."""
    if isinstance(result, RewardsError):
        return _reason(result)
    return str(result.refusal["message"]) if result.refusal is not None else None


def _reason(error: RewardsError) -> str:
    if error.code == "id-reused":
        return "this member was imported before from this source with other content"
    errors = error.details.get("errors") or ()
    return "; ".join(str(each.get("message", "")) for each in errors) or error.message
