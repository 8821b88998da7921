"""Events that count no longer, through the database: what is asked for is loaded, and what was decided stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.service import EventFactory, Live, another, live, service_settings

from rewards.db.engine import database_url
from rewards.db.transact import transact
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.play.metrics import read
from rewards.features.ledger.verification import Verification
from rewards.pipeline.intake import Addressed
from rewards.pipeline.lookup import find_wallet

PROGRAM = """
rewards: 1
program: {key: refunds, name: Refunds, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies: {points: {name: Points, clawback: allow_debt}}
events:
  ordered: {properties: {order: string, total: number, product: string}}
  refunded: {properties: {order: string}}
metrics:
  orders: {count: ordered}
  spent: {sum: ordered, value: event.total, over: 180d}
  largest: {max: ordered, value: event.total, over: month}
  latest: {last: ordered, value: event.product}
  products: {distinct: ordered, value: event.product, over: 30d}
segments:
  regular: metrics.orders >= 2
rules:
  - key: paid
    on: ordered
    then: [{earn: {currency: points, amount: 10, reference: event.order}}]
  - key: refund
    on: refunded
    then: [{reverse: {reference: event.order}}]
"""


@pytest.fixture(scope="module")
async def shop(migrated_url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as running:
        yield running


async def order(shop: Live, member: str, name: str, total: float, product: str, **more: Any) -> dict[str, Any]:
    sent = {"order": name, "total": total, "product": product}
    return await shop.event(type="ordered", member=member, properties=sent, **more)


async def refund(shop: Live, member: str, name: str) -> list[str]:
    answer = await shop.event(type="refunded", member=member, properties={"order": name})
    return [effect["event"] for effect in answer["effects"] if effect["type"] == "taken_back"]


async def metrics(shop: Live, member: str) -> dict[str, Any]:
    wallet = await find_wallet(shop.service.engine, shop.service.programs, shop.program_id, MemberRef.parse(member))
    state, program = wallet.found.state, wallet.program
    return {
        key: read(metric, state.metrics.get(metric.id), at=wallet.now, zone=program.zone)
        for key, metric in program.metrics.items()
    }


async def rows(shop: Live, sql: str, **values: Any) -> list[Any]:
    async with shop.service.engine.connect() as connection:
        return list((await connection.execute(text(sql), {"program": shop.program_id, **values})).all())


async def events_of(shop: Live, *clients: str) -> list[str]:
    found = await rows(shop, "SELECT id, client_id FROM event WHERE program_id = :program")
    ids = {row.client_id: str(row.id) for row in found}
    return [ids[client] for client in clients]


async def test_a_refunded_order_leaves_every_metric_and_is_kept_as_taken_back(shop: Live) -> None:
    await order(shop, "carla", "c1", 40, "chair", id="c1")
    await order(shop, "carla", "c2", 90, "table", id="c2")
    await order(shop, "carla", "c3", 10, "chair", id="c3")
    both = {"orders": 3, "spent": 140, "largest": 90, "latest": "chair", "products": 2}
    assert await metrics(shop, "carla") == both
    [second, third] = await events_of(shop, "c2", "c3")
    assert await refund(shop, "carla", "c2") == [second]
    assert await metrics(shop, "carla") == {"orders": 2, "spent": 50, "largest": 40, "latest": "chair", "products": 1}
    assert await refund(shop, "carla", "c3") == [third]
    assert await metrics(shop, "carla") == {"orders": 1, "spent": 40, "largest": 40, "latest": "chair", "products": 1}
    kept = await rows(shop, "SELECT event_id FROM taken_back_event WHERE program_id = :program")
    assert {str(row.event_id) for row in kept} >= {second, third}
    assert await refund(shop, "carla", "c2") == []


async def test_refunds_that_come_together_each_take_their_order_back(shop: Live) -> None:
    await asyncio.gather(*(order(shop, "bulk", f"b{number}", number, f"p{number}") for number in range(20)))
    found = await asyncio.gather(*(refund(shop, "bulk", f"b{number}") for number in range(5, 20)))
    assert [len(each) for each in found] == [1] * 15
    assert await metrics(shop, "bulk") | {"latest": None} == {
        "orders": 5,
        "spent": 10,
        "largest": 4,
        "latest": None,
        "products": 5,
    }


async def test_a_reversal_over_the_ledger_takes_the_event_back_as_well(shop: Live) -> None:
    made = await order(shop, "ledger", "l1", 30, "lamp", id="l1")
    await order(shop, "ledger", "l2", 5, "bulb")
    transaction = made["effects"][0]["transaction"]
    for key, amount, expected in (("r1", 4, None), ("r2", 6, ["taken_back", "segment.left"])):
        answer = await shop.client.post(
            f"/v1/transactions/{transaction}/reverse", json={"amount": amount}, headers={"Idempotency-Key": f"l-{key}"}
        )
        assert answer.status_code == 200, answer.text
        told = answer.json().get("effects")
        assert (None if not told else [effect["type"] for effect in told]) == expected
    assert (await metrics(shop, "ledger"))["largest"] == 5


async def test_orders_of_a_merged_member_are_taken_back_from_the_one_it_became(shop: Live) -> None:
    await order(shop, "anon:m1", "m1", 90, "table", id="m1")
    await order(shop, "max", "m2", 20, "chair")
    published = await shop.service.programs.get(shop.program_id)
    into = MemberRef("user", "max")
    merge = MergeOut(into, published.identity.member(into))
    await shop.service.intake.one(
        shop.program_id, Addressed(MemberRef("anon", "m1"), merge, "merge", {"into": "max"}, "tests")
    )
    await shop.worker.run_due()
    assert (await metrics(shop, "max"))["largest"] == 90
    assert await refund(shop, "max", "m1") == await events_of(shop, "m1")
    assert await metrics(shop, "max") == {"orders": 1, "spent": 20, "largest": 20, "latest": "chair", "products": 1}


async def test_an_order_that_retention_has_dropped_stays_counted(shop: Live, migrated_url: str) -> None:
    await order(shop, "olga", "o1", 90, "table", id="o1")
    [event] = await events_of(shop, "o1")
    owner = create_async_engine(database_url(migrated_url))
    async with owner.begin() as connection:
        await connection.execute(text("DELETE FROM event WHERE id = :id"), {"id": UUID(event)})
    await owner.dispose()
    body = EventFactory(type="refunded", member="olga", properties={"order": "o1"})
    answer = (await shop.client.post("/v1/events?trace=true", json=body)).json()
    assert {"taken_back": event, "result": "not_recorded"} in answer["trace"]
    assert (await metrics(shop, "olga"))["orders"] == 1


async def test_a_dry_run_of_a_refund_says_what_it_would_take_back(shop: Live) -> None:
    await order(shop, "dora", "d1", 30, "lamp", id="d1")
    body = EventFactory(type="refunded", member="dora", properties={"order": "d1"})
    answer = (await shop.client.post("/v1/events?dry_run=true", json=body)).json()
    assert answer["effects"][-1] == {"type": "taken_back", "event": (await events_of(shop, "d1"))[0]}
    assert (await metrics(shop, "dora"))["orders"] == 1


SPRINTS = """
rewards: 1
program: {key: sprints, timezone: UTC, late_window: 72h, unknown_events: quarantine}
currencies: {points: {clawback: allow_debt}}
events:
  ordered: {properties: {order: string, quest: string}}
  refunded: {properties: {order: string}}
  walked: {}
metrics:
  names: {distinct: [ordered, quest.expired], value: event.quest}
  latest: {last: [ordered, quest.expired], value: event.quest}
quests: {sprint: {steps: [{event: walked, target: 5}], window: 20h}}
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
"""


@pytest.fixture(scope="module")
async def sprints(shop: Live) -> AsyncIterator[Live]:
    """Nobody wakes its members."""
    async with another(shop, SPRINTS, kind="sandbox") as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "hours_ago", "status"),
    [("ordered", 0, "processed"), ("ordered", 80, "too_late"), ("nobody_knows", 0, "quarantined")],
)
async def test_what_time_counted_beside_an_event_that_does_not_count_is_counted_anew(
    sprints: Live, kind: str, hours_ago: int, status: str
) -> None:
    member = f"walker-{status}"

    async def later(hours: int) -> datetime:
        sql = "UPDATE program SET clock_offset = clock_offset + make_interval(hours => :hours) WHERE id = :id"
        values = {"hours": hours, "id": sprints.program_id}
        await transact(sprints.service.engine, lambda connection: connection.execute(text(sql), values))
        [row] = await rows(sprints, "SELECT now() + clock_offset AS now FROM program WHERE id = :program")
        return cast(datetime, row.now)

    await sprints.event(type="walked", member=member, properties={})
    now = await later(30)
    sent = {"order": "a", "quest": "a"} if kind == "ordered" else {}
    moment = now - timedelta(hours=hours_ago)
    beside = await sprints.event(type=kind, member=member, properties=sent, occurred_at=moment.isoformat())
    assert beside["status"] == status
    # It says what time said, so that nothing but that is left when both are refunded.
    again = {"order": "b", "quest": "sprint"}
    await sprints.event(
        type="ordered", member=member, properties=again, occurred_at=(now - timedelta(hours=11)).isoformat()
    )
    assert len(await refund(sprints, member, "a")) == (status == "processed")
    assert len(await refund(sprints, member, "b")) == 1
    assert await metrics(sprints, member) == {"names": 1, "latest": "sprint"}


VIPS = """
rewards: 1
program: {key: vips, timezone: UTC, late_window: 72h}
currencies: {points: {clawback: allow_debt}}
events:
  ordered: {properties: {order: string, segment: string}}
  refunded: {properties: {order: string}}
attributes: {vip: boolean}
metrics:
  entries: {count: segment.entered}
  names: {distinct: [ordered, segment.entered], value: event.segment}
  latest: {last: [ordered, segment.entered], value: event.segment}
segments: {vip: member.vip, rich: balances.points >= 50}
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
  - {key: welcome, on: segment.entered, when: event.segment == "vip", then: [{earn: {currency: points, amount: 3}}]}
"""


@pytest.fixture(scope="module")
async def vips(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, VIPS) as running:
        yield running


@pytest.mark.parametrize(
    ("member", "path", "body", "segment"),
    [
        ("vera", "PATCH /v1/members/vera", {"attributes": {"vip": True}}, "vip"),
        ("rita", "POST /v1/members/rita/earn", {"currency": "points", "amount": 50}, "rich"),
    ],
)
async def test_what_a_command_counted_that_is_no_event_is_counted_anew(
    vips: Live, member: str, path: str, body: dict[str, Any], segment: str
) -> None:
    method, _, url = path.partition(" ")
    for _ in range(2):  # the same again changes nothing
        answer = await vips.client.request(method, url, json=body, headers={"Idempotency-Key": f"of {member}"})
        assert answer.status_code == 200, answer.text
    assert await metrics(vips, member) == {"entries": 1, "names": 1, "latest": segment}
    # The order says the same, so that nothing but what the command said is left when it is refunded.
    await vips.event(type="ordered", member=member, properties={"order": "a", "segment": segment})
    assert len(await refund(vips, member, "a")) == 1
    assert await metrics(vips, member) == {"entries": 1, "names": 1, "latest": segment}
    verification = Verification(vips.service.engine, await vips.service.programs.get(vips.program_id))
    assert [each async for found in verification.each_bucket(await verification.buckets()) for each in found] == []


async def test_what_a_merged_member_counted_without_events_is_counted_anew(vips: Live) -> None:
    changed = await vips.client.patch(
        "/v1/members/anon:nina", json={"attributes": {"vip": True}}, headers={"Idempotency-Key": "of nina"}
    )
    assert changed.status_code == 200, changed.text
    for member in ("anon:nina", "nina"):  # neither is rich by itself
        body = {"currency": "points", "amount": 30}
        headers = {"Idempotency-Key": f"points of {member}"}
        assert (await vips.client.post(f"/v1/members/{member}/earn", json=body, headers=headers)).status_code == 200
    published = await vips.service.programs.get(vips.program_id)
    into = MemberRef("user", "nina")
    merge = MergeOut(into, published.identity.member(into))
    await vips.service.intake.one(
        vips.program_id, Addressed(MemberRef("anon", "nina"), merge, "merge", {"into": "nina"}, "tests")
    )
    await vips.worker.run_due()
    both = {"entries": 2, "names": 2, "latest": "rich"}
    assert await metrics(vips, "nina") == both
    for name, segment in (("n1", "vip"), ("n2", "rich")):
        await vips.event(type="ordered", member="nina", properties={"order": name, "segment": segment})
    for name in ("n1", "n2"):
        assert len(await refund(vips, "nina", name)) == 1
    assert await metrics(vips, "nina") == both


async def test_what_a_command_counted_can_be_explained(vips: Live) -> None:
    answer = await vips.client.patch(
        "/v1/members/eva", json={"attributes": {"vip": True}}, headers={"Idempotency-Key": "of eva"}
    )
    assert answer.status_code == 200, answer.text
    [kept] = (await vips.client.get("/v1/members/eva/events")).json()["items"]
    assert (kept["type"], kept["sent_by"]) == ("time.passed", None)
    assert kept["effects"] == answer.json()["effects"]
    told = (await vips.client.get(f"/v1/members/eva/events/{kept['id']}?contributions=true")).json()
    assert {each["metric"]: each["value"][0] for each in told["contributions"]}["latest"] == "vip"
    assert [line["result"] for line in told["trace"] if line.get("rule") == "welcome"] == ["fired"]
    assert [made["amount"] for made in told["transactions"]] == [3]
    assert told["balances"]["points"]["available"] == 3
    paid = (await vips.client.get(f"/v1/transactions/{told['transactions'][0]['id']}")).json()
    assert paid["event"]["id"] == kept["id"]
    reversal = await vips.client.post(
        f"/v1/transactions/{paid['id']}/reverse", json={}, headers={"Idempotency-Key": "eva back"}
    )
    assert (reversal.status_code, reversal.json().get("effects")) == (200, None)
    assert await metrics(vips, "eva") == {"entries": 1, "names": 1, "latest": "vip"}
