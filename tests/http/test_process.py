"""The process around the edge: settings, ports, an orderly end, logs, traces, the command line."""

import asyncio
import base64
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click.testing
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.cli import main
from rewards.db.engine import database_url as driver_url
from rewards.domain.errors import InvalidInput
from rewards.http.pagination import Cursors
from rewards.http.server import PortInUse, base_url, bind, bind_from
from rewards.settings import SettingsError, load_settings
from rewards.telemetry import configure_logging, configure_tracing, request_id

KEY: Final = bytes(range(32))
NEEDED: Final = {
    "REWARDS_DATABASE_URL": "postgresql://app:sesame@db/rewards",
    "REWARDS_REDIS_URL": "redis://:sesame@cache",
    "REWARDS_SECRET_KEY": KEY.hex(),
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only what every installation must set."""
    for name in [name for name in os.environ if name.startswith("REWARDS_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    "text",
    [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode().rstrip("=")],
)
def test_the_secret_key_is_hexadecimal_or_base64(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("REWARDS_SECRET_KEY", text)
    assert load_settings().secret_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("REWARDS_SECRET_KEY", None, "is missing; it takes"),
        ("REWARDS_SECRET_KEY", "", "is missing; it takes"),
        ("REWARDS_SECRET_KEY", "sesame", "at least 32 bytes"),
        ("REWARDS_SECRET_KEY", "not base64 at all!", "hexadecimal or base64"),
        ("REWARDS_SECRET_KEY", "00" * 32, "must be random"),
        ("REWARDS_DATABASE_URL", None, "is missing; it takes"),
        ("REWARDS_REDIS_URL", None, "is missing; it takes"),
        ("REWARDS_PORT", "65536", "less than or equal to 65535"),
        ("REWARDS_LANES", "0", "greater than 0"),
        ("REWARDS_BATCH_COMMANDS_MAX", "many", "valid integer"),
        ("REWARDS_LOG_LEVEL", "chatty", "debug"),
    ],
)
def test_a_wrong_environment_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str | None, complaint: str
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as wrong:
        load_settings()
    assert str(wrong.value).startswith(f"{name}: ")
    assert complaint in str(wrong.value)
    assert value not in {"sesame", "not base64 at all!", "00" * 32} or value not in str(wrong.value)


def test_secrets_do_not_show(environment: pytest.MonkeyPatch) -> None:
    shown = repr(load_settings())
    assert "sesame" not in shown
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgresql://u:p%40@h/d?sslmode=require", "postgresql+asyncpg://u:p%40@h/d?ssl=require"),
        ("postgresql+asyncpg://u@/d?host=/run/postgresql", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpostgresql"),
    ],
)
def test_database_urls_of_all_kinds_are_taken(given: str, driver: str) -> None:
    assert driver_url(given).render_as_string(hide_password=False) == driver


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="must be PostgreSQL, not sqlite"):
        driver_url("sqlite:///x")


def test_a_taken_port_is_refused_or_passed_over() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            bind("127.0.0.1", port)
        with bind_from("127.0.0.1", port) as next_one:
            assert next_one.getsockname()[1] > port
            assert base_url(next_one) == f"http://127.0.0.1:{next_one.getsockname()[1]}"


SHUTDOWN_SECONDS: Final = 10
SERVED: Final = """
import asyncio, socket, sys
from rewards.http.server import serve

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("drained", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("working", flush=True)
    await asyncio.sleep(3600 if scope["path"] == "/forever" else 0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})

serve(app, socket.socket(fileno=int(sys.argv[1])), shutdown_seconds=10, on_ready=lambda: print("ready", flush=True))
print("cleaning", flush=True)
sys.stdin.readline()
print("cleaned", flush=True)
"""


@contextmanager
def served() -> Iterator[tuple["subprocess.Popen[str]", tuple[str, int]]]:
    """A process that serves, and where."""
    with bind("127.0.0.1", 0) as bound:
        address = bound.getsockname()
        process = subprocess.Popen(
            [sys.executable, "-c", SERVED, str(bound.fileno())],
            pass_fds=[bound.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process, address
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_then_drains(ending: signal.Signals) -> None:
    with served() as (process, address), socket.create_connection(address) as connection:
        assert process.stdout is not None
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert process.stdout.readline() == "working\n"
        process.send_signal(ending)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"done" in answer
        assert b"\r\nserver:" not in answer
        assert ended(process) == (0, "drained\ncleaning\ncleaned\n", "")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_no_request(ending: signal.Signals) -> None:
    with served() as (process, address), socket.create_connection(address) as connection:
        assert process.stdout is not None
        connection.sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        assert process.stdout.readline() == "working\n"
        process.send_signal(ending)
        while is_open(address):  # until the first signal is obeyed
            pass
        process.send_signal(ending)
        assert [process.stdout.readline() for _ in range(2)] == ["drained\n", "cleaning\n"]
        for each in (signal.SIGINT, signal.SIGTERM):  # nothing interrupts whoever cleans up
            process.send_signal(each)
        assert ended(process) == (0, "cleaned\n", "")


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """How it ended, once it may, and what else it printed."""
    printed, complained = process.communicate("\n", timeout=SHUTDOWN_SECONDS - 1)
    return process.returncode, printed, complained


def is_open(address: tuple[str, int]) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(address) == 0


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """The logging of the test run is put back afterwards."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture
def logged(logging_kept: None) -> io.StringIO:
    """What is logged as JSON."""
    configure_logging("info", style="json")
    stream = io.StringIO()
    for handler in logging.getLogger().handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
    return stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "coloured"), [(Terminal(), True), (io.StringIO(), False)])
@pytest.mark.usefixtures("logging_kept")
def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, coloured: bool) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", style="console")
    logging.getLogger("library").warning("odd")
    assert "odd" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_logs_are_one_json_object_a_line(logged: io.StringIO) -> None:
    password = "sesame"  # must not appear: tracebacks leave out local variables
    token = request_id.set("request-1")
    try:
        int("bad\nnews")
    except ValueError:
        structlog.get_logger("rewards.test").exception("it failed", rows=3)
    logging.getLogger("library").warning("odd %s", "thing")
    logging.getLogger("library").info("kept")
    structlog.get_logger("rewards.test").debug("left out")
    request_id.reset(token)
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["it failed", "odd thing", "kept"]
    assert [line["level"] for line in lines] == ["error", "warning", "info"]
    assert {line["request_id"] for line in lines} == {"request-1"}
    assert (lines[0]["logger"], lines[0]["rows"]) == ("rewards.test", 3)
    assert "ValueError: invalid literal" in lines[0]["exception"]
    assert "timestamp" in lines[1]
    assert password not in logged.getvalue()


def test_spans_are_exported_when_asked() -> None:
    assert configure_tracing(None) is None
    exporter = InMemorySpanExporter()
    provider = configure_tracing(None, exporter=exporter)
    assert provider is not None
    with provider.get_tracer("test").start_as_current_span("batch"):
        pass
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["batch"]


def test_cursors_fit_one_list_only() -> None:
    cursors = Cursors(KEY)
    cursor = cursors.write("statement/7/alice", (1_700_000_000, "id-1"))
    assert cursors.read("statement/7/alice", cursor) == [1_700_000_000, "id-1"]
    assert cursors.read("statement/7/alice", None) is None
    forged = cursor[:-1] + ("A" if cursor[-1] != "A" else "Q")
    for reader, of, text in [
        (cursors, "statement/7/bob", cursor),
        (cursors, "statement/8/alice", cursor),
        (Cursors(KEY[::-1]), "statement/7/alice", cursor),
        (cursors, "statement/7/alice", forged),
        (cursors, "statement/7/alice", ""),
        (cursors, "statement/7/alice", "ü"),
    ]:
        with pytest.raises(InvalidInput):
            reader.read(of, text)


@pytest.fixture
def command_line(engine: AsyncEngine, redis_url: str, environment: pytest.MonkeyPatch) -> click.testing.CliRunner:
    environment.setenv("REWARDS_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    environment.setenv("REWARDS_REDIS_URL", redis_url)
    return click.testing.CliRunner()


async def test_keys_by_the_command_line(command_line: click.testing.CliRunner) -> None:
    async def rewards(*arguments: str) -> click.testing.Result:
        return await asyncio.to_thread(command_line.invoke, main, arguments)

    made = await rewards("keys", "create", "--program", "shop", "--name", "till", "--scope", "read", "--rate", "5")
    assert made.exit_code == 0
    token = made.stdout.strip()
    assert token.startswith("rk_")
    listed = await rewards("keys", "list", "--program", "shop")
    assert "till" in listed.stdout
    assert token not in listed.stdout
    key_id = next(line.split()[0] for line in listed.stdout.splitlines() if token[:9] in line)
    revoked = await rewards("keys", "revoke", "--program", "shop", key_id)
    assert revoked.stdout == f"secret key {key_id} (till) is revoked.\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["keys", "create", "--program", "nowhere", "--name", "x"], 1, "there is no program 'nowhere'"),
        (["keys", "create", "--program", "shop", "--name", "x", "--scope", "root"], 2, "'root' is not one of"),
        (["keys", "create", "--program", "shop", "--name", "x", "--kind", "public", "--scope", "read"], 1, "expected events"),
        (["keys", "revoke", "--program", "shop", str(UUID(int=1))], 1, "has no key"),
        (["nothing"], 2, "No such command"),
    ],
)  # fmt: skip
async def test_the_command_line_explains_mistakes(
    command_line: click.testing.CliRunner, arguments: list[str], exit_code: int, says: str
) -> None:
    result = await asyncio.to_thread(command_line.invoke, main, arguments)
    assert (result.exit_code, says in result.output) == (exit_code, True)


def test_without_an_environment_the_command_line_names_what_is_missing(environment: pytest.MonkeyPatch) -> None:
    for name in NEEDED:
        environment.delenv(name)
    result = click.testing.CliRunner().invoke(main, ["keys", "list", "--program", "shop"])
    assert result.exit_code == 2
    assert all(f"{name}: is missing; it takes" in result.output for name in NEEDED)


def test_help_lists_every_command_without_importing_it() -> None:
    code = (
        "import sys; from rewards.cli import main\ntry: main(['--help'])\nfinally: print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home())
    assert "keys" in done.stdout
    assert done.stdout.endswith("False\n")
