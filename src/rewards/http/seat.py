"""A serving process among several: its connections are handed to it by its parent (see `processes`)."""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rewards.http.server import Server, configuration

READY: Final = b"r"
CONNECTION: Final = b"c"
TAKEN_AT_ONCE_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Seat:
    """What a serving process has of its parent."""

    number: int
    """From 0. A process that takes a dead one's place has its number."""
    parent: socket.socket
    """Connections come in; that we are ready goes out. It ends when the parent does, however it ended."""
    closed: memoryview
    """By number, how many of the connections that it was handed a process has closed. Shared by all of them."""
    listener: socket.socket | None
    """Where the process accepts for itself, on systems where connections are not handed over."""


class SeatServer(Server):
    """Serves what it is handed. The parent alone knows whether a second signal means haste, so here it means nothing."""

    def __init__(self, config: uvicorn.Config, seat: Seat, on_ending: Callable[[], None] | None = None) -> None:
        super().__init__(config, self._tell_ready, on_ending)
        self.orphaned = False
        self._seat = seat
        self._connecting: set[asyncio.Task[Any]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before anything else, so that a parent that dies while we start is not missed.
        asyncio.get_running_loop().add_reader(self._seat.parent.fileno(), self._take)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().remove_reader(self._seat.parent.fileno())
        self._seat.parent.close()  # the parent hands us nothing from here on
        await super().shutdown(sockets)

    def _tell_ready(self) -> None:
        self._seat.parent.send(READY)

    def _take(self) -> None:
        """Takes the connections that wait in the channel, a few at a time: those that we have want to be served too."""
        for _ in range(TAKEN_AT_ONCE_MAX):
            try:
                told, descriptors = receive(self._seat.parent)
            except BlockingIOError:
                return
            except OSError:
                told, descriptors = b"", []
            for descriptor in descriptors:
                task = asyncio.create_task(self._connect(socket.socket(fileno=descriptor)))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
            if not told:
                asyncio.get_running_loop().remove_reader(self._seat.parent.fileno())
                self.orphaned = self.should_exit = True
                return

    async def _connect(self, connection: socket.socket) -> None:
        def protocol() -> HttpToolsProtocol:
            return Counted(self._count_closed, self.config, self.server_state, self.lifespan.state)

        connection.settimeout(0)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # it was closed on its way here
            connection.close()
            self._count_closed()

    def _count_closed(self) -> None:
        self._seat.closed[self._seat.number] += 1


class Counted(HttpToolsProtocol):
    """Tells when its connection is closed."""

    def __init__(
        self, on_closed: Callable[[], None], config: uvicorn.Config, state: Any, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, state, app_state)
        self._on_closed = on_closed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_closed()


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """What was told, and the descriptors that came along. Nothing was told when the other side is closed."""
    size = array.array("i").itemsize
    told, messages, _, _ = channel.recvmsg(64, socket.CMSG_SPACE(64 * size))
    descriptors = array.array("i")
    for level, kind, content in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % size])
    return told, list(descriptors)


def serve_seat(
    app: Any,
    seat: Seat,
    *,
    shutdown_seconds: float,
    forwarded_allow_ips: str,
    on_ending: Callable[[], None] | None = None,
) -> bool:
    """Serve the ASGI application from a seat until SIGTERM or SIGINT, or until the parent is gone; blocks.

    Ends as `server.serve` does. Returns whether the parent was gone.
    """
    seat.parent.settimeout(0)
    server = SeatServer(
        configuration(app, shutdown_seconds=shutdown_seconds, forwarded_allow_ips=forwarded_allow_ips), seat, on_ending
    )
    server.run(sockets=[seat.listener] if seat.listener is not None else [])
    return server.orphaned
