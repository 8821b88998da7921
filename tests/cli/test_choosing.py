"""`--program` is needed only where there are several programs to choose from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from click.testing import CliRunner
from tests.service import SECRET_KEY, create_database

from rewards.cli.root import main
from rewards.local import LocalServers

DOCUMENT: Final = """\
rewards: 1
program: {key: KEY, timezone: UTC}
currencies: {coins: {}}
events: {played: {}}
rules:
  - {key: play, on: played, then: [{earn: {currency: coins, amount: 1}}]}
"""
COMMANDS: Final = (
    "program versions",
    "program pause play",
    "program resume play",
    "program publish --version 1",
    "ledger verify",
    "ledger statement",
    "keys list",
    "keys create --name tests",
    "members import {members} --currency coins",
)


async def test_the_only_program_is_meant(servers: LocalServers, tmp_path: Path) -> None:
    environment = {
        "REWARDS_DATABASE_URL": await create_database(servers.database_url, "choosing_tests"),
        "REWARDS_REDIS_URL": servers.redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }
    document, members = tmp_path / "first.yaml", tmp_path / "members.csv"
    members.write_text("external_id,points_balance\nada,5\n")

    def told(line: str) -> tuple[int, str]:
        words = line.format(document=document, members=members).split()
        result = CliRunner().invoke(main, words, env=environment)
        return result.exit_code, result.output

    def publish(key: str) -> None:
        document.write_text(DOCUMENT.replace("KEY", key))
        assert told("program publish {document} --create")[0] == 0

    def all_answer() -> None:
        code, said = told("program versions")
        assert (code, "there is no program yet" in said) == (1, True), said
        publish("first")
        for line in COMMANDS:
            code, said = told(line)
            assert code == 0, (line, said)
        assert told("sandbox create --program first")[0] == 0
        for line in COMMANDS:
            code, said = told(line)
            assert code == 0, ("a sandbox is not meant", line, said)
        publish("second")
        for line in COMMANDS:
            code, said = told(line)
            assert (code, "Name one with --program: first, second, first_sandbox" in said) == (2, True), (line, said)
            code, said = told(f"{line} --program first")
            assert code == 0, (line, said)

        code, said = told("program diff {document}")  # the document names its own
        assert (code, said) == (0, "No change.\n")
        code, said = told("program simulate {document} --recorded")
        assert (code, said.splitlines()[0]) == (0, "0 events of 0 members.")

    await asyncio.to_thread(all_answer)
