"""What can go wrong with the embedded servers."""

from pathlib import Path


class LocalServersError(Exception):
    """An embedded server could not be started, reached or stopped."""


class AlreadyRunning(LocalServersError):
    """Another living process runs servers on this directory. Nothing was changed."""

    def __init__(self, directory: Path, owner_pid: int | None) -> None:
        self.directory = directory
        self.owner_pid = owner_pid
        by = f" by process {owner_pid}" if owner_pid is not None else ""
        super().__init__(f"{directory} is already in use{by}. Stop that one first, or choose another directory.")


class ServerFailed(LocalServersError):
    """A server ended, or was not ready in time. The message holds the end of its log."""

    def __init__(self, what: str, log: str) -> None:
        self.log = log
        super().__init__(f"{what}\n{log}".rstrip())
