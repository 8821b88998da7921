"""A process that holds servers, for tests that end it: `python scenarios.py DIRECTORY`.

It prints one line of JSON once the servers serve, then waits to be ended.
"""

import json
import signal
import sys
from pathlib import Path

from rewards.local import LocalServers


def main(directory: Path) -> None:
    # A shell that runs the tests in the background has them ignore SIGINT, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    servers = LocalServers(directory)
    servers.start()
    facts = {
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "postgres_pid": servers.postgres.pid,
        "valkey_pid": servers.valkey.pid,
    }
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
