"""Runs simulations: a document over a file of events or over what the database recorded, spread over processes.

Each job is one document over one part of the events, in a process of its own; nothing is written anywhere.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from rewards.domain.commands import Event, MemberRef
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import Program
from rewards.domain.replay import replay_id
from rewards.domain.simulation import REJECTED, Marks, Person, Simulation, Tally, members_apart
from rewards.features.programs.event_file import BadLine, Line, Part, Rejected, index_file, read_part

PROCESSES_MAX: Final = 2
INLINE_EVENTS_MAX: Final = 20_000
"""Up to so many events, starting processes would take longer than deciding."""
REPORT_EVENTS: Final = 2_000
POLL_SECONDS: Final = 0.2

Progress = Callable[[str, int, int], None]
"""Hears (stage, done, total)."""


@dataclass(frozen=True, slots=True)
class Written:
    """A document as it was written, and the rules that are paused."""

    source: bytes
    paused: frozenset[str] = frozenset()

    def compiled(self) -> Program:
        """Raises `InvalidProgram`."""
        document = check_bytes(self.source).document
        if document is None:
            raise InvalidInput("the document has mistakes; `rewards program check` lists them")
        return compile_program(document, version=0, paused=self.paused)


@dataclass(slots=True)
class Counted:
    """What one document did with the events."""

    tally: Tally = field(default_factory=Tally)
    marks: list[Marks] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Untold:
    """A figure that tells nothing of what was recorded until then, and `why`; of how many `events`, where that is known."""

    figure: str
    until: datetime
    why: str
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Simulated:
    """The events decided by `after` and, if there is one, by `before`. `affected` members got something else.

    `bad` are the first lines of a file that are no events, of `bad_count`; `rejected` and `rejected_before` the first events
    of it that either document rejected, of as many as its tally counts.
    """

    after: Tally
    before: Tally | None
    events: int
    members: int
    affected: int | None
    until: datetime | None
    bad: Sequence[BadLine] = ()
    bad_count: int = 0
    rejected: Sequence[BadLine] = ()
    rejected_before: Sequence[BadLine] = ()
    untold: Sequence[Untold] = ()


@dataclass(frozen=True, slots=True)
class FileJob:
    """One document over one part of a file."""

    written: Written
    part: Part
    apart: bool
    horizon: datetime

    def run(self, report: Callable[[int], None]) -> tuple[Tally, Marks, Rejected]:
        rejected = Rejected()
        simulation = Simulation(self.written.compiled(), apart=self.apart, horizon=self.horizon)
        feed = _feed_apart if self.apart else _feed
        done = 0
        for count in feed(simulation, rejected, self.part):
            done += count
            if done >= REPORT_EVENTS:
                report(done)
                done = 0
        report(done)
        return simulation.finish(), simulation.marks, rejected


def _feed(simulation: Simulation, rejected: Rejected, part: Part) -> Iterator[int]:
    """Events of all members in time order. Ids are remembered as 8 bytes of their hash."""
    people: dict[int, Person] = {}
    seen: set[bytes] = set()
    for offset, number, line in read_part(part):
        yield 1
        if isinstance(line, str):
            simulation.tally.count(REJECTED)
            rejected.add(offset, line)
            continue
        key = blake2b(f"{number}:{line.id}".encode(), digest_size=8).digest()
        if key in seen:
            simulation.duplicate()
            continue
        seen.add(key)
        person = people.get(number)
        if person is None:
            person = people[number] = _person(line)
        error = _decide(simulation, number, person, line)
        if error is not None:
            rejected.add(offset, error.message)


def _feed_apart(simulation: Simulation, rejected: Rejected, part: Part) -> Iterator[int]:
    """Events of one member after the other."""
    first = part.numbers[0]
    current, person, seen = -1, None, set[str]()
    for offset, number, line in read_part(part):
        yield 1
        if isinstance(line, str):
            simulation.tally.count(REJECTED)
            rejected.add(offset, line)
            continue
        if number != current or person is None:
            current, person = number, _person(line)
            seen.clear()
        if line.id in seen:
            simulation.duplicate()
            continue
        seen.add(line.id)
        error = _decide(simulation, number - first, person, line)
        if error is not None:
            rejected.add(offset, error.message)


def _decide(simulation: Simulation, number: int, person: Person, line: Line) -> RewardsError | None:
    event = Event(line.id, line.type, line.occurred_at, line.properties, line.context)
    return simulation.event(number, person, event, line.received_at or line.occurred_at, line.attributes)


def _person(line: Line) -> Person:
    ref = MemberRef.parse(line.member)
    return Person(replay_id(ref), ref)


def simulate_file(
    path: Path, after: Written, before: Written | None, progress: Progress, *, processes: int | None = None
) -> Simulated:
    """Decides the events of a file by one document, or by two to compare. Raises `InvalidInput` for a wrong document."""
    size = path.stat().st_size
    read = 0

    def indexed(more: int) -> None:
        nonlocal read
        read += more
        progress("reading", read, size)

    documents = [after] if before is None else [after, before]
    apart = all(members_apart(document.compiled()) for document in documents)
    index = index_file(path, indexed)
    if index.until is None:
        empty = Tally()
        return Simulated(empty, None if before is None else Tally(), 0, 0, None, None, index.bad, index.bad_count)
    chosen = processes_for(index.events * len(documents), processes)
    parts = index.parts(chosen, apart=apart)
    jobs = [FileJob(written, part, apart, index.until) for part in parts for written in documents]
    total = index.events * len(documents)
    counted = run_jobs(jobs, chosen, lambda done: progress("deciding", done, total))
    sides = [join_parts([each[:2] for each in counted[at :: len(documents)]]) for at in range(len(documents))]
    refused = [_first_of(path, [each[2] for each in counted[at :: len(documents)]]) for at in range(len(documents))]
    affected = None
    if before is not None:
        affected = sum(mine.differing(other) for mine, other in zip(sides[0].marks, sides[1].marks, strict=True))
    return Simulated(
        sides[0].tally,
        sides[1].tally if before is not None else None,
        index.events,
        index.members,
        affected,
        index.until,
        index.bad,
        index.bad_count,
        refused[0],
        refused[1] if before is not None else (),
    )


def _first_of(path: Path, parts: Sequence[Rejected]) -> list[BadLine]:
    joined = Rejected()
    for part in parts:
        joined.join(part)
    return joined.lines(path)


def processes_for(events: int, wanted: int | None) -> int:
    """How many processes to spread so many decisions over."""
    if events <= INLINE_EVENTS_MAX:
        return 1
    return wanted or min(PROCESSES_MAX, os.cpu_count() or 1)


def join_parts(counted: Sequence[tuple[Tally, Marks]]) -> Counted:
    """The parts of one side; marks stay apart, since members are numbered within a part."""
    joined = Counted()
    for tally, marks in counted:
        joined.tally.add(tally)
        joined.marks.append(marks)
    return joined


_done: Any = None


def _begin(done: Any) -> None:
    """In a new process: where it counts what is done."""
    global _done  # noqa: PLW0603 - the pool offers no other way to hand a shared value over
    _done = done


def _report(more: int) -> None:
    with _done.get_lock():
        _done.value += more


def _run(job: Any) -> Any:
    return job.run(_report)


def run_jobs(jobs: Sequence[Any], processes: int, progress: Callable[[int], None]) -> list[Any]:
    """The results in order. Each job has `run(report)`; with one process they run here, one after the other."""
    if processes <= 1:
        total = 0

        def report(more: int) -> None:
            nonlocal total
            total += more
            progress(total)

        return [job.run(report) for job in jobs]
    context = multiprocessing.get_context("spawn")
    done = context.Value("Q", 0)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(done,)) as pool:
        futures: list[Future[Any]] = [pool.submit(_run, job) for job in jobs]
        waiting = set(futures)
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                progress(done.value)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]
