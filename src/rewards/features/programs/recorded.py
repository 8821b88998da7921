"""Simulations over what the database recorded: events stream from a snapshot in time order and are decided anew.

A member that was merged counts as the one it became. Attributes, locale and time zone are as they are today, since only
events are decided again; points that apps moved themselves stay out on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.engine import make_engine
from rewards.db.transact import snapshot
from rewards.domain.commands import Event, MemberRef
from rewards.domain.ids import BUCKETS, id_floor
from rewards.domain.outcome import Status
from rewards.domain.program.compiled import Program
from rewards.domain.recorded import TIME_PASSED
from rewards.domain.simulation import Flow, Marks, Person, Simulation, Tally, liability, members_apart
from rewards.features.programs.simulate import (
    REPORT_EVENTS,
    Progress,
    Simulated,
    Untold,
    Written,
    join_parts,
    processes_for,
    run_jobs,
)

STATEMENT_SECONDS_MAX: Final = 3_600.0
ROWS_PER_FETCH: Final = 2_000
MERGES_MAX: Final = 1_000
"""There are no circles of merges; the bound is for damaged data."""
_decode = msgspec.json.decode

_PERSON: Final = "coalesce(became.person, e.member_id)"
_EVENTS: Final = f"""
WITH RECURSIVE path AS (
    SELECT m.member_id AS origin, m.merged_into AS person, 1 AS step
    FROM member m
    WHERE m.program_id = :program AND m.merged_into IS NOT NULL
    UNION ALL
    SELECT path.origin, m.merged_into, path.step + 1
    FROM path
    JOIN member m ON m.program_id = :program AND m.bucket = get_byte(uuid_send(path.person), 0) AND m.member_id = path.person
    WHERE m.merged_into IS NOT NULL AND path.step < {MERGES_MAX}
), became AS (
    SELECT DISTINCT ON (origin) origin, person FROM path ORDER BY origin, step DESC
)
SELECT {_PERSON} AS person, e.client_id, e.type, e.status, e.occurred_at, e.recorded_at, e.properties::text AS properties,
       e.context::text AS context, e.answer::text AS answer, e.trace::text AS trace, e.sent_by, p.kind, p.external_id,
       p.attributes::text AS attributes, p.locale, p.timezone
FROM event e
LEFT JOIN became ON became.origin = e.member_id
JOIN member p ON p.program_id = e.program_id AND p.member_id = {_PERSON}
             AND p.bucket = get_byte(uuid_send({_PERSON}), 0)
WHERE e.program_id = :program AND e.id >= :since AND e.id < :until AND p.external_id IS NOT NULL
  AND p.bucket >= :low AND p.bucket < :high
"""
"""Each event with the person that its member has become, through all merges since."""
_BY_TIME: Final = " ORDER BY e.id"
_BY_MEMBER: Final = " ORDER BY person, e.id"

_SIZE: Final = """
SELECT count(*) AS events, min(recorded_at) AS first, max(recorded_at) AS last, min(id::text)::uuid AS first_id
FROM event WHERE program_id = :program AND id >= :since AND id < :until
"""

_EARLIER: Final = """
SELECT EXISTS (
    SELECT FROM transaction WHERE program_id = :program AND id >= :since AND event_id >= :since AND event_id < :first
)
"""
"""Whether there is something in the ledger of events that are recorded no longer."""

_FLOWS: Final = """
SELECT t.currency,
       coalesce(sum(p.amount) FILTER (WHERE p.debit = 10), 0)::bigint AS issued,
       (coalesce(sum(p.amount) FILTER (WHERE p.credit = 11), 0)
        - coalesce(sum(p.amount) FILTER (WHERE p.debit = 11), 0))::bigint AS redeemed,
       coalesce(sum(p.amount) FILTER (WHERE p.credit = 13), 0)::bigint AS revoked,
       coalesce(sum(p.amount) FILTER (WHERE p.credit = 12), 0)::bigint AS expired
FROM transaction t
JOIN posting p ON p.program_id = t.program_id AND p.bucket = t.bucket AND p.member_id = t.member_id
              AND p.transaction_id = t.id
LEFT JOIN lot l ON l.program_id = p.program_id AND l.bucket = p.bucket AND l.member_id = p.member_id AND l.id = p.lot_id
WHERE t.program_id = :program AND t.id >= :since AND t.id < :until AND p.transaction_id >= :since
  AND p.transaction_id < :until
  AND (t.event_id IS NOT NULL OR (t.kind = 'expire' AND l.rule LIKE 'rule:%'))
GROUP BY t.currency
"""
"""What rules did with points, from the postings: what they issued, spent and took back, and what of it has expired."""

_BUDGETS: Final = "SELECT key, used FROM counter WHERE program_id = :program"


@dataclass(frozen=True, slots=True)
class Recording:
    """Events that a program recorded from `since` until before `until`."""

    database_url: str
    role: str | None
    program_id: int
    since: datetime
    until: datetime

    @property
    def parameters(self) -> dict[str, Any]:
        return {"program": self.program_id, "since": id_floor(self.since), "until": id_floor(self.until)}

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """One read-only snapshot, with time for long statements."""
        engine = make_engine(
            self.database_url,
            application_name="rewards simulate",
            role=self.role,
            pool_size=1,
            statement_timeout_seconds=STATEMENT_SECONDS_MAX,
            idle_in_transaction_timeout_seconds=STATEMENT_SECONDS_MAX,
        )
        try:
            async with snapshot(engine) as connection:
                yield connection
        finally:
            await engine.dispose()


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """One document over the recorded events of some buckets; `answers`: count what was answered then, too."""

    recording: Recording
    written: Written
    apart: bool
    horizon: datetime
    low: int
    high: int
    answers: bool

    def run(self, report: Callable[[int], None]) -> tuple[Tally, Marks, Tally, Marks]:
        """The new tally and marks, then those of the recorded answers."""
        return asyncio.run(self._run(report))

    async def _run(self, report: Callable[[int], None]) -> tuple[Tally, Marks, Tally, Marks]:
        simulation = Simulation(self.written.compiled(), apart=self.apart, horizon=self.horizon)
        recorded, marks = Tally(), Marks()
        people: dict[UUID, tuple[int, Person]] = {}
        held_back: set[tuple[Any, ...]] = set()
        statement = text(_EVENTS + (_BY_MEMBER if self.apart else _BY_TIME))
        parameters = {**self.recording.parameters, "low": self.low, "high": self.high}
        members = done = 0
        async with self.recording.connected() as connection:
            rows = await connection.stream(statement, parameters, execution_options={"yield_per": ROWS_PER_FETCH})
            async for row in rows:
                known = people.get(row.person)
                if known is None:
                    if self.apart:
                        people.clear()
                        held_back.clear()
                    known = people[row.person] = (members, _person(row))
                    members += 1
                number, person = known
                if _is_replay(row, held_back):
                    simulation.duplicate()
                elif row.type != TIME_PASSED:  # what time did, the simulation finds out for itself
                    event = Event(
                        row.client_id,
                        row.type,
                        row.occurred_at,
                        _object(row.properties),
                        _object(row.context),
                        row.sent_by or "server",
                    )
                    simulation.event(number, person, event, row.recorded_at)
                if self.answers:
                    _count(recorded, marks, number, row)
                done += 1
                if done % REPORT_EVENTS == 0:
                    report(REPORT_EVENTS)
        report(done % REPORT_EVENTS)
        return simulation.finish(), simulation.marks, recorded, marks


def _is_replay(row: Any, held_back: set[tuple[Any, ...]]) -> bool:
    """Whether the event is recorded a second time, since it was quarantined at first and then replayed. Whether it fits the
    document, and what it brings then, was decided when it came.
    """
    event = (row.person, row.sent_by, row.client_id, row.occurred_at)
    if row.status == Status.QUARANTINED:
        held_back.add(event)
        return False
    return event in held_back


def _person(row: Any) -> Person:
    return Person(row.person, MemberRef(row.kind, row.external_id), _object(row.attributes), row.locale, row.timezone)


def _object(encoded: str | None) -> Mapping[str, Any]:
    decoded: Mapping[str, Any] = _decode(encoded) if encoded else {}
    return decoded


def _count(recorded: Tally, marks: Marks, number: int, row: Any) -> None:
    if row.type != TIME_PASSED:
        recorded.count(row.status)
    effects = _object(row.answer).get("effects", [])
    if row.trace is None:
        recorded.untraced += 1
        recorded.untraced_until = max(row.recorded_at, recorded.untraced_until or row.recorded_at)
    recorded.explain(_decode(row.trace) if row.trace else [], effects)
    if effects:
        marks.add(number, effects)


def simulate_recorded(
    recording: Recording,
    after: Written,
    before: Written | None,
    progress: Progress,
    *,
    published: Program,
    processes: int | None = None,
) -> Simulated:
    """Decides recorded events anew, compared with `before` or with what was answered then.

    `published` values the recorded points. Raises `InvalidInput` for a wrong document.
    """
    documents = [after] if before is None else [after, before]
    apart = all(members_apart(document.compiled()) for document in documents)
    facts = asyncio.run(_facts(recording))
    last = facts.last
    if last is None:
        return Simulated(Tally(), Tally(), 0, 0, 0, None)
    events = facts.events
    chosen = processes_for(events * len(documents), processes)
    cuts = [BUCKETS * part // chosen for part in range(chosen + 1)] if apart else [0, BUCKETS]
    jobs = [
        RecordedJob(recording, written, apart, last, low, high, answers=before is None)
        for low, high in pairwise(cuts)
        for written in documents
    ]
    total = events * len(documents)
    counted = run_jobs(jobs, chosen, lambda done: progress("deciding", done, total))
    side = join_parts([(tally, marks) for tally, marks, _, _ in counted[:: len(documents)]])
    if before is None:
        other = join_parts([(tally, marks) for _, _, tally, marks in counted])
        other.tally.currencies = facts.flows
        other.tally.budgets = facts.budgets
        other.tally.liability = liability(published.currencies, facts.flows)
    else:
        other = join_parts([(tally, marks) for tally, marks, _, _ in counted[1::2]])
    affected = sum(mine.differing(theirs) for mine, theirs in zip(side.marks, other.marks, strict=True))
    untold = [] if before is not None else _untold(facts, other.tally)
    return Simulated(side.tally, other.tally, side.tally.events, side.tally.members, affected, last, untold=untold)


def _untold(facts: _Facts, recorded: Tally) -> list[Untold]:
    found = []
    if facts.earlier is not None:
        why = f"Events before {facts.earlier:%Y-%m-%d %H:%M} UTC are recorded no longer: what they brought counts on neither side."
        found.append(Untold("events", facts.earlier, why))
    if recorded.untraced_until is not None:
        why = (
            f"Of {recorded.untraced:,} of the recorded events, the last of {recorded.untraced_until:%Y-%m-%d %H:%M} UTC, the traces"
            " are kept no longer (REWARDS_TRACE_RETENTION_DAYS): the firings and refusals of rules that were recorded are those"
            " of the others. What the events brought is known from their answers."
        )
        found.append(Untold("before.rules.*.results", recorded.untraced_until, why, recorded.untraced))
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    """How many events there are, the moment of the last, and what became of the points that rules issued. `earlier`: from
    when on there are some, if there were others before, which are recorded no longer.
    """

    events: int
    last: datetime | None
    earlier: datetime | None
    flows: dict[str, Flow]
    budgets: dict[str, int]


async def _facts(recording: Recording) -> _Facts:
    parameters = recording.parameters
    earlier = None
    flows: dict[str, Flow] = {}
    async with recording.connected() as connection:
        size = (await connection.execute(text(_SIZE), parameters)).one()
        if size.first_id is not None:
            before = {"program": recording.program_id, "since": parameters["since"], "first": size.first_id}
            earlier = size.first if (await connection.execute(text(_EARLIER), before)).scalar_one() else None
            # The ledger is kept for good. Of events that are not, the other side knows nothing either.
            parameters["since"] = size.first_id
        for row in await connection.execute(text(_FLOWS), parameters):
            left = row.issued - row.redeemed - row.revoked - row.expired
            flows[row.currency] = Flow(row.issued, row.redeemed, row.revoked, row.expired, left)
        found = await connection.execute(text(_BUDGETS), {"program": recording.program_id})
        budgets = {row.key: row.used for row in found}
    return _Facts(size.events, size.last, earlier, flows, budgets)
