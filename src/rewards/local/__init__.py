"""PostgreSQL and Valkey for one machine and for tests: `LocalServers`, or `local_servers` on an event loop."""

from rewards.local.errors import AlreadyRunning, LocalServersError, ServerFailed
from rewards.local.postgres import PostgresServer
from rewards.local.servers import LocalServers, local_servers
from rewards.local.valkey import ValkeyServer

__all__ = [
    "AlreadyRunning",
    "LocalServers",
    "LocalServersError",
    "PostgresServer",
    "ServerFailed",
    "ValkeyServer",
    "local_servers",
]
