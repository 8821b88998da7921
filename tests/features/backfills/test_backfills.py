"""Backfills: what was recorded before a metric counts in it, once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import text
from tests.features.bank import Bank
from tests.features.customers import stranger
from tests.service import Live, another

from rewards.db.transact import transact
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.play.metrics import read
from rewards.domain.program.check import check_bytes
from rewards.features.backfills import running
from rewards.features.backfills.running import Backfills
from rewards.features.backfills.runs import Named
from rewards.features.programs.store import Draft, add_version, publish_version
from rewards.pipeline import attempt
from rewards.pipeline.attempt import DECIDED_SECONDS_MAX, TooManyAttempts
from rewards.pipeline.intake import Addressed
from rewards.pipeline.lookup import find_wallet
from rewards.pipeline.submission import Result
from rewards.pipeline.write_batch import write

HEAD: Final = """
rewards: 1
program: {key: fills, name: Fills, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies: {points: {name: Points, clawback: allow_debt}}
events:
  ordered: {properties: {order: string, total: number, product: string}}
  refunded: {properties: {order: string}}
metrics:
  refunds: {count: refunded}
"""
METRICS: Final = """
  orders: {count: ordered}
  spent: {sum: ordered, value: event.total, over: 180d}
  largest: {max: ordered, value: event.total, over: 30d}
  products: {distinct: ordered, value: event.product}
"""
RULES: Final = """
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
"""
BADGE: Final = """
badges:
  buyer: {name: Buyer, metric: orders, levels: [1, 3], rewards: [{earn: {currency: points, amount: 100}}]}
"""
PROGRAM: Final = HEAD + RULES


@pytest.fixture
async def shop(bank: Bank) -> AsyncIterator[Live]:
    async with another(bank.live, PROGRAM) as one:
        yield one


async def publish(shop: Live, source: str) -> None:
    report = check_bytes(source.encode())
    assert report.ok, report.errors

    async def store(connection: Any) -> None:
        draft = Draft(document=report.data, source=None, author="tests", note=None)
        await publish_version(connection, shop.program_id, await add_version(connection, shop.program_id, draft))

    await transact(shop.service.engine, store)


async def order(shop: Live, member: str, name: str, total: float, product: str = "chair") -> dict[str, Any]:
    return await shop.event(
        type="ordered", member=member, properties={"order": name, "total": total, "product": product}
    )


async def start(shop: Live, key: str = "k", **body: Any) -> httpx.Response:
    return await shop.client.post("/v1/programs/backfills", json=body, headers={"Idempotency-Key": key})


async def started(shop: Live, key: str = "k", **body: Any) -> dict[str, Any]:
    answer = await start(shop, key, **body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def worked_off(shop: Live, backfill: dict[str, Any]) -> dict[str, Any]:
    while await shop.worker.backfills.run():
        pass
    found: dict[str, Any] = (await shop.client.get(f"/v1/programs/backfills/{backfill['id']}")).json()
    return found


COUNTED: Final = ("orders", "spent", "largest", "products")


async def metrics(shop: Live, member: str, keys: Sequence[str] = COUNTED) -> list[Any]:
    wallet = await find_wallet(shop.service.engine, shop.service.programs, shop.program_id, MemberRef.parse(member))
    state, program = wallet.found.state, wallet.program
    return [
        read(program.metrics[key], state.metrics.get(program.metrics[key].id), at=wallet.now, zone=program.zone)
        for key in keys
    ]


async def test_new_metrics_count_what_was_recorded_before_them(shop: Live) -> None:
    await order(shop, "ada", "a1", 40)
    await order(shop, "ada", "a2", 90, "table")
    await order(shop, "ben", "b1", 5)
    await publish(shop, HEAD + METRICS + RULES)
    await order(shop, "ada", "a3", 10)
    assert await metrics(shop, "ada") == [1, 10, 10, 1]
    begun = await started(shop)
    assert begun["metrics"] == ["largest", "orders", "products", "spent"]
    assert (begun["state"], begun["members_total"], begun["members_done"]) == ("running", 2, 0)
    done = await worked_off(shop, begun)
    assert done["finished_at"] is not None
    told = {"state": "done", "members_done": 2, "members_changed": 2, "members_failed": 0, "achieved": 0}
    assert {name: done[name] for name in told} == told
    assert await metrics(shop, "ada") == [3, 140, 90, 2]
    assert await metrics(shop, "ben") == [1, 5, 5, 1]
    # An order from before the metrics is taken out of them when it is refunded.
    await shop.event(type="refunded", member="ada", properties={"order": "a2"})
    assert await metrics(shop, "ada") == [2, 50, 40, 1]


async def test_a_member_whom_the_version_before_is_making_has_a_turn(
    shop: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first event is decided before the metrics are published, and written after the backfill has begun."""
    await order(shop, "zoe", "z1", 5)
    ways: list[asyncio.Task[dict[str, Any]]] = []

    async def publish_and_write(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(attempt, "write", write)
        await publish(shop, HEAD + METRICS + RULES)
        ways.append(asyncio.create_task(worked_off(shop, await started(shop))))
        await asyncio.wait(ways, timeout=DECIDED_SECONDS_MAX / 3)
        await write(*arguments, **named)

    monkeypatch.setattr(attempt, "write", publish_and_write)
    await order(shop, "ada", "a1", 40)
    assert (await ways[0])["members_done"] == 2
    assert await metrics(shop, "ada") == [1, 40, 40, 1]


@pytest.mark.parametrize(
    ("members", "seconds", "following"),
    [
        (4, 0.004, 8),
        (4, 0.025, 8),
        (4, 0.04, 4),
        (8, 0.1, 4),
        (8, 0.4, 1),
        (50, 8.0, 1),  # two thousand events each
        (1, 2.0, 1),
        (1, 0.01, 2),
    ],
)
def test_live_traffic_waits_for_a_few_members_at_most(members: int, seconds: float, following: int) -> None:
    assert running.next_at_once(members, seconds) == following


async def test_killed_half_way_it_goes_on_and_counts_once(shop: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PAGE_MEMBERS", 3)
    for number in range(8):
        await order(shop, f"m{number}", f"o{number}", number + 1)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    begun = await started(shop)
    await shop.worker.backfills.run()

    class Killed(Backfills):
        """Dies after a page was decided and before it was counted."""

        async def _move_on(self, *_: Any) -> None:
            raise RuntimeError

    service = shop.service
    with pytest.raises(RuntimeError):
        await Killed(service.engine, service.programs, service.lanes).run()
    done = await worked_off(shop, begun)
    told = {"state": "done", "members_done": 8, "members_changed": 8, "members_failed": 0, "achieved": 8}
    assert {name: done[name] for name in told} == told
    for number in range(8):
        assert (await metrics(shop, f"m{number}"))[:2] == [1, number + 1]
        assert await shop.balance(f"m{number}") == 110


async def test_a_member_who_can_never_be_decided_keeps_it_waiting_for_a_while_only(
    shop: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "TRIES_MAX", 2)
    for number in range(3):
        await order(shop, f"m{number}", f"o{number}", number + 1)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    begun = await started(shop)

    class HeldUp(Backfills):
        """Of one member it never hears anything else."""

        async def _submit(self, work: Named, page: Sequence[Any]) -> list[Result]:
            return [TooManyAttempts("too often"), *(await super()._submit(work, page))[1:]] if page else []

    service = shop.service
    backfills = HeldUp(service.engine, service.programs, service.lanes)
    assert [await backfills.run() for _ in range(4)] == [0, 0, 3, 0]
    found = (await shop.client.get(f"/v1/programs/backfills/{begun['id']}")).json()
    assert (found["state"], found["members_done"], found["members_failed"]) == ("done", 3, 1)


async def test_live_traffic_beside_it_counts_once(shop: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PAGE_MEMBERS", 2)
    members = [f"m{number}" for number in range(12)]
    for member in members:
        await order(shop, member, f"old-{member}", 10)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    begun = await started(shop)
    service = shop.service
    workers = [Backfills(service.engine, service.programs, service.lanes) for _ in range(2)]

    async def work(backfills: Backfills) -> None:
        while await backfills.run():
            pass

    async def trade(number: int) -> None:
        for member in members:
            await order(shop, member, f"{number}-{member}", number)
            await shop.event(type="refunded", member=member, properties={"order": f"{number - 1}-{member}"})

    await asyncio.gather(*map(work, workers), *map(trade, range(1, 4)))
    done = await worked_off(shop, begun)
    assert (done["state"], done["members_done"]) == ("done", 12)
    for member in members:
        found = await metrics(shop, member)
        again = await shop.client.get(f"/v1/members/{member}/wallet")
        assert again.status_code == 200
        assert found[0] == len(await counting(shop, member))
        assert found[2] == max(await counting(shop, member))


async def counting(shop: Live, member: str) -> list[float]:
    """The totals of the orders that were not taken back, from the rows."""
    published = await shop.service.programs.get(shop.program_id)
    async with shop.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT (properties ->> 'total')::float FROM event e WHERE member_id = :member AND type = 'ordered' AND"
                " NOT EXISTS (SELECT FROM taken_back_event t WHERE t.event_id = e.id)"
            ),
            {"member": published.identity.member(MemberRef.parse(member))},
        )
        return list(found.scalars())


async def test_silent_ones_are_achieved_without_a_word(shop: Live) -> None:
    await order(shop, "ada", "a1", 40)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    done = await worked_off(shop, await started(shop, announce=False))
    assert (done["achieved"], done["rewards"], await shop.balance("ada")) == (1, False, 10)
    async with shop.service.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT key, level, announced FROM achievement WHERE program_id = :program"),
            {"program": shop.program_id},
        )
        assert [tuple(row) for row in found] == [("buyer", 1, False)]


async def test_what_a_silent_one_pays_is_no_news_either(shop: Live) -> None:
    await order(shop, "ada", "a1", 40)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    await worked_off(shop, await started(shop, announce=False, rewards=True))
    assert await shop.balance("ada") == 110
    news = await (await stranger(shop, "ada")).get("/news")
    assert [(item["kind"], item["amount"]) for item in news["items"]] == [("points", 10)]


async def test_a_new_badge_of_an_old_metric_is_given(shop: Live) -> None:
    await publish(shop, HEAD + METRICS + RULES)
    for name in "abc":
        await order(shop, "ada", name, 10)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    begun = await started(shop)
    assert begun["metrics"] == []
    assert (await worked_off(shop, begun))["achieved"] == 2
    assert await shop.balance("ada") == 30 + 200


async def test_a_member_that_merges_meanwhile_brings_what_it_did(shop: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PAGE_MEMBERS", 1)
    for name in ("ada", "anon:a"):
        await order(shop, name, f"of-{name}", 40)
    await publish(shop, HEAD + METRICS + RULES)
    begun = await started(shop)
    await shop.worker.backfills.run()
    published = await shop.service.programs.get(shop.program_id)
    into = MemberRef("user", "ada")
    merge = MergeOut(into, published.identity.member(into))
    addressed = Addressed(MemberRef("anon", "a"), merge, "merge", {"into": "ada"}, "tests")
    await shop.service.intake.one(shop.program_id, addressed)
    await shop.worker.run_due()
    await worked_off(shop, begun)
    assert await metrics(shop, "ada") == [2, 80, 40, 1]


async def test_it_is_started_once_per_key_and_one_at_a_time(shop: Live) -> None:
    await publish(shop, HEAD + METRICS + RULES)
    first = await start(shop, "one")
    again = await start(shop, "one")
    assert again.json()["id"] == first.json()["id"]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    other = await start(shop, "one", announce=False)
    assert (other.status_code, other.json()["type"]) == (422, "urn:rewards:problem:id-reused")
    second = await start(shop, "two")
    assert (second.status_code, second.json()["type"]) == (409, "urn:rewards:problem:backfill-running")
    identifier = first.json()["id"]
    cancelled = await shop.client.delete(f"/v1/programs/backfills/{identifier}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["finished_at"] is not None
    assert await shop.worker.backfills.run() == 0
    assert (await start(shop, "two", metrics=["orders"])).status_code == 202
    listed = (await shop.client.get("/v1/programs/backfills")).json()["items"]
    assert [(each["state"], each["metrics"]) for each in listed] == [
        ("running", ["orders"]),
        ("cancelled", ["largest", "orders", "products", "spent"]),
    ]
    await worked_off(shop, listed[0])


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        ({"metrics": ["ordres"]}, 422, "invalid-input", "metrics"),
        ({"metrics": "orders"}, 422, "invalid-input", "metrics"),
        ({"metric": ["orders"]}, 422, "invalid-input", "metric"),
        ({}, 409, "nothing-to-backfill", None),
    ],
)
async def test_what_is_refused(shop: Live, body: dict[str, Any], status: int, code: str, path: str | None) -> None:
    answer = await start(shop, **body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:rewards:problem:{code}")
    if path is not None:
        assert path in str(problem)
    assert (await shop.client.get("/v1/programs/backfills")).json() == {"items": []}


GREETED: Final = """
rewards: 1
program: {key: fills, timezone: Europe/Berlin, late_window: 72h}
events: {greeted: {properties: {segment: string}}}
attributes: {vip: boolean}
metrics:
  greetings: {count: greeted}
  latest: {last: greeted, value: event.segment}
  entries: {count: segment.entered}
segments: {vip: member.vip}
rules:
  - {key: greet, on: segment.entered, then: [{event: {type: greeted, properties: {segment: event.segment}}}]}
"""


async def test_what_a_rule_raised_without_an_event_stays_counted(shop: Live) -> None:
    await publish(shop, GREETED)
    await shop.event(type="greeted", member="ada", properties={"segment": "by hand"})
    changed = await shop.client.patch(
        "/v1/members/ada", json={"attributes": {"vip": True}}, headers={"Idempotency-Key": "vip"}
    )
    assert changed.status_code == 200, changed.text
    keys = ("greetings", "latest", "entries")
    assert await metrics(shop, "ada", keys) == [2, "vip", 1]
    done = await worked_off(shop, await started(shop, metrics=["greetings", "latest"]))
    assert (done["state"], done["metrics"]) == ("done", ["greetings", "latest"])
    assert await metrics(shop, "ada", keys) == [2, "vip", 1]
    refused = await start(shop, "entries", metrics=["entries"])
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:rewards:problem:invalid-input")


async def test_a_metric_older_than_what_is_kept_is_not_counted_anew(shop: Live) -> None:
    async with shop.service.engine.begin() as connection:
        await connection.execute(
            text("UPDATE program_version SET created_at = now() - interval '10 years' WHERE program_id = :program"),
            {"program": shop.program_id},
        )
    answer = await start(shop, metrics=["refunds"])
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:rewards:problem:counted-longer-than-recorded")


async def test_unknown_backfills_are_not_found(shop: Live) -> None:
    for method in ("GET", "DELETE"):
        answer = await shop.client.request(method, "/v1/programs/backfills/01990000-0000-8000-8000-000000000000")
        assert answer.status_code == 404


async def test_what_a_backfill_did_is_explained_like_an_event(shop: Live) -> None:
    await order(shop, "ada", "a1", 40)
    await publish(shop, HEAD + METRICS + BADGE + RULES)
    await worked_off(shop, await started(shop))
    async with shop.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT properties::text, trace::text FROM event WHERE program_id = :program AND type = 'time.passed'"
            ),
            {"program": shop.program_id},
        )
        [row] = found.all()
    assert '"backfill"' in row.properties
    assert '"buyer"' in row.trace
