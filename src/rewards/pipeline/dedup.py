"""What was seen before, and the answer it had then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.commands import Event
from rewards.domain.errors import IdentityConflict
from rewards.domain.ids import bucket_of
from rewards.domain.outcome import Status
from rewards.pipeline import queries
from rewards.pipeline.load import rows
from rewards.pipeline.submission import Receipt, Submission


@dataclass(frozen=True, slots=True)
class Seen:
    """The dedup row of a command: where its answer lies. `refused` is the code with which it was refused, and nothing done."""

    fingerprint: bytes
    entry_id: UUID
    quarantined: bool
    refused: str | None
    member_id: UUID


def places(submission: Submission) -> Iterable[UUID]:
    """The members under whom a command may have been seen: as sent, the one it became by merges, and all between."""
    if submission.target is None:
        return (submission.member_id,)
    return dict.fromkeys((submission.member_id, *submission.passed, submission.target))


def keys_of(submissions: Sequence[Submission]) -> list[tuple[UUID, UUID]]:
    """The (member, key) under which these commands may have been seen before."""
    return [(member, item.key) for item in submissions if item.key is not None for member in places(item)]


async def seen_before(
    connection: AsyncConnection, program_id: int, submissions: Sequence[Submission]
) -> dict[Submission, Seen]:
    """Dedup rows of these commands."""
    asked = [(item, member) for item in submissions if item.key is not None for member in places(item)]
    found = await rows(
        connection,
        queries.SEEN_BEFORE,
        program_id,
        [bucket_of(member) for _, member in asked],
        [member for _, member in asked],
        [item.key for item, _ in asked],
    )
    seen: dict[Submission, Seen] = {}
    for row in sorted(found, key=lambda row: row.ordinal):
        item, _ = asked[row.ordinal - 1]
        # Decided for the one it became, an event that was quarantined for the member as sent is decided.
        if not (item in seen and row.quarantined):
            seen[item] = Seen(bytes(row.fingerprint), row.entry_id, row.quarantined, row.refused, row.member_id)
    return seen


def check_same(submission: Submission, fingerprint: bytes) -> None:
    """Raises `IdentityConflict` when the id was used for something else."""
    if fingerprint != submission.fingerprint:
        raise IdentityConflict(
            "this event id was used before with other content; nothing was changed. Another event needs another id"
            if isinstance(submission.command, Event)
            else "this Idempotency-Key was used before with other content; nothing was changed. "
            "Another request needs another key, and a repetition the content of the first"
        )


def is_decided(submission: Submission, seen: Seen) -> bool:
    """Whether the command must not be decided again. Only a replay of a quarantined event is."""
    return not (seen.quarantined and isinstance(submission.command, Event) and submission.command.replay)


async def stored_receipts(
    connection: AsyncConnection, program_id: int, repeats: dict[Submission, Seen]
) -> dict[Submission, Receipt]:
    """The answers given the first time, whatever has happened since."""
    receipts: dict[Submission, Receipt] = {}
    for sql, is_event in ((queries.STORED_EVENTS, True), (queries.STORED_ANSWERS, False)):
        wanted = {item: seen for item, seen in repeats.items() if isinstance(item.command, Event) is is_event}
        if not wanted:
            continue
        found = await rows(
            connection,
            sql,
            program_id,
            [bucket_of(seen.member_id) for seen in wanted.values()],
            [seen.member_id for seen in wanted.values()],
            [seen.entry_id for seen in wanted.values()],
        )
        by_id = {row.id: row for row in found}
        make = _event_receipt if is_event else _answer_receipt
        receipts.update({item: make(item, seen, by_id.get(seen.entry_id)) for item, seen in wanted.items()})
    return receipts


def _event_receipt(submission: Submission, _: Seen, row: Any) -> Receipt:
    if row is None:
        command = submission.command
        assert isinstance(command, Event)
        return Receipt(
            Status.DUPLICATE,
            {"id": command.client_id, "status": "duplicate", "effects_expired": True, "effects": []},
            replayed=True,
        )
    answer = row.answer
    return Receipt(
        Status.DUPLICATE,
        {**answer, "status": "duplicate"},
        trace=row.trace or [],
        replayed=True,
        first_status=row.status,
    )


def _answer_receipt(_: Submission, seen: Seen, row: Any) -> Receipt:
    """Past retention a success says that it was one, and a refusal which: a caller must never take one for the other."""
    if row is None and seen.refused is not None:
        message = "this was refused the first time, and nothing was changed; what was said of it then is kept no longer"
        refusal = {"code": seen.refused, "message": message, "details": {"answer_expired": True}}
        return Receipt(Status.DUPLICATE, {}, replayed=True, refusal=refusal)
    if row is None:
        return Receipt(Status.DUPLICATE, {"answer_expired": True}, replayed=True)
    body = row.body
    if row.status:
        return Receipt(Status.DUPLICATE, {}, replayed=True, refusal=body)
    return Receipt(Status.DUPLICATE, body, replayed=True)


def repeat_of(receipt: Receipt) -> Receipt:
    """The receipt for a repeat that came in the same batch as its first."""
    if receipt.refusal is not None:
        return Receipt(Status.DUPLICATE, {}, replayed=True, refusal=receipt.refusal)
    answer = {**receipt.answer, "status": "duplicate"} if "status" in receipt.answer else receipt.answer
    return Receipt(Status.DUPLICATE, answer, trace=receipt.trace, replayed=True)
