"""A program with a currency of every kind, in a sandbox whose clock tests may move, and short ways to call the service."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from sqlalchemy import text
from tests.service import Live

from rewards.db.transact import transact
from rewards.domain.program.check import check_bytes
from rewards.features.programs.store import Draft, add_version, publish_version

DOCUMENT: Final = """
rewards: 1
program: {key: bank, timezone: UTC, late_window: 72h, unknown_events: quarantine, invalid_events: quarantine}
currencies:
  points: {expires: {after: 30d}, clawback: within_balance, worth: 1}
  credit: {clawback: allow_debt}
  miles: {hold: 14d, clawback: pending_only}
  status: {spendable: false}
types:
  text: {type: string, maxLength: 50}
events:
  order_placed:
    aka: [Order Completed]
    properties: {order_id: text, total: {type: integer}}
    required: [order_id, total]
  visited: {client: true, properties: {page: text}}
attributes:
  plan: {type: string, maxLength: 20, purpose: offers that fit}
  age: {type: integer, minimum: 0, purpose: offers that are allowed}
metrics:
  visits: {count: visited}
segments:
  regulars: metrics.visits >= 2
rules:
  - key: purchase
    on: order_placed
    then: [{earn: {currency: points, amount: event.total, reference: event.order_id}}]
  - key: big_purchase
    on: order_placed
    when: event.total > 1000
    then: [{earn: {currency: status, amount: 1}}]
"""
SURVEY: Final = """
  survey_done: {properties: {score: {type: integer}}}
"""
SURVEY_RULE: Final = """
  - key: survey
    on: survey_done
    then: [{earn: {currency: points, amount: 7}}]
"""
"""What later versions of the program may add."""
WITH_SURVEY: Final = DOCUMENT.replace("attributes:", SURVEY.strip("\n") + "\nattributes:") + SURVEY_RULE.strip("\n")

_keys = itertools.count(1)


@dataclass
class Bank:
    """Calls as an app server makes them. Every movement gets an idempotency key of its own unless one is given."""

    live: Live
    path: str = "/v1"
    elapsed: timedelta = field(default_factory=timedelta)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.live.client.get(f"{self.path}{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, *, key: str | None = None, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key or f"key-{next(_keys)}"}
        return await self.live.client.post(f"{self.path}{path}", json=body, headers=headers)

    async def move(self, path: str, **body: Any) -> Any:
        """A movement that must succeed."""
        answer = await self.post(path, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def earn(self, member: str, amount: int, currency: str = "points", **more: Any) -> Any:
        return await self.move(f"/members/{member}/earn", currency=currency, amount=amount, **more)

    async def spend(self, member: str, amount: int, currency: str = "points", **more: Any) -> Any:
        return await self.move(f"/members/{member}/spend", currency=currency, amount=amount, **more)

    async def hold(self, member: str, amount: int, currency: str = "points", **more: Any) -> Any:
        more.setdefault("expires_in", "10m")
        return (await self.move(f"/members/{member}/holds", currency=currency, amount=amount, **more))["hold"]

    async def buckets(self, member: str, currency: str = "points") -> tuple[int, int, int, int]:
        """Available, pending, held and debt, as of now."""
        found = (await self.get(f"/members/{member}/wallet"))["currencies"][currency]["balances"]
        return found["available"], found["pending"], found["held"], found["debt"]

    async def pass_time(self, **length: float) -> None:
        """Moves the sandbox's clock forward, for all members."""
        self.elapsed += timedelta(**length)

        async def moved(connection: Any) -> None:
            await connection.execute(
                text("UPDATE program SET clock_offset = :offset WHERE id = :id"),
                {"offset": self.elapsed, "id": self.live.program_id},
            )

        await transact(self.live.service.engine, moved)

    async def publish(self, source: str) -> None:
        """The next version of the program."""
        report = check_bytes(source.encode())
        assert report.ok, report.errors

        async def store(connection: Any) -> None:
            draft = Draft(document=report.data, source=source, author="tests", note=None)
            number = await add_version(connection, self.live.program_id, draft)
            await publish_version(connection, self.live.program_id, number)

        await transact(self.live.service.engine, store)

    async def count(self, table: str) -> int:
        async with self.live.service.engine.connect() as connection:
            found = await connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE program_id = :id"), {"id": self.live.program_id}
            )
            return int(found.scalar_one())


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


def moment(text_: str) -> datetime:
    return datetime.fromisoformat(text_)
