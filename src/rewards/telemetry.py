"""What an operator sees: structured logs, Prometheus metrics and OpenTelemetry traces.

Logs carry request ids and derived ids, never the ids, names or properties that callers send.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Any, Final, Literal

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from structlog.typing import EventDict, Processor, WrappedLogger

from rewards import __version__

request_id: Final[ContextVar[str]] = ContextVar("rewards_request_id", default="")
"""The id of the request that the current task serves; empty outside of one."""


def configure_logging(
    level: Literal["debug", "info", "warning", "error"], *, style: Literal["json", "console"]
) -> None:
    """Send our logs and those of libraries to standard error, one JSON object a line, or as lines for people, coloured on a terminal.

    Tracebacks leave out local variables: those hold keys and personal data.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if style == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if current := request_id.get():
        event.setdefault("request_id", current)
    return event


def configure_tracing(
    endpoint: str | None, *, sample_ratio: float = 1.0, exporter: SpanExporter | None = None
) -> TracerProvider | None:
    """Export spans to `endpoint` (OTLP over HTTP), or to `exporter`. With neither, spans cost nothing and go nowhere.

    Call `shutdown()` on what is returned when the process ends; it sends what is left.
    """
    if exporter is None:
        if endpoint is None:
            return None
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: "rewards", SERVICE_VERSION: __version__}),
        sampler=ParentBasedTraceIdRatio(sample_ratio),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def tracer(name: str) -> trace.Tracer:
    """The tracer of a part of the house: `with tracer("pipeline").start_as_current_span("batch"): …`."""
    return trace.get_tracer(f"rewards.{name}", __version__)


def span_attributes(**values: Any) -> dict[str, Any]:
    """Attributes under our prefix. Ids must be derived ones."""
    return {f"rewards.{key}": value for key, value in values.items() if value is not None}
