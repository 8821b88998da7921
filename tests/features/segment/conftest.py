"""The service with a program that has a use for every kind of call, and a sender that speaks as Segment's clients do."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import text
from tests.service import Live, another

from rewards.domain.commands import MemberRef

PROGRAM: Final = """
rewards: 1
program: {key: collected, timezone: UTC, late_window: 72h}
currencies:
  points: {worth: 1}
types:
  text: {type: string, maxLength: 200}
events:
  product_viewed: {aka: [Product Viewed], client: true, properties: {category: text, seconds: {type: number}}}
  order_placed: {aka: [Order Completed], properties: {order_id: text, total: {type: number}}, required: [order_id, total]}
  page_viewed: {client: true, properties: {name: text, path: text}}
  group_joined: {aka: [Group Joined], properties: {group_id: text}}
attributes:
  plan: {type: string, maxLength: 20, purpose: offers that fit}
  vip: {type: boolean, purpose: the lounge}
rules:
  - {key: view, on: product_viewed, then: [{earn: {currency: points, amount: 5}}]}
  - {key: ios, on: product_viewed, when: context.device == "ios" && context.city == "Berlin", then: [{earn: {currency: points, amount: 1}}]}
  - {key: order, on: order_placed, then: [{earn: {currency: points, amount: event.total, round: down}}]}
  - {key: page, on: page_viewed, when: event.name == "Offers", then: [{earn: {currency: points, amount: 2}}]}
  - {key: group, on: group_joined, when: event.group_id == "g1", then: [{earn: {currency: points, amount: 7}}]}
"""


@dataclass
class Sender:
    """Sends calls and tells what the service says became of them."""

    live: Live
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **more: Any) -> httpx.Response:
        """Authenticates with the server key unless `auth` or other headers are given."""
        request: dict[str, Any] = {"auth": (key or self.live.server_key, "")} if "auth" not in more else {}
        if body is not None:
            request["json"] = body
        # The client of the fixture sends a bearer key by itself; these tests say what they send.
        transport = self.live.client._transport
        async with httpx.AsyncClient(transport=transport, base_url="http://rewards.test") as client:
            return await client.post(f"/segment/v1/{path}", **{**request, **more})

    async def batch(self, *calls: Any, key: str | None = None, **more: Any) -> "Counter[str]":
        """Sends a batch that is taken; returns how many calls had which outcome."""
        before = self.outcomes()
        answer = await self.post("batch", {"batch": list(calls), **more}, key=key)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        return self.outcomes() - before

    def outcomes(self) -> "Counter[str]":
        counted: Counter[str] = Counter()
        for metric in self.live.service.registry.collect():
            if metric.name == "rewards_collector_items":
                for sample in metric.samples:
                    if sample.name.endswith("_total"):
                        assert sample.labels["collector"] == "segment"
                        counted[sample.labels["outcome"]] += int(sample.value)
        return counted

    async def events(self, member: str) -> list[Any]:
        """The stored events of a member, oldest first."""
        return await self._rows("SELECT * FROM event WHERE member_id = :member ORDER BY id", member)

    async def member(self, member: str) -> Any:
        """The member's row, or None."""
        found = await self._rows("SELECT * FROM member WHERE member_id = :member", member)
        return found[0] if found else None

    async def _rows(self, sql: str, member: str) -> list[Any]:
        published = await self.live.service.programs.get(self.live.program_id)
        async with self.live.service.engine.connect() as connection:
            found = await connection.execute(text(sql), {"member": published.identity.member(MemberRef.parse(member))})
            return list(found)


@pytest.fixture(scope="session")
async def segment(shared_service: Live) -> AsyncIterator[Sender]:
    async with another(shared_service, PROGRAM) as running:
        yield Sender(running)


def track(
    message_id: str | None, user: str | None = None, event: Any = "Product Viewed", **more: Any
) -> dict[str, Any]:
    """A `track` as clients send it, nulls included."""
    return {
        "type": "track",
        "event": event,
        "userId": user,
        "anonymousId": None,
        "properties": {"category": "audio"},
        "integrations": {},
        "context": {"library": {"name": "tests", "version": "1"}},
        "messageId": message_id,
        **more,
    }
