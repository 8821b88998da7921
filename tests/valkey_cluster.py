"""A real Valkey Cluster of three primaries on this machine."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from rewards.local.ports import LOOPBACK, free_port
from rewards.local.valkey import ValkeyServer

SLOTS: Final = 16_384
PRIMARIES: Final = 3
FORMED_SECONDS: Final = 30


@contextmanager
def valkey_cluster(home: Path) -> Iterator[list[ValkeyServer]]:
    """Three primaries that share the slots, formed and answering; they end with the block."""
    home.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    with ExitStack() as stack:
        nodes, buses = [], []
        for number in range(PRIMARIES):
            buses.append(free_port())
            more = ("cluster-enabled yes", "cluster-node-timeout 5000", f"cluster-port {buses[-1]}")
            (home / str(number)).mkdir(mode=0o700)
            node = ValkeyServer(home / str(number) / "data", durable=False, port=None, password=password, more=more)
            node.start()
            stack.callback(node.kill)
            nodes.append(node)
        _form(nodes, buses)
        yield nodes


def _form(nodes: Sequence[ValkeyServer], buses: Sequence[int]) -> None:
    clients: list[Any] = [redis.Redis.from_url(node.url) for node in nodes]
    share = SLOTS // len(nodes)
    for number, client in enumerate(clients):
        last = SLOTS - 1 if number == len(nodes) - 1 else (number + 1) * share - 1
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        clients[0].execute_command("CLUSTER", "MEET", LOOPBACK, node.port, bus)
    until = time.monotonic() + FORMED_SECONDS
    while not all(_formed(client, len(nodes)) for client in clients):
        assert time.monotonic() < until, "the cluster did not form"
        time.sleep(0.05)
    for client in clients:
        client.close()


def _formed(client: Any, count: int) -> bool:
    lines = client.execute_command("CLUSTER", "INFO").decode().splitlines()
    about = dict(line.split(":", 1) for line in lines if ":" in line)
    return bool(about["cluster_state"] == "ok" and int(about["cluster_known_nodes"]) == count)
