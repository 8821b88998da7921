"""`rewards local`: everything on one machine, with nothing installed. What `make run` runs."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.app import make_app
from rewards.cli.reaching import Unreachable, reach_database, reach_valkey
from rewards.cli.serve import configure
from rewards.db.migrate import migrate
from rewards.db.transact import transact
from rewards.domain.program.check import check_bytes
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.keys.queries import find_caller
from rewards.features.programs.store import Draft, add_version, create_program, find_program, publish_version
from rewards.http.auth import SCOPES, token_digest
from rewards.http.server import base_url, bind, bind_from
from rewards.http.server import serve as serve_http
from rewards.local import AlreadyRunning, LocalServers
from rewards.local.servers import LOCK_NAME, hold
from rewards.pipeline.identity import unwrap_secret
from rewards.service import Service, database, owner_database
from rewards.settings import LocalSettings, Settings, SettingsError, load_local_settings, load_settings
from rewards.worker import Worker

SAMPLE: Final = Path(__file__).resolve().parents[3] / "seeds" / "shop.yaml"
SAMPLE_KEY: Final = "shop"
DIRECTORY: Final = Path(".rewards")
FIRST_PORT: Final = 8000
UNSET: Final = "Unset it to use the embedded server."
KEYS: Final = {
    "server_key": KeyRequest("rewards local: server", scopes=SCOPES),
    "public_key": KeyRequest("rewards local: browser", kind="public", origins=("*",)),
}
"""What local.json calls the keys, and what they are."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the sample program; known in full only where they were made, hence kept in the directory."""

    server: str
    public: str


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port; REWARDS_PORT, else 8000 or the next free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DIRECTORY,
    show_default=True,
    help="Where the data, the secret key and local.json are kept.",
)
def local(port: int | None, directory: Path) -> None:
    """Run the service with its own PostgreSQL and Valkey, a sample program and a key.

    REWARDS_DATABASE_URL and REWARDS_REDIS_URL replace the servers that it would start.
    """
    told = _told()
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with ExitStack() as stack:
        settings = _settings(told, directory, stack)
        asyncio.run(_reach(told, settings))
        configure(settings)
        chosen = port or told.port
        bound = bind(settings.host, chosen) if chosen else bind_from(settings.host, FIRST_PORT)
        url = base_url(bound)
        keys = asyncio.run(_prepare(settings, directory))
        _write_facts(directory, url=url, keys=keys, settings=settings)
        service = Service(settings)
        serve_http(
            make_app(service, Worker(service).running),
            bound,
            shutdown_seconds=settings.shutdown_seconds,
            on_ready=lambda: threading.Thread(target=_welcome, args=(url, keys), daemon=True).start(),
            on_ending=service.ending.set,
        )
    click.echo("Stopped. The data is kept; run it again to go on.", err=True)


def _told() -> LocalSettings:
    try:
        return load_local_settings()
    except SettingsError as error:
        raise SettingsError(f"{error}\nUnset what is wrong to use the embedded servers and the defaults.") from None


async def _reach(told: LocalSettings, settings: Settings) -> None:
    """Whether the servers that were given, rather than started here, can be used at all."""
    try:
        if told.database_url is not None:
            owner = owner_database(settings)
            try:
                await reach_database(owner)
            finally:
                await owner.dispose()
        if told.redis_url is not None:
            await reach_valkey(settings.redis_url.get_secret_value(), timeout_seconds=settings.redis_timeout_seconds)
    except Unreachable as error:
        raise Unreachable(f"{error}. {UNSET}") from None


def _settings(told: LocalSettings, directory: Path, stack: ExitStack) -> Settings:
    """The settings, with embedded servers for what was not given."""
    servers = None
    try:
        if told.database_url is None or told.redis_url is None:
            click.echo(f"Starting PostgreSQL and Valkey in {directory} …", err=True)
            servers = stack.enter_context(LocalServers(directory))
        else:  # local.json is of one service, also where all servers are given, be they those of the one that runs
            stack.callback(os.close, hold(directory / LOCK_NAME))
    except AlreadyRunning as running:
        facts = _read_facts(directory)
        where = f" at {facts['base_url']}" if facts else ""
        raise click.ClickException(
            f"Rewards is already running on {directory}{where} (process {running.owner_pid}). "
            "Stop it with Ctrl-C there, or use another --directory."
        ) from None
    return load_settings(
        database_url=told.database_url or (servers.database_url if servers else None),
        redis_url=told.redis_url or (servers.redis_url if servers else None),
        secret_key=told.secret_key.get_secret_value().hex() if told.secret_key else _secret_key(directory),
        log_level="warning",
        log_format="console",
    )


def _secret_key(directory: Path) -> str:
    """The secret key of this directory, made once."""
    path = directory / "secret_key"
    if not path.exists():
        _write_private(path, secrets.token_hex(32))
    return path.read_text().strip()


async def _prepare(settings: Settings, directory: Path) -> Keys:
    """Migrates, publishes the sample program where there is none, and sees to it that there are keys."""
    owner = owner_database(settings)
    try:
        await migrate(owner)
    finally:
        await owner.dispose()
    engine = database(settings, application_name="rewards-local", role=settings.database_role)
    secret_key = settings.secret_key.get_secret_value()
    try:
        source = await asyncio.to_thread(SAMPLE.read_bytes)
        program_id = await transact(engine, lambda connection: _publish_sample(connection, source, secret_key))
        facts = await asyncio.to_thread(_read_facts, directory)
        working: dict[str, str] = {}
        for name, request in KEYS.items():
            known = facts[name] if facts else None
            # The same key as last time, unless the database is another one or somebody revoked it.
            if known is None or await find_caller(engine, token_digest(secret_key, known)) is None:
                working[name], _ = await create_key(
                    engine, secret_key, program_id=program_id, request=request, actor="cli"
                )
                if known is not None:
                    click.echo(
                        f"The {name.replace('_', ' ')} of last time works no longer; a new one was made.", err=True
                    )
            else:
                working[name] = known
        return Keys(working["server_key"], working["public_key"])
    finally:
        await engine.dispose()


async def _publish_sample(connection: AsyncConnection, source: bytes, secret_key: bytes) -> int:
    """The program's id. A program that exists is left as its owner has made it. Raises `WrongSecretKey`."""
    found = await find_program(connection, SAMPLE_KEY)
    if found is not None:
        unwrap_secret(secret_key, bytes(found.secret))  # a database that was set up with another key is of no use here
    if found is not None and found.published is not None:
        return int(found.id)
    report = check_bytes(source)
    if not report.ok:
        raise click.ClickException(f"{SAMPLE} has mistakes; see `rewards program check {SAMPLE}`")
    program_id: int = (
        found.id if found is not None else await create_program(connection, SAMPLE_KEY, secret_key=secret_key)
    )
    draft = Draft(document=report.data, source=source.decode(), author="cli", note="sample program")
    await publish_version(connection, program_id, await add_version(connection, program_id, draft))
    return program_id


def _read_facts(directory: Path) -> dict[str, Any] | None:
    """What was written the last time; None where nothing was, or somebody has spoilt it: then it is written anew."""
    path = directory / "local.json"
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text())
    except ValueError:
        return None
    wanted = {"base_url", "server_key", "public_key"}
    return facts if isinstance(facts, dict) and all(isinstance(facts.get(name), str) for name in wanted) else None


def _write_facts(directory: Path, *, url: str, keys: Keys, settings: Settings) -> None:
    facts = {
        "base_url": url,
        "server_key": keys.server,
        "public_key": keys.public,
        "database_url": settings.database_url.get_secret_value(),
        "redis_url": settings.redis_url.get_secret_value(),
    }
    _write_private(directory / "local.json", json.dumps(facts, indent=2) + "\n")


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner only from the first byte, and never half written."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _welcome(url: str, keys: Keys) -> None:
    """Tells where everything is, and shows a first event with its real answer."""
    event = {
        "id": f"hello-{secrets.token_hex(4)}",
        "type": "product_viewed",
        "member": f"visitor-{secrets.token_hex(2)}",
        "properties": {"category": "audio", "dwell_seconds": 42},
    }
    body = json.dumps(event)
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}/v1/events",
        data=body.encode(),
        headers={"Authorization": f"Bearer {keys.server}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answered = json.dumps(json.load(answer), indent=2)
    except urllib.error.HTTPError as refused:  # the program is the owner's by now, and may not know this event
        answered = refused.read().decode()
    except OSError as silent:  # the addresses and keys are worth knowing all the same
        answered = f"nothing yet: {silent}"
    click.echo(
        f"""
Rewards is running.

  API          {url}/v1
  Reference    {url}/docs
  Server key   {keys.server}
  Public key   {keys.public}

A first event, half a minute of attention for a product:

  curl -s {url}/v1/events \\
    -H {shlex.quote(f"Authorization: Bearer {keys.server}")} \\
    -H 'Content-Type: application/json' \\
    -d {shlex.quote(body)}

and what the service answered just now:

{answered}

Stop with Ctrl-C; the data stays.
"""
    )
