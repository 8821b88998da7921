"""The server: uvicorn on uvloop and httptools, a port that is ours before we say so, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn

PORTS_TRIED_MAX: Final = 100
KEEP_ALIVE_SECONDS: Final = 75
BACKLOG: Final = 2048
COLLECTOR_THRESHOLDS: Final = (5_000, 20, 50)
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
HASTE_SECONDS: Final = 5.0
"""How long the application may take to end after a second signal."""


class PortInUse(OSError):
    """Another process listens there, or the address is not ours."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EADDRINUSE, message)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 lets the system choose. Raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortInUse(f"{host}:{port} cannot be used: {error.strerror}") from None
    return bound


def bind_from(host: str, first_port: int) -> socket.socket:
    """A socket bound to the first free port from `first_port` on. Binding is the test, so nobody comes between."""
    for port in range(first_port, min(first_port + PORTS_TRIED_MAX, 65536)):
        try:
            return bind(host, port)
        except PortInUse:
            continue
    raise PortInUse(f"no port from {first_port} on is free")


def base_url(bound: socket.socket) -> str:
    """Where a browser on this machine finds the socket."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def keep_for_good() -> None:
    """Takes what has been made so far out of the garbage collector's rounds, and has these come less often.

    A batch makes thousands of values that all live until it ends; looking through them, and through every module of
    the service, again and again took a fifth of the processor time of an event.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def is_no_cancellation(record: logging.LogRecord) -> bool:
    """For the server's logger: requests are cancelled where the process may not wait for them, which is no defect."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _obeyed(_number: int, _frame: FrameType | None) -> None:
    """The process is ending already. (Not `SIG_IGN`, which programs that it starts would inherit.)"""


_UNHEARD: Final = logging.getLogger("rewards.http.unheard")
_UNHEARD.setLevel(logging.CRITICAL + 1)


class Server(uvicorn.Server):
    """Calls `on_ready` once it accepts connections, and `on_ending` when it waits for those that are open to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None] | None,
        on_ending: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(is_no_cancellation)
        self._on_ready = on_ready
        self._on_ending = on_ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        keep_for_good()
        if self.started and self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_ending is not None:
            self._on_ending()
        await super().shutdown(sockets)
        if self.force_exit:
            await self._end_in_haste()

    async def _end_in_haste(self) -> None:
        """No request was waited for; what is being written is."""
        ending = asyncio.create_task(self.lifespan.shutdown())
        await asyncio.wait({ending}, timeout=HASTE_SECONDS)
        # What has not ended is cancelled with the loop, which is no failure to tell of.
        self.lifespan.logger = _UNHEARD

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal asks for an orderly end; a second one of any kind for one that waits for no request."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """A signal that was obeyed is spent: whoever called `serve` goes on and cleans up, which no other one
        interrupts, and exits with 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, _obeyed if self.should_exit else handler)


def serve(
    app: Any,
    bound: socket.socket,
    *,
    shutdown_seconds: float = 20,
    forwarded_allow_ips: str = "127.0.0.1",
    on_ready: Callable[[], None] | None = None,
    on_ending: Callable[[], None] | None = None,
) -> None:
    """Serve the ASGI application until SIGINT or SIGTERM; blocks.

    On a signal it stops accepting, lets requests finish for `shutdown_seconds`, then runs the application's shutdown,
    which drains the lanes; `on_ending` tells answers that would go on that they are to end. On a second signal it waits
    for no request. From then on signals mean nothing to the process. Logging is left as it was configured.
    """
    config = configuration(app, shutdown_seconds=shutdown_seconds, forwarded_allow_ips=forwarded_allow_ips)
    Server(config, on_ready, on_ending).run(sockets=[bound])


def configuration(app: Any, *, shutdown_seconds: float, forwarded_allow_ips: str) -> uvicorn.Config:
    """How every process serves, however it comes by its connections."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=forwarded_allow_ips,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(shutdown_seconds),
        backlog=BACKLOG,
    )
