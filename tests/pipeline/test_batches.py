"""A batch equals its items one by one, and costs a fixed number of statements whatever its size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event
from sqlalchemy import text
from tests.service import Live, another, publish

from rewards.domain.commands import Command, Earn, Event, MemberRef, PlaceHold, ReverseReference, SetProfile, Spend
from rewards.domain.errors import RewardsError
from rewards.domain.outcome import Status
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.submission import Receipt, Result, Submission

PROGRAM = """
rewards: 1
program: {key: batches, name: Batches, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies:
  points: {name: Points, worth: 1, expires: {after: 12mo}, clawback: allow_debt}
events:
  played: {properties: {level: {type: integer}}}
  bought: {properties: {order_id: {type: string}, total: money}, required: [order_id, total]}
  refunded: {properties: {order_id: {type: string}}, required: [order_id]}
attributes:
  vip: {type: boolean, purpose: service}
metrics:
  plays: {count: played}
  best: {max: played, value: event.level}
segments:
  regular: metrics.plays >= 3
rules:
  - key: play
    on: played
    limit: {times: 4, per: day}
    then: [{earn: {currency: points, amount: 2}}]
  - key: hard
    on: played
    when: event.level > 5
    cooldown: 1h
    then: [{earn: {currency: points, amount: 5}}]
  - key: buy
    on: bought
    then: [{earn: {currency: points, amount: event.total, reference: event.order_id}}]
  - key: refund
    on: refunded
    then: [{reverse: {reference: event.order_id}}]
  - key: welcome
    on: segment.entered
    limit: {times: 1, per: lifetime}
    then: [{set: {attribute: vip, value: true}}, {earn: {currency: points, amount: 10}}]
"""


@pytest.fixture(scope="module")
async def batches(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, PROGRAM) as running:
        yield running


def _events() -> st.SearchStrategy[Command]:
    orders = st.sampled_from(["o1", "o2"])
    return st.one_of(
        st.builds(lambda level: Event("", "played", None, {"level": level}), st.integers(0, 9)),
        st.builds(
            lambda order, total: Event("", "bought", None, {"order_id": order, "total": total}),
            orders,
            st.integers(0, 30),
        ),
        st.builds(lambda order: Event("", "refunded", None, {"order_id": order}), orders),
        st.builds(lambda: Event("", "unheard_of", None, {})),
    )


def _moves() -> st.SearchStrategy[Command]:
    amounts = st.integers(1, 25)
    return st.one_of(
        st.builds(lambda amount: Earn("points", amount), amounts),
        st.builds(lambda amount: Spend("points", amount), amounts),
        st.builds(lambda amount: PlaceHold("points", amount, timedelta(days=1)), amounts),
        st.builds(lambda: ReverseReference("o1")),
        st.builds(lambda vip: SetProfile({"vip": vip}), st.booleans()),
    )


ITEMS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cem"]), st.integers(0, 12), st.one_of(_events(), _moves())), max_size=25
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS)
async def test_a_batch_equals_its_items_one_by_one(batches: Live, items: list[tuple[str, int, Command]]) -> None:
    await _together_and_apart(batches, items)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS)
async def test_so_do_many_batches(batches: Live, items: list[tuple[str, int, Command]]) -> None:
    await _together_and_apart(batches, items)


async def _together_and_apart(batches: Live, items: list[tuple[str, int, Command]]) -> None:
    """Ids repeat now and then, so that duplicates and conflicts are among the items."""
    together, _ = await publish(batches.service, PROGRAM)
    apart, _ = await publish(batches.service, PROGRAM)
    commands = [
        Addressed(MemberRef.parse(member), command, f"id-{number}", repr(command), "tests")
        for member, number, command in items
    ]
    intake = batches.service.intake
    at_once = await intake.many(together, commands)
    one_by_one = [(await intake.many(apart, [command]))[0] for command in commands]
    assert [_told(result) for result in at_once] == [_told(result) for result in one_by_one]
    assert await _members(batches, together) == await _members(batches, apart)


def _told(result: Result) -> Any:
    """What a caller was told, without ids and moments."""
    if isinstance(result, RewardsError):
        return result.code
    return _plain({"status": result.status.value, "answer": result.answer, "refusal": result.refusal})


def _plain(value: Any) -> Any:
    hidden = {"transaction", "transactions", "id", "reverses", "expires_at", "hold", "event"}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key not in hidden}
    return [_plain(each) for each in value] if isinstance(value, list) else value


async def _members(batches: Live, program_id: int) -> list[Any]:
    async with batches.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT m.external_id, m.seq, m.attributes, a.available, a.held, a.debt, a.issued, a.redeemed, a.revoked,"
                " (SELECT count(*) FROM transaction t WHERE t.program_id = m.program_id AND t.member_id = m.member_id),"
                " (SELECT sum(l.available) FROM lot l WHERE l.program_id = m.program_id AND l.member_id = m.member_id)"
                " FROM member m LEFT JOIN account a ON a.program_id = m.program_id AND a.member_id = m.member_id"
                " WHERE m.program_id = :id ORDER BY m.external_id"
            ),
            {"id": program_id},
        )
        return list(found.all())


@contextmanager
def counted(batches: Live) -> Iterator[list[str]]:
    """The statements sent meanwhile, by their first words."""
    sent: list[str] = []

    def hear(query: Any) -> None:
        sent.append(query.query.split(None, 1)[0])

    listeners: tuple[tuple[str, Any], ...] = (
        ("checkout", lambda connection, *_: connection.driver_connection.add_query_logger(hear)),
        ("checkin", lambda connection, *_: connection.driver_connection.remove_query_logger(hear)),
    )
    engine = batches.service.lane_engine.sync_engine
    for name, listener in listeners:
        sql_event.listen(engine, name, listener)
    try:
        yield sent
    finally:
        for name, listener in listeners:
            sql_event.remove(engine, name, listener)


@pytest.mark.parametrize("size", [1, 10, 100])
async def test_a_batch_takes_two_round_trips(batches: Live, size: int) -> None:
    """One reads, one locks, checks, writes everything and commits; members may be new. Repeats cost one more: their keys, and
    what was answered, instead of the writing. Where a transaction locks first it takes five."""

    def commands(turn: str) -> list[Submission]:
        events = [(f"known-{size}-{number}", Event("", "played", None, {"level": 1})) for number in range(size)]
        return [
            submission(published, Addressed(MemberRef.parse(member), event, turn, turn, "tests"))
            for member, event in events
        ]

    published = await batches.service.programs.get(batches.program_id)
    for turn, statements, status in (
        ("first", ["SELECT", "WITH"], Status.PROCESSED),
        ("second", ["SELECT", "WITH"], Status.PROCESSED),
        ("second", ["SELECT", "SELECT", "SELECT"], Status.DUPLICATE),
    ):
        with counted(batches) as sent:
            done = await batches.service.batches.run(commands(turn))
        assert [result.status for result in done.results.values() if isinstance(result, Receipt)] == [status] * size
        await asyncio.sleep(0)  # what the driver tells of a statement comes with the loop's next turn
        assert sent == statements
    async with another(batches, PROGRAM, kind="sandbox") as sandbox:
        published = await batches.service.programs.get(sandbox.program_id)
        with counted(batches) as sent:
            await batches.service.batches.run(commands("first"))
        await asyncio.sleep(0)
    assert sent == ["BEGIN", "SELECT", "SELECT", "WITH", "COMMIT"]
