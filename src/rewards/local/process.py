"""One child process that neither outlives us nor is lost: start, watch, signal, and find what a killed parent left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from rewards.local.errors import LocalServersError, ServerFailed

LAUNCH: Final = Path(__file__).with_name("launch.py")
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
LOG_TAIL_BYTES: Final = 4_000
POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account that a server runs as."""

    uid: int
    gid: int


class ServerProcess:
    """A running server. It ends with us, whether we stop it or are killed (`launch.py`)."""

    def __init__(self, command: Sequence[str], *, account: Account | None, log: Path, death_signal: int) -> None:
        self.log = log
        self.ended = threading.Event()
        self._command = [
            *(sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(death_signal))),
            *((str(account.uid), str(account.gid)) if account else ("-1", "-1")),
            *command,
        ]
        self._started = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        # The kernel ties a child to the thread that started it, so that thread stays for as long as the child lives.
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {command[0]}", daemon=True)
        self._keeper.start()
        self._started.wait()
        if self._failure is not None:
            raise LocalServersError(f"cannot start {command[0]}: {self._failure}") from self._failure

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number when a signal ended it."""
        return self._running().returncode

    def send(self, signal_number: int) -> None:
        """Signal the server. Does nothing once it has ended."""
        self._running().send_signal(signal_number)

    def wait(self, timeout_seconds: float) -> bool:
        """Whether the server has ended within the time."""
        return self.ended.wait(timeout_seconds)

    def end(self, steps: Sequence[tuple[int, float]]) -> None:
        """Send each signal in turn and give it its seconds, until the server has ended."""
        for signal_number, patience_seconds in steps:
            self.send(signal_number)
            if self.wait(patience_seconds):
                return
        raise LocalServersError(f"process {self.pid} does not end")

    def wait_until_ready(self, ready: Callable[[], bool], *, name: str, timeout_seconds: float) -> None:
        """Return when `ready()` is true. Raises ServerFailed when the server ends first or time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if self.wait(POLL_SECONDS):
                raise ServerFailed(f"{name} ended with code {self.exit_code} while starting", log_tail(self.log))
            if time.monotonic() > deadline:
                raise ServerFailed(f"{name} was not ready in {timeout_seconds:g} s", log_tail(self.log))

    def _keep(self) -> None:
        try:
            with open_log(self.log) as log:
                self._child = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=server_environment(),
                    cwd="/",
                    start_new_session=True,  # Ctrl-C is for the service, which then stops its servers in order
                )
        except OSError as failure:
            self._failure = failure
        self._started.set()
        if self._child is not None:
            self._child.wait()
        self.ended.set()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise LocalServersError("the server was never started")
        return self._child


def server_environment() -> dict[str, str]:
    """Nothing of ours: the environment of a service may hold secrets, and locale or time zone change a server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def run_once(command: Sequence[str], *, account: Account | None, stdin: str = "") -> None:
    """Run a short program of a server to its end. Raises ServerFailed with what it printed when it fails."""
    identity = (str(account.uid), str(account.gid)) if account else ("-1", "-1")
    done = subprocess.run(  # noqa: S603 - our own programs, no shell
        [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(signal.SIGKILL)), *identity, *command],
        input=stdin,
        capture_output=True,
        text=True,
        env=server_environment(),
        cwd="/",
        check=False,
    )
    if done.returncode != 0:
        output = f"{done.stdout}{done.stderr}"[-LOG_TAIL_BYTES:]
        raise ServerFailed(f"{Path(command[0]).name} ended with code {done.returncode}", output)


def open_log(log: Path) -> IO[bytes]:
    """Append to the log. One that has grown too large becomes `NAME.old` first, so two of them bound the space."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name(f"{log.name}.old"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def log_tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if log.exists() else ""


def end_left_behind(program: str, directory: Path, steps: Sequence[tuple[int, float]]) -> list[int]:
    """End the servers that a killed parent left running on `directory`, and return their process ids.

    Call it only while holding the directory's lock: then whoever runs there has lost its parent.
    """
    found = left_behind(program, directory)
    for signal_number, patience_seconds in steps:
        for pid in left_behind(program, directory):
            signal_if_alive(pid, signal_number)
        deadline = time.monotonic() + patience_seconds
        while left_behind(program, directory):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return found
    raise LocalServersError(f"{program} still runs on {directory}: processes {left_behind(program, directory)}")


def left_behind(program: str, directory: Path) -> list[int]:
    """Process ids of `program` that work in `directory`."""
    directory = directory.resolve()
    if Path("/proc/self/cwd").exists():
        return [pid for pid in process_ids() if works_in(pid, program, directory)]
    listing = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.strip().partition(" ") for line in listing.splitlines())
    return [int(pid) for pid, _, command in rows if program in command and str(directory) in command]


def process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def works_in(pid: int, program: str, directory: Path) -> bool:
    """Both servers change to their data directory. A dead process, or another account's, does not count."""
    process = Path(f"/proc/{pid}")
    try:
        executable = (process / "exe").readlink().name
        return executable.removesuffix(" (deleted)") == program and (process / "cwd").readlink() == directory
    except OSError:
        return False


def signal_if_alive(pid: int, signal_number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal_number)
