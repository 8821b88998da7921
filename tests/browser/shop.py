"""A shop as its customers meet it: pages on an origin of its own, an app server that mints tokens, and what arrives."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from playwright.async_api import BrowserContext, Page
from tests.service import Live

T = TypeVar("T")
PATIENCE_SECONDS: Final = 15

PROGRAM: Final = """
rewards: 1
program: {key: browser, timezone: UTC}
currencies: {points: {}}
types: {text: {type: string, maxLength: 50}}
events:
  opened:   {client: true}
  clicked:  {client: true, properties: {target: text, price: {type: number}, product_id: text}}
  read:     {client: true, properties: {article: text, product_id: text, category: text, dwell_seconds: {type: number}}}
  scrolled: {client: true, properties: {scroll_percent: {type: number}}}
  hovered:  {client: true}
  starred:  {}
  ordered:  {properties: {total: {type: number}}}
metrics:
  stars: {count: starred}
leaderboards:
  stars: {score: {metric: stars}}
rules:
  - {key: click,  on: clicked,  then: [{earn: {currency: points, amount: 1}}]}
  - {key: read,   on: read,     then: [{earn: {currency: points, amount: 10}}]}
  - {key: scroll, on: scrolled, then: [{earn: {currency: points, amount: 100}}]}
"""

# The script comes from the service, whose origin is another than the page's.
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,">
<body style="margin: 0">{body}
<script src="{service}/sdk.js"></script>
<script>Rewards.init({{getToken: () => fetch("/token/{member}").then((answer) => answer.json())}});</script>
"""


@dataclass
class Shop:
    """Pages by path. `address` is where browsers find them, `service` where they find the service."""

    live: Live
    service: str
    address: str = ""
    pages: dict[str, str] = field(default_factory=dict)

    def page(self, path: str, member: str, body: str) -> str:
        """Puts up a page that a member is signed in to, and returns its address."""
        self.pages[path] = _PAGE.format(body=body, service=self.service, member=member)
        return self.address + path

    def document(self, path: str, text: str) -> str:
        """Puts up a page as it is."""
        self.pages[path] = text
        return self.address + path

    async def token(self, member: str) -> str:
        answer = await self.live.client.post(f"/v1/members/{member}/tokens", json={})
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
        return token

    async def arrived(self, member: str) -> Counter[str]:
        """How many events of each type the service has recorded of a member."""
        return Counter(event["type"] for event in await self.events(member))

    async def events(self, member: str) -> list[dict[str, Any]]:
        answer = await self.live.client.get(f"/v1/members/{member}/events")
        items: list[dict[str, Any]] = answer.json()["items"] if answer.status_code == 200 else []
        return items

    async def expect(self, member: str, **events: int) -> None:
        """Waits until these have arrived, and fails if anything else has or does not come."""
        assert await eventually(lambda: self.arrived(member), Counter(events)) == Counter(events)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        kind, status, text = "text/html", "200 OK", self.pages.get(path, "")
        if path.startswith("/token/"):
            kind, text = "application/json", f'{{"token": "{await self.token(path.removeprefix("/token/"))}"}}'
        elif path.startswith("/token-text/"):
            kind, text = "text/plain", await self.token(path.removeprefix("/token-text/"))
        elif path not in self.pages:
            status = "404 Not Found"
        content = text.encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(content)}\r\n"
            f"Connection: close\r\n\r\n".encode()
            + content
        )
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shop]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        async with server:
            yield self


@dataclass
class Visitor:
    """A browser with one customer in it. Whatever a page throws is a failure of the test."""

    shop: Shop
    context: BrowserContext
    errors: list[str] = field(default_factory=list)

    async def visit(self, address: str) -> Page:
        page = await self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        await page.goto(address)
        return page

    async def kept(self, page: Page) -> int:
        """How many events the browser keeps because they have not arrived."""
        found: int = await page.evaluate(
            "Object.keys(localStorage).filter((key) => key.startsWith('rewards-sdk.')).length"
        )
        return found


async def eventually(read: Callable[[], Awaitable[T]], wanted: T) -> T:
    """What is read once it is as wanted, or when patience ends."""
    found = await read()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while found != wanted:
                await asyncio.sleep(0.05)
                found = await read()
    except TimeoutError:
        pass
    return found
