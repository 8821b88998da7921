"""A client of event streams that talks to the application itself, so that tests decide what it reads and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

PATIENCE_SECONDS = 20


@dataclass
class Message:
    """One event of a stream."""

    event: str
    id: str
    data: dict[str, Any]


@dataclass
class Stream:
    """What the application has sent so far. `reads` is cleared to stop taking what it sends."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    complete: bool = False
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    chunks: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def text(self) -> str:
        """The next piece as it was sent."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self.chunks.get()).decode()

    async def next(self) -> Message:
        """The next event; comments are passed over."""
        while True:
            lines = dict(line.split(": ", 1) for line in (await self.text()).splitlines() if ": " in line)
            if "event" in lines:
                return Message(lines["event"], lines["id"], json.loads(lines["data"]))


@asynccontextmanager
async def stream(app: Any, path: str, *, headers: Mapping[str, str], **query: Any) -> AsyncIterator[Stream]:
    """Opens a stream; leaving closes the connection."""
    found = Stream()
    found.reads.set()
    gone = asyncio.Event()
    requested = False

    async def receive() -> dict[str, Any]:
        nonlocal requested
        if not requested:
            requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        await found.reads.wait()
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["body"]:
            found.chunks.put_nowait(message["body"])
        found.complete = not message.get("more_body", True)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": urlencode(query).encode(),
        "headers": [(b"host", b"rewards.test"), *((name.lower().encode(), value.encode()) for name, value in headers.items())],
        "client": ("127.0.0.1", 1), "server": ("rewards.test", 80), "state": {},
    }  # fmt: skip
    task = asyncio.create_task(app(scope, receive, send))
    task.add_done_callback(lambda _: found.ended.set())
    try:
        yield found
    finally:
        gone.set()
        found.reads.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(task, return_exceptions=True)
