"""What the environment says. The only module that reads it; the composition root passes on what others need.

Every setting is an environment variable `REWARDS_` + its name in capitals. Secrets have no defaults.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Secret, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio.connection import parse_url
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

SECRET_KEY_BYTES_MIN: Final = 32
SECRET_KEY_DISTINCT_BYTES_MIN: Final = 8


_MAKE_ONE: Final = "`openssl rand -hex 32` makes one"
_WANTED: Final = {
    "database_url": "a URL such as postgresql://user:password@host:5432/database",
    "redis_url": "a URL such as redis://host:6379/0",
    "secret_key": f"{SECRET_KEY_BYTES_MIN} random bytes in hexadecimal; {_MAKE_ONE}",
}
"""What would be right where nothing is said. (`rewards local` needs none of it.)"""


class SettingsError(Exception):
    """The environment is incomplete or wrong. The message names each variable, and never a value."""


def decode_secret_key(value: Any) -> Any:
    """Bytes from hexadecimal or base64 text of at least 32 bytes; a key that repeats a few bytes is no secret."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        try:
            padded = text.translate({ord("-"): "+", ord("_"): "/"}) + "=" * (-len(text) % 4)
            key = base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("must be hexadecimal or base64") from None
    if len(key) < SECRET_KEY_BYTES_MIN:
        raise ValueError(f"must hold at least {SECRET_KEY_BYTES_MIN} bytes; it holds {len(key)} ({_MAKE_ONE})")
    if len(set(key)) < SECRET_KEY_DISTINCT_BYTES_MIN:
        raise ValueError(f"must be random ({_MAKE_ONE})")
    return Secret(key)


def check_database_url(url: Secret[str]) -> Secret[str]:
    """Whether something can be connected to is not asked here."""
    try:
        scheme = make_url(url.get_secret_value()).get_backend_name()
    except (ArgumentError, ValueError):
        scheme = ""
    if scheme not in {"postgres", "postgresql"}:
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database")
    return url


def check_redis_url(url: Secret[str]) -> Secret[str]:
    """Whether something can be connected to is not asked here."""
    try:
        parse_url(url.get_secret_value())
    except ValueError:
        raise ValueError("must be a URL such as redis://:password@host:6379/0") from None
    return url


DatabaseUrl = Annotated[Secret[str], AfterValidator(check_database_url)]
RedisUrl = Annotated[Secret[str], AfterValidator(check_redis_url)]
SecretKey = Annotated[Secret[bytes], BeforeValidator(decode_secret_key)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """The settings of one process. Names end in their unit."""

    model_config = SettingsConfigDict(
        env_prefix="REWARDS_", frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    database_url: DatabaseUrl
    redis_url: RedisUrl
    secret_key: SecretKey
    """Wraps member keys and keys the hashes of API keys. Losing it makes stored members unreachable."""

    host: str = "127.0.0.1"
    port: Port = 8000
    forwarded_allow_ips: str = "127.0.0.1"
    """Proxies whose `X-Forwarded-*` headers are believed: addresses or networks, separated by commas."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Serving processes behind the one address; about one for each core. Each has lanes and pools of its own."""
    shutdown_seconds: Seconds = 20
    body_bytes_max: Positive = 1024 * 1024
    member_requests_per_second: Positive = 20
    """What one member token may send; twice as much in a burst."""

    lanes: Positive | None = None
    """Transactions that one process has in flight; two of a single process, one of each of several. More make batches smaller."""
    lane_queue_max: Positive = 1000
    """Commands that may wait in one lane; past it callers are answered 429."""
    batch_commands_max: Annotated[int, Field(gt=0, le=1000)] = 200
    batch_spans_buckets: bool = True
    """False where PostgreSQL is distributed by bucket (Citus): then a batch holds one bucket."""

    database_pool_size: Positive = 8
    database_pool_wait_seconds: Seconds = 5
    database_connect_timeout_seconds: Seconds = 5
    statement_timeout_seconds: Seconds = 10
    lock_timeout_seconds: Seconds = 3
    idle_in_transaction_timeout_seconds: Seconds = 15
    database_role: str = "rewards_app"
    redis_timeout_seconds: Seconds = 1
    redis_cluster: bool = False
    """True where `redis_url` names a node of a Valkey Cluster."""

    event_retention_days: Positive = 400
    trace_retention_days: Positive = 90
    outbox_retention_days: Positive = 30
    board_retention_days: Annotated[int, Field(ge=30, le=36_500)] = 1100
    """Results of closed leaderboard periods, once their prizes are paid. More than late events may ever count for."""
    job_retention_days: Positive = 90
    """Backfills that have ended."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    otel_endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector. Without it nothing is traced."""
    otel_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0

    @property
    def lanes_each(self) -> int:
        """The lanes of one process."""
        if self.lanes is not None:
            return self.lanes
        return 2 if self.processes == 1 else 1


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` win. Raises SettingsError."""
    try:
        return Settings(**overrides)
    except ValidationError as wrong:
        raise _settings_error(wrong) from None


def _settings_error(wrong: ValidationError) -> SettingsError:
    lines = []
    for error in wrong.errors(include_url=False, include_input=False, include_context=False):
        name = "_".join(str(part) for part in error["loc"])
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "missing":
            message = f"is missing; it takes {_WANTED[name]}" if name in _WANTED else "is missing"
        lines.append(f"REWARDS_{name.upper()}: {message}")
    return SettingsError("\n".join(lines))


class LocalSettings(BaseSettings):
    """What `rewards local` may be told; whatever is missing it makes and keeps itself."""

    model_config = SettingsConfigDict(
        env_prefix="REWARDS_", frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    database_url: DatabaseUrl | None = None
    redis_url: RedisUrl | None = None
    secret_key: SecretKey | None = None
    port: Port | None = None


def load_local_settings() -> LocalSettings:
    """Read the environment. Raises SettingsError."""
    try:
        return LocalSettings()
    except ValidationError as wrong:
        raise _settings_error(wrong) from None


def keep_metrics_in(directory: Path) -> None:
    """Tells prometheus_client where the metrics of this process are kept; it takes that from the environment only."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
