"""Ledger effects as rows: balances and lots as they are now, transactions and postings for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

import msgspec

from rewards.domain.ids import bucket_of
from rewards.domain.ledger.accounts import Transaction
from rewards.domain.ledger.upkeep import lot_due_at
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_json = msgspec.json.Encoder().encode

_TOTALS: Final = (
    "available",
    "pending",
    "held",
    "debt",
    "issued",
    "redeemed",
    "expired",
    "revoked",
    "sent",
    "received",
)
_PARTS: Final = ("amount", "pending", "available", "held", "redeemed", "expired", "revoked", "sent")


def _accounts(writes: Writes) -> Iterator[Row]:
    for (member, currency), of in writes.accounts.items():
        yield (
            bucket_of(member),
            member,
            currency,
            of.available,
            of.pending,
            of.held,
            of.debt,
            of.issued,
            of.redeemed,
            of.expired,
            of.revoked,
            of.sent,
            of.received,
            of.last_activity_at,
        )


def _lots(writes: Writes, *, stored: bool) -> Iterator[Row]:
    for (member, _), lot in writes.lots.items():
        if lot.stored is stored:
            yield (
                bucket_of(member),
                member,
                lot.id,
                lot.currency,
                lot.rule,
                lot.opened_at,
                lot.amount,
                lot.pending,
                lot.available,
                lot.held,
                lot.redeemed,
                lot.expired,
                lot.revoked,
                lot.sent,
                lot.matures_at,
                lot.expires_at,
                lot_due_at(lot),
            )


def _new_lots(writes: Writes) -> Iterator[Row]:
    return _lots(writes, stored=False)


def _changed_lots(writes: Writes) -> Iterator[Row]:
    return _lots(writes, stored=True)


def _holds(writes: Writes) -> Iterator[Row]:
    for (member, _), hold in writes.holds.items():
        lots = "{" + ",".join(str(lot) for lot, _ in hold.parts) + "}"
        amounts = "{" + ",".join(str(amount) for _, amount in hold.parts) + "}"
        yield (
            bucket_of(member),
            member,
            hold.id,
            hold.currency,
            hold.amount,
            hold.captured,
            hold.released,
            lots,
            amounts,
            hold.reference,
            hold.created_at,
            hold.expires_at,
        )


def _made(writes: Writes) -> Iterator[tuple[UUID, Transaction]]:
    for decided in writes.decided:
        if decided.outcome is not None:
            member = decided.outcome.state.id
            for transaction in decided.outcome.transactions:
                yield member, transaction


def _transactions(writes: Writes) -> Iterator[Row]:
    for member, made in _made(writes):
        origin = made.origin
        yield (
            bucket_of(member),
            member,
            made.id,
            made.seq,
            made.kind.value,
            made.currency,
            made.amount,
            made.requested,
            origin.source,
            origin.actor,
            origin.reason,
            made.reverses,
            made.hold,
            origin.event,
            writes.identity.reference(member, origin.reference) if origin.reference is not None else None,
            made.available,
            made.pending,
            made.held,
            made.debt,
            made.effective_at,
            made.recorded_at,
        )


def _notes(writes: Writes) -> Iterator[Row]:
    for member, made in _made(writes):
        if made.origin.reference is not None or made.origin.note is not None:
            yield bucket_of(member), member, made.id, made.origin.reference, made.origin.note


def _postings(writes: Writes) -> Iterator[Row]:
    for member, made in _made(writes):
        for ordinal, posting in enumerate(made.postings):
            yield (
                bucket_of(member),
                member,
                made.id,
                ordinal,
                int(posting.debit),
                int(posting.credit),
                posting.amount,
                posting.lot,
            )


def _reversals(writes: Writes) -> Iterator[Row]:
    for (member, transaction), total in writes.reversed.items():
        yield bucket_of(member), member, transaction, total


def _outbox(writes: Writes) -> Iterator[Row]:
    for member, made in _made(writes):
        payload = _json({"currency": made.currency, "amount": made.amount, "available": made.available})
        yield (
            bucket_of(member),
            member,
            made.id,
            made.seq,
            f"ledger.{made.kind.value}",
            payload.decode(),
            made.recorded_at,
        )


_ACCOUNT = (
    *MEMBER_COLUMNS,
    ("currency", "text"),
    *((name, "bigint") for name in _TOTALS),
    ("last_activity_at", "timestamptz"),
)
_LOT = (
    *MEMBER_COLUMNS,
    ("id", "uuid"),
    ("currency", "text"),
    ("rule", "text"),
    ("opened_at", "timestamptz"),
    *((name, "bigint") for name in _PARTS),
    ("matures_at", "timestamptz"),
    ("expires_at", "timestamptz"),
    ("due_at", "timestamptz"),
)
_HOLD = (
    *MEMBER_COLUMNS,
    ("id", "uuid"),
    ("currency", "text"),
    ("amount", "bigint"),
    ("captured", "bigint"),
    ("released", "bigint"),
    ("lots", "text"),
    ("amounts", "text"),
    ("reference", "text"),
    ("created_at", "timestamptz"),
    ("expires_at", "timestamptz"),
)
_TRANSACTION = (
    *MEMBER_COLUMNS,
    ("id", "uuid"),
    ("seq", "bigint"),
    ("kind", "text"),
    ("currency", "text"),
    ("amount", "bigint"),
    ("requested", "bigint"),
    ("source", "text"),
    ("actor", "text"),
    ("reason", "text"),
    ("reverses", "uuid"),
    ("hold_id", "uuid"),
    ("event_id", "uuid"),
    ("reference_key", "uuid"),
    ("available_after", "bigint"),
    ("pending_after", "bigint"),
    ("held_after", "bigint"),
    ("debt_after", "bigint"),
    ("effective_at", "timestamptz"),
    ("recorded_at", "timestamptz"),
)
_NOTE = (*MEMBER_COLUMNS, ("id", "uuid"), ("reference", "text"), ("note", "text"))
_POSTING = (
    *MEMBER_COLUMNS,
    ("transaction_id", "uuid"),
    ("ordinal", "smallint"),
    ("debit", "smallint"),
    ("credit", "smallint"),
    ("amount", "bigint"),
    ("lot_id", "uuid"),
)
_REVERSAL = (*MEMBER_COLUMNS, ("transaction_id", "uuid"), ("reversed", "bigint"))
_OUTBOX = (
    *MEMBER_COLUMNS,
    ("id", "uuid"),
    ("seq", "bigint"),
    ("topic", "text"),
    ("payload", "jsonb"),
    ("recorded_at", "timestamptz"),
)


def _overwrite(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


ROWS: Final = (
    Rows(
        "accounts",
        _ACCOUNT,
        insert("account", _ACCOUNT)
        + f" ON CONFLICT (program_id, bucket, member_id, currency) DO UPDATE SET {_overwrite((*_TOTALS, 'last_activity_at'))}",
        _accounts,
    ),
    # A lot that was not loaded may exist: what is new is added to it. Those that were loaded are overwritten.
    Rows(
        "new_lots",
        _LOT,
        insert("lot", _LOT)
        + " ON CONFLICT (program_id, bucket, member_id, id) DO UPDATE SET "
        + ", ".join(f"{name} = lot.{name} + excluded.{name}" for name in _PARTS)
        + ", due_at = least(lot.due_at, excluded.due_at)",
        _new_lots,
    ),
    Rows(
        "changed_lots",
        _LOT,
        insert("lot", _LOT)
        + " ON CONFLICT (program_id, bucket, member_id, id) DO UPDATE SET "
        + _overwrite((*_PARTS, "matures_at", "due_at")),
        _changed_lots,
    ),
    Rows(
        "holds",
        _HOLD,
        insert("hold", _HOLD).replace(
            "lots, amounts, reference, created_at, expires_at FROM",
            "lots::uuid[], amounts::bigint[], reference, created_at, expires_at FROM",
        )
        + f" ON CONFLICT (program_id, bucket, member_id, id) DO UPDATE SET {_overwrite(('captured', 'released', 'lots', 'amounts'))}",
        _holds,
    ),
    Rows("transactions", _TRANSACTION, insert("transaction", _TRANSACTION), _transactions),
    Rows("notes", _NOTE, insert("transaction_note", _NOTE), _notes),
    Rows("postings", _POSTING, insert("posting", _POSTING), _postings),
    Rows(
        "reversals",
        _REVERSAL,
        insert("reversal", _REVERSAL)
        + " ON CONFLICT (program_id, bucket, member_id, transaction_id) DO UPDATE SET reversed = excluded.reversed",
        _reversals,
    ),
    Rows("outbox_rows", _OUTBOX, insert("outbox", _OUTBOX), _outbox),
)
