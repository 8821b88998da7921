"""The embedded servers as a user meets them: started, restarted, refused, killed."""

import asyncio
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rewards.local import AlreadyRunning, LocalServers, LocalServersError, ServerFailed, account, local_servers
from rewards.local.ports import free_port
from rewards.local.process import Account

SCENARIOS = Path(__file__).with_name("scenarios.py")
NUMBERS = itertools.count()


@pytest.fixture
def new_directory(server_directory: Path) -> Iterator[Path]:
    directory = server_directory / f"local-{next(NUMBERS)}"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def used_directory(server_directory: Path) -> Path:
    """Where servers have run and were stopped: the first start makes a cluster, which takes most of its time."""
    directory = server_directory / "used"
    with LocalServers(directory, durable=False):
        pass
    return directory


@pytest.fixture
def directory(new_directory: Path, used_directory: Path) -> Path:
    """A copy of the used one, with its owners."""
    subprocess.run(["cp", "-a", used_directory, new_directory], check=True)  # noqa: S607 - wherever the system has it
    return new_directory


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(url: str, query: str) -> object:
    async with connected(url) as connection:
        return await connection.fetchval(query)


def valkey(servers: LocalServers) -> "redis.Redis":
    return redis.Redis.from_url(servers.redis_url, decode_responses=True)


def processes_of(directory: Path) -> list[str]:
    """All living processes of this directory's servers: the leaders by their command, the rest by where they work."""
    found = []
    for process in psutil.process_iter():
        try:
            here = process.cwd().startswith(str(directory)) or any(str(directory) in part for part in process.cmdline())
            if here and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


async def until(condition: Callable[[], bool], *, seconds: float = 15.0) -> bool:
    """Whether the condition came true in time."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the system tells nobody but the parent that a process ended
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    return True


@dataclass(frozen=True)
class Holder:
    """Another process that holds servers."""

    process: "subprocess.Popen[str]"
    facts: dict[str, Any]


@pytest.fixture
def holder(directory: Path) -> Iterator[Holder]:
    process = subprocess.Popen([sys.executable, str(SCENARIOS), str(directory)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Holder(process, json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


async def test_both_serve_on_loopback_only(new_directory: Path) -> None:
    async with local_servers(new_directory, durable=False) as servers:
        assert await ask(servers.database_url, "SELECT current_database()") == "rewards"
        assert valkey(servers).ping() is True
        for server in (servers.postgres, servers.valkey):
            listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
            assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]
    assert processes_of(new_directory) == []


@pytest.mark.parametrize(
    ("setting", "durable", "value"),
    [
        ("fsync", True, "on"),
        ("synchronous_commit", True, "on"),
        ("full_page_writes", True, "on"),
        ("fsync", False, "off"),
        ("shared_buffers", True, "256MB"),
        ("max_wal_size", True, "4GB"),
        ("max_connections", True, "100"),
        ("server_encoding", True, "UTF8"),
        ("timezone", True, "UTC"),
        ("work_mem", True, "7MB"),  # overridden by the caller
    ],
)
async def test_settings(two_servers: dict[bool, LocalServers], setting: str, durable: bool, value: str) -> None:
    assert await ask(two_servers[durable].database_url, f"SHOW {setting}") == value


@pytest.fixture(scope="module")
def two_servers(server_directory: Path) -> Iterator[dict[bool, LocalServers]]:
    """A durable one and a forgetful one."""
    with (
        LocalServers(server_directory / "durable", postgres_settings={"work_mem": "7MB"}) as durable,
        LocalServers(server_directory / "forgetful", durable=False) as forgetful,
    ):
        yield {True: durable, False: forgetful}


async def test_a_wrong_password_is_refused(two_servers: dict[bool, LocalServers]) -> None:
    servers = two_servers[True]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(f"postgresql://rewards:wrong@127.0.0.1:{servers.postgres.port}/rewards", "SELECT 1")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=servers.valkey.port or 0, retry=Retry(NoBackoff(), 0)).ping()


def test_passwords_are_for_the_owner_only(two_servers: dict[bool, LocalServers]) -> None:
    directory = two_servers[True].directory
    for secret in ("postgres/password", "valkey/valkey.conf", "postgres.log", "valkey.log"):
        assert stat.S_IMODE((directory / secret).stat().st_mode) == 0o600
    for home in ("postgres", "valkey"):
        assert stat.S_IMODE((directory / home).stat().st_mode) == 0o700


def test_postgres_does_not_run_as_root(two_servers: dict[bool, LocalServers]) -> None:
    assert psutil.Process(two_servers[True].postgres.pid).uids().effective != 0


def test_servers_do_not_see_our_environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDS_SECRET_KEY", "not-for-servers")
    with LocalServers(directory, durable=False) as servers:
        for server in (servers.postgres, servers.valkey):
            assert "REWARDS_SECRET_KEY" not in psutil.Process(server.pid).environ()


async def test_data_survives_a_restart(new_directory: Path) -> None:
    with LocalServers(new_directory) as servers:
        await ask(servers.database_url, "CREATE TABLE kept AS SELECT 7 AS points")
        valkey(servers).set("kept", "7")
        first = servers.database_url
    with LocalServers(new_directory, postgres_port=free_port()) as servers:
        assert servers.database_url != first
        assert await ask(servers.database_url, "SELECT points FROM kept") == 7
        assert valkey(servers).get("kept") == "7"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_one_server_comes_back_at_its_address(directory: Path, end: str) -> None:
    with LocalServers(directory) as servers:
        await ask(servers.database_url, "CREATE TABLE kept AS SELECT 7 AS points")
        valkey(servers).set("kept", "7")
        addresses = (servers.database_url, servers.redis_url)

        getattr(servers.postgres, end)()
        getattr(servers.valkey, end)()
        assert not servers.postgres.running
        assert processes_of(directory) == []
        with pytest.raises(OSError):  # noqa: PT011 - the system's own words for a closed port
            await ask(addresses[0], "SELECT 1")
        with pytest.raises(redis.ConnectionError):
            valkey(servers).ping()

        servers.postgres.start()
        servers.valkey.start()
        assert (servers.database_url, servers.redis_url) == addresses
        assert await ask(servers.database_url, "SELECT points FROM kept") == 7
        assert valkey(servers).get("kept") == "7"


async def test_a_restart_ends_sessions_and_takes_new_ones(directory: Path) -> None:
    with LocalServers(directory) as servers:
        async with connected(servers.database_url) as connection:
            await asyncio.to_thread(servers.postgres.restart)
            with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
                await connection.fetchval("SELECT 1")
        assert await ask(servers.database_url, "SELECT 1") == 1


async def test_a_second_start_is_refused(directory: Path, holder: Holder) -> None:
    with pytest.raises(AlreadyRunning, match=f"in use by process {holder.process.pid}"):
        LocalServers(directory).start()
    assert await ask(holder.facts["database_url"], "SELECT 1") == 1


def test_a_second_start_in_the_same_process_is_refused(two_servers: dict[bool, LocalServers]) -> None:
    with pytest.raises(AlreadyRunning):
        LocalServers(two_servers[True].directory).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a server with its parent; see the next test")
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
async def test_no_server_outlives_its_parent(directory: Path, holder: Holder, signal_number: signal.Signals) -> None:
    async with connected(holder.facts["database_url"]):  # a session in progress does not hold it up
        holder.process.send_signal(signal_number)
        assert await until(lambda: processes_of(directory) == []), processes_of(directory)


@pytest.mark.parametrize(
    "victims",
    [("parent",), ("postgres", "parent"), ("postgres", "valkey", "parent"), ("valkey", "parent")],
    ids="+".join,
)
async def test_the_next_start_recovers(directory: Path, holder: Holder, victims: tuple[str, ...]) -> None:
    await ask(holder.facts["database_url"], "CREATE TABLE kept AS SELECT 7 AS points")
    pids = {
        "postgres": holder.facts["postgres_pid"],
        "valkey": holder.facts["valkey_pid"],
        "parent": holder.process.pid,
    }
    for victim in victims:
        os.kill(pids[victim], signal.SIGKILL)
    holder.process.wait()
    with LocalServers(directory) as servers:  # at once, while the old ones may still be ending
        assert await ask(servers.database_url, "SELECT points FROM kept") == 7
        assert valkey(servers).ping() is True


async def test_servers_that_lost_their_parent_are_ended(directory: Path, server_directory: Path) -> None:
    """As on systems that do not end a server with its parent: the server runs on, and nobody holds the lock."""
    with LocalServers(directory) as servers:
        lost = [servers.postgres.pid, servers.valkey.pid]
        (directory / "lock").rename(directory / "lock.lost")
        with LocalServers(directory) as successor:
            assert not any(psutil.pid_exists(pid) for pid in lost)
            assert await ask(successor.database_url, "SELECT 1") == 1


async def test_a_stale_pid_file_that_names_a_living_process(directory: Path) -> None:
    """After a reboot the old process id may belong to anyone; PostgreSQL by itself would then refuse to start."""
    with LocalServers(directory) as servers:
        await ask(servers.database_url, "CREATE TABLE kept AS SELECT 7 AS points")
        servers.postgres.kill()
        data = directory / "postgres" / "data"
        stale = (data / "postmaster.pid").read_text().splitlines()
        (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *stale[1:]]))
        servers.postgres.start()
        assert await ask(servers.database_url, "SELECT points FROM kept") == 7


async def test_an_interrupted_first_start(new_directory: Path) -> None:
    (new_directory / "postgres" / "unfinished" / "base").mkdir(parents=True)
    with LocalServers(new_directory, durable=False) as servers:
        assert await ask(servers.database_url, "SELECT 1") == 1


def test_a_port_that_is_taken_says_so(directory: Path, two_servers: dict[bool, LocalServers]) -> None:
    taken = two_servers[True].postgres.port
    with pytest.raises(ServerFailed, match=f'could not bind IPv4 address "127.0.0.1"(.|\n)*{taken}'):
        LocalServers(directory, postgres_port=taken).start()
    assert processes_of(directory) == []


def test_a_failed_start_lets_go(new_directory: Path) -> None:
    with pytest.raises(ServerFailed, match="shared_buffers"):
        LocalServers(new_directory, postgres_settings={"shared_buffers": "plenty"}).start()
    with LocalServers(new_directory, durable=False) as servers:
        assert servers.postgres.running


def test_a_stopped_server_has_no_process(directory: Path) -> None:
    with LocalServers(directory, durable=False) as servers:
        servers.valkey.stop()
        with pytest.raises(LocalServersError, match="Valkey is not running"):
            _ = servers.valkey.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers for another account")
async def test_root_below_a_closed_directory(server_directory: Path) -> None:
    """PostgreSQL's account cannot enter it, so the data is kept elsewhere, behind a link."""
    closed = server_directory / "closed"
    closed.mkdir(mode=0o700)
    for points in (None, 7):
        with LocalServers(closed / "rewards", durable=False) as servers:
            if points is None:
                await ask(servers.database_url, "CREATE TABLE kept AS SELECT 7 AS points")
            assert await ask(servers.database_url, "SELECT points FROM kept") == 7
    home = closed / "rewards" / "postgres"
    assert home.is_symlink()
    shutil.rmtree(home.resolve())
    with pytest.raises(LocalServersError, match="which is gone"):
        LocalServers(closed / "rewards").start()


def test_programs_that_the_account_cannot_reach_are_copied_once(
    server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = server_directory / "closed-checkout"
    for part in ("server/bin", "server.libs", "unrelated"):
        (closed / part).mkdir(parents=True)
        (closed / part / "file").write_text(part)
    closed.chmod(0o700)
    monkeypatch.setattr(account, "ELSEWHERE", server_directory / "elsewhere")
    stranger = Account(uid=closed.stat().st_uid + 1, gid=closed.stat().st_gid + 1)

    for _ in range(2):
        copy = account.reachable_package(closed / "server", version="1.0", account=stranger)
        assert copy == server_directory / "elsewhere" / "server-1.0" / "server"
        assert account.can_enter(copy, stranger)
        assert sorted(file.read_text() for file in copy.parent.rglob("file")) == ["server.libs", "server/bin"]
    assert [made.name for made in (server_directory / "elsewhere").iterdir()] == ["server-1.0"]


async def test_a_start_that_is_cancelled_leaves_nothing(new_directory: Path) -> None:
    async def hold() -> None:
        async with local_servers(new_directory, durable=False):
            await asyncio.Event().wait()

    starting = asyncio.create_task(hold())
    assert await until(lambda: processes_of(new_directory) != [])
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_of(new_directory) == []
