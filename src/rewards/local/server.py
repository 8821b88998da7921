"""What both embedded servers have in common: a loopback port, one process, and the ways to start and end it."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from rewards.local.errors import LocalServersError, ServerFailed
from rewards.local.ports import free_port, is_free
from rewards.local.process import Account, ServerProcess, end_left_behind

PORT_TRIES: Final = 3
READY_SECONDS: Final = 60.0  # replaying WAL or loading a large append-only file takes a while

Steps: TypeAlias = Sequence[tuple[int, float]]  # each signal, and the seconds that it is given


class LoopbackServer(ABC):
    """One server on loopback. `start`, `stop`, `kill` and `restart` keep its port, password and data.

    Not for several threads at once.
    """

    name: ClassVar[str]
    executable: ClassVar[str]
    stop_steps: ClassVar[Steps]
    abandon_steps: ClassVar[Steps]

    def __init__(self, directory: Path, *, log: Path, port: int | None, account: Account | None) -> None:
        self.port = port
        self._given_port = port
        self._directory = directory
        self._log = log
        self._account = account
        self._process: ServerProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Address and password in one. Also of a stopped server: both stay."""

    @property
    def running(self) -> bool:
        return self._process is not None and not self._process.ended.is_set()

    @property
    def pid(self) -> int:
        """Raises LocalServersError when the server is not running."""
        if self._process is None or self._process.ended.is_set():
            raise LocalServersError(f"{self.name} is not running on {self._directory}")
        return self._process.pid

    def start(self) -> None:
        """Start on what is there, and return once it serves. Does nothing while it runs."""
        if self.running:
            return
        end_left_behind(self.executable, self._directory, self.abandon_steps)
        self._prepare()
        for attempt in range(1, PORT_TRIES + 1):
            self.port = self.port or free_port()
            try:
                self._start_on(self.port)
            except ServerFailed:
                if self._given_port is not None or attempt == PORT_TRIES or is_free(self.port):
                    raise
                self.port = None  # someone took the port between our look and the server's
            else:
                return

    def stop(self) -> None:
        """Let it finish its work and write what it holds."""
        self._end(self.stop_steps)

    def kill(self) -> None:
        """SIGKILL, as a crash would. Returns when all its processes are gone."""
        self._end(((signal.SIGKILL, 10.0),))

    def restart(self) -> None:
        self.stop()
        self.start()

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data if there is none. Nothing runs on it now."""

    @abstractmethod
    def _command(self, port: int) -> list[str]: ...

    @abstractmethod
    def _is_ready(self, process: ServerProcess) -> bool: ...

    def _start_on(self, port: int) -> None:
        process = ServerProcess(
            self._command(port), account=self._account, log=self._log, death_signal=self.abandon_steps[0][0]
        )
        self._process = process
        try:
            process.wait_until_ready(lambda: self._is_ready(process), name=self.name, timeout_seconds=READY_SECONDS)
        except BaseException:  # also when interrupted: what has been started must not stay
            self._end(self.abandon_steps)
            raise

    def _end(self, steps: Steps) -> None:
        if self._process is not None:
            self._process.end(steps)
            end_left_behind(self.executable, self._directory, self.abandon_steps)
            self._process = None
