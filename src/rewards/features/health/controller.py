"""`/healthz` for the supervisor, `/readyz` for the load balancer, `/metrics` for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router, get
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import StorageError, reading
from rewards.features.health.queries import any_secret, changeable, migrated_to, months_without_partition
from rewards.pipeline.identity import WrongSecretKey, unwrap_secret

RETRY_AFTER_SECONDS: Final = 2
# The framework adds the character set to every text.
METRICS_MEDIA_TYPE: Final = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")


class Health(msgspec.Struct, frozen=True):
    """Whether it is well; `reasons` says what is not, by check."""

    status: str
    reasons: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What must hold before traffic may come: the schema is at `head`, nobody here may change `insert_only` tables, and
    `secret_key` is the one that the programs were made with."""

    engine: AsyncEngine
    head: str | None
    insert_only: Sequence[str]
    secret_key: bytes

    async def reasons(self) -> dict[str, str]:
        """By check, why not. Empty when ready."""
        found: dict[str, str] = {}
        try:
            async with reading(self.engine) as connection:
                revisions = await migrated_to(connection)
                open_tables = await changeable(connection, self.insert_only)
                closed_months = await months_without_partition(connection)
                sealed = await any_secret(connection) if revisions == {self.head} else None
        except StorageError as error:
            return {"database": error.message}
        if revisions != ({self.head} if self.head else set()):
            found["migrations"] = f"The schema is at {', '.join(sorted(revisions)) or 'nothing'}, not at {self.head}."
        try:
            if sealed is not None:
                unwrap_secret(self.secret_key, sealed)
        except WrongSecretKey as wrong:
            found["secret_key"] = wrong.message
        if open_tables:
            found["privileges"] = f"The service could change history: {', '.join(open_tables)}."
        if closed_months:
            found["partitions"] = f"No partition for {', '.join(closed_months)}: run `rewards migrate`, and a worker."
        return found


@get("/healthz", sync_to_thread=False)
def healthz() -> Health:
    """The process lives. It asks nobody else, so a database that is away does not get the service restarted."""
    return Health("ok")


@get(
    "/readyz",
    responses={503: ResponseSpec(Health, description="Not ready; `reasons` says why.", generate_examples=False)},
)
async def readyz(request: Request[Any, Any, Any]) -> Response[Health]:
    """The process may be sent traffic: the database answers, is migrated, and guards its history from us."""
    readiness: Readiness = request.app.state.readiness
    reasons = await readiness.reasons()
    if reasons:
        return Response(
            Health("unavailable", reasons), status_code=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
        )
    return Response(Health("ok"))


@get("/metrics", media_type=METRICS_MEDIA_TYPE, sync_to_thread=False)
def metrics(request: Request[Any, Any, Any]) -> bytes:
    """Metrics in Prometheus's text format."""
    registry: CollectorRegistry = request.app.state.metrics_registry
    return generate_latest(registry)


def health_router() -> Router:
    """Needs `readiness` and `metrics_registry` in the application's state."""
    return Router("/", route_handlers=[healthz, readyz, metrics], tags=["operations"])
