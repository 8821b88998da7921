"""Verification: silent on whatever the service wrote, and loud on every kind of damage done behind its back."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.service import EventFactory, Live, live, publish, service_settings

from rewards.domain.commands import (
    Capture,
    Cause,
    Command,
    Earn,
    Event,
    Import,
    MemberRef,
    MergeOut,
    PlaceHold,
    Reverse,
    Spend,
)
from rewards.features.ledger.findings import Finding
from rewards.features.ledger.spending import skips_a_lot
from rewards.features.ledger.verification import Verification
from rewards.pipeline.intake import Addressed
from rewards.service import database

SOON = datetime.now(UTC) + timedelta(days=30)
PROGRAM = """
rewards: 1
program: {key: books, name: Books, timezone: Europe/Berlin, locale: en, money: EUR}
currencies:
  points: {name: Points, worth: 1, expires: {after: 12mo}, clawback: allow_debt}
  coins: {name: Coins, hold: 14d}
events:
  drawn: {}
  played: {}
rules:
  - {key: draw, on: drawn, budget: {points: 100, currency: points, per: day}, then: [{earn: {currency: points, amount: 7}}]}
  - {key: play, on: played, then: [{earn: {currency: coins, amount: 3}}]}
"""


class Books:
    """A program of its own with a little history: ann earned, spent, held and was refunded, bob owes, cid drew."""

    def __init__(self, running: Live, owner: AsyncEngine, program_id: int) -> None:
        self.running = running
        self.owner = owner
        self.program_id = program_id
        self._numbers = iter(range(1_000))

    async def do(self, member: str, command: Command) -> UUID:
        """Runs a command; the id of its first transaction, or of the hold."""
        key = f"key-{next(self._numbers)}"
        addressed = Addressed(MemberRef.parse(member), command, key, {"key": key}, "tests")
        answer = (await self.running.service.intake.one(self.program_id, addressed)).answer
        hold = answer.get("hold")
        return UUID(hold["id"] if hold else answer["transactions"][0]["id"])

    async def event(self, member: str, name: str) -> None:
        event = EventFactory(member=member, type=name, properties={})
        sent = Addressed(MemberRef.parse(member), Event(event["id"], name), event["id"], event, "tests")
        await self.running.service.intake.one(self.program_id, sent)

    async def begin(self) -> None:
        await self.do("ann", Earn("points", 100, Cause(reference="order-1")))
        spent = await self.do("ann", Spend("points", 30, Cause(reason="mug")))
        hold = await self.do("ann", PlaceHold("points", 20, timedelta(days=1)))
        await self.do("ann", Capture(hold, 5))
        await self.do("ann", Reverse(spent, 10))
        await self.event("ann", "played")
        earned = await self.do("bob", Earn("points", 50))
        await self.do("bob", Spend("points", 40))
        await self.do("bob", Reverse(earned))
        await self.event("cid", "drawn")
        await self.do("dot", Import("points", 1_000))

    async def member(self, name: str) -> UUID:
        published = await self.running.service.programs.get(self.program_id)
        return published.identity.member(MemberRef.parse(name))

    async def damage(self, sql: str, member: str = "ann") -> None:
        """As the owner of the database, who may do anything. `:p` is the program, `:m` the member."""
        async with self.owner.begin() as connection:
            done = await connection.execute(text(sql), {"p": self.program_id, "m": await self.member(member)})
            assert done.rowcount > 0, "the damage must hit something"

    async def verify(self) -> list[Finding]:
        verification = Verification(
            self.running.service.engine, await self.running.service.programs.get(self.program_id)
        )
        buckets = await verification.buckets()
        findings = [finding async for found in verification.each_bucket(buckets) for finding in found]
        return findings + await verification.house()


@pytest.fixture(scope="module")
async def service(migrated_url: str, redis_url: str) -> AsyncIterator[tuple[Live, AsyncEngine]]:
    settings = service_settings(migrated_url, redis_url)
    owner = database(settings, application_name="tests", role=None)
    async with live(settings, PROGRAM) as running:
        yield running, owner
    await owner.dispose()


@pytest.fixture
async def books(service: tuple[Live, AsyncEngine]) -> Books:
    running, owner = service
    program_id, _ = await publish(running.service, PROGRAM)
    books = Books(running, owner, program_id)
    await books.begin()
    return books


MINE = "program_id = :p AND member_id = :m"
LAST = f"(SELECT id FROM transaction WHERE {MINE} AND currency = 'points' ORDER BY seq DESC LIMIT 1)"
FIRST = f"(SELECT id FROM transaction WHERE {MINE} ORDER BY seq LIMIT 1)"
SPENT = f"(SELECT id FROM transaction WHERE {MINE} AND kind = 'spend')"


async def test_what_the_service_wrote_is_sound(books: Books) -> None:
    assert await books.verify() == []


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (
            f"UPDATE posting SET amount = amount + 1 WHERE {MINE} AND transaction_id = {FIRST}",
            "a transaction is the sum",
        ),
        (f"UPDATE posting SET amount = amount + 1 WHERE {MINE} AND transaction_id = {FIRST}", "an account is the fold"),
        (f"UPDATE posting SET amount = amount + 1 WHERE {MINE} AND transaction_id = {FIRST}", "a lot is the fold"),
        (f"UPDATE posting SET amount = amount + 1 WHERE {MINE} AND transaction_id = {FIRST}", "each step is allowed"),
        (f"UPDATE posting SET amount = amount + 1 WHERE {MINE} AND transaction_id = {FIRST}", "house totals"),
        (f"UPDATE posting SET credit = 12 WHERE {MINE} AND transaction_id = {SPENT}", "postings are movements"),
        (f"UPDATE posting SET debit = 99 WHERE {MINE} AND transaction_id = {SPENT}", "postings are movements"),
        (f"UPDATE posting SET lot_id = NULL WHERE {MINE} AND transaction_id = {FIRST}", "postings move a lot"),
        (f"DELETE FROM posting WHERE {MINE} AND transaction_id = {LAST}", "a transaction is the sum"),
        (f"DELETE FROM transaction WHERE {MINE} AND id = {FIRST}", "postings belong to"),
        (f"DELETE FROM transaction WHERE {MINE} AND id = {FIRST}", "seq has no gap"),
        (f"DELETE FROM transaction WHERE {MINE} AND id = {LAST}", "seq has no gap"),
        (f"DELETE FROM transaction WHERE {MINE} AND id = {SPENT}", "a reversal never exceeds"),
        (f"UPDATE transaction SET seq = seq + 10 WHERE {MINE} AND id = {LAST}", "seq has no gap"),
        (f"UPDATE transaction SET seq = seq - 1 WHERE {MINE} AND id = {LAST}", "seq has no gap"),
        (f"UPDATE transaction SET amount = 99 WHERE {MINE} AND id = {SPENT}", "a transaction is the sum"),
        (f"UPDATE transaction SET kind = 'expire' WHERE {MINE} AND id = {SPENT}", "postings are movements"),
        (f"UPDATE transaction SET available_after = 1 WHERE {MINE} AND id = {SPENT}", "balances after"),
        (f"UPDATE transaction SET held_after = -1 WHERE {MINE} AND id = {SPENT}", "nothing is ever negative"),
        (f"UPDATE transaction SET debt_after = 1 WHERE {MINE} AND id = {FIRST}", "no points are available"),
        (
            f"UPDATE transaction SET recorded_at = recorded_at - interval '1 day' WHERE {MINE} AND id = {LAST}",
            "recorded_at",
        ),
        (
            f"UPDATE transaction SET recorded_at = recorded_at + interval '1 day' WHERE {MINE} AND id = {LAST}",
            "recorded_at",
        ),
        (f"UPDATE transaction SET currency = 'coins' WHERE {MINE} AND id = {SPENT}", "an account is the fold"),
        (f"UPDATE member SET seq = seq + 1 WHERE {MINE}", "seq has no gap"),
        (f"DELETE FROM member WHERE {MINE}", "seq has no gap"),
        (
            f"UPDATE account SET available = available + 1, issued = issued + 1 WHERE {MINE} AND currency = 'points'",
            "an account is the fold",
        ),
        (
            f"UPDATE account SET available = available + 1, issued = issued + 1 WHERE {MINE} AND currency = 'points'",
            "an account is its last",
        ),
        (
            f"UPDATE account SET available = available + 1, issued = issued + 1 WHERE {MINE} AND currency = 'points'",
            "house totals",
        ),
        (
            f"UPDATE account SET sent = sent + 1, received = received + 1 WHERE {MINE} AND currency = 'points'",
            "an account is the fold",
        ),
        (f"UPDATE account SET received = 1, issued = issued - 1 WHERE {MINE} AND currency = 'points'", "transit nets"),
        (f"DELETE FROM account WHERE {MINE} AND currency = 'points'", "an account is the fold"),
        (
            f"UPDATE lot SET available = available - 1, redeemed = redeemed + 1 WHERE {MINE} AND currency = 'points'",
            "a lot is the fold",
        ),
        (
            f"UPDATE lot SET available = available - 1, redeemed = redeemed + 1 WHERE {MINE} AND currency = 'points'",
            "lots sum to",
        ),
        (f"DELETE FROM lot WHERE {MINE} AND currency = 'points'", "a lot is the fold"),
        (f"UPDATE lot SET expires_at = opened_at WHERE {MINE} AND currency = 'points'", "each step is allowed"),
        (f"UPDATE lot SET matures_at = now() + interval '1 day' WHERE {MINE} AND currency = 'points'", "each step"),
        (f"UPDATE hold SET captured = captured + 1 WHERE {MINE}", "a hold is captured"),
        (f"UPDATE hold SET amounts = ARRAY[14] WHERE {MINE}", "what a hold reserves"),
        (f"DELETE FROM hold WHERE {MINE}", "a hold is captured"),
        (f"UPDATE reversal SET reversed = reversed + 1 WHERE {MINE}", "reversal totals"),
        (f"DELETE FROM reversal WHERE {MINE}", "reversal totals"),
        (
            f"UPDATE transaction SET amount = 9, requested = 41 WHERE {MINE} AND kind = 'refund'",
            "a reversal never exceeds",
        ),
        (f"DELETE FROM outbox WHERE {MINE} AND id = {LAST}", "outbox rows match"),
        (f"UPDATE outbox SET seq = seq + 1 WHERE {MINE} AND id = {LAST}", "outbox rows match"),
        (
            f"UPDATE outbox SET payload = payload || '{{\"amount\": 1}}' WHERE {MINE} AND id = {FIRST}",
            "outbox rows match",
        ),
        (f"DELETE FROM dedup WHERE {MINE}", "what was decided cannot"),
        (f"DELETE FROM event WHERE {MINE}", "what was answered is kept"),
        (f"DELETE FROM answer WHERE {MINE}", "what was answered is kept"),
    ],
)
async def test_damage_is_found(books: Books, damage: str, invariant: str) -> None:
    await books.damage(damage.replace("{{", "{").replace("}}", "}"))
    found = [finding for finding in await books.verify() if finding.invariant.startswith(invariant)]
    assert found
    assert {finding.member for finding in found} <= {await books.member("ann"), None}


@pytest.mark.parametrize(
    ("postings", "skips"),
    [
        ([(1, 1, 5, False), (2, 2, 5, False), (3, 1, -5, True), (3, 2, -1, True)], False),
        ([(1, 1, 5, False), (2, 2, 5, False), (3, 1, -4, True), (3, 2, -1, True)], True),
        ([(1, 1, 5, False), (2, 2, 5, False), (3, 2, -1, True)], True),
        ([(1, 2, 5, False), (2, 2, -1, True), (3, 1, 5, False)], False),  # the earlier one came later
        ([(1, 2, 5, False), (2, 2, -1, True), (3, 1, 5, False), (4, 2, -1, True)], True),
        ([(1, 1, 5, False), (2, 2, 5, False), (3, 2, -5, False)], False),  # an expiry takes none before its time
        ([], False),
    ],
)
def test_a_spend_leaves_no_earlier_lot_open(postings: list[tuple[int, int, int, bool]], *, skips: bool) -> None:
    seqs, places, changes, takes = (list(column) for column in zip(*postings, strict=True)) if postings else ([],) * 4
    assert skips_a_lot(seqs, places, changes, takes) is skips


async def test_points_spent_in_the_wrong_order_are_found(books: Books) -> None:
    """The lot that was spent is made to expire last, so the other one should have gone first."""
    await books.do("eve", Earn("points", 10, expires_at=SOON))
    await books.do("eve", Earn("points", 10))
    await books.do("eve", Spend("points", 5))
    assert await books.verify() == []
    await books.damage(
        f"UPDATE lot SET expires_at = expires_at + interval '9 years' WHERE {MINE} AND redeemed > 0", "eve"
    )
    [finding] = await books.verify()
    assert finding.invariant == "each step is allowed"
    assert "open, which is to be spent earlier" in finding.subject + finding.found


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE counter SET used = used + 1 WHERE program_id = :p AND :m IS NOT NULL", "at most 7"),
        ("UPDATE counter SET used = used - 1 WHERE program_id = :p AND :m IS NOT NULL", "7"),
        ("UPDATE counter SET total = 6 WHERE program_id = :p AND :m IS NOT NULL", "at most 6"),
        ("DELETE FROM counter WHERE program_id = :p AND :m IS NOT NULL", None),  # an unknown budget proves nothing
    ],
)
async def test_counters_agree_with_what_rules_issued(books: Books, damage: str, expected: str | None) -> None:
    await books.damage(damage.replace(":m", "CAST(:m AS uuid)"))
    assert [finding.expected for finding in await books.verify()] == ([expected] if expected else [])


async def test_points_of_a_merge_are_on_their_way_until_they_arrive(books: Books) -> None:
    into = MemberRef.parse("bob")
    merge = Addressed(MemberRef.parse("ann"), MergeOut(into, await books.member("bob")), "merge", {}, "tests")
    await books.running.service.intake.one(books.program_id, merge)
    assert await books.verify() == []
    await books.running.worker.run_due()
    assert await books.verify() == []


async def test_points_lost_on_their_way_are_found(books: Books) -> None:
    into = MemberRef.parse("bob")
    merge = Addressed(MemberRef.parse("ann"), MergeOut(into, await books.member("bob")), "merge", {}, "tests")
    await books.running.service.intake.one(books.program_id, merge)
    await books.damage(f"DELETE FROM due WHERE {MINE}", member="bob")
    found = await books.verify()
    assert {(finding.invariant, finding.expected) for finding in found} == {("transit nets to zero", "0 on their way")}


async def test_what_retention_dropped_is_not_missed(books: Books) -> None:
    """Months are dropped whole. An old transaction and key, from before the oldest month kept, need no row of theirs."""
    await books.damage(
        f"""
        UPDATE dedup SET entry_id = '01000000-0000-8000-8000-000000000000'
        WHERE {MINE} AND entry_id = (SELECT id FROM answer WHERE {MINE} ORDER BY id LIMIT 1)
        """
    )
    await books.damage(
        f"DELETE FROM answer WHERE {MINE} AND id = (SELECT id FROM answer WHERE {MINE} ORDER BY id LIMIT 1)"
    )
    assert await books.verify() == []
