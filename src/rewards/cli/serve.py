"""`rewards serve`, `rewards work`, `rewards migrate`: the processes of an installation."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
from pathlib import Path

import click

from rewards.app import make_app
from rewards.cli.root import run
from rewards.db.migrate import migrate as migrate_database
from rewards.http.metrics import metrics_directory, share_metrics
from rewards.http.processes import Processes
from rewards.http.seat import Seat, serve_seat
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
    "--processes", type=click.IntRange(1, 64), help="Serving processes; REWARDS_PROCESSES, else 1. One uses one core."
)
@click.option(
    "--worker/--no-worker", default=True, show_default=True, help="Run due commands and upkeep in here too, once."
)
def serve(host: str | None, port: int | None, processes: int | None, *, worker: bool) -> None:
    """Serve the HTTP API."""
    told = {"host": host, "port": port, "processes": processes}
    settings = load_settings(**{name: value for name, value in told.items() if value is not None})
    if settings.processes > 1:
        sys.exit(_serve_together(settings, worker=worker))
    configure(settings)
    bound = bind(settings.host, settings.port)
    service = Service(settings)
    app = make_app(service, *([Worker(service).running] if worker else []))
    serve_http(
        app,
        bound,
        shutdown_seconds=settings.shutdown_seconds,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        on_ready=lambda: _announce(bound),
        on_ending=service.ending.set,
    )


def _announce(bound: socket.socket) -> None:
    click.echo(f"Listening on {base_url(bound)}", err=True)


def _serve_together(settings: Settings, *, worker: bool) -> int:
    """Several processes on one address. The exit code."""
    configure_logging(settings.log_level, style=settings.log_format)
    bound = bind(settings.host, settings.port)
    directory = metrics_directory()
    try:
        return Processes(
            bound,
            settings.processes,
            lambda seat: _serve_seat(settings, seat, directory, worker=worker),
            on_ready=lambda: _announce(bound),
        ).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _serve_seat(settings: Settings, seat: Seat, directory: Path, *, worker: bool) -> None:
    """One of several processes. The first seat has the worker; due commands of the others are found when it polls."""
    tracing = configure_tracing(settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)
    service = Service(settings, share_metrics(directory, number=seat.number))
    alongside = [service.metrics.noting_waiting]
    if worker and seat.number == 0:
        alongside.append(Worker(service).running)
    try:
        orphaned = serve_seat(
            make_app(service, *alongside),
            seat,
            shutdown_seconds=settings.shutdown_seconds,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            on_ending=service.ending.set,
        )
    finally:
        if tracing is not None:
            tracing.shutdown()
    if orphaned:  # then nobody else will
        shutil.rmtree(directory, ignore_errors=True)


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
