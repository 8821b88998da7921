"""Server-sent events: a response that goes on until the client goes or stops reading, or the server ends it.

What holds a stream up is let go: every message is sent within a time limit, and when the service is told to end, so are
its streams, which would otherwise keep it waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
import structlog
from litestar import Response
from litestar.response.base import ASGIResponse

log = structlog.get_logger("rewards.http")

MEDIA_TYPE: Final = "text/event-stream"
SEND_SECONDS_MAX: Final = 10.0
"""How long a client may take to make room for a message. One that takes longer is let go, and may come back."""
RETRY_MILLISECONDS: Final = 2_000
HEARTBEAT: Final = b": still here\n\n"
LASTING: Final = "rewards.lasting"
"""In the ASGI scope of an answer that is meant to take its time."""


def message(event: str, data: bytes, *, id: str | None = None) -> bytes:  # noqa: A002 - the field's own name
    """One event. `data` is one line, such as JSON is."""
    lines = [b"id: " + id.encode()] if id is not None else []
    return b"\n".join([*lines, b"event: " + event.encode(), b"data: " + data, b"", b""])


class EventStream(Response[None]):
    """Sends what `messages` yields, until any of `endings` is set. `left` is called once, however it ends."""

    def __init__(
        self, messages: AsyncGenerator[bytes, None], *, endings: Sequence[asyncio.Event], left: Callable[[], None]
    ) -> None:
        super().__init__(None, media_type=MEDIA_TYPE)
        self._messages = messages
        self._endings = endings
        self._left = left

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """The framework's own arguments are about bodies that are known."""
        return _Sending(self._messages, self._endings, self._left)


class _Sending(ASGIResponse):
    def __init__(
        self, messages: AsyncGenerator[bytes, None], endings: Sequence[asyncio.Event], left: Callable[[], None]
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._messages = messages
        self._endings = endings
        self._left = left

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[LASTING] = True
        over = asyncio.create_task(_first(_disconnected(receive), *(each.wait() for each in self._endings)))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._send_all(send, over)
            if any(each.is_set() for each in self._endings):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("stream_let_go", reason="its client does not read")
        finally:
            over.cancel()
            self._left()
            with anyio.CancelScope(shield=True):
                await self._messages.aclose()

    async def _send_all(self, send: Any, over: asyncio.Task[None]) -> None:
        async with asyncio.timeout(SEND_SECONDS_MAX):
            await send(_body(b"retry: %d\n\n" % RETRY_MILLISECONDS))
        while not over.done():
            following = asyncio.ensure_future(anext(self._messages, None))
            try:
                await asyncio.wait({following, over}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return
                text = following.result()
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
            if text is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await send(_body(text))


_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode() + b"; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # a proxy would collect the messages
]


def _body(text: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": True}


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*works: Any) -> None:
    """Until one of them is done; the others are given up."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
