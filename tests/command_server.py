"""Commands as real processes that need not import everything again: they are forked from one that has.

Run as a program, with the number of a socket. For each line (arguments, environment and directory as JSON, with the
files to use as standard output and error) a process is forked that runs `rewards` with them; its exit code is answered.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from importlib import import_module

LINE_BYTES_MAX = 100_000


def serve(channel: socket.socket) -> None:
    """Runs commands, one after another, until the other side is gone."""
    from rewards.cli.root import COMMANDS, main  # noqa: PLC0415 - who starts a server needs no commands

    for where, _ in COMMANDS.values():
        import_module(where.partition(":")[0])
    gc.freeze()  # what is imported stays; so no collection copies its pages in the processes to come
    while True:
        line, files, *_ = socket.recv_fds(channel, LINE_BYTES_MAX, 2)
        if not line:
            return
        while not line.endswith(b"\n"):
            line += channel.recv(LINE_BYTES_MAX)
        child = os.fork()
        if child == 0:
            channel.close()
            for number, file in zip((1, 2), files, strict=True):
                os.dup2(file, number)
                os.close(file)
            command = json.loads(line)
            os.environ.clear()
            os.environ.update(command["environment"])
            os.chdir(command["directory"])
            sys.argv = ["rewards", *command["arguments"]]
            main()  # exits
            return
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        channel.sendall(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        serve(inherited)
