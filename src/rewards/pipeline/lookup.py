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
from rewards.pipeline.attempt import ATTEMPTS_MAX, UNLOADED_MAX, TooManyAttempts
from rewards.pipeline.counters import read_counters
from rewards.pipeline.forwarding import paths
from rewards.pipeline.load import Clock, load_members, load_more, touch_member
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
    clock: Clock

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

    @property
    def now(self) -> datetime:
        """The member's moment: it never goes back, whatever the clock does."""
        last = self.state.last_now
        return self.clock.now if last is None else max(self.clock.now, last)


@dataclass(frozen=True, slots=True)
class FoundWallet:
    """A member with its whole wallet, and the program to read it by."""

    found: Found
    program: Program

    @property
    def now(self) -> datetime:
        """The moment to read it by."""
        return self.found.now


async def find_member(
    connection: AsyncConnection, published: Published, ref: MemberRef, *, complete: bool = False, still: bool = False
) -> Found:
    """With every open lot when `complete`. Raises `UnknownMember` and `MemberErased`.

    `still` locks the member, and makes whoever decides for it without a lock begin anew; of a merge only the one that became.
    """
    program_id = published.program_id
    passed: tuple[UUID, ...] = (published.identity.member(ref),)
    locked: UUID | None = None
    while True:
        end = passed[-1]
        loaded = await load_members(connection, program_id, [end], complete=frozenset({end} if complete else ()))
        state = loaded.states.get(end)
        if state is None:
            raise UnknownMember(f"there is no member {str(ref)!r}", member=str(ref))
        if state.merged_into is not None:
            passed = (*passed[:-1], *(await paths(connection, program_id, [end]))[end])
        elif still and locked != end:
            await touch_member(connection, program_id, end)
            locked = end  # and is read once more: what it was before the lock may have changed
        else:
            break
    if state.erased_at is not None:
        raise MemberErased("the member was erased", since=rfc3339(state.erased_at))
    return Found(ref, passed, state, loaded.clock)


async def find_wallet(engine: AsyncEngine, programs: Programs, program_id: int, ref: MemberRef) -> FoundWallet:
    """The member with every open lot and hold. Raises like `find_member`."""
    published = await programs.get(program_id)
    async with snapshot(engine) as connection:
        found = await find_member(connection, published, ref, complete=True)
    if found.clock.revision > published.revision:
        published = await programs.refresh(program_id, at_least=found.clock.revision)
    return FoundWallet(found, published.program)


async def standing_still(
    engine: AsyncEngine,
    programs: Programs,
    program_id: int,
    ref: MemberRef,
    read: Callable[[AsyncConnection, FoundWallet], Awaitable[T]],
) -> T:
    """Reads with the member's row locked: what is being recorded is waited for, what is being decided is decided anew, and so
    what comes later is recorded after `now`.

    So what is said of any moment up to `now` stays true. Raises like `find_member`.
    """
    published = await programs.get(program_id)

    async def locked(connection: AsyncConnection) -> T:
        found = await find_member(connection, published, ref, still=True)
        return await read(connection, FoundWallet(found, published.program))

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
            found = await find_member(connection, published, ref, complete=True)
            if found.clock.revision <= published.revision:
                wallet = FoundWallet(found, published.program)
                return wallet, await _as_of_now(connection, published, wallet)
        published = await programs.refresh(program_id, at_least=found.clock.revision)
    raise TooManyAttempts("the program changed too often meanwhile; try again")


async def _as_of_now(connection: AsyncConnection, published: Published, wallet: FoundWallet) -> MemberState:
    state, clock = wallet.found.state, wallet.found.clock
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
