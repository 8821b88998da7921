"""Loading members: all that is nearly always needed, what falls due, and more of it when deciding asks for more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.domain.ledger.accounts import Account, Book, Hold, Kind, Lot, Posting
from rewards.domain.ledger.reverse import CLAWED_BACK, REFUNDED, Original
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.state import MemberState
from rewards.pipeline import queries
from rewards.pipeline.codec import decode_state
from rewards.pipeline.identity import Identity
from rewards.pipeline.recorded import load_earnings, load_event, load_history


@dataclass(frozen=True, slots=True)
class Clock:
    """One reading of the database clock. `now` is the program's time, `wall` the real one.

    `seen` tells whether any command of the batch was sent before.
    """

    wall: datetime
    offset: timedelta
    revision: int
    seen: bool

    @property
    def now(self) -> datetime:
        return self.wall + self.offset


async def rows(connection: AsyncConnection, sql: str, *arguments: Any) -> Sequence[Any]:
    """All rows of one statement in the driver's own parameter style."""
    return await fetch(connection, sql, *arguments)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Members as they were at one moment. Who is not in `states` is not known yet.

    `versions` are those of their rows, None for who has none: while a row has its version, nothing of what the member owns has
    changed.
    """

    clock: Clock
    states: dict[UUID, MemberState]
    versions: dict[UUID, int | None]


async def lock_members(connection: AsyncConnection, program_id: int, members: Iterable[UUID]) -> int:
    """Locks the members that exist, in key order: ids sort by (bucket, id) by themselves. Returns how many they are."""
    keys = sorted(members)
    [row] = await rows(connection, queries.LOCK_MEMBERS, program_id, [bucket_of(member) for member in keys], keys)
    locked: int = row.locked
    return locked


async def touch_member(connection: AsyncConnection, program_id: int, member: UUID) -> None:
    """Locks one member, and makes whoever is deciding for it without a lock begin anew."""
    await rows(connection, queries.TOUCH_MEMBER, program_id, bucket_of(member), member)


async def load_members(
    connection: AsyncConnection,
    program_id: int,
    members: Iterable[UUID],
    *,
    complete: frozenset[UUID] = frozenset(),
    keys: Sequence[tuple[UUID, UUID]] = (),
) -> Loaded:
    """Members with their accounts, open holds and the lots that fall due (all open ones of `complete` members).

    `keys` are the (member, key) under which the commands may have been seen before.
    """
    wanted = list(members)
    found = await rows(
        connection,
        queries.LOAD_MEMBERS,
        program_id,
        [bucket_of(member) for member in wanted],
        wanted,
        [bucket_of(member) for member, _ in keys],
        [member for member, _ in keys],
        [key for _, key in keys],
    )
    assert found, "the program of a batch exists"
    wall, offset, revision, seen = found[0][:4]
    loaded = Loaded(Clock(wall, offset, revision, seen=seen is True), {}, dict.fromkeys(wanted))
    lots_of: dict[UUID, None] = {}
    holds_of: dict[UUID, None] = {}
    for row in found:
        member, version = row[4], row[5]
        if version is None:
            continue
        state = loaded.states.get(member)
        if state is None:
            loaded.versions[member] = version
            state = loaded.states[member] = _member(row)
        wallet, due, currency = state.wallet, row[17], row[18]
        if currency is None:
            continue  # no account, hence no lot
        wallet.complete = member in complete
        account = wallet.accounts[currency] = Account(*row[18:30])
        if due or (wallet.complete and (account.available or account.pending or account.held)):
            lots_of[member] = None
        if account.held:
            holds_of[member] = None
    if lots_of:
        await _load_lots(connection, program_id, loaded, list(lots_of), complete)
    if holds_of:
        some = list(holds_of)
        for row in await rows(connection, queries.LOAD_HOLDS, program_id, [bucket_of(m) for m in some], some):
            loaded.states[row.member_id].wallet.holds[row.id] = _hold(row)
    return loaded


def _member(row: Any) -> MemberState:
    member, _, bucket, kind, name, attributes, locale, timezone, document, seq, last_now, merged, erased = row[4:17]
    state = MemberState(
        id=member,
        bucket=bucket,
        kind=kind,
        external_id=name or "",
        attributes=attributes,
        locale=locale,
        timezone=timezone,
        seq=seq,
        last_now=last_now,
        merged_into=merged,
        erased_at=erased,
    )
    decode_state(document, state)
    return state


def unknown_member(member: UUID, ref: MemberRef) -> MemberState:
    """A member of whom nothing is recorded yet."""
    return MemberState(member, bucket_of(member), ref.kind, ref.external_id)


async def _load_lots(
    connection: AsyncConnection, program_id: int, loaded: Loaded, members: list[UUID], complete: frozenset[UUID]
) -> None:
    every = [member in complete for member in members]
    arguments = (program_id, [bucket_of(member) for member in members], members, every, loaded.clock.now)
    for row in await rows(connection, queries.LOAD_LOTS, *arguments):
        loaded.states[row.member_id].wallet.lots[row.id] = _lot(row)


async def load_more(
    connection: AsyncConnection,
    program_id: int,
    state: MemberState,
    wanted: Unloaded,
    *,
    identity: Identity,
    clock: Clock,
) -> None:
    """What deciding found missing, for one member of which nothing is waiting to be written."""
    bucket, member = state.bucket, state.id
    wallet = state.wallet
    if wanted.lots:
        found = await rows(connection, queries.LOAD_LOTS, program_id, [bucket], [member], [True], clock.now)
        for row in found:
            wallet.lots.setdefault(row.id, _lot(row))
        wallet.complete = True
    if wanted.hold is not None:
        for row in await rows(connection, queries.LOAD_HOLD, program_id, bucket, member, wanted.hold):
            wallet.holds[row.id] = _hold(row)
        if wanted.hold not in wallet.holds:
            state.absent.add(wanted.hold)
    if wanted.reference is not None:
        owners = [member, *state.absorbed]
        keys = [identity.reference(owner, wanted.reference) for owner in owners]
        buckets = [bucket_of(owner) for owner in owners]
        found = await rows(connection, queries.TRANSACTIONS_BY_REFERENCE, program_id, buckets, owners, keys)
        await _load_transactions(connection, program_id, state, [row.id for row in found])
        state.references[wanted.reference] = tuple(row.id for row in found if row.id in state.originals)
    if wanted.transaction is not None:
        await _load_transactions(connection, program_id, state, [wanted.transaction])
    if wanted.event is not None:
        await load_event(connection, program_id, state, wanted.event)
    if wanted.history is not None:
        await load_history(connection, program_id, state, wanted.history, offset=clock.offset)
    if wanted.earnings is not None:
        await load_earnings(connection, program_id, state, wanted.earnings, offset=clock.offset)


async def _load_transactions(connection: AsyncConnection, program_id: int, state: MemberState, ids: list[UUID]) -> None:
    """Transactions with their postings, what was taken back of them, and every lot that they touched, open or not.

    Of absorbed members only what was issued or spent.
    """
    owners = [state.id, *state.absorbed]
    buckets = [bucket_of(owner) for owner in owners]
    postings: dict[UUID, list[Posting]] = {}
    heads: dict[UUID, Any] = {}
    for row in await rows(connection, queries.LOAD_TRANSACTIONS, program_id, buckets, owners, ids):
        if not row.own and Kind(row.kind) not in CLAWED_BACK | REFUNDED:
            continue
        heads[row.id] = row
        moved = postings.setdefault(row.id, [])
        if row.ordinal is not None:
            moved.append(Posting(Book(row.debit), Book(row.credit), row.moved, row.lot_id))
    for identifier, row in heads.items():
        state.originals[identifier] = Original(
            transaction=identifier,
            kind=Kind(row.kind),
            currency=row.currency,
            amount=row.amount,
            postings=tuple(postings[identifier]),
            reversed_so_far=row.reversed,
            effective_at=row.effective_at,
            event=row.event_id,
            reversed_elsewhere=row.elsewhere,
            source=row.source,
            owner=None if row.own else row.owner,
            lots=() if row.own else await _spent(connection, program_id, row, postings[identifier]),
        )
    state.absent.update(identifier for identifier in ids if identifier not in heads)
    lots = list(
        {posting.lot for moved in postings.values() for posting in moved if posting.lot is not None}
        - set(state.wallet.lots)
    )
    if lots:
        for row in await rows(connection, queries.LOAD_LOTS_BY_ID, program_id, state.bucket, state.id, lots):
            state.wallet.lots[row.id] = _lot(row)


async def _spent(
    connection: AsyncConnection, program_id: int, transaction: Any, postings: Sequence[Posting]
) -> tuple[Lot, ...]:
    """The lots that an absorbed member spent, as it has them."""
    if Kind(transaction.kind) not in REFUNDED:
        return ()
    owner = transaction.owner
    lots = [posting.lot for posting in postings]
    found = await rows(connection, queries.LOAD_LOTS_BY_ID, program_id, bucket_of(owner), owner, lots)
    return tuple(_lot(row) for row in found)


def _lot(row: Any) -> Lot:
    lot = Lot(*row[1:15])
    lot.stored = True
    return lot


def _hold(row: Any) -> Hold:
    return Hold(
        id=row.id,
        currency=row.currency,
        amount=row.amount,
        captured=row.captured,
        released=row.released,
        expires_at=row.expires_at,
        created_at=row.created_at,
        parts=list(zip(row.lots, row.amounts, strict=True)),
        reference=row.reference,
    )
