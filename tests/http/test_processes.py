"""Several serving processes behind one address: real ones, that are loaded, signalled and killed."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest
from tests.service import SECRET_KEY

from rewards.http.server import PortInUse, bind
from rewards.settings import SettingsError, load_settings

REWARDS: Final = str(Path(sys.executable).with_name("rewards"))
PATIENCE_SECONDS: Final = 20.0
CONNECTIONS: Final = 32

SERVED: Final = """
import asyncio, os, sys
from rewards.http.processes import Processes
from rewards.http.seat import serve_seat
from rewards.http.server import base_url, bind

count, fails, hand_over = int(sys.argv[1]), sys.argv[2] == "fails", sys.argv[3] == "handed"
bound = bind("127.0.0.1", 0)

def serve(seat):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            failed = fails and seat.number == 1
            await send({"type": "lifespan.startup." + ("failed" if failed else "complete")})
            await receive()
            tell("drained")
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/slow":
            tell("working")
            await asyncio.sleep(0.2)
        if scope["path"] == "/forever":
            tell("working")
            await asyncio.sleep(3600)
        body = f"{os.getpid()} {scope['client'][1]}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    serve_seat(app, seat, shutdown_seconds=60, forwarded_allow_ips="127.0.0.1")

def tell(line):
    os.write(1, f"{line}\\n".encode())  # at once and whole: several processes do

sys.exit(Processes(bound, count, serve, on_ready=lambda: tell(base_url(bound)), hand_over=hand_over).run())
"""


@dataclass
class Running:
    """A parent that says where it listens."""

    parent: "subprocess.Popen[str]"
    url: str

    def connection(self) -> http.client.HTTPConnection:
        """One that is kept alive."""
        url = httpx.URL(self.url)
        return http.client.HTTPConnection(url.host, url.port, timeout=PATIENCE_SECONDS)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.parent.pid).children()

    def line(self) -> str:
        assert self.parent.stdout is not None
        return self.parent.stdout.readline().strip()

    def rest(self) -> list[str]:
        """What was printed until the last process ended."""
        assert self.parent.stdout is not None
        return self.parent.stdout.read().split()


@contextmanager
def running(*, count: int = 2, fails: bool = False, handed: bool = True) -> Iterator[Running]:
    arguments = [str(count), "fails" if fails else "starts", "handed" if handed else "shared"]
    with subprocess.Popen([sys.executable, "-c", SERVED, *arguments], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            yield Running(parent, parent.stdout.readline().strip())
        finally:
            end(parent)


def end(parent: "subprocess.Popen[str]") -> None:
    """Whatever the test has made of it; a child ends when its parent is gone, so only defective ones are killed here."""
    left = psutil.Process(parent.pid).children() if parent.poll() is None else []
    parent.kill()
    for child in left:
        child.kill()


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run. One that has ended may wait for the system to take note."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def asked(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, int]:
    """The process that answered, and our port as it sees it."""
    connection.request("GET", path)
    process, port = connection.getresponse().read().split()
    return int(process), int(port)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came true"


def test_connections_are_spread_evenly_and_stay_where_they_are() -> None:
    with running() as service:
        connections = [service.connection() for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.connect()
        first = [asked(connection) for connection in connections]
        assert Counter(process for process, _ in first) == {child.pid: CONNECTIONS // 2 for child in service.children()}
        assert [port for _, port in first] == [connection.sock.getsockname()[1] for connection in connections]
        assert [asked(connection) for connection in connections] == first
        with pytest.raises(PortInUse):
            bind("127.0.0.1", httpx.URL(service.url).port or 0)


def test_a_killed_process_is_replaced_and_gets_what_it_had() -> None:
    with running() as service:
        connections = [service.connection() for _ in range(CONNECTIONS)]
        before = {connection: asked(connection)[0] for connection in connections}
        killed, spared = service.children()
        for connection in connections:
            connection.request("GET", "/")
        killed.kill()
        answered = []
        for connection in connections:
            try:
                answered.append(int(connection.getresponse().read().split()[0]))
            except (OSError, http.client.HTTPException):
                connection.close()
        assert answered.count(spared.pid) == CONNECTIONS // 2
        lost = [connection for connection in connections if before[connection] == killed.pid]
        for connection in lost:
            connection.close()

        def replaced() -> bool:
            probe = service.connection()
            process, _ = asked(probe)
            probe.close()
            return process not in {killed.pid, spared.pid}

        until(replaced)
        assert {asked(connection)[0] for connection in lost} == {child.pid for child in service.children()} - {
            spared.pid
        }


def test_a_process_that_dies_again_and_again_is_restarted_less_often() -> None:
    with running() as service:
        spared = service.children()[1].pid
        for expected in ("0.0", "0.5", "1.0"):
            until(lambda: len(service.children()) == 2)
            for child in service.children():
                if child.pid != spared:
                    child.kill()
            line = service.line()
            assert "process_died" in line
            assert f"restarted_after_seconds={expected}" in line
        assert asked(service.connection())[0] == spared


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_all_processes_finish(ending: signal.Signals) -> None:
    with running() as service:
        children = service.children()
        connections = [service.connection() for _ in range(2)]
        for connection in connections:
            connection.request("GET", "/slow")
        assert [service.line() for _ in connections] == ["working", "working"]
        service.parent.send_signal(ending)
        answers = {int(connection.getresponse().read().split()[0]) for connection in connections}
        assert answers == {child.pid for child in children}
        assert service.rest() == ["drained", "drained"]
        assert service.parent.wait(PATIENCE_SECONDS) == 0
        assert alive(children) == []


def test_signals_to_the_whole_group_are_one_signal_to_each() -> None:
    with running() as service:
        connection = service.connection()
        connection.request("GET", "/slow")
        assert service.line() == "working"
        for pid in (*(child.pid for child in service.children()), service.parent.pid):  # as a supervisor does
            os.kill(pid, signal.SIGTERM)
        assert connection.getresponse().status == 200
        assert service.rest() == ["drained", "drained"]
        assert service.parent.wait(PATIENCE_SECONDS) == 0


def test_a_second_signal_ends_all_at_once() -> None:
    with running() as service:
        children = service.children()
        connection = service.connection()
        connection.request("GET", "/forever")
        assert service.line() == "working"
        service.parent.terminate()
        assert service.line() == "drained"  # the one without a request
        service.parent.terminate()
        assert service.parent.wait(PATIENCE_SECONDS) == 0
        assert alive(children) == []


@pytest.mark.parametrize("handed", [True, False])
def test_no_process_outlives_its_parent(*, handed: bool) -> None:
    with running(handed=handed) as service:
        children = service.children()
        service.parent.kill()
        assert service.rest() == ["drained", "drained"]
        until(lambda: not alive(children))


def test_a_service_that_cannot_start_ends_with_the_code_of_its_process() -> None:
    with running(fails=True) as service:
        assert service.url in {"", "drained"}
        assert service.parent.wait(PATIENCE_SECONDS) == 3


def test_where_connections_are_not_handed_over_all_processes_accept() -> None:
    with running(handed=False) as service:
        pids = {child.pid for child in service.children()}
        assert {asked(service.connection())[0] for _ in range(CONNECTIONS)} <= pids
        service.parent.terminate()
        assert service.parent.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("number", ["0", "65"])
def test_there_is_a_limit_to_processes(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDS_PROCESSES", number)
    with pytest.raises(SettingsError, match="REWARDS_PROCESSES: Input should be"):
        load_settings(database_url="postgresql://db/x", redis_url="redis://cache", secret_key=SECRET_KEY)


@pytest.fixture
def environment(migrated_url: str, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "REWARDS_DATABASE_URL": migrated_url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
        "REWARDS_PROCESSES": "2",
        "REWARDS_LOG_LEVEL": "warning",
    }


def test_the_service_adds_its_metrics_up_and_counts_on_after_a_death(environment: dict[str, str]) -> None:
    command = [REWARDS, "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stderr is not None
            listening = parent.stderr.readline()
            found = re.fullmatch(r"Listening on (http://127\.0\.0\.1:\d+)\n", listening)
            assert found, listening
            service = Running(parent, found[1])
            clients = [httpx.Client(base_url=service.url) for _ in range(2)]
            for _ in range(5):
                for client in clients:
                    assert client.get("/healthz").status_code == 200
            answer = clients[0].get("/metrics")
            assert answer.headers["content-type"].count("charset") == 1
            assert {health_checks(client) for client in clients} == {10.0}
            assert "\nrewards_lane_waiting_commands 0.0\n" in answer.text
            assert "pid=" not in answer.text
            for child in service.children():
                child.kill()
            until(lambda: answers(service.url))
            with httpx.Client(base_url=service.url) as client:
                assert health_checks(client) > 10
            [kept] = metrics_directories(service)
            parent.terminate()
            assert parent.wait(PATIENCE_SECONDS) == 0
            assert not kept.exists()
        finally:
            end(parent)


def health_checks(client: httpx.Client) -> float:
    text = client.get("/metrics").text
    found = re.search(
        r'^rewards_http_requests_total\{method="GET",route="/healthz",status="200"\} (.*)$', text, re.MULTILINE
    )
    assert found, text
    return float(found[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def metrics_directories(service: Running) -> set[Path]:
    files = {Path(file.path) for child in service.children() for file in child.open_files()}
    return {file.parent for file in files if file.suffix == ".db"}
