"""Both servers on one directory, which at most one process uses at a time."""

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from rewards.local.errors import AlreadyRunning
from rewards.local.postgres import PostgresServer
from rewards.local.valkey import ValkeyServer

LOCK_NAME: Final = "lock"
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class LocalServers:
    """PostgreSQL and Valkey for one machine and for tests, on loopback, with their data in `directory`.

        with LocalServers(Path(".rewards")) as servers:
            connect(servers.database_url, servers.redis_url)

    With `durable` nothing that was acknowledged is lost, whatever crashes; without it the servers are faster and
    forget on a power cut. `postgres_settings` override the configuration. Ports left out are chosen.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        postgres_port: int | None = None,
        valkey_port: int | None = None,
        postgres_settings: Mapping[str, str] = NO_SETTINGS,
    ) -> None:
        self.directory = directory.absolute()
        self._durable = durable
        self._ports = (postgres_port, valkey_port)
        self._postgres_settings = postgres_settings
        self._postgres: PostgresServer | None = None
        self._valkey: ValkeyServer | None = None
        self._exits = ExitStack()
        self._changing = threading.Lock()

    @property
    def postgres(self) -> PostgresServer:
        if self._postgres is None:
            raise RuntimeError("the servers have not been started")
        return self._postgres

    @property
    def valkey(self) -> ValkeyServer:
        if self._valkey is None:
            raise RuntimeError("the servers have not been started")
        return self._valkey

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def start(self) -> None:
        """Start both, after ending what a killed process left there.

        Raises AlreadyRunning when another process holds the directory, ServerFailed when a server does not start.
        Blocks for about a second the first time, then a tenth of one.
        """
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._changing, ExitStack() as exits:
            exits.callback(os.close, hold(self.directory / LOCK_NAME))
            postgres_port, valkey_port = self._ports
            self._postgres = PostgresServer(
                self.directory / "postgres",
                durable=self._durable,
                port=postgres_port,
                settings=self._postgres_settings,
            )
            exits.callback(self._postgres.stop)
            self._postgres.start()
            self._valkey = ValkeyServer(self.directory / "valkey", durable=self._durable, port=valkey_port)
            exits.callback(self._valkey.stop)
            self._valkey.start()
            self._exits = exits.pop_all()

    def stop(self) -> None:
        """Stop both in order, and let go of the directory. Harmless when they do not run.

        Waits for a start in another thread: an event loop that is cancelled meanwhile must not leave what it starts.
        """
        with self._changing:
            self._exits.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


@asynccontextmanager
async def local_servers(
    directory: Path,
    *,
    durable: bool = True,
    postgres_port: int | None = None,
    valkey_port: int | None = None,
    postgres_settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncIterator[LocalServers]:
    """`LocalServers` without blocking the event loop while they start and stop."""
    servers = LocalServers(
        directory,
        durable=durable,
        postgres_port=postgres_port,
        valkey_port=valkey_port,
        postgres_settings=postgres_settings,
    )
    try:
        await asyncio.to_thread(servers.start)
        yield servers
    finally:
        await asyncio.to_thread(servers.stop)


def hold(lock: Path) -> int:
    """Take the lock for as long as the returned descriptor is open. The kernel lets go of it when we die."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode().strip()
        os.close(descriptor)
        raise AlreadyRunning(lock.parent, int(owner) if owner.isdigit() else None) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
