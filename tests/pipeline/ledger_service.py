"""The running service on PostgreSQL as a `LedgerPort`: commands through the lanes, time by the sandbox's clock."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar
from uuid import UUID

from sqlalchemy import text
from tests.domain.ledger.model import Answer, LedgerPort, Ok, Refused
from tests.service import publish

from rewards.db.transact import reading, snapshot, transact
from rewards.domain.commands import (
    Capture,
    Cause,
    Command,
    Earn,
    Event,
    MemberRef,
    MergeOut,
    PlaceHold,
    Release,
    Reverse,
    Spend,
)
from rewards.domain.errors import RewardsError
from rewards.domain.ids import bucket_of
from rewards.domain.ledger.accounts import Book
from rewards.domain.ledger.upkeep import project
from rewards.domain.program.currency import (
    Clawback,
)
from rewards.features.ledger.histories import step_through
from rewards.features.ledger.verification import Verification
from rewards.features.wallets.views import expiries
from rewards.pipeline.intake import Addressed, accepted
from rewards.pipeline.load import load_members
from rewards.pipeline.lookup import UnknownMember, find_wallet, projected
from rewards.pipeline.submission import Receipt
from rewards.service import Service
from rewards.settings import Settings
from rewards.worker import Worker

T = TypeVar("T")

PROGRAM: Final = """
rewards: 1
program: {key: model, name: Model, timezone: Europe/Amsterdam, late_window: 72h}
currencies:
  points: {expires: {after: 30d}, clawback: allow_debt}
  monthly: {expires: {after: 10d, round: month_end}, clawback: within_balance}
  miles: {expires: {inactive: 20d}, hold: 3d, clawback: allow_debt}
  stars: {hold: 5d, clawback: pending_only}
  status: {spendable: false, qualifying: true, clawback: allow_debt}
events:
  approved: {properties: {reference: {type: string}}, required: [reference]}
rules:
  - {key: approve, on: approved, then: [{mature: {reference: event.reference}}]}
"""
"""The currencies of the model."""


TRAVEL: Final = text(
    "UPDATE program SET clock_offset = CASE WHEN :first THEN CAST(:to AS timestamptz) - clock_timestamp()"
    " ELSE greatest(clock_offset, CAST(:to AS timestamptz) - clock_timestamp()) END WHERE id = :id"
)
ISSUED_LOT: Final = text(
    "SELECT lot_id FROM posting WHERE program_id = :program AND member_id = :member AND transaction_id = :id AND debit = :book"
)


class ServiceThread:
    """A service on an event loop in a thread of its own, for callers that cannot wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service")

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        self.service = Service(self._settings)
        self.worker = Worker(self.service)
        await self.service.lanes.start()

    async def _stop(self) -> None:
        await self.service.lanes.drain()
        await self.service.engine.dispose()
        await self.service.valkey.aclose()


class ServiceLedger(LedgerPort):
    """One sandbox program. `repeating` sends every command twice, `together` in one batch with those of a bystander.

    The clock runs by itself between two moves of its offset; answers tell the moment of the decision.
    """

    def __init__(self, thread: ServiceThread, *, repeating: bool, together: bool) -> None:
        self.thread = thread
        self.service = thread.service
        self.repeating = repeating
        self.together = together
        self._keys = itertools.count(1)
        self._references: dict[UUID, str] = {}
        self._merged: set[str] = set()
        self._travelled = False
        self.program_id, _ = thread.call(publish(thread.service, PROGRAM, kind="sandbox"))
        self.published = thread.call(thread.service.programs.get(self.program_id))

    async def _travel(self, to: datetime) -> None:
        """Moves the clock forward to a moment; one that has passed already is left behind."""
        values = {"to": to, "id": self.program_id, "first": not self._travelled}
        await transact(self.service.engine, lambda connection: connection.execute(TRAVEL, values))
        self._travelled = True

    async def _send(self, member: str, command: Command, key: str | None = None) -> Receipt:
        """The answer to a command; the same again if it is repeated."""
        key = key or f"key-{next(self._keys)}"
        ref = MemberRef.parse(member)
        addressed = Addressed(ref, command, key, {"key": key}, "tests")
        items = [addressed]
        if self.together:
            other = Addressed(MemberRef("user", "bystander"), Earn("points", 1), f"by-{key}", {"key": key}, "tests")
            items = [other, addressed, *items[: self.repeating]]
        elif self.repeating:
            items = [addressed, addressed]
        results = await self.service.intake.many(self.program_id, items)
        mine = [result for item, result in zip(items, results, strict=True) if item is addressed]
        first = mine[0]
        for again in mine[1:]:
            assert isinstance(first, Receipt)
            assert isinstance(again, Receipt)
            told = {**first.answer, "status": "duplicate"} if "status" in first.answer else first.answer
            assert (again.answer, again.refusal, again.replayed) == (told, first.refusal, True)
        return accepted(first)

    def _move(self, member: str, command: Command, now: datetime) -> Answer:
        return self.thread.call(self._moved(member, command, now))

    async def _moved(self, member: str, command: Command, now: datetime) -> Answer:
        await self._travel(now)
        try:
            receipt = await self._send(member, command)
        except RewardsError as refusal:
            return Refused(refusal.code)
        made = receipt.answer["transactions"][0]
        transaction = UUID(made["id"])
        hold = made.get("hold")
        return Ok(
            transaction,
            made["amount"],
            await self._issued_lot(member, transaction),
            UUID(hold) if hold else None,
            datetime.fromisoformat(made["recorded_at"]),
        )

    async def _issued_lot(self, member: str, transaction: UUID) -> UUID | None:
        values = {"program": self.program_id, "member": self._id(member), "id": transaction, "book": int(Book.ISSUED)}
        async with reading(self.service.engine) as connection:
            found: UUID | None = (await connection.execute(ISSUED_LOT, values)).scalar_one_or_none()
        return found

    def _id(self, member: str) -> UUID:
        return self.published.identity.member(MemberRef.parse(member))

    # The port

    def earn(
        self,
        member: str,
        currency: str,
        amount: int,
        *,
        now: datetime,
        rule: str,
        effective_at: datetime,
        hold: timedelta | None,
        until_matured: bool,
        expires_at: datetime | None,
    ) -> Answer:
        assert effective_at == now, "the service books what it is asked to earn as of now"
        reference = f"reference-{next(self._keys)}"
        cause = Cause(source=rule, reference=reference)
        answer = self._move(member, Earn(currency, amount, cause, hold, until_matured, expires_at), now)
        if isinstance(answer, Ok):
            self._references[answer.transaction] = reference
        return answer

    def spend(self, member: str, currency: str, amount: int, *, now: datetime) -> Answer:
        return self._move(member, Spend(currency, amount), now)

    def hold(self, member: str, currency: str, amount: int, *, now: datetime, expires_at: datetime) -> Answer:
        return self._move(member, PlaceHold(currency, amount, expires_at), now)

    def capture(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer:
        return self._move(member, Capture(hold, amount), now)

    def release(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer:
        return self._move(member, Release(hold, amount), now)

    def reverse(
        self, member: str, transaction: UUID, amount: int | None, policy: Clawback | None, *, now: datetime
    ) -> Answer:
        return self._move(member, Reverse(transaction, amount, policy), now)

    def mature(self, member: str, transaction: UUID, *, now: datetime) -> None:
        self.thread.call(self._mature(member, self._references[transaction], now))

    async def _mature(self, member: str, reference: str, now: datetime) -> None:
        await self._travel(now)
        event_id = f"event-{next(self._keys)}"
        await self._send(member, Event(event_id, "approved", properties={"reference": reference}), event_id)

    def merge(self, source: str, target: str, *, now: datetime) -> None:
        self.thread.call(self._merge(source, target, now))
        self._merged.add(source)

    async def _merge(self, source: str, target: str, now: datetime) -> None:
        await self._travel(now)
        await self._send(source, MergeOut(MemberRef.parse(target), self._id(target)))
        await self.thread.worker.run_due()

    def balances(self, member: str, *, now: datetime) -> dict[str, tuple[int, int, int, int]]:
        """A merged member's own books are asked, not those of the one that it became."""
        return self.thread.call(self._balances(member, now))

    async def _balances(self, member: str, now: datetime) -> dict[str, tuple[int, int, int, int]]:
        await self._travel(now)
        engine, identifier = self.service.engine, self._id(member)
        async with snapshot(engine) as connection:
            loaded = await load_members(connection, self.program_id, [identifier], complete=frozenset({identifier}))
        if not loaded.states:
            return {}
        program = self.published.program
        own = project(loaded.states[identifier].wallet, program.currencies, program.zone, loaded.clock.now)
        balances = {key: (of.available, of.pending, of.held, of.debt) for key, of in own.items()}
        if member not in self._merged:
            seen, _ = projected(
                await find_wallet(engine, self.service.programs, self.program_id, MemberRef.parse(member))
            )
            shown = {key: (of.available, of.pending, of.held, of.debt) for key, of in seen.items()}
            assert shown == dict.fromkeys(program.currencies, (0, 0, 0, 0)) | balances, "readers see the same"
        return balances

    def schedule(self, member: str, *, now: datetime) -> dict[str, list[tuple[datetime, int]]]:
        return self.thread.call(self._schedule(member, now))

    async def _schedule(self, member: str, now: datetime) -> dict[str, list[tuple[datetime, int]]]:
        await self._travel(now)
        programs = self.service.programs
        try:
            wallet = await find_wallet(self.service.engine, programs, self.program_id, MemberRef.parse(member))
        except UnknownMember:
            return {}
        return {key: [(each.at, each.amount) for each in plan] for key, plan in expiries(wallet).items()}

    def violations(self, member: str) -> list[str]:
        return self.thread.call(self._violations(member))

    async def _violations(self, member: str) -> list[str]:
        identifier = self._id(member)
        async with snapshot(self.service.engine) as connection:
            found = step_through(connection, self.program_id, bucket_of(identifier), [identifier])
            return [str(finding) async for finding in found]

    def swept(self) -> list[str]:
        """What verification of the whole program finds, before and after everything that is due was posted."""
        return self.thread.call(self._swept())

    async def _swept(self) -> list[str]:
        before = await self._verified()
        await self.thread.worker.run_due()
        return before + await self._verified()

    async def _verified(self) -> list[str]:
        verification = Verification(self.service.engine, self.published)
        found = [item async for items in verification.each_bucket(await verification.buckets()) for item in items]
        return [str(finding) for finding in found + await verification.house()]
