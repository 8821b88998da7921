"""Become a server process: `python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM [ARGUMENT …]`.

A program of its own, run between fork and exec, because what it does is unsafe in a forked copy of a process with
threads. UID and GID are `-1` to stay who we are. On Linux the kernel sends DEATH_SIGNAL to the server when the thread
that started it ends, so that a service killed with SIGKILL takes its servers along. Changing the user clears that
request, hence the order below.
"""

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def become_account(uid: int, gid: int) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def die_with_parent(parent_pid: int, death_signal: int) -> None:
    if sys.platform != "linux":  # elsewhere the next start cleans up what a killed parent left
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(1)


def launch(arguments: list[str]) -> None:
    parent_pid, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    become_account(uid, gid)
    die_with_parent(parent_pid, death_signal)
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - becoming the server is the purpose


if __name__ == "__main__":
    launch(sys.argv[1:])
