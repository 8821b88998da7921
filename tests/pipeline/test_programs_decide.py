"""What a program can ask for, end to end: budgets under races, refunds, segments, merges, new versions."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.service import EventFactory, Live, another

from rewards.db.transact import transact
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.program.check import check_bytes
from rewards.features.programs.store import Draft, add_version, pause_rule, publish_version
from rewards.pipeline.intake import Addressed

PROGRAM = """
rewards: 1
program: {key: games, name: Games, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies:
  points: {name: Points, worth: 1, expires: {after: 12mo}, clawback: within_balance}
  coins: {name: Coins, hold: 14d}
events:
  played: {properties: {level: {type: integer}}}
  bought: {properties: {order_id: {type: string}, total: money}, required: [order_id, total]}
  refunded: {properties: {order_id: {type: string}}, required: [order_id]}
  prize_drawn: {}
metrics:
  plays: {count: played}
segments:
  regular: metrics.plays >= 3
rules:
  - key: play
    on: played
    then: [{earn: {currency: points, amount: 1}}]
  - key: scarce
    on: prize_drawn
    budget: {points: 100, currency: points, per: day}
    then: [{earn: {currency: points, amount: 7}}]
  - key: buy
    on: bought
    then:
      - {earn: {currency: points, amount: event.total, rate: 1.5, round: down, reference: event.order_id}}
      - {earn: {currency: coins, amount: 3, reference: event.order_id}}
  - key: refund
    on: refunded
    then: [{reverse: {reference: event.order_id}}]
  - key: welcome_regular
    on: segment.entered
    when: event.segment == "regular"
    then: [{earn: {currency: points, amount: 10}}]
"""


@pytest.fixture(scope="module")
async def games(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, PROGRAM) as running:
        yield running


async def test_a_budget_pays_its_last_point_and_not_one_more(games: Live) -> None:
    events = [EventFactory(type="prize_drawn", member=f"drawer-{number}", properties={}) for number in range(60)]
    answers = await asyncio.gather(*(games.client.post("/v1/events?trace=true", json=event) for event in events))
    paid = [answer.json() for answer in answers if answer.json()["effects"]]
    assert len(paid) == 14  # 14 times 7 is 98
    refused = next(answer.json() for answer in answers if not answer.json()["effects"])
    assert refused["trace"][-1]["result"] == "budget"
    async with games.service.engine.connect() as connection:
        used = await connection.execute(
            text("SELECT used FROM counter WHERE program_id = :id"), {"id": games.program_id}
        )
        assert used.scalar_one() == 98


async def test_a_refund_takes_back_what_the_order_brought(games: Live) -> None:
    bought = await games.event(type="bought", member="returner", properties={"order_id": "o-1", "total": 33.5})
    assert bought["balances"]["points"]["available"] == 50
    assert bought["balances"]["coins"]["pending"] == 3
    refunded = await games.event(type="refunded", member="returner", properties={"order_id": "o-1"})
    assert [effect["type"] for effect in refunded["effects"]] == ["reverse", "reverse", "taken_back"]
    assert refunded["balances"]["points"]["available"] == 0
    assert refunded["balances"]["coins"]["pending"] == 0


async def test_a_refund_in_the_same_batch_finds_the_order(games: Live) -> None:
    events = [
        EventFactory(type="bought", member="swift", properties={"order_id": "o-2", "total": 10}),
        EventFactory(type="refunded", member="swift", properties={"order_id": "o-2"}),
    ]
    answer = await games.client.post("/v1/events/batch", json={"events": events})
    assert answer.json()["results"][1]["balances"]["points"]["available"] == 0


async def test_entering_a_segment_is_an_event_of_its_own(games: Live) -> None:
    for _ in range(2):
        await games.event(type="played", member="player", properties={"level": 1})
    third = await games.event(type="played", member="player", properties={"level": 2})
    assert {"type": "segment.entered", "segment": "regular"} in third["effects"]
    assert third["balances"]["points"]["available"] == 13


async def test_a_merge_moves_points_and_counts_and_forwards(games: Live) -> None:
    for _ in range(2):
        await games.event(type="played", member="anon:browser", properties={})
    await games.event(type="played", member="known", properties={})
    published = await games.service.programs.get(games.program_id)
    known = MemberRef.parse("known")
    merge = MergeOut(known, published.identity.member(known))
    asked = Addressed(MemberRef.parse("anon:browser"), merge, "merge-1", "merge", "tests")
    await games.service.intake.one(games.program_id, asked)
    await games.worker.run_due()
    assert await games.balance("known") == 13  # three plays, and with them the regulars' welcome
    late = await games.event(type="played", member="anon:browser", properties={})
    assert late["balances"]["points"]["available"] == 14
    assert await games.balance("anon:browser") == 0


async def test_a_paused_rule_and_a_new_version_count_at_once(games: Live) -> None:
    engine = games.service.engine
    await transact(
        engine, lambda connection: pause_rule(connection, games.program_id, "play", actor="tests", reason=None)
    )
    answer = await games.event(type="played", member="pauser", properties={})
    assert answer["effects"] == []
    report = check_bytes(PROGRAM.replace("amount: 1}", "amount: 2}").encode())

    async def republish(connection: object) -> None:
        number = await add_version(connection, games.program_id, Draft(report.data, None, "tests", None))  # type: ignore[arg-type]
        await publish_version(connection, games.program_id, number)  # type: ignore[arg-type]
        await connection.execute(text("DELETE FROM rule_pause WHERE program_id = :id"), {"id": games.program_id})  # type: ignore[attr-defined]

    await transact(engine, republish)
    dry = await games.client.post(
        "/v1/events?dry_run=true", json=EventFactory(type="played", member="pauser", properties={})
    )
    assert dry.json()["program_version"] == 2
    answer = await games.event(type="played", member="pauser", properties={})
    assert answer["program_version"] == 2
    assert answer["balances"]["points"]["available"] == 2


async def test_points_moved_directly_place_members_in_segments_of_balances(shop: Live) -> None:
    program = PROGRAM.replace("regular: metrics.plays >= 3", "regular: balances.points >= 100")
    async with another(shop, program) as rich:
        earned = await rich.client.post(
            "/v1/members/rich/earn", json={"currency": "points", "amount": 100}, headers={"Idempotency-Key": "e1"}
        )
        assert [effect["type"] for effect in earned.json()["effects"]] == ["segment.entered", "earn"]
        assert earned.json()["balances"]["points"]["available"] == 110
        spent = await rich.client.post(
            "/v1/members/rich/spend", json={"currency": "points", "amount": 50}, headers={"Idempotency-Key": "s1"}
        )
        assert spent.json()["effects"] == [{"type": "segment.left", "segment": "regular"}]
