"""What time does by itself: points mature and expire, holds end, silence is heard, days and months turn, late is late."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.service import EventFactory, Live, create_database, live, service_settings

from rewards.db.transact import transact
from rewards.domain.commands import MemberRef
from rewards.features.members.jobs import rank_segments

PROGRAM = """
rewards: 1
program: {key: times, timezone: Europe/Berlin, late_window: 72h, unknown_events: reject}
currencies:
  days: {expires: {after: 30d}, clawback: allow_debt}
  monthly: {expires: {after: 1mo, round: month_end}}
  yearly: {expires: {after: 12mo, round: year_end}}
  eve: {expires: {on: "12-31"}}
  ebb: {expires: {on: "02-28"}}
  idle: {expires: {inactive: 2mo}}
  coins: {hold: 3d}
  points: {}
types:
  key: {type: string}
events:
  ping: {}
  ordered: {properties: {order: key}, required: [order]}
  delivered: {properties: {order: key}, required: [order]}
  daily: {}
  drawn: {}
  rolled: {}
  cooled: {}
  advent: {}
  both: {properties: {size: {type: integer}}}
  bought: {properties: {total: {type: integer}}, required: [total]}
  l0: {}
  l1: {}
  l2: {}
  l3: {}
  l4: {}
  l5: {}
  l6: {}
  burst: {}
  spark: {}
metrics:
  recent: {count: ping, over: 7d}
  today: {count: ping, over: day}
  spent: {sum: bought, value: event.total}
segments:
  active: metrics.recent > 0
  seen_today: metrics.today > 0
  top_spenders: {top: 20%, of: spent}
rules:
  - {key: order, on: ordered, then: [{earn: {currency: points, amount: 40, hold: until_matured, reference: event.order}}]}
  - {key: deliver, on: delivered, then: [{mature: {reference: event.order}}]}
  - {key: day, on: daily, limit: {times: 1, per: day}, then: [{earn: {currency: points, amount: 1}}]}
  - {key: draw, on: drawn, budget: {points: 10, currency: points, per: month}, then: [{earn: {currency: points, amount: 5}}]}
  - {key: roll, on: rolled, limit: {times: 2, per: 24h}, then: [{earn: {currency: points, amount: 1}}]}
  - {key: cool, on: cooled, cooldown: 1h, then: [{earn: {currency: points, amount: 1}}]}
  - key: advent
    on: advent
    starts: 2026-12-01T00:00:00
    ends: 2026-12-24T23:59:59
    then: [{earn: {currency: points, amount: 1}}]
  - key: big
    on: both
    when: event.size > 5
    priority: 2
    exclusive: size
    then: [{earn: {currency: points, amount: 9}}]
    otherwise: [{earn: {currency: points, amount: 2}}]
  - {key: any, on: both, priority: 1, exclusive: size, then: [{earn: {currency: points, amount: 1}}]}
  - {key: missed, on: segment.left, when: event.segment == "active", then: [{earn: {currency: points, amount: 3}}]}
  - {key: top, on: segment.entered, when: event.segment == "top_spenders", then: [{earn: {currency: points, amount: 100}}]}
  - {key: fallen, on: segment.left, when: event.segment == "top_spenders", then: [{earn: {currency: points, amount: 7}}]}
  - {key: r0, on: l0, then: [{earn: {currency: points, amount: 1}}, {event: {type: l1}}]}
  - {key: r1, on: l1, then: [{earn: {currency: points, amount: 1}}, {event: {type: l2}}]}
  - {key: r2, on: l2, then: [{earn: {currency: points, amount: 1}}, {event: {type: l3}}]}
  - {key: r3, on: l3, then: [{earn: {currency: points, amount: 1}}, {event: {type: l4}}]}
  - {key: r4, on: l4, then: [{earn: {currency: points, amount: 1}}, {event: {type: l5}}]}
  - {key: r5, on: l5, then: [{earn: {currency: points, amount: 1}}, {event: {type: l6}}]}
  - {key: r6, on: l6, then: [{earn: {currency: points, amount: 1}}]}
  - {key: burst, on: burst, then: [BURST]}
  - {key: spark, on: spark, then: [{earn: {currency: points, amount: 1}}, {earn: {currency: days, amount: 1}}, {event: {type: spark}}]}
""".replace("[BURST]", "[" + ", ".join(["{event: {type: spark}}"] * 18) + "]")

_keys = itertools.count(1)


def moment(said: str) -> datetime:
    return datetime.fromisoformat(said)


class Times:
    """A sandbox whose clock is set as a test likes; every member's own time only goes forward."""

    def __init__(self, running: Live) -> None:
        self.live = running

    async def at(self, when: datetime | str) -> None:
        """Sets the clock. It runs on from there."""
        to = moment(when) if isinstance(when, str) else when
        statement = text(
            "UPDATE program SET clock_offset = CAST(:to AS timestamptz) - clock_timestamp() WHERE id = :id"
        )
        values = {"to": to, "id": self.live.program_id}
        await transact(self.live.service.engine, lambda connection: connection.execute(statement, values))

    async def send(self, member: str, kind: str, **more: Any) -> Any:
        event = EventFactory(**{"type": kind, "member": member, "properties": {}, **more})
        answer = await self.live.client.post("/v1/events?trace=true", json=event)
        return {**answer.json(), "http": answer.status_code}

    async def move(self, path: str, **body: Any) -> Any:
        headers = {"Idempotency-Key": f"key-{next(_keys)}"}
        answer = await self.live.client.post(f"/v1{path}", json=body, headers=headers)
        return {**answer.json(), "http": answer.status_code}

    async def earn(self, member: str, currency: str, amount: int, **more: Any) -> Any:
        made = await self.move(f"/members/{member}/earn", currency=currency, amount=amount, **more)
        assert made["http"] == 200, made
        return made

    async def shown(self, member: str, currency: str) -> tuple[int, int, int]:
        """Available, pending and held as a reader sees them."""
        wallet = (await self.live.client.get(f"/v1/members/{member}/wallet")).json()
        found = wallet["currencies"][currency]["balances"]
        return found["available"], found["pending"], found["held"]

    async def stored(self, member: str, currency: str) -> tuple[int, int, int, int]:
        """Available, pending, held and expired as posted."""
        published = await self.live.service.programs.get(self.live.program_id)
        identifier = published.identity.member(MemberRef.parse(member))
        async with self.live.service.engine.connect() as connection:
            found = await connection.execute(
                text(
                    "SELECT available, pending, held, expired FROM account WHERE member_id = :member AND currency = :of"
                ),
                {"member": identifier, "of": currency},
            )
            return tuple(found.one())

    async def segments(self, member: str) -> set[str]:
        return set((await self.live.client.get(f"/v1/members/{member}")).json()["segments"])

    async def due_at(self, member: str) -> datetime | None:
        published = await self.live.service.programs.get(self.live.program_id)
        identifier = published.identity.member(MemberRef.parse(member))
        async with self.live.service.engine.connect() as connection:
            found = await connection.execute(text("SELECT due_at FROM due WHERE member_id = :m"), {"m": identifier})
            wake: datetime | None = found.scalar_one_or_none()
            return wake

    async def work(self) -> None:
        await self.live.worker.run_due()
        await self.live.worker.sweep.run_inactive(self.live.program_id)


@pytest.fixture(scope="module")
async def times(database_url: str, redis_url: str) -> AsyncIterator[Times]:
    url = await create_database(database_url, "time_tests")
    async with live(service_settings(url, redis_url), PROGRAM, kind="sandbox") as running:
        yield Times(running)


@pytest.mark.parametrize("how", ["read", "command", "sweep"])
async def test_points_mature_by_themselves(times: Times, how: str) -> None:
    member = f"maturing-{how}"
    await times.at("2026-03-27T12:00:00Z")
    made = await times.earn(member, "coins", 10)
    matures_at = moment(made["transactions"][0]["effective_at"]) + timedelta(days=3)
    await times.at(matures_at - timedelta(seconds=30))
    assert await times.shown(member, "coins") == (0, 10, 0)
    assert (await times.move(f"/members/{member}/spend", currency="coins", amount=4))["http"] == 402
    await times.at(matures_at)
    if how == "read":
        assert await times.shown(member, "coins") == (10, 0, 0)
        assert (await times.stored(member, "coins"))[:2] == (0, 10), "reading posts nothing"
    elif how == "command":
        assert (await times.move(f"/members/{member}/spend", currency="coins", amount=4))["http"] == 200
        assert (await times.stored(member, "coins"))[:2] == (6, 0)
    else:
        await times.work()
        assert (await times.stored(member, "coins"))[:2] == (10, 0)


async def test_points_wait_until_somebody_matures_them(times: Times) -> None:
    await times.at("2026-05-01T12:00:00Z")
    await times.send("patient", "ordered", properties={"order": "o1"})
    await times.send("patient", "ordered", properties={"order": "o2"})
    await times.at("2028-05-01T12:00:00Z")
    assert await times.shown("patient", "points") == (0, 80, 0)
    answer = await times.send("patient", "delivered", properties={"order": "o1"})
    assert [(effect["type"], effect["amount"]) for effect in answer["effects"]] == [("mature", 40)]
    assert await times.shown("patient", "points") == (40, 40, 0)
    again = await times.send("patient", "delivered", properties={"order": "o1"})
    assert again["effects"] == []


@pytest.mark.parametrize(
    ("currency", "earned", "gone"),
    [
        ("days", "2026-03-01T12:00:00+01:00", "2026-03-31T13:00:00+02:00"),  # thirty times 24 hours
        ("monthly", "2026-01-31T10:00:00+01:00", "2026-03-01T00:00:00+01:00"),  # 31 January and a month is in February
        ("monthly", "2026-02-10T10:00:00+01:00", "2026-04-01T00:00:00+02:00"),  # the clocks change in between
        ("monthly", "2026-09-30T23:59:59+02:00", "2026-11-01T00:00:00+01:00"),
        ("yearly", "2025-06-01T10:00:00+02:00", "2027-01-01T00:00:00+01:00"),
        ("yearly", "2024-12-31T23:59:59+01:00", "2026-01-01T00:00:00+01:00"),
        ("eve", "2026-12-31T23:59:58+01:00", "2027-01-01T00:00:00+01:00"),
        ("eve", "2027-01-01T00:00:00+01:00", "2028-01-01T00:00:00+01:00"),
        ("ebb", "2027-02-01T00:00:00+01:00", "2027-03-01T00:00:00+01:00"),
        ("ebb", "2027-03-01T00:00:00+01:00", "2028-02-29T00:00:00+01:00"),  # 2028 has one more day
        ("idle", "2026-01-31T10:00:00+01:00", "2026-03-31T10:00:00+02:00"),  # the same time of day, two months on
        ("idle", "2026-12-31T10:00:00+01:00", "2027-02-28T10:00:00+01:00"),
    ],
)
@pytest.mark.parametrize("how", ["read", "command", "sweep"])
async def test_points_expire(times: Times, currency: str, earned: str, gone: str, how: str) -> None:
    member = f"expiring-{next(_keys)}"
    await times.at(earned)
    made = await times.earn(member, currency, 10)
    drift = moment(made["transactions"][0]["recorded_at"]) - moment(earned)
    assert timedelta(0) <= drift < timedelta(seconds=2)
    await times.at(moment(gone) - timedelta(seconds=20))
    await times.work()
    assert await times.shown(member, currency) == (10, 0, 0)
    [plan] = (await times.live.client.get(f"/v1/members/{member}/expiring")).json()["currencies"][currency]
    rolling = currency in {"days", "idle"}
    assert moment(plan["at"]) == moment(gone) + (drift if rolling else timedelta(0))
    await times.at(moment(plan["at"]))
    if how == "read":
        assert await times.shown(member, currency) == (0, 0, 0)
        assert await times.stored(member, currency) == (10, 0, 0, 0), "reading posts nothing"
    elif how == "command":
        assert (await times.move(f"/members/{member}/spend", currency=currency, amount=1))["http"] == 402
        await times.earn(member, "points", 1)
        assert await times.stored(member, currency) == (0, 0, 0, 10)
    else:
        await times.work()
        assert await times.stored(member, currency) == (0, 0, 0, 10)
        found = (await times.live.client.get(f"/v1/members/{member}/statement")).json()["items"]
        assert [(row["kind"], moment(row["effective_at"])) for row in found[:1]] == [("expire", moment(plan["at"]))]


async def test_activity_puts_expiry_off(times: Times) -> None:
    await times.at("2026-01-10T10:00:00+01:00")
    await times.earn("busy", "idle", 10)
    for month in ("02", "03", "04", "05"):
        await times.at(f"2026-{month}-25T10:00:00+01:00" if month == "02" else f"2026-{month}-20T10:00:00+02:00")
        await times.move("/members/busy/spend", currency="idle", amount=1)
        await times.work()
    assert await times.shown("busy", "idle") == (6, 0, 0)
    await times.at("2026-07-20T10:05:00+02:00")
    await times.work()
    assert await times.stored("busy", "idle") == (0, 0, 0, 6)


async def test_what_expires_first_is_spent_first(times: Times) -> None:
    for day, amount in (
        ("10", 5),
        ("02", 7),
        ("20", 3),
    ):  # earned in this order, though the clock was set anew each time
        await times.at(f"2026-06-{day}T12:00:00Z" if day != "02" else "2026-06-12T12:00:00Z")
        await times.earn("fifo", "days", amount, **({"expires_at": "2026-07-02T00:00:00Z"} if day == "02" else {}))
    await times.move("/members/fifo/spend", currency="days", amount=9)
    plan = (await times.live.client.get("/v1/members/fifo/expiring")).json()["currencies"]["days"]
    assert [(each["at"][:10], each["amount"]) for each in plan] == [("2026-07-10", 3), ("2026-07-20", 3)]


@pytest.mark.parametrize(
    ("currency", "passes", "left", "expired"),
    [
        ("points", "10m", (10, 0, 0), 0),
        ("points", "9m", (6, 0, 4), 0),
        ("days", "10m", (10, 0, 0), 0),
        ("days", "31d", (0, 0, 0), 10),
    ],
)
@pytest.mark.parametrize("posted", [True, False], ids=["swept", "only read"])
async def test_a_hold_ends_by_itself(
    times: Times, currency: str, passes: str, left: tuple[int, int, int], expired: int, *, posted: bool
) -> None:
    member = f"holding-{next(_keys)}"
    length = {"9m": timedelta(minutes=9), "10m": timedelta(minutes=10, seconds=2), "31d": timedelta(days=31)}[passes]
    await times.at("2026-08-01T12:00:00Z")
    await times.earn(member, currency, 10)
    hold = (await times.move(f"/members/{member}/holds", currency=currency, amount=4, expires_in="10m"))["hold"]
    await times.at(moment("2026-08-01T12:00:00Z") + length)
    if posted:
        await times.work()
        assert await times.stored(member, currency) == (*left, expired)
    assert await times.shown(member, currency) == left
    captured = await times.move(f"/holds/{hold['id']}/capture")
    assert captured["http"] == (200 if passes == "9m" else 409)


async def test_a_segment_is_left_by_silence_at_the_moment_it_becomes_true(times: Times) -> None:
    await times.at("2026-09-01T12:00:00Z")
    answer = await times.send("silent", "ping")
    assert {"type": "segment.entered", "segment": "active"} in answer["effects"]
    steps = 0
    while (due := await times.due_at("silent")) is not None:
        await times.at(due - timedelta(seconds=5))
        await times.work()
        assert "active" in await times.segments("silent"), "not a moment too early"
        assert await times.due_at("silent") == due
        await times.at(due)
        await times.work()
        steps += 1
        if "active" not in await times.segments("silent"):
            break
    assert 1 <= steps <= 10
    assert due is not None
    silence = due - moment("2026-09-01T12:00:00Z")
    assert timedelta(days=7) * 59 / 60 <= silence <= timedelta(days=7) * 61 / 60
    assert await times.shown("silent", "points") == (3, 0, 0)
    await times.at(due + timedelta(days=100))
    await times.work()
    assert await times.shown("silent", "points") == (3, 0, 0), "it is left once"


@pytest.mark.parametrize("command", ["event", "other event", "spend", "late event"])
async def test_silence_is_heard_first_though_no_worker_ran(times: Times, command: str) -> None:
    member = f"unheard-{command.replace(' ', '-')}"
    await times.at("2026-09-01T12:00:00Z")
    await times.send(member, "ping")
    await times.earn(member, "points", 1)
    await times.at("2026-10-01T12:00:00Z")
    if command == "spend":
        assert (await times.move(f"/members/{member}/spend", currency="points", amount=4))["http"] == 200
        assert await times.shown(member, "points") == (0, 0, 0), "what silence brought can be spent at once"
    else:
        more = {"occurred_at": "2026-09-20T12:00:00Z"} if command == "late event" else {}
        answer = await times.send(member, "ping" if command == "event" else "both", **more)
        effects = [(effect["type"], effect.get("segment") or effect.get("rule")) for effect in answer["effects"]]
        assert effects[:3] == [("segment.left", "active"), ("segment.left", "seen_today"), ("earn", "missed")]
        assert (("segment.entered", "active") in effects) == (command == "event")
    assert ("active" in await times.segments(member)) == (command == "event")


@pytest.mark.parametrize(
    ("zone", "seen", "left"),
    [
        ("Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-30T00:00:00+02:00"),  # 23 hours
        ("Europe/Berlin", "2026-10-25T00:30:00+02:00", "2026-10-26T00:00:00+01:00"),  # 25 hours
        ("Australia/Lord_Howe", "2026-10-04T00:30:00+10:30", "2026-10-05T00:00:00+11:00"),  # half an hour
        ("Asia/Kathmandu", "2026-05-01T10:00:00+05:45", "2026-05-02T00:00:00+05:45"),
        ("Pacific/Apia", "2011-12-29T10:00:00-10:00", "2011-12-31T00:00:00+14:00"),  # the day that was not
        ("America/Sao_Paulo", "2018-11-03T10:00:00-03:00", "2018-11-04T01:00:00-02:00"),  # no midnight
    ],
)
async def test_the_members_own_day_ends_at_the_members_own_midnight(
    times: Times, zone: str, seen: str, left: str
) -> None:
    member = f"dayed-{next(_keys)}"
    await times.at(seen)
    await times.live.client.patch(f"/v1/members/{member}", json={"timezone": zone})
    await times.send(member, "ping")
    await times.at(moment(left) - timedelta(seconds=20))
    await times.work()
    assert "seen_today" in await times.segments(member)
    await times.at(left)
    await times.work()
    assert "seen_today" not in await times.segments(member)


async def test_the_best_fifth_is_chosen_by_the_job(times: Times) -> None:
    async def rank() -> int:
        service = times.live.service
        return await rank_segments(service.engine, service.programs, service.lanes, times.live.program_id)

    async def points() -> list[int]:
        return [(await times.shown(f"spender-{number}", "points"))[0] for number in range(10)]

    await times.at("2026-10-01T12:00:00Z")
    for number in range(10):
        await times.send(f"spender-{number}", "bought", properties={"total": 10 * number + 10})
    assert await points() == [0] * 10
    assert await rank() == 2
    assert await points() == [0] * 8 + [100, 100]
    assert await rank() == 0, "whoever is in does not enter again"
    await times.send("spender-0", "bought", properties={"total": 1_000})
    assert await rank() == 2
    assert await points() == [100, *[0] * 7, 107, 100]
    assert "top_spenders" in await times.segments("spender-0")
    assert "top_spenders" not in await times.segments("spender-8")


@pytest.mark.parametrize(
    ("ago", "code", "status", "earned"),
    [
        (timedelta(0), 200, "processed", 1),
        (timedelta(hours=71, minutes=59, seconds=50), 200, "processed", 1),
        (timedelta(hours=72, seconds=1), 200, "too_late", 0),
        (timedelta(days=3_000), 200, "too_late", 0),
        (-timedelta(minutes=4), 200, "processed", 1),  # a clock that runs ahead a little
        (-timedelta(minutes=6), 422, 422, 0),
    ],
)
async def test_events_may_be_late_but_not_too_late(
    times: Times, ago: timedelta, code: int, status: str, earned: int
) -> None:
    member, now = f"late-{next(_keys)}", moment("2026-11-10T12:00:00Z")
    await times.at(now)
    await times.earn(member, "coins", 1)
    answer = await times.send(member, "daily", occurred_at=(now - ago).isoformat())
    assert (answer["http"], answer["status"]) == (code, status)
    assert await times.shown(member, "points") == (earned, 0, 0)


@pytest.mark.parametrize(
    ("zone", "moments", "earned"),
    [
        ("Europe/Berlin", ["2026-03-29T00:10:00+01:00", "2026-03-29T23:50:00+02:00"], 1),
        ("Europe/Berlin", ["2026-03-29T23:50:00+02:00", "2026-03-30T00:10:00+02:00"], 2),
        ("Europe/Berlin", ["2026-10-25T00:10:00+02:00", "2026-10-25T23:50:00+01:00"], 1),  # over 24 hours apart
        ("Europe/Berlin", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"], 1),  # the hour that comes twice
        ("Australia/Lord_Howe", ["2026-10-04T00:10:00+10:30", "2026-10-04T23:50:00+11:00"], 1),
        ("Australia/Lord_Howe", ["2026-10-04T23:50:00+11:00", "2026-10-05T00:10:00+11:00"], 2),
        ("Asia/Kathmandu", ["2026-05-01T18:14:59+00:00", "2026-05-01T18:15:00+00:00"], 2),
        ("Asia/Kathmandu", ["2026-05-01T18:15:00+00:00", "2026-05-02T18:14:59+00:00"], 1),
        ("Pacific/Apia", ["2011-12-29T23:50:00-10:00", "2011-12-31T00:10:00+14:00"], 2),
        ("Pacific/Apia", ["2011-12-31T00:10:00+14:00", "2011-12-29T23:50:00-10:00"], 2),  # whichever comes first
        ("Pacific/Apia", ["2011-12-29T00:10:00-10:00", "2011-12-29T23:50:00-10:00"], 1),
    ],
)
async def test_once_a_day_means_the_members_own_day(times: Times, zone: str, moments: list[str], earned: int) -> None:
    member = f"zoned-{next(_keys)}"
    await times.at(max(map(moment, moments)) + timedelta(minutes=1))
    await times.live.client.patch(f"/v1/members/{member}", json={"timezone": zone})
    for occurred_at in moments:
        assert (await times.send(member, "daily", occurred_at=occurred_at))["status"] == "processed"
    assert await times.shown(member, "points") == (earned, 0, 0)


async def test_history_never_goes_back_though_the_clock_does(times: Times) -> None:
    await times.at("2026-06-02T12:00:00Z")
    first = await times.earn("steady", "days", 10)
    await times.at("2026-05-02T12:00:00Z")
    second = await times.earn("steady", "days", 5)
    event = await times.send("steady", "daily")
    recorded = [moment(made["transactions"][0]["recorded_at"]) for made in (first, second)]
    assert recorded[0] <= recorded[1]
    assert event["status"] == "processed"
    found = (await times.live.client.get("/v1/members/steady/statement")).json()["items"]
    assert [row["seq"] for row in found] == [3, 2, 1]
    moments = [moment(row["recorded_at"]) for row in found]
    assert moments == sorted(moments, reverse=True)
    assert await times.shown("steady", "days") == (15, 0, 0)


async def test_a_budget_is_per_month_and_a_late_event_counts_in_its_own(times: Times) -> None:
    await times.at("2026-01-31T23:59:00+01:00")
    assert [(await times.send("drawer", "drawn"))["trace"][-1]["result"] for _ in range(3)] == [
        "fired",
        "fired",
        "budget",
    ]
    await times.at("2026-02-01T00:00:00+01:00")
    late = await times.send("drawer", "drawn", occurred_at="2026-01-31T23:59:59+01:00")
    assert late["trace"][-1]["result"] == "budget"
    assert [(await times.send("drawer", "drawn"))["trace"][-1]["result"] for _ in range(3)] == [
        "fired",
        "fired",
        "budget",
    ]
    assert await times.shown("drawer", "points") == (20, 0, 0)


@pytest.mark.parametrize(
    ("kind", "moments", "results"),
    [
        ("rolled", ["00:00:00", "01:00:00", "02:00:00"], "fired fired limit"),
        ("rolled", ["00:00:00", "23:00:00", "23:59:59"], "fired fired limit"),
        ("rolled", ["00:00:00", "23:00:00", "24:00:00"], "fired fired fired"),
        ("rolled", ["10:00:00", "11:00:00", "09:00:00"], "fired fired limit"),  # a late one shares their window
        ("rolled", ["30:00:00", "31:00:00", "06:00:00"], "fired fired fired"),  # and this one shares it with one only
        ("cooled", ["00:00:00", "00:59:59", "01:00:00"], "fired cooldown fired"),
        ("cooled", ["10:00:00", "09:00:01", "09:00:00"], "fired cooldown fired"),  # in both directions
    ],
)
async def test_rolling_limits_and_cooldowns(times: Times, kind: str, moments: list[str], results: str) -> None:
    member = f"rolling-{next(_keys)}"
    start = moment("2026-04-01T00:00:00Z")
    await times.at(start + timedelta(hours=48))
    told = []
    for said in moments:
        hours, minutes, seconds = map(int, said.split(":"))
        occurred_at = start + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        told.append((await times.send(member, kind, occurred_at=occurred_at.isoformat()))["trace"][-1]["result"])
    assert told == results.split()


@pytest.mark.parametrize(
    ("occurred_at", "result"),
    [
        ("2026-11-30T23:59:59.999999+01:00", "schedule"),
        ("2026-12-01T00:00:00+01:00", "fired"),
        ("2026-12-24T23:59:59+01:00", "fired"),
        ("2026-12-25T00:00:00+01:00", "schedule"),
    ],
)
async def test_a_schedule_is_in_the_programs_zone_and_counts_when_it_happened(
    times: Times, occurred_at: str, result: str
) -> None:
    await times.at(moment(occurred_at) + timedelta(hours=20))
    answer = await times.send(f"advent-{next(_keys)}", "advent", occurred_at=occurred_at)
    assert answer["trace"][-1]["result"] == result


@pytest.mark.parametrize(
    ("properties", "paid"),
    [
        ({"size": 6}, [("big", 9)]),  # the other one is excluded
        ({"size": 5}, [("big", 2), ("any", 1)]),  # a fallback takes nobody's place
        ({}, [("big", 2), ("any", 1)]),  # a missing field is not true either
    ],
)
async def test_exclusive_rules_and_fallbacks(
    times: Times, properties: dict[str, Any], paid: list[tuple[str, int]]
) -> None:
    await times.at("2026-11-10T12:00:00Z")
    answer = await times.send(f"both-{next(_keys)}", "both", properties=properties)
    assert [(effect["rule"], effect["amount"]) for effect in answer["effects"]] == paid


async def test_a_chain_of_internal_events_ends_after_five(times: Times) -> None:
    await times.at("2026-11-10T12:00:00Z")
    answer = await times.send("chained", "l0")
    assert answer["trace"][-1]["result"] == "depth_exceeded"
    assert await times.shown("chained", "points") == (6, 0, 0)  # the event itself, and five levels


async def test_an_event_has_at_most_a_hundred_effects(times: Times) -> None:
    await times.at("2026-11-10T12:00:00Z")
    answer = await times.send("burst", "burst")
    assert any(line.get("result") == "effects_exceeded" for line in answer["trace"])
    assert 90 < len(answer["effects"]) <= 100
