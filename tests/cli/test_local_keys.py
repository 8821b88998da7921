"""`rewards local` shows keys that work: those of last time, or new ones for what was revoked meanwhile."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.service import create_database, service_settings

from rewards.cli.local import Keys, _prepare, _write_facts
from rewards.db.transact import reading, transact
from rewards.features.keys.queries import find_caller, list_keys, revoke_key
from rewards.features.programs.store import program_id_of
from rewards.http.auth import token_digest
from rewards.local import LocalServers
from rewards.service import database
from rewards.settings import Settings


@pytest.fixture(scope="module")
async def settings(servers: LocalServers) -> Settings:
    """A database of its own, in which nothing was ever set up."""
    return service_settings(await create_database(servers.database_url, "local_keys_tests"), servers.redis_url)


async def started(settings: Settings, directory: Path) -> Keys:
    """What a start shows, and keeps for the next one."""
    keys = await _prepare(settings, directory)
    _write_facts(directory, url="http://127.0.0.1:1", keys=keys, settings=settings)
    return keys


async def revoke(settings: Settings, kind: str) -> None:
    """Every key of the kind, as `rewards keys revoke` does it."""
    engine = database(settings, application_name="tests", role=settings.database_role)
    async with reading(engine) as connection:
        program_id = await program_id_of(connection, "shop")
        keys = await list_keys(connection, program_id, after=None, limit=200)
    for key in keys:
        if key.kind == kind:
            await transact(engine, partial(_revoked, program_id=program_id, key_id=key.id))
    await engine.dispose()


async def _revoked(connection: AsyncConnection, *, program_id: int, key_id: UUID) -> None:
    await revoke_key(connection, program_id, key_id, actor="tests")


async def work(settings: Settings, keys: Keys) -> list[bool]:
    """Whether each key opens the service."""
    engine = database(settings, application_name="tests", role=settings.database_role)
    secret_key = settings.secret_key.get_secret_value()
    found = [await find_caller(engine, token_digest(secret_key, key)) for key in astuple(keys)]
    await engine.dispose()
    return [caller is not None for caller in found]


@pytest.mark.parametrize(
    ("revoked", "stay", "new"),
    [
        ((), [True, True], ()),
        (("public",), [True, False], ("public",)),
        (("secret",), [False, True], ("server",)),
        (("secret", "public"), [False, False], ("server", "public")),
    ],
)
async def test_what_was_revoked_is_made_anew(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    revoked: tuple[str, ...],
    stay: list[bool],
    new: tuple[str, ...],
) -> None:
    first = await started(settings, tmp_path)
    for kind in revoked:
        await revoke(settings, kind)
    capsys.readouterr()
    again = await started(settings, tmp_path)
    assert [one == other for one, other in zip(astuple(first), astuple(again), strict=True)] == stay
    assert await work(settings, again) == [True, True]
    assert capsys.readouterr().err.splitlines() == [
        f"The {name} key of last time works no longer; a new one was made." for name in new
    ]
