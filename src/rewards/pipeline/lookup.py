"""Finding members to read them: by the id that callers use, following a merge, without holding anybody up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import snapshot, transact
from rewards.domain.apply import apply
from rewards.domain.commands import Due, MemberRef
from rewards.domain.errors import MemberErased, RewardsError
from rewards.domain.ids import Ids, unix_ms
from rewards.domain.ledger.accounts import Account, Hold
from rewards.domain.ledger.upkeep import post_due
from rewards.domain.ledger.wallet import Draft, Unloaded
from rewards.domain.periods import rfc3339
from rewards.domain.program.compiled import Program
from rewards.domain.state import MemberState
from rewards.pipeline.batch import ATTEMPTS_MAX, UNLOADED_MAX, TooManyAttempts
from rewards.pipeline.counters import read_counters
from rewards.pipeline.forwarding import paths
from rewards.pipeline.load import Clock, load_more, load_wallets, lock_members
from rewards.pipeline.programs import Programs, Published

T = TypeVar("T")
NOTHING = UUID(int=0)


class UnknownMember(RewardsError):
    """Nothing was ever recorded for a member of this id."""

    code = "unknown-member"


@dataclass(frozen=True, slots=True)
class Found:
    """A member as asked for, and its state; after a merge the state of the member that it became."""

    ref: MemberRef
    passed: tuple[UUID, ...]
    """The member asked for and those it was merged into one after the other; the last is the one found."""
    state: MemberState

    @property
    def merged_into(self) -> str | None:
        """The id of the member that the one asked for was merged into."""
        if len(self.passed) == 1:
            return None
        return str(MemberRef(self.state.kind, self.state.external_id))

    @property
    def ids(self) -> list[UUID]:
        """The members whose rows belong to the one asked for: what came before a merge stays where it was recorded."""
        return list(reversed(self.passed))

    @property
    def bucket(self) -> int:
        return self.state.bucket


@dataclass(frozen=True, slots=True)
class FoundWallet:
    """A member with its whole wallet, and the program and the moment to read it by."""

    found: Found
    program: Program
    now: datetime


async def find_member(
    connection: AsyncConnection, published: Published, ref: MemberRef, *, lock: bool = False
) -> Found:
    """Raises `UnknownMember` and `MemberErased`. With `lock`, of a merge only the member that became is locked."""
    asked = published.identity.member(ref)
    passed: tuple[UUID, ...] = (asked,)
    state = await _read(connection, published, asked, lock=False)
    while state is not None and (lock or state.merged_into is not None):
        if state.merged_into is not None:
            passed = (*passed[:-1], *(await paths(connection, published.program_id, passed[-1:]))[passed[-1]])
        state = await _read(connection, published, passed[-1], lock=lock)
        if state is not None and state.merged_into is None:  # else it was merged while we waited for the lock
            break
    if state is None:
        raise UnknownMember(f"there is no member {str(ref)!r}", member=str(ref))
    if state.erased_at is not None:
        raise MemberErased("the member was erased", since=rfc3339(state.erased_at))
    return Found(ref, passed, state)


async def _read(connection: AsyncConnection, published: Published, member: UUID, *, lock: bool) -> MemberState | None:
    return (await lock_members(connection, published.program_id, [member], lock=lock)).get(member)


async def find_wallet(engine: AsyncEngine, programs: Programs, program_id: int, ref: MemberRef) -> FoundWallet:
    """The member with every open lot and hold. Raises like `find_member`."""
    published = await programs.get(program_id)
    async with snapshot(engine) as connection:
        found = await find_member(connection, published, ref)
        clock = await _load(connection, program_id, found)
    if clock.revision > published.revision:
        published = await programs.refresh(program_id, at_least=clock.revision)
    return FoundWallet(found, published.program, _now(clock, found.state))


async def standing_still(
    engine: AsyncEngine,
    programs: Programs,
    program_id: int,
    ref: MemberRef,
    read: Callable[[AsyncConnection, FoundWallet], Awaitable[T]],
) -> T:
    """Reads with the member's row locked: what is being recorded is waited for, and what comes later is recorded after `now`.

    So what is said of any moment up to `now` stays true. Raises like `find_member`.
    """
    published = await programs.get(program_id)

    async def locked(connection: AsyncConnection) -> T:
        found = await find_member(connection, published, ref, lock=True)
        clock = await load_wallets(connection, program_id, {found.state.id: found.state}, complete=frozenset())
        return await read(connection, FoundWallet(found, published.program, _now(clock, found.state)))

    return await transact(engine, locked)


def projected(wallet: FoundWallet) -> tuple[dict[str, Account], list[Hold]]:
    """Accounts and open holds as they are once everything due by `now` is posted; every currency of the program is there."""
    program = wallet.program
    draft = Draft(wallet.found.state.wallet, now=wallet.now, seq=0, next_id=lambda: NOTHING, lot_id=lambda _: NOTHING)
    post_due(draft, program.currencies, program.zone)
    currencies = dict.fromkeys((*program.currencies, *draft.currencies()))
    holds = sorted((hold for hold in draft.all_holds() if hold.remaining), key=lambda hold: (hold.expires_at, hold.id))
    return {currency: draft.peek(currency) for currency in currencies}, holds


async def find_as_of_now(
    engine: AsyncEngine, programs: Programs, program_id: int, ref: MemberRef
) -> tuple[FoundWallet, MemberState]:
    """As `find_wallet`, and the member as the next command would find it, with all that time has done since the last one.

    Nothing is written. Rules that have waited long enough are taken for run, on what is left of their budgets now; what they
    give in points is in nobody's balance before it is posted. Raises like `find_member`.
    """
    published = await programs.get(program_id)
    for _ in range(ATTEMPTS_MAX):
        async with snapshot(engine) as connection:
            found = await find_member(connection, published, ref)
            clock = await _load(connection, program_id, found)
            if clock.revision <= published.revision:
                wallet = FoundWallet(found, published.program, _now(clock, found.state))
                return wallet, await _as_of_now(connection, published, wallet, clock)
        published = await programs.refresh(program_id, at_least=clock.revision)
    raise TooManyAttempts("the program changed too often meanwhile; try again")


async def _as_of_now(
    connection: AsyncConnection, published: Published, wallet: FoundWallet, clock: Clock
) -> MemberState:
    state = wallet.found.state
    ids = Ids(NOTHING.bytes, bucket=state.bucket, unix_ms=unix_ms(wallet.now), seq=state.seq)
    counters: dict[str, int] = {}
    for _ in range(UNLOADED_MAX):
        try:
            return apply(wallet.program, state, Due(), now=wallet.now, ids=ids, counters=counters).state
        except Unloaded as wanted:
            program_id = published.program_id
            if wanted.counter is not None:
                asked = frozenset({wanted.counter})
                counters.update(await read_counters(connection, program_id, asked, lock=False))
            else:
                await load_more(connection, program_id, state, wanted, identity=published.identity, clock=clock)
        except RewardsError:
            break
    return state


async def _load(connection: AsyncConnection, program_id: int, found: Found) -> Clock:
    state = found.state
    return await load_wallets(connection, program_id, {state.id: state}, complete=frozenset({state.id}))


def _now(clock: Clock, state: MemberState) -> datetime:
    """The member's moment: it never goes back, whatever the clock does."""
    return clock.now if state.last_now is None else max(clock.now, state.last_now)
