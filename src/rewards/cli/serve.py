"""`rewards serve`, `rewards work`, `rewards migrate`: the processes of an installation."""

from __future__ import annotations

import asyncio
import signal

import click

from rewards.app import make_app
from rewards.cli.root import run
from rewards.db.migrate import migrate as migrate_database
from rewards.http.server import base_url, bind
from rewards.http.server import serve as serve_http
from rewards.service import Service, owner_database
from rewards.settings import Settings, load_settings
from rewards.telemetry import configure_logging, configure_tracing
from rewards.worker import Worker


def configure(settings: Settings) -> None:
    """Logs and traces of a long-running process."""
    configure_logging(settings.log_level, style=settings.log_format)
    configure_tracing(settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)


@click.command()
@click.option("--host", help="Address to listen on; REWARDS_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; REWARDS_PORT, else 8000. 0 chooses a free one.")
@click.option(
    "--worker/--no-worker", default=True, show_default=True, help="Run due commands and upkeep in this process too."
)
def serve(host: str | None, port: int | None, *, worker: bool) -> None:
    """Serve the HTTP API."""
    chosen = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    settings = load_settings(**chosen)
    configure(settings)
    bound = bind(settings.host, settings.port)
    service = Service(settings)
    app = make_app(service, *([Worker(service).running] if worker else []))
    serve_http(
        app,
        bound,
        shutdown_seconds=settings.shutdown_seconds,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        on_ready=lambda: click.echo(f"Listening on {base_url(bound)}", err=True),
    )


@click.command()
def work() -> None:
    """Run due commands, upkeep and jobs, without serving HTTP."""

    async def until_stopped(settings: Settings) -> None:
        configure(settings)
        service = Service(settings)
        stopped = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        async with service.running(), Worker(service).running():
            click.echo("Working", err=True)
            await stopped.wait()

    run(until_stopped)


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema and make the partitions ahead. Safe to run at every deployment."""

    async def upgrade(settings: Settings) -> str | None:
        engine = owner_database(settings)
        try:
            return await migrate_database(engine)
        finally:
            await engine.dispose()

    click.echo(f"The database is at revision {run(upgrade)}.")
