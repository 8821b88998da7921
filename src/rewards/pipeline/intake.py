"""Where commands enter: callers name a member and a command, and get the durable answer.

Every transport (HTTP, collectors, imports, the worker) comes through here, so identity is derived in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.domain.commands import (
    Capture,
    Command,
    Event,
    MemberRef,
    MergeIn,
    PlaceHold,
    Release,
    Reverse,
    ReverseReference,
    Spend,
)
from rewards.domain.errors import RewardsError
from rewards.domain.ids import bucket_of
from rewards.domain.play.deciding import refuse_unfit
from rewards.http.auth import CUSTOMER_ACTOR
from rewards.pipeline.dedup import check_same
from rewards.pipeline.identity import Identity
from rewards.pipeline.lanes import Lanes
from rewards.pipeline.programs import Programs, Published
from rewards.pipeline.submission import Receipt, Result, StoredRefusal, Submission

_TAKES_LOTS: Final = (Spend, PlaceHold, Capture, Release, Reverse, ReverseReference, MergeIn)

_ACCEPT_FOR_LATER: Final = """
INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)
SELECT $1, $2, $3, $4, now() + p.clock_offset, $5, $6 FROM program p WHERE p.id = $1
ON CONFLICT (program_id, bucket, member_id, key) DO UPDATE
SET due_at = excluded.due_at, name = excluded.name, payload = excluded.payload, attempts = 0, leased_until = NULL, failure = NULL
WHERE due.failure IS NOT NULL
RETURNING key
"""
"""A repeat of what still waits changes nothing. One that was set aside was never decided: its id may be sent anew, put right."""

_FINGERPRINTS: Final = """
SELECT decode(u.payload ->> 'fingerprint', 'hex') AS fingerprint FROM due u
WHERE u.program_id = $1 AND u.bucket = $2 AND u.member_id = $3 AND u.key = $4 AND u.payload ->> 'fingerprint' IS NOT NULL
UNION ALL
SELECT d.fingerprint FROM dedup d
WHERE d.program_id = $1 AND d.bucket = $2 AND d.member_id = $3 AND d.key = $4
"""
"""What waits under the key, and what was decided under it: each must be what is sent now."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A command with the member it is for. `content` is what the sender sent, for the fingerprint; `client_id` its id.

    Without a `client_id` the command is never taken for a repeat.
    """

    ref: MemberRef
    command: Command
    client_id: str | None
    content: Any
    actor: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A quarantined event as stored, with its dedup key and fingerprint. `ref` is the member whose row holds it."""

    ref: MemberRef
    event: Event
    key: UUID
    fingerprint: bytes
    actor: str


class Intake:
    """Turns addressed commands into submissions and hands them to the lanes."""

    def __init__(
        self, programs: Programs, lanes: Lanes, engine: AsyncEngine, *, due_written: Callable[[], None] = lambda: None
    ) -> None:
        self._due_written = due_written
        self._programs = programs
        self._lanes = lanes
        self._engine = engine

    async def published(self, program_id: int) -> Published:
        """The published program as known here. Raises `NothingPublished`."""
        return await self._programs.get(program_id)

    async def one(self, program_id: int, addressed: Addressed) -> Receipt:
        """The durable answer. Raises what the command was refused with, now or the first time."""
        published = await self._programs.get(program_id)
        receipt = await self._lanes.submit(submission(published, addressed))
        return accepted(receipt)

    async def many(self, program_id: int, items: Sequence[Addressed]) -> list[Result]:
        """An answer or an error for each, in order. Raises `Overloaded` when there is no room for all of them."""
        published = await self._programs.get(program_id)
        return await self._lanes.submit_all([submission(published, item) for item in items])

    async def again(self, program_id: int, items: Sequence[Quarantined]) -> list[Result]:
        """Decides quarantined events once more, under the identity they had; one that was decided meanwhile is a duplicate.

        One that still does not fit the program is an error and stays quarantined.
        """
        published = await self._programs.get(program_id)
        return await self._lanes.submit_all([_resubmission(published, item) for item in items])

    async def later(self, program_id: int, addressed: Addressed, *, name: str, payload: dict[str, Any]) -> UUID:
        """Stores the command durably, to be decided soon by a worker; returns its key.

        Raises, nothing changed, `IdentityConflict` when the id was used for something else, be that decided or waiting, and
        `InvalidInput` for a new event that could only be refused.
        """
        published = await self._programs.get(program_id)
        made = submission(published, addressed)
        assert made.key is not None, "what is accepted for later has an id"
        place = (program_id, bucket_of(made.member_id), made.member_id, made.key)
        kept = msgspec.json.encode({**payload, "fingerprint": made.fingerprint.hex()}).decode()

        async def accept(connection: AsyncConnection) -> None:
            written = (await connection.exec_driver_sql(_ACCEPT_FOR_LATER, (*place, name, kept))).all()
            # Asked after writing, which waits for a twin of the same moment.
            known = (await connection.exec_driver_sql(_FINGERPRINTS, place)).all()
            for found in known:
                check_same(made, bytes(found.fingerprint))
            # A repeat is accepted as it was the first time, whatever the program says by now.
            if isinstance(made.command, Event) and len(known) == len(written):
                refuse_unfit(published.program, made.command)

        await transact(self._engine, accept)
        self._due_written()
        return made.key


def _resubmission(published: Published, item: Quarantined) -> Submission:
    event = replace(item.event, replay=True)
    made = submission(published, Addressed(item.ref, event, event.client_id, None, item.actor))
    made.key, made.fingerprint = item.key, item.fingerprint
    return made


def submission(published: Published, addressed: Addressed) -> Submission:
    """Derives the identity of a command."""
    identity = published.identity
    command = addressed.command
    key = None if addressed.client_id is None else _key(identity, addressed, addressed.client_id)
    kind = published.program.event_type(command.type) if isinstance(command, Event) else None
    return Submission(
        program_id=published.program_id,
        ref=addressed.ref,
        member_id=identity.member(addressed.ref),
        key=key,
        fingerprint=identity.fingerprint(addressed.content),
        command=command,
        actor=addressed.actor,
        lots_needed=isinstance(command, _TAKES_LOTS) or (kind is not None and kind.key in published.program.needs_lots),
    )


def _key(identity: Identity, addressed: Addressed, client_id: str) -> UUID:
    if isinstance(addressed.command, Event):
        return identity.event(addressed.ref, addressed.command.sent_by, client_id)
    # A customer's idempotency keys are the customer's own: none can use up one that the app's server is going to send.
    scope = "my command" if addressed.actor.startswith(CUSTOMER_ACTOR) else "command"
    return identity.command(addressed.ref, scope, client_id)


def accepted(result: Result) -> Receipt:
    """The receipt, or raises the refusal in it."""
    if isinstance(result, RewardsError):
        raise result
    if result.refusal is not None:
        refusal = result.refusal
        raise StoredRefusal(refusal["code"], refusal["message"], refusal["details"], replayed=result.replayed)
    return result
