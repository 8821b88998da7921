"""What the commands say when the environment names servers that cannot be used: one line, the variable, what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from click.testing import CliRunner, Result
from tests.command import run
from tests.service import SECRET_KEY

from rewards.cli import failures
from rewards.cli.local import Keys, _read_facts, _welcome
from rewards.cli.root import main
from rewards.local import LocalServers, ServerFailed

NOBODY: Final = "postgresql://x:sekret@127.0.0.1:9/rewards"
NO_VALKEY: Final = "redis://:sekret@127.0.0.1:9/0"


def told(line: str, environment: dict[str, str]) -> Result:
    """Runs a command; whatever it ends in but an exit is a traceback for whoever typed it."""
    result = CliRunner().invoke(main, line.split(), env={"REWARDS_SECRET_KEY": SECRET_KEY, **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "sekret" not in result.output
    return result


@pytest.fixture
def urls(servers: LocalServers) -> dict[str, str]:
    """What may stand in the environment, by a name for it."""
    return {
        "database": servers.database_url,
        "valkey": servers.redis_url,
        "nobody": NOBODY,
        "no valkey": NO_VALKEY,
        "wrong password": re.sub(r":[^:@]+@", ":sekret@", servers.database_url),
        "wrong database": servers.database_url + "_gone",
        "wrong valkey password": re.sub(r":[^:@]+@", ":sekret@", servers.redis_url),
        "no url": "nonsense",
        "mysql": "mysql://x:sekret@127.0.0.1/rewards",
        "port": "redis://127.0.0.1:sekret/0",
    }


@pytest.mark.parametrize(
    ("database", "valkey", "code", "says"),
    [
        ("nobody", "valkey", 1, "REWARDS_DATABASE_URL: PostgreSQL at 127.0.0.1:9/rewards .* nothing listens there"),
        ("wrong password", "valkey", 1, "REWARDS_DATABASE_URL: .* password authentication failed"),
        ("wrong database", "valkey", 1, "REWARDS_DATABASE_URL: .* does not exist"),
        ("no url", "valkey", 2, "REWARDS_DATABASE_URL: must be a URL such as postgresql://"),
        ("mysql", "valkey", 2, "REWARDS_DATABASE_URL: must be a URL such as postgresql://"),
        ("database", "no valkey", 1, "REWARDS_REDIS_URL: Valkey at 127.0.0.1:9 .* nothing listens there"),
        ("database", "wrong valkey password", 1, "REWARDS_REDIS_URL: .* invalid username-password pair"),
        ("database", "no url", 2, "REWARDS_REDIS_URL: must be a URL such as redis://"),
        ("database", "port", 2, "REWARDS_REDIS_URL: must be a URL such as redis://"),
    ],
)
def test_local_says_which_variable_is_stale(
    urls: dict[str, str], tmp_path: Path, database: str, valkey: str, code: int, says: str
) -> None:
    environment = {"REWARDS_DATABASE_URL": urls[database], "REWARDS_REDIS_URL": urls[valkey]}
    result = told(f"local --directory {tmp_path}", environment)
    assert result.exit_code == code
    assert re.search(says, result.output), result.output
    assert re.search("Unset .* embedded server", result.output), result.output


def test_local_says_that_the_secret_key_is_of_another_database(
    urls: dict[str, str], migrated_url: str, tmp_path: Path
) -> None:
    environment = {"REWARDS_DATABASE_URL": migrated_url, "REWARDS_REDIS_URL": urls["valkey"]}
    document = tmp_path / "shop.yaml"
    document.write_text("rewards: 1\nprogram: {key: shop, timezone: UTC}\n")
    assert told(f"program publish {document} --create", environment).exit_code == 0
    another = {**environment, "REWARDS_SECRET_KEY": bytes(range(1, 33)).hex()}
    document.write_text("rewards: 1\nprogram: {key: second, timezone: UTC}\n")
    for line in (
        "keys create --program shop --name till",  # it would open nothing
        f"program publish {document} --create",  # and nobody in there would be found
        "sandbox create --program shop",
    ):
        refused = told(line, another)
        assert (refused.exit_code, "REWARDS_SECRET_KEY does not fit this database" in refused.output) == (1, True), line
    result = told(f"local --directory {tmp_path / 'local'}", another)
    assert (result.exit_code, "REWARDS_SECRET_KEY does not fit this database" in result.output) == (1, True)


def test_the_keys_are_told_even_if_the_first_event_is_not_answered(capsys: pytest.CaptureFixture[str]) -> None:
    _welcome("http://127.0.0.1:9", Keys(server="rk_server", public="pk_public"))
    said = capsys.readouterr().out
    assert "rk_server" in said
    assert "pk_public" in said
    assert "nothing yet: " in said


@pytest.mark.parametrize(
    "line",
    [
        "migrate",
        "keys list --program shop",
        "ledger verify --program shop",
        "program versions --program shop",
        "program simulate seeds/shop.yaml --recorded --program shop",
    ],
)
def test_every_command_says_that_the_database_is_down(line: str) -> None:
    result = told(line, {"REWARDS_DATABASE_URL": NOBODY, "REWARDS_REDIS_URL": NO_VALKEY})
    assert (result.exit_code, result.output) == (
        1,
        "Error: The database cannot be reached: nothing listens there (REWARDS_DATABASE_URL)\n",
    )


@pytest.mark.parametrize("line", ["serve --port 0", "work", "migrate", "keys list --program shop"])
@pytest.mark.parametrize("variable", ["REWARDS_DATABASE_URL", "REWARDS_REDIS_URL"])
def test_every_command_says_which_variable_is_no_url(line: str, variable: str) -> None:
    environment = {"REWARDS_DATABASE_URL": NOBODY, "REWARDS_REDIS_URL": NO_VALKEY, variable: "nonsense"}
    result = told(line, environment)
    assert (result.exit_code, f"{variable}: must be a URL" in result.output) == (2, True)


def test_a_database_without_our_tables_says_migrate(servers: LocalServers) -> None:
    nothing_there = servers.database_url.rsplit("/", 1)[0] + "/template1"
    environment = {"REWARDS_DATABASE_URL": nothing_there, "REWARDS_REDIS_URL": servers.redis_url}
    result = told("ledger verify --program shop", environment)
    assert (result.exit_code, "run `rewards migrate` first" in result.output) == (1, True)


def test_an_owner_who_may_make_no_roles_is_given_ours(servers: LocalServers) -> None:
    def administer(*statements: str) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(servers.database_url)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        asyncio.run(work())

    administer("CREATE ROLE tenant LOGIN PASSWORD 'tenant'", "CREATE DATABASE tenant OWNER tenant")
    url = re.sub(r"//.*@(.*)/.*", r"//tenant:tenant@\1/tenant", servers.database_url)
    environment = {"REWARDS_DATABASE_URL": url, "REWARDS_REDIS_URL": servers.redis_url}
    refused = told("migrate", environment)
    assert (refused.exit_code, "may create roles or has been granted rewards_app" in refused.output) == (1, True)
    administer(
        "DO $$ BEGIN CREATE ROLE rewards_app NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "GRANT rewards_app TO tenant",
    )
    for _ in range(2):
        assert told("migrate", environment).exit_code == 0
    assert told("program publish seeds/fitness.yaml --create", environment).exit_code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize(
    "line", ["program schema", "program docs {seed}", "program test {seed}", "program check {seed}"]
)
def test_a_full_disk_is_one_line(line: str) -> None:
    seed = Path(__file__).parents[2] / "seeds" / "fitness.yaml"
    with Path("/dev/full").open("wb") as full:
        ended = run(*line.format(seed=seed).split(), environment={"PATH": os.environ["PATH"]}, onto=full)
    assert (ended.returncode, ended.stderr) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (IsADirectoryError(errno.EISDIR, "Is a directory", "members.csv.errors.csv"), "members.csv.errors.csv: Is a directory"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/a.csv"), "/srv/a.csv: Permission denied"),
        (OSError(errno.EBADF, "Bad file descriptor"), None),  # ours, and worth its traceback
        (ServerFailed("PostgreSQL ended with code 1", "FATAL: no space"), "PostgreSQL ended with code 1\nFATAL: no space"),
    ],
)  # fmt: skip
def test_what_a_user_can_do_something_about_is_told(error: OSError, line: str | None) -> None:
    said = failures.told(error)
    assert (None if said is None else said.message) == line


@pytest.mark.parametrize(
    ("text", "server_key"),
    [
        ('{"base_url": "http://x", "server_key": "rk_1", "public_key": "pk_1"}', "rk_1"),
        ('{"base_url": "http://x", "server_key": null, "public_key": "pk_1"}', None),
        ('{"base_url": "http://x"}', None),
        ("[]", None),
        ('{"base_url": ', None),
        ("", None),
    ],
)
def test_a_spoilt_local_json_is_as_none(tmp_path: Path, text: str, server_key: str | None) -> None:
    (tmp_path / "local.json").write_text(text)
    facts = _read_facts(tmp_path)
    assert (None if facts is None else facts["server_key"]) == server_key
