"""What is stored of a command itself: the event or the answer, what makes it happen once, and what it leaves to run later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from rewards.domain.commands import Event
from rewards.domain.ids import bucket_of
from rewards.domain.outcome import Status
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_json = msgspec.json.Encoder().encode


def _events(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        outcome = decided.outcome
        if outcome is None or outcome.event is None:
            continue
        event = outcome.event
        yield (
            outcome.state.bucket,
            outcome.state.id,
            outcome.id,
            event.client_id,
            event.type,
            outcome.status.value,
            writes.program.version,
            event.occurred_at,
            outcome.now,
            _json(event.properties).decode(),
            _json(event.context).decode() if event.context else None,
            _json(outcome.answer if event.answer is None else event.answer).decode(),
            _json(outcome.trace).decode(),
            _json(event.contributions).decode() if event.contributions else None,
            event.sent_by,
        )


def _answers(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        # An event's answer stands with it. What another command did may be kept like an event, beside its answer.
        if decided.entry_id is None or (decided.outcome is not None and isinstance(decided.submission.command, Event)):
            continue
        refusal = decided.receipt.refusal
        member = decided.submission.row_id
        yield (
            bucket_of(member),
            member,
            decided.entry_id,
            0 if refusal is None else 1,
            _json(decided.receipt.answer if refusal is None else refusal).decode(),
        )


def _dedup(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        submission = decided.submission
        if decided.entry_id is None or submission.key is None:
            continue
        # After a merge the member as sent has a row too: it had the command quarantined, or somebody who has not heard of the
        # merge is about to refuse it there.
        refusal = decided.receipt.refusal
        for member in {submission.row_id, submission.member_id}:
            yield (
                bucket_of(member),
                member,
                submission.key,
                submission.fingerprint,
                decided.entry_id,
                decided.receipt.status is Status.QUARANTINED,
                None if refusal is None else refusal["code"],
            )


def _due(writes: Writes) -> Iterator[Row]:
    # A member has one wake-up, and what its last command of the batch arranged holds.
    wakes: dict[UUID, datetime] = {}
    for decided in writes.decided:
        outcome = decided.outcome
        if outcome is None:
            continue
        if outcome.wake_at is not None:
            wakes[outcome.state.id] = outcome.wake_at
        for leg in outcome.legs:
            key = writes.identity.leg(outcome.id.bytes, leg.ordinal)
            payload = {"kind": leg.kind, "external_id": leg.external_id, **leg.payload}
            yield bucket_of(leg.member), leg.member, key, outcome.now, leg.name, _json(payload).decode()
    for member, wake_at in wakes.items():
        yield bucket_of(member), member, writes.identity.wake(member), wake_at, "wake", "{}"


def _taken_back(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        outcome = decided.outcome
        if outcome is not None:
            for event, member in outcome.taken_back.items():
                yield bucket_of(member), member, event, outcome.now


def _settled(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        submission = decided.submission
        if submission.due is None:
            continue
        # A wake-up that arranges the next one keeps its row: `_due` moves it.
        outcome = decided.outcome
        if outcome is None or outcome.wake_at is None or submission.due != writes.identity.wake(outcome.state.id):
            yield bucket_of(submission.member_id), submission.member_id, submission.due


_EVENT = (
    *MEMBER_COLUMNS,
    ("id", "uuid"),
    ("client_id", "text"),
    ("type", "text"),
    ("status", "text"),
    ("program_version", "int"),
    ("occurred_at", "timestamptz"),
    ("recorded_at", "timestamptz"),
    ("properties", "json"),
    ("context", "json"),
    ("answer", "json"),
    ("trace", "json"),
    ("contributions", "json"),
    ("sent_by", "text"),
)
_ANSWER = (*MEMBER_COLUMNS, ("id", "uuid"), ("status", "smallint"), ("body", "json"))
_DEDUP = (
    *MEMBER_COLUMNS,
    ("key", "uuid"),
    ("fingerprint", "bytea"),
    ("entry_id", "uuid"),
    ("quarantined", "bool"),
    ("refused", "text"),
)
_DUE = (*MEMBER_COLUMNS, ("key", "uuid"), ("due_at", "timestamptz"), ("name", "text"), ("payload", "jsonb"))
_TAKEN_BACK = (*MEMBER_COLUMNS, ("event_id", "uuid"), ("recorded_at", "timestamptz"))
_SETTLED = (*MEMBER_COLUMNS, ("key", "uuid"))

ROWS: Final = (
    Rows("events", _EVENT, insert("event", _EVENT), _events, version=3),
    Rows("answers", _ANSWER, insert("answer", _ANSWER), _answers, version=2),
    # Only a quarantined event is decided a second time; then its key points to the new decision. Of others one is written, or the
    # batch is not: somebody else has refused the same command meanwhile. In key order, for members who have no row to lock.
    Rows(
        "dedups",
        _DEDUP,
        insert("dedup", _DEDUP) + " ORDER BY bucket, member_id, key"
        " ON CONFLICT (program_id, bucket, member_id, key) DO UPDATE"
        " SET entry_id = excluded.entry_id, quarantined = excluded.quarantined, refused = excluded.refused"
        " WHERE dedup.quarantined RETURNING 1",
        _dedup,
        version=2,
        exact=True,
    ),
    Rows(
        "dues",
        _DUE,
        insert("due", _DUE) + " ON CONFLICT (program_id, bucket, member_id, key) DO UPDATE"
        " SET due_at = excluded.due_at, leased_until = NULL, attempts = 0, failure = NULL",
        _due,
    ),
    Rows(
        "taken_back_events",
        _TAKEN_BACK,
        insert("taken_back_event", _TAKEN_BACK) + " ON CONFLICT DO NOTHING",
        _taken_back,
    ),
    Rows(
        "settled",
        _SETTLED,
        "DELETE FROM due d USING :rows WHERE d.program_id = $1 AND d.bucket = r.bucket AND d.member_id = r.member_id AND d.key = r.key",
        _settled,
    ),
)
