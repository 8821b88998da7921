"""Customers with tokens, beside the app server that mints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from tests.features.bank import Bank


@dataclass
class Customer:
    """A browser of a member: it calls `/v1/me` with its token."""

    bank: Bank
    token: str

    async def send(self, method: str, path: str, *, origin: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **({} if origin is None else {"Origin": origin})}
        return await self.bank.live.client.request(method, f"/v1{path}", headers=headers, **more)

    async def status(self, **more: Any) -> int:
        return (await self.send("GET", "/me", **more)).status_code


async def customer(bank: Bank, member: str) -> Customer:
    """Of a member that is known, with a fresh token."""
    await bank.earn(member, 5)
    return Customer(bank, (await minted(bank, member)).json()["token"])


async def minted(bank: Bank, member: str, **body: Any) -> httpx.Response:
    return await bank.live.client.post(f"/v1/members/{member}/tokens", json=body)


def refused_with(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    return told
