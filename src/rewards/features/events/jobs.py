"""Commands that have come due: accepted for later, sent by another member's command, or woken by silence.

Rows are claimed in batches with a lease. The command's own transaction deletes its row, so it runs once however often a
worker dies; a lease that ends makes the row claimable again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Histogram
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import StorageError, transact
from rewards.domain import refunding
from rewards.domain.commands import AwardPrize, Command, Due, Event, MemberRef, MergeIn, SentBy
from rewards.domain.errors import MemberErased, RewardsError
from rewards.domain.play.questing import sending
from rewards.features.events.schemas import EventIn
from rewards.pipeline.attempt import TooManyAttempts
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.lanes import Lanes, Overloaded, ShuttingDown
from rewards.pipeline.load import rows
from rewards.pipeline.programs import UNREADABLE, Programs, Published
from rewards.pipeline.submission import Submission

log = structlog.get_logger("rewards.worker")

WAKE: Final = "wake"
CLAIM_MAX: Final = 500
LEASE_SECONDS: Final = 30

_HAPPENS_TO_MEMBERS: Final = sending.NAMES | {WAKE, "prize"}
"""Of an erased member these are dropped, and nobody needs to see to it."""

POSTPONED: Final = (StorageError, Overloaded, ShuttingDown, TooManyAttempts)
"""Nothing is wrong with the command itself: it is tried again when its lease ends."""

_READY: Final = """c.due_at <= p.now AND c.failure IS NULL AND (c.leased_until IS NULL OR c.leased_until < now())"""

CLAIM: Final = f"""
WITH waiting AS MATERIALIZED (
    SELECT p.id, p.now, greatest($1::int / count(*) OVER (), 1) AS share
    FROM (SELECT id, now() + clock_offset AS now FROM program WHERE $3::int IS NULL OR id = $3 OFFSET 0) p
    CROSS JOIN LATERAL (SELECT 1 FROM due c WHERE c.program_id = p.id AND {_READY} ORDER BY c.due_at LIMIT 1) c
)
UPDATE due d SET leased_until = now() + make_interval(secs => $2), attempts = least(d.attempts + 1, 1000)
FROM (
    SELECT c.*, extract(epoch FROM p.now - c.due_at)::float8 AS late_seconds
    FROM waiting p
    CROSS JOIN LATERAL (
        SELECT c.program_id, c.bucket, c.member_id, c.key, c.due_at FROM due c
        WHERE c.program_id = p.id AND {_READY}
        ORDER BY c.due_at LIMIT p.share
        FOR UPDATE SKIP LOCKED
    ) c
) ready
WHERE d.program_id = ready.program_id AND d.bucket = ready.bucket AND d.member_id = ready.member_id AND d.key = ready.key
RETURNING d.program_id, d.bucket, d.member_id, d.key, d.name, d.payload, d.due_at, ready.late_seconds
"""
"""Each program by its own clock, so that none reads what is still to come in another, and those for which something is due
share what one claim may take: no backlog of one keeps the others waiting. Of a program what was due first comes first."""

SET_ASIDE: Final = """
UPDATE due SET failure = $5, due_at = 'infinity'
WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND key = $4
"""
"""A command that can never run is kept where people can find it, and claimed no more."""

FORGET: Final = "DELETE FROM due WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND key = $4"

LATENESS_BUCKETS_SECONDS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)


class Unreadable(RewardsError):
    """A row of `due` holds no command that this version of the service knows."""

    code = "unreadable"


class Lateness:
    """How long after its moment a command was done, by the program's clock."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "rewards_due_lateness_seconds",
            "From the moment at which a command fell due until it was done.",
            ("name",),
            buckets=LATENESS_BUCKETS_SECONDS,
            registry=registry,
        )

    def observe(self, name: str, seconds: float) -> None:
        self._seconds.labels(name).observe(max(0.0, seconds))


@dataclass(frozen=True, slots=True)
class DueCommands:
    """Claims what is due and submits it. `run` returns how many were taken up, zero when nothing is left or all was put off."""

    engine: AsyncEngine
    programs: Programs
    lanes: Lanes
    lateness: Lateness | None = None

    async def run(self, program_id: int | None = None) -> int:
        """Of one program, or of all."""

        async def claim(connection: AsyncConnection) -> list[Any]:
            return list(await rows(connection, CLAIM, CLAIM_MAX, LEASE_SECONDS, program_id))

        claimed: list[Any] = await transact(self.engine, claim)
        by_program: dict[int, list[Any]] = {}
        for row in sorted(claimed, key=lambda row: row.due_at):
            by_program.setdefault(row.program_id, []).append(row)
        return sum([await self._run_program(program_id, rows) for program_id, rows in by_program.items()])

    async def _run_program(self, program_id: int, claimed: list[Any]) -> int:
        began = time.monotonic()
        try:
            published = await self.programs.get(program_id)
            ready = await self._readable(published, claimed)
            results = await self.lanes.submit_all(list(ready))
        except (*POSTPONED, *UNREADABLE) as error:
            why = error.code if isinstance(error, RewardsError) else type(error).__name__
            log.warning("due_commands_postponed", program_id=program_id, count=len(claimed), code=why)
            return 0  # claiming more at once would only put off more
        for row, result in zip(ready.values(), results, strict=True):
            if isinstance(result, MemberErased) and row.name in _HAPPENS_TO_MEMBERS:
                await self._forget(row)  # nothing will ever happen to an erased member by itself
            elif isinstance(result, RewardsError) and not isinstance(result, POSTPONED):
                await self._set_aside(row, result)
            elif self.lateness is not None and not isinstance(result, RewardsError):
                self.lateness.observe(row.name, row.late_seconds + time.monotonic() - began)
        return len(claimed)

    async def _readable(self, published: Published, claimed: list[Any]) -> dict[Submission, Any]:
        """The commands, each with its row. A row that holds none is set aside."""
        ready: dict[Submission, Any] = {}
        for row in claimed:
            try:
                ready[_submission(published, row)] = row
            except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as wrong:
                await self._set_aside(row, Unreadable(f"{type(wrong).__name__}: {wrong}"))
            except RewardsError as wrong:
                await self._set_aside(row, wrong)
        return ready

    async def _forget(self, row: Any) -> None:
        arguments = (row.program_id, row.bucket, row.member_id, row.key)
        await transact(self.engine, lambda connection: connection.exec_driver_sql(FORGET, arguments))

    async def _set_aside(self, row: Any, error: RewardsError) -> None:
        log.error("due_command_set_aside", program_id=row.program_id, name=row.name, code=error.code)
        arguments = (row.program_id, row.bucket, row.member_id, row.key, f"{error.code}: {error.message}")
        await transact(self.engine, lambda connection: connection.exec_driver_sql(SET_ASIDE, arguments))


def _submission(published: Published, row: Any) -> Submission:
    payload = row.payload
    make = _MAKE[row.name]
    made = make(published, row, payload)
    made.due = row.key
    return made


def _event(published: Published, row: Any, payload: dict[str, Any]) -> Submission:
    """An event counts as received when it was accepted, however long it waited: so it is not late by our own fault."""
    sent = msgspec.convert(payload["event"], EventIn)
    # What was accepted before senders were told apart only says whether a browser sent it; its key holds all the same.
    sent_by: SentBy = payload.get("sent_by") or ("public" if payload["client"] else "server")
    made = submission(published, sent.addressed(actor=payload["actor"], sent_by=sent_by))
    made.key = row.key
    if "fingerprint" in payload:  # of what was sent: stored as JSON a number may come back written otherwise
        made.fingerprint = bytes.fromhex(payload["fingerprint"])
    event = made.command
    assert isinstance(event, Event)
    made.command = replace(event, occurred_at=event.occurred_at or row.due_at, received_at=row.due_at)
    return made


def _leg(published: Published, row: Any, payload: dict[str, Any]) -> Submission:
    command: Command = MergeIn(origin=payload["origin"], parcel=payload)
    made = submission(published, Addressed(_ref(payload), command, None, payload, "system"))
    made.key = row.key
    return made


def _pass_on(published: Published, row: Any, payload: dict[str, Any]) -> Submission:
    # The row's key says which refund this belongs to, and it is passed on once.
    command = refunding.command_of(payload)
    return Submission(published.program_id, MemberRef("user", ""), row.member_id, row.key, b"", command)


def _wake(published: Published, row: Any, _: dict[str, Any]) -> Submission:
    # The member is known by its row alone; a wake-up is never a repeat.
    return Submission(published.program_id, MemberRef("user", ""), row.member_id, None, b"", Due())


def _prize(published: Published, row: Any, payload: dict[str, Any]) -> Submission:
    # The member is known by its row alone; the row's key says which prize of which period this is, and it is paid once.
    prize = AwardPrize(**payload)
    return Submission(published.program_id, MemberRef("user", ""), row.member_id, row.key, b"", prize)


def _of_team(published: Published, row: Any, payload: dict[str, Any]) -> Submission:
    # The row's key says which contribution this is, or whose reward for what, and it is done once.
    command = sending.command_of(row.name, payload)
    return Submission(published.program_id, _ref(payload), row.member_id, row.key, b"", command)


def _ref(payload: dict[str, Any]) -> MemberRef:
    return MemberRef(payload["kind"], payload["external_id"])


_MAKE: Final[dict[str, Callable[[Published, Any, dict[str, Any]], Submission]]] = {
    "event": _event,
    "merge_in": _leg,
    refunding.NAME: _pass_on,
    WAKE: _wake,
    "prize": _prize,
    **dict.fromkeys(sending.NAMES, _of_team),
}
