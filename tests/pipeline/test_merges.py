"""Members that become one: repeats, chains, circles and races, with every point accounted for afterwards."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.service import Live, another, publish

from rewards.domain.commands import (
    Capture,
    Cause,
    Command,
    Earn,
    Event,
    MemberRef,
    MergeOut,
    PlaceHold,
    Reverse,
    ReverseReference,
    Spend,
)
from rewards.domain.errors import RewardsError
from rewards.domain.ledger.accounts import AMOUNT_MAX
from rewards.features.ledger.verification import Verification
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import find_member
from rewards.pipeline.submission import Receipt
from rewards.service import Service
from rewards.worker import Worker

PROGRAM = """
rewards: 1
program: {key: merges, timezone: Europe/Berlin, late_window: 72h}
currencies:
  points: {expires: {after: 12mo}, clawback: allow_debt}
events:
  played: {}
  bought: {properties: {order: {type: string}}, required: [order]}
  returned: {properties: {order: {type: string}}, required: [order]}
  swapped: {properties: {order: {type: string}}, required: [order]}
metrics:
  plays: {count: played}
rules:
  - {key: play, on: played, then: [{earn: {currency: points, amount: 1}}]}
  - {key: buy, on: bought, then: [{earn: {currency: points, amount: 50, reference: event.order}}]}
  - {key: refund, on: returned, then: [{reverse: {reference: event.order}}]}
  - {key: swap, on: swapped, then: [{reverse: {reference: event.order}}, {spend: {currency: points, amount: 1000}}]}
"""


class Family:
    """A program of its own. Members are sent to by name; a name may have been merged into others."""

    def __init__(self, service: Service, worker: Worker, program_id: int, intake: Intake) -> None:
        self.service = service
        self.worker = worker
        self.program_id = program_id
        self.intake = intake
        self._ids = itertools.count(1)

    async def id(self, name: str) -> Any:
        return (await self.intake.published(self.program_id)).identity.member(MemberRef.parse(name))

    async def send(self, name: str, command: Command, key: str | None = None) -> Receipt:
        key = key or f"id-{next(self._ids)}"
        return await self.intake.one(
            self.program_id, Addressed(MemberRef.parse(name), command, key, {"key": key}, "tests")
        )

    async def play(self, name: str, event_id: str) -> str:
        receipt = await self.send(name, Event(event_id, "played"), event_id)
        return str(receipt.answer["status"])

    async def merge(self, name: str, into: str, *, arrive: bool = True, key: str | None = None) -> str:
        """`merged`, or the code of the refusal. Unless it shall `arrive`, the second leg is left for later."""
        command = MergeOut(MemberRef.parse(into), await self.id(into))
        try:
            await self.send(name, command, key)
        except RewardsError as refusal:
            return refusal.code
        if arrive:
            await self.worker.run_due()
        return "merged"

    async def balance(self, name: str) -> int:
        """What the member that `name` has become can spend."""
        published = await self.intake.published(self.program_id)
        async with self.service.engine.connect() as connection:
            found = await find_member(connection, published, MemberRef.parse(name))
            [available] = (
                await connection.exec_driver_sql(
                    "SELECT coalesce(sum(available - debt), 0)::int FROM account WHERE program_id = $1 AND member_id = $2",
                    (self.program_id, found.state.id),
                )
            ).one()
        return int(available)

    async def verified(self) -> list[str]:
        verification = Verification(self.service.engine, await self.intake.published(self.program_id))
        found = [item async for items in verification.each_bucket(await verification.buckets()) for item in items]
        return [str(finding) for finding in found + await verification.house()]


@pytest.fixture(scope="module")
async def running(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, PROGRAM) as running:
        yield running


@pytest.fixture
async def family(running: Live) -> AsyncIterator[Family]:
    program_id, _ = await publish(running.service, PROGRAM)
    family = Family(running.service, running.worker, program_id, running.service.intake)
    yield family
    await running.worker.run_due()
    assert await family.verified() == []


@pytest.mark.parametrize(
    ("merges", "outcomes"),
    [
        (["a b"], ["merged"]),
        (["a b", "a b"], ["merged", "merged"]),
        (["a b", "a c"], ["merged", "merged-elsewhere"]),
        (["a a"], ["invalid-input"]),
        (["a b", "b a"], ["merged", "invalid-input"]),
        (["a b", "b c", "c a"], ["merged", "merged", "invalid-input"]),
        (["a b", "b c", "a b"], ["merged", "merged", "merged"]),
        (["a b", "b c", "a c"], ["merged", "merged", "merged"]),  # a is c already
        (["a b", "c a"], ["merged", "merged"]),  # into a means into b
        (["a b", "c a", "c b"], ["merged", "merged", "merged"]),
        (["a b", "c d", "b d", "a c"], ["merged", "merged", "merged", "merged"]),
        (["a b", "c d", "b d", "d a"], ["merged", "merged", "merged", "invalid-input"]),
    ],
)
@pytest.mark.parametrize("arrive", [True, False], ids=["arrived", "on the way"])
async def test_a_merge_has_its_outcome(family: Family, merges: list[str], outcomes: list[str], *, arrive: bool) -> None:
    names = sorted({name for merge in merges for name in merge.split()})
    for name in names:
        await family.play(name, f"of {name}")
    assert [await family.merge(*merge.split(), arrive=arrive) for merge in merges] == outcomes
    await family.worker.run_due()
    ends = {name: await family.balance(name) for name in names}
    assert sum(ends.values()) >= len(names)
    assert await _total(family) == len(names), "no point is lost on its way"


async def test_points_that_nobody_can_take_in_stay_on_their_way(family: Family) -> None:
    """What the one member has received in its life leaves no room for the other's: the parcel is kept, and seen."""
    await family.send("a", Earn("points", AMOUNT_MAX))
    await family.send("b", Earn("points", 1))
    assert await family.merge("a", "b") == "merged"
    assert await family.balance("b") == 1
    async with family.service.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT name, split_part(failure, ':', 1), payload -> 'parcels' -> 0 -> 'lots' -> 0 -> 'amount' FROM due"
            " WHERE program_id = $1",
            (family.program_id,),
        )
        assert [tuple(row) for row in found] == [("merge_in", "amount-overflow", AMOUNT_MAX)]


async def _redeemed(family: Family) -> int:
    async with family.service.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT sum(redeemed)::int FROM account WHERE program_id = $1", (family.program_id,)
        )
        return int(found.scalar_one())


async def _total(family: Family) -> int:
    async with family.service.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT sum(available)::int FROM account WHERE program_id = $1", (family.program_id,)
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("chain", [["b"], ["b", "c"], list("bcdefghijkl")], ids=["once", "twice", "eleven times"])
async def test_what_was_sent_before_a_merge_stays_a_duplicate_after_it(family: Family, chain: list[str]) -> None:
    """Wherever along the way the event was decided, each repeat is sent to the member that it was sent to at first."""
    sent = [("anon:a", "first")]
    await family.play("anon:a", "first")
    previous = "anon:a"
    for name in chain:
        await family.merge(previous, name)
        for sender in dict.fromkeys(("anon:a", previous, name)):
            event = (sender, f"{sender} before {name} goes on")
            assert await family.play(*event) == "processed"
            sent.append(event)
        previous = name
    assert [await family.play(*event) for event in sent] == ["duplicate"] * len(sent)
    assert await family.balance("anon:a") == await family.balance(previous) == len(sent)


@pytest.mark.parametrize("command", [Earn("points", 5), Spend("points", 5)], ids=["earn", "spend"])
async def test_the_keys_of_a_merged_member_stay_used(family: Family, command: Command) -> None:
    await family.send("anon:a", Earn("points", 100))
    first = await family.send("anon:a", command, "key")
    await family.merge("anon:a", "b")
    await family.merge("b", "c")
    again = await family.send("anon:a", command, "key")
    assert (again.replayed, again.answer) == (True, first.answer)
    other = await family.send("c", command, "key")  # the same key of another member is another command
    assert not other.replayed


@pytest.mark.parametrize(
    "refund",
    [
        lambda order: Event(f"return {order}", "returned", properties={"order": order}),
        lambda order: ReverseReference(order, None, Cause()),
    ],
    ids=["by an event", "by a command"],
)
@pytest.mark.parametrize("chain", [["b"], ["b", "c"]], ids=["once", "twice"])
async def test_an_order_of_before_a_merge_is_taken_back_after_it(
    family: Family, chain: list[str], refund: Callable[[str], Command]
) -> None:
    await family.send("anon:a", Event("o1", "bought", properties={"order": "o1"}), "o1")
    await family.send("anon:a", Event("o2", "bought", properties={"order": "o2"}), "o2")
    previous = "anon:a"
    for name in chain:
        await family.merge(previous, name)
        previous = name
    await family.send(previous, refund("o1"), "return o1")
    assert await family.balance(previous) == 50
    await family.send(previous, refund("o2"), "return o2")
    assert await family.balance(previous) == 0


async def test_what_was_taken_back_before_a_merge_is_not_taken_back_again(family: Family) -> None:
    await family.send("anon:a", Event("o1", "bought", properties={"order": "o1"}), "o1")
    await family.send("anon:a", Spend("points", 10, Cause(reference="o1")))
    await family.send("anon:a", ReverseReference("o1"))
    await family.merge("anon:a", "b")
    with pytest.raises(RewardsError) as refused:
        await family.send("b", ReverseReference("o1"))
    assert refused.value.code == "nothing-to-reverse"


def _by_reference(_: UUID) -> Command:
    return ReverseReference("order")


@pytest.mark.parametrize("reverse", [Reverse, _by_reference], ids=["by transaction", "by reference"])
@pytest.mark.parametrize("chain", [["b"], ["b", "c"]], ids=["once", "twice"])
@pytest.mark.parametrize("arrive", [True, False], ids=["passed on", "on the way"])
async def test_an_order_that_a_guest_paid_is_refunded_to_whom_the_guest_became(
    family: Family, chain: list[str], reverse: Callable[[UUID], Command], *, arrive: bool
) -> None:
    await family.send("anon:a", Earn("points", 30))
    spent = await family.send("anon:a", Spend("points", 10, Cause(reference="order")))
    original = UUID(spent.answer["transactions"][0]["id"])
    previous = "anon:a"
    for name in chain:
        await family.merge(previous, name)
        previous = name
    first = await family.send(previous, reverse(original), "refund")
    if arrive:
        await family.worker.run_due()
    assert await family.verified() == []
    [made] = first.answer["transactions"]
    assert (made["kind"], made["amount"], made["reverses"]) == ("refund", 10, str(original))
    again = await family.send(previous, reverse(original), "refund")
    assert (again.replayed, again.answer) == (True, first.answer)
    for command, code in ((Reverse(original), "already-reversed"), (ReverseReference("order"), "nothing-to-reverse")):
        with pytest.raises(RewardsError) as refused:
            await family.send(previous, command)
        assert refused.value.code == code
    await family.worker.run_due()
    assert await family.balance(previous) == await _total(family) == 30
    assert await _redeemed(family) == 0, "for the house nothing was ever spent"


@pytest.mark.parametrize("spend", [20, 30], ids=["some of a lot", "all of it"])
async def test_a_guests_spending_comes_back_into_the_lot_it_came_from(family: Family, spend: int) -> None:
    """Part by part, before and after the merge, and as if the guest had not spent it before."""
    await family.send("anon:a", Earn("points", 30))
    spent = UUID((await family.send("anon:a", Spend("points", spend))).answer["transactions"][0]["id"])
    await family.send("anon:a", Reverse(spent, 3))
    await family.merge("anon:a", "b")
    await family.send("b", Reverse(spent, 7))
    await family.send("b", Reverse(spent))
    await family.worker.run_due()
    async with family.service.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT member_id = $2, amount, available, redeemed, sent, expires_at FROM lot WHERE program_id = $1"
            " ORDER BY member_id = $2",
            (family.program_id, await family.id("b")),
        )
        [(*guests, guests_expiry), (*members, members_expiry)] = [tuple(row) for row in found]
    assert (guests, members) == ([False, 30, 0, 0, 30], [True, 30, 30, 0, 0])
    assert guests_expiry == members_expiry is not None


async def test_what_a_guest_captured_pays_the_debt_that_the_member_has_by_now(family: Family) -> None:
    await family.send("anon:a", Event("o1", "bought", properties={"order": "o1"}), "o1")
    held = await family.send("anon:a", PlaceHold("points", 40, datetime.now(UTC) + timedelta(days=1)))
    hold = UUID(held.answer["hold"]["id"])
    await family.send("anon:a", Capture(hold, 40, final=True, cause=Cause(reference="o2")))
    await family.merge("anon:a", "b")
    await family.send("b", ReverseReference("o1"))
    assert await family.balance("b") == -40
    await family.send("b", Event("back", "returned", properties={"order": "o2"}), "back")
    await family.worker.run_due()
    assert await family.balance("b") == 0


async def test_a_refund_that_is_taken_along_into_another_refusal_leaves_nothing_behind(family: Family) -> None:
    """The rule's second action is refused, so its first has not happened either, nor what it asks of the guest."""
    await family.send("anon:a", Earn("points", 30))
    await family.send("anon:a", Spend("points", 10, Cause(reference="order")))
    await family.merge("anon:a", "b")
    answer = (await family.send("b", Event("swap", "swapped", properties={"order": "order"}), "swap")).answer
    assert [effect["type"] for effect in answer["effects"]] == []
    await family.worker.run_due()
    assert await family.balance("b") == 20


async def test_two_merges_in_opposite_directions_make_no_circle(family: Family) -> None:
    for number in range(10):
        one, other = f"left-{number}", f"right-{number}"
        await family.play(one, "1")
        await family.play(other, "1")
        outcomes = await asyncio.gather(family.merge(one, other, arrive=False), family.merge(other, one, arrive=False))
        assert sorted(outcomes) == ["invalid-input", "merged"]
        await family.worker.run_due()
        assert await family.balance(one) == await family.balance(other) == 2


@pytest.mark.parametrize("count", [15, pytest.param(100, marks=pytest.mark.slow)])
async def test_a_merge_during_traffic_loses_and_doubles_nothing(family: Family, count: int) -> None:
    events = [(name, f"{name}-{number}") for number in range(count) for name in ("anon:a", "b", "c")]

    async def merges() -> None:
        await family.merge("anon:a", "b")
        await family.merge("b", "c", arrive=False)

    async def plays() -> list[str]:
        return list(await asyncio.gather(*(family.play(*event) for event in (*events, *events))))

    statuses, *_ = await asyncio.gather(plays(), merges(), plays())
    await family.worker.run_due()
    assert statuses.count("processed") + statuses.count("duplicate") == 2 * len(events)
    assert [await family.play(*event) for event in events] == ["duplicate"] * len(events)
    assert await family.balance("anon:a") == len(events)
    assert await _total(family) == len(events)
