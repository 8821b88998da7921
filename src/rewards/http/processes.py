"""Several serving processes behind one address, since one Python process uses one core.

The parent binds the address, forks the others, hands them the connections, restarts what dies and passes signals on.
It has no thread, no event loop and no connection to any server, so it may be forked at any time; the children share
what it has imported, and start in the time that their application takes.
"""

from __future__ import annotations

import gc
import mmap
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Final

import structlog

from rewards.http.handing import Handing, Taker
from rewards.http.seat import Seat

log = structlog.get_logger("rewards.http")

# Elsewhere a descriptor may be lost when its sender closes it before it has arrived.
HANDS_OVER: Final = sys.platform == "linux"

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
ORDERLY: Final = frozenset({0, -signal.SIGTERM})
"""Exit codes of a process that was told to end; by the signal itself if it was not serving yet."""
STEADY_SECONDS: Final = 10.0
"""A process that lived as long as this did not die of starting."""
BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 30.0
COUNT_BYTES: Final = 8


@dataclass(slots=True)
class Child(Taker):
    """One serving process, as its parent sees it."""

    pid: int = 0
    started: float = 0.0
    """By the monotonic clock."""


class Processes:
    """`count` processes that run `serve` in their seats. `serve` returns when it was told to end."""

    def __init__(
        self,
        bound: socket.socket,
        count: int,
        serve: Callable[[Seat], None],
        *,
        on_ready: Callable[[], None],
        hand_over: bool = HANDS_OVER,
    ) -> None:
        self._bound = bound
        self._count = count
        self._serve = serve
        self._on_ready = on_ready
        self._hand_over = hand_over
        # Counts that children write and the parent reads; aligned words, so nobody sees half of one.
        self._closed = memoryview(mmap.mmap(-1, count * COUNT_BYTES)).cast("Q")
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = socket.socketpair()
        self._children: dict[int, Child] = {}
        self._vacant: dict[int, float] = {}
        """When the seat of a dead process is taken again."""
        self._young_deaths = dict.fromkeys(range(count), 0)
        self._handing = Handing(bound, self._selector, self._closed, lambda: list(self._children.values()))
        self._announced = False
        self._signals = 0
        self._obeyed = 0
        self._code = 0

    def run(self) -> int:
        """Serves until SIGINT or SIGTERM, on which all drain; a second signal ends them at once. The exit code.

        When a process cannot start in the beginning, all end, with its exit code. Later the others serve on, and it is
        tried again.
        """
        self._woken.settimeout(0)
        self._wake.settimeout(0)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: self._woken.recv(4096))
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        before = {name: signal.signal(name, self._signalled) for name in SIGNALS}
        # Children share memory that is never written to; the collector writes to all that it looks through.
        gc.collect()
        gc.freeze()
        try:
            for number in range(self._count):
                self._start(number)
            while self._children or self._vacant:
                self._turn()
        finally:
            signal.set_wakeup_fd(-1)
            for name, handler in before.items():
                signal.signal(name, handler)
            for end in (self._selector, self._woken, self._wake, self._bound):
                end.close()
        return self._code

    def _turn(self) -> None:
        """Waits until something happens, or is due, and sees to it."""
        due = [*self._vacant.values(), *([at] if (at := self._handing.due()) else [])]
        for key, _ in self._selector.select(max(0.0, min(due) - time.monotonic()) if due else None):
            key.data()
        while self._obeyed < self._signals:
            self._obeyed += 1
            self._stop(signal.SIGTERM if self._obeyed == 1 else signal.SIGKILL)
        self._reap()
        self._refill()
        if self._hand_over:
            self._handing.go_on()

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self._signals += number != signal.SIGCHLD

    @property
    def _stopping(self) -> bool:
        return self._bound.fileno() < 0

    def _stop(self, with_signal: int) -> None:
        self._handing.end()
        self._vacant.clear()
        for child in self._children.values():
            os.kill(child.pid, with_signal)

    def _start(self, number: int) -> None:
        self._closed[number] = 0
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came before the child is itself would be lost on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_child(number, ours, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        child = Child(number, ours, pid=pid, started=time.monotonic())
        self._children[number] = child
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))

    def _become_child(self, number: int, ours: socket.socket, theirs: socket.socket) -> None:
        """In the new process. It does not return: what the parent would do at its end is not the child's."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for name in SIGNALS:
                signal.signal(name, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            # The parent's end of a channel must be open in the parent only, or its death would not close it.
            for end in (ours, self._woken, self._wake, *(child.channel for child in self._children.values())):
                end.close()
            self._selector.close()
            self._handing.forget()
            if self._hand_over:
                self._bound.close()
            self._serve(Seat(number, theirs, self._closed, None if self._hand_over else self._bound))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except Exception:
            log.exception("process_failed", process=number)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _hear(self, child: Child) -> None:
        """A child says that it is ready, or that it takes nothing more."""
        try:
            told = child.channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        if not told:
            self._hang_up(child)
            return
        child.ready = True
        if not self._announced and len(self._children) == self._count == sum(self._ready()):
            self._announced = True
            if self._hand_over:
                self._handing.listen()
            self._on_ready()

    def _ready(self) -> list[bool]:
        return [child.ready for child in self._children.values()]

    def _hang_up(self, child: Child) -> None:
        child.ready = False
        if child.channel.fileno() >= 0:
            self._selector.unregister(child.channel)
            child.channel.close()

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == child.pid:
                self._hang_up(child)
                del self._children[child.number]
                self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: Child, code: int) -> None:
        if self._stopping:
            if code not in ORDERLY and self._signals < 2:
                log.warning("process_failed", process=child.number, pid=child.pid, exit_code=code)
                self._code = self._code or _shell_code(code)
            return
        if not self._announced:
            self._code = _shell_code(code) or 1
            self._stop(signal.SIGTERM)
            return
        young = time.monotonic() - child.started < STEADY_SECONDS
        deaths = self._young_deaths[child.number] = self._young_deaths[child.number] + 1 if young else 0
        seconds = min(BACKOFF_SECONDS * 2 ** (deaths - 2), BACKOFF_SECONDS_MAX) if deaths > 1 else 0.0
        log.warning(
            "process_died", process=child.number, pid=child.pid, exit_code=code, restarted_after_seconds=seconds
        )
        self._vacant[child.number] = time.monotonic() + seconds

    def _refill(self) -> None:
        for number, due in list(self._vacant.items()):
            if due > time.monotonic():
                continue
            try:
                self._start(number)
            except OSError as error:
                log.warning("process_not_started", process=number, error=error.strerror)
                self._vacant[number] = time.monotonic() + BACKOFF_SECONDS_MAX
            else:
                del self._vacant[number]


def _shell_code(code: int) -> int:
    """What a shell would say: 128 and the signal when one ended the process."""
    return 128 - code if code < 0 else code
