"""Accepting connections for other processes: each is handed to the one that has the fewest open.

Left to themselves, processes that share a listening socket take what they can: one of two got all of 32 connections
that came at once, and a connection that is kept alive stays where it is. Ports that the system spreads by hash
(SO_REUSEPORT) are fair only on average.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from rewards.http.seat import CONNECTION
from rewards.http.server import BACKLOG

log = structlog.get_logger("rewards.http")

ACCEPTED_AT_ONCE_MAX: Final = 64
RETRY_SECONDS: Final = 0.01
EXHAUSTED_SECONDS: Final = 1.0
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(slots=True)
class Taker:
    """A process that takes connections."""

    number: int
    channel: socket.socket
    """Non-blocking."""
    ready: bool = False
    handed: int = 0
    """Connections that it was given; those that it has closed since are counted by itself."""
    turn: int = 0
    """When it was last given one."""


class Handing:
    """Hands the connections of `bound` to `takers()`; what nobody can take waits in the system's queue.

    `closed` says by a taker's number how many it has closed.
    """

    def __init__(
        self,
        bound: socket.socket,
        selector: selectors.BaseSelector,
        closed: memoryview,
        takers: Callable[[], Sequence[Taker]],
    ) -> None:
        self._bound = bound
        self._selector = selector
        self._closed = closed
        self._takers = takers
        self._listens = False
        self._accepts = False
        self._waiting: socket.socket | None = None
        """Accepted, but nobody has taken it yet."""
        self._exhausted_until = 0.0
        self._turn = 0

    def listen(self) -> None:
        self._bound.listen(BACKLOG)
        self._bound.settimeout(0)
        self._listens = True

    def end(self) -> None:
        """Accepts nothing more."""
        self._pause()
        self._listens = False
        self._bound.close()
        self.forget()

    def forget(self) -> None:
        """Closes what is not handed over yet; in a fork of this process, which is not to hold it."""
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def due(self) -> float | None:
        """When `go_on` wants to be called although nothing has happened, by the monotonic clock."""
        if self._waiting is not None:
            return time.monotonic() + RETRY_SECONDS
        return self._exhausted_until or None

    def go_on(self) -> None:
        """Accepts from here on if there is somebody who takes connections."""
        if not self._listens:
            return
        if self._waiting is not None and self._hand(self._waiting):
            self._waiting = None
        if self._exhausted_until <= time.monotonic():
            self._exhausted_until = 0.0
        able = self._waiting is None and not self._exhausted_until
        if not able or not any(taker.ready for taker in self._takers()):
            self._pause()
        elif not self._accepts:
            self._accepts = True
            self._selector.register(self._bound, selectors.EVENT_READ, self._accept)

    def _pause(self) -> None:
        if self._accepts:
            self._accepts = False
            self._selector.unregister(self._bound)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            try:
                connection, _ = self._bound.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    log.warning("connections_wait", error=error.strerror)
                    self._exhausted_until = time.monotonic() + EXHAUSTED_SECONDS
                    return
                continue  # that one went away before it was accepted
            if not self._hand(connection):
                self._waiting = connection
                return

    def _hand(self, connection: socket.socket) -> bool:
        """False when nobody can take it now."""
        ready = [taker for taker in self._takers() if taker.ready]
        for taker in sorted(ready, key=lambda taker: (taker.handed - self._closed[taker.number], taker.turn)):
            try:
                socket.send_fds(taker.channel, [CONNECTION], [connection.fileno()])
            except OSError:  # its channel is full, or it died just now
                continue
            self._turn += 1
            taker.handed += 1
            taker.turn = self._turn
            connection.close()
            return True
        return False
