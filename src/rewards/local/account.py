"""Who PostgreSQL runs as, and where that account can reach its programs and its data.

PostgreSQL refuses to run as root. When we are root it runs as the owner of its data, or as `nobody`. Root's checkouts
often lie below a directory that is closed to everyone else (`/root`); then the programs are copied, and the data is
kept, below `/var/lib/rewards`, with a symbolic link at the place where the data was asked for.
"""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from rewards.local.errors import LocalServersError
from rewards.local.process import Account

UNPRIVILEGED: Final = "nobody"
ELSEWHERE: Final = Path("/var/lib/rewards")


def postgres_account(home: Path) -> Account | None:
    """None when we are not root: then PostgreSQL runs as we do."""
    if os.geteuid() != 0:
        return None
    if home.exists() and (owner := home.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise LocalServersError(
            f"PostgreSQL does not run as root, and there is no account '{UNPRIVILEGED}'; start the service as a user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def can_enter(directory: Path, account: Account) -> bool:
    """Whether the account may pass through `directory` and all that lie above it."""
    return all(_may_search(part.stat(), account) for part in (directory, *directory.parents))


def make_home(home: Path, account: Account | None) -> Path:
    """Make the directory that PostgreSQL owns, and return where it really is."""
    if home.is_symlink() and not home.exists():
        raise LocalServersError(f"{home} points to {home.readlink()}, which is gone; remove the link to start afresh")
    if account is None or can_enter(home.parent.resolve(), account):
        home.mkdir(mode=0o700, exist_ok=True)
    elif not home.exists():
        home.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=_elsewhere()))
    if account is not None:
        os.chown(home, account.uid, account.gid)
    return home.resolve()


def reachable_package(package: Path, *, version: str, account: Account | None) -> Path:
    """The package that holds the programs, or a copy of it that the account can reach."""
    if account is None or can_enter(package, account):
        return package
    copy = _elsewhere() / f"{package.name}-{version}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=_elsewhere()))
        unfinished.chmod(0o755)
        # The wheel's programs find their libraries in `NAME.libs`, beside the package.
        for part in package.parent.glob(f"{package.name}*"):
            if part.name in {package.name, f"{package.name}.libs"}:
                shutil.copytree(part, unfinished / part.name, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:  # another start was faster
            shutil.rmtree(unfinished)
    return copy / package.name


def _elsewhere() -> Path:
    ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    ELSEWHERE.chmod(0o755)
    return ELSEWHERE


def _may_search(directory: os.stat_result, account: Account) -> bool:
    if directory.st_uid == account.uid:
        return bool(directory.st_mode & stat.S_IXUSR)
    if directory.st_gid == account.gid:
        return bool(directory.st_mode & stat.S_IXGRP)
    return bool(directory.st_mode & stat.S_IXOTH)
