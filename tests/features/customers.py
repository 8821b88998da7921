"""Customers with tokens, beside the app server that mints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from tests.features.bank import Bank
from tests.service import Live


@dataclass
class Customer:
    """A browser of a member: it calls `/v1/me` with its token."""

    live: Live
    token: str

    async def send(self, method: str, path: str, *, origin: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **({} if origin is None else {"Origin": origin})}
        return await self.live.client.request(method, f"/v1{path}", headers=headers, **more)

    async def get(self, path: str, **query: Any) -> Any:
        """What `/v1/me` and a path below it answer when all is well."""
        answer = await self.send("GET", f"/me{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def status(self, **more: Any) -> int:
        return (await self.send("GET", "/me", **more)).status_code


async def customer(bank: Bank, member: str) -> Customer:
    """Of a member that is known, with a fresh token."""
    await bank.earn(member, 5)
    return await stranger(bank.live, member)


async def stranger(live: Live, member: str) -> Customer:
    """Of a member that may not be known yet, with a fresh token."""
    answer = await live.client.post(f"/v1/members/{member}/tokens", json={})
    assert answer.status_code == 201, answer.text
    return Customer(live, answer.json()["token"])


async def minted(bank: Bank, member: str, **body: Any) -> httpx.Response:
    return await bank.live.client.post(f"/v1/members/{member}/tokens", json=body)


def refused_with(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    return told
