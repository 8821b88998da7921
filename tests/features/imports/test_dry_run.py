"""`rewards members import --dry-run` says what the import then does, and leaves everything as it was."""

import asyncio
import csv
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from tests.command import Command, Done, start
from tests.features.bank import Bank
from tests.features.imports.test_import import PROGRAM, _sums
from tests.service import Live, another

from rewards.db.transact import transaction
from rewards.domain.commands import MemberRef, MergeOut
from rewards.pipeline.intake import Addressed

HEADER: Final = "external_id,email,points_balance\n"
CHUNKS: Final = "".join(f"m{number},,1\n" for number in range(900))
"""More rows than are decided together."""
MOST: Final = 2**53 - 1


@pytest.fixture
async def old(bank: Bank) -> AsyncIterator[Live]:
    """A program of its own for each test."""
    async with another(bank.live, PROGRAM) as running:
        yield running


def errors_of(file: Path, kind: str = "") -> list[list[str]] | None:
    path = file.with_name(f"{file.name}{kind}.errors.csv")
    if not path.exists():
        return None
    with path.open(newline="") as listed:
        return list(csv.reader(listed))


def summary(done: Done) -> tuple[int, str]:
    """The exit code and what is told of rows, whether it was done or would be."""
    return done.returncode, re.sub(r"; [0-9.]+ s\n", "", done.stdout).replace("would be imported", "imported")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("bea,,1\nbea,,1\n", "1 member imported with 1 points, 1 imported before, 0 bad rows"),
        ("bea,,1\nbea,,2\nbea,,1\n", "1 member imported with 1 points, 1 imported before, 1 bad row"),
        (f"bea,,1\n{CHUNKS}bea,,1\nbea,,2\n", "901 members imported with 901 points, 1 imported before, 1 bad row"),
        ("ann,,120\nbea,,1\n", "1 member imported with 1 points, 1 imported before, 0 bad rows"),
        ("ann,,121\nbea,,1\n", "1 member imported with 1 points, 0 imported before, 1 bad row"),
        ("bea,nonsense,1\nbea,,1\n", "1 member imported with 1 points, 0 imported before, 1 bad row"),
        ("gone,,1\ngone,,1\nbea,,1\n", "1 member imported with 1 points, 0 imported before, 2 bad rows"),
        ("moved,,5\nmoved,,5\nann,,120\n", "1 member imported with 5 points, 2 imported before, 0 bad rows"),
        (f"rich,,{MOST}\nrich,,{MOST}\nrich,,1\n", "0 members imported with 0 points, 0 imported before, 3 bad rows"),
        (f"{CHUNKS}rich,,{MOST}\n{CHUNKS}rich,,{MOST}\n", "900 members imported with 900 points, 900 imported before, 2 bad rows"),
    ],
)  # fmt: skip
async def test_it_says_what_the_import_does(old: Live, command: Command, tmp_path: Path, rows: str, said: str) -> None:
    earlier, file = tmp_path / "earlier.csv", tmp_path / "members.csv"
    earlier.write_text(HEADER + "ann,,120\n")
    assert (await command("members", "import", str(earlier), "--program", old.program_key)).returncode == 0
    for member in ("gone", "moved", "rich"):
        await old.event(type="opened", member=member)
    ann = MemberRef("user", "ann")
    merge = MergeOut(ann, (await old.service.programs.get(old.program_id)).identity.member(ann))
    await old.service.intake.one(
        old.program_id, Addressed(MemberRef("user", "moved"), merge, "merge", {"into": "ann"}, "tests")
    )
    await old.worker.run_due()
    earned = await old.client.post(
        "/v1/members/rich/earn", json={"currency": "points", "amount": 1}, headers={"Idempotency-Key": "e"}
    )
    assert earned.status_code == 200, earned.text
    async with transaction(old.service.engine) as connection:
        await connection.execute(
            text("UPDATE member SET erased_at = now() WHERE program_id = :p AND external_id = 'gone'"),
            {"p": old.program_id},
        )
    file.write_text(HEADER + rows)
    before = await _sums(old)
    arguments = ("members", "import", str(file), "--program", old.program_key)
    tried = await command(*arguments, "--dry-run")
    assert (summary(tried), "would be imported" in tried.stdout) == ((1 if "0 bad" not in said else 0, said), True)
    assert (await _sums(old), errors_of(file)) == (before, None)
    done = await command(*arguments)
    assert summary(done) == summary(tried)
    assert errors_of(file) == errors_of(file, ".dry-run")
    again = await command(*arguments, "--dry-run")
    assert "0 members would be imported with 0 points" in again.stdout


async def interrupted(old: Live, database_url: str, redis_url: str, file: Path, how: signal.Signals) -> str:
    """Ends an import once its first rows are done, while the last ones wait for a member; what it said of it."""
    await old.event(type="opened", member="m850")
    lock = text("SELECT 1 FROM member WHERE program_id = :p AND external_id = 'm850' FOR UPDATE")
    progress = text("SELECT rows_done FROM import_run WHERE program_id = :p")
    async with transaction(old.service.engine) as connection:
        await connection.execute(lock, {"p": old.program_id})
        process = await start(database_url, redis_url, "members", "import", str(file), "--program", old.program_key)
        while not (await connection.execute(progress, {"p": old.program_id})).scalar():
            assert process.returncode is None, "it must not be done before it is killed"
            await asyncio.sleep(0.01)
        process.send_signal(how)
        return (await process.communicate())[1].decode()


@pytest.mark.parametrize(
    ("meanwhile", "how", "told"),
    [
        ("nothing", signal.SIGKILL, ""),
        ("removed", signal.SIGINT, "Interrupted. The same command goes on where it stopped.\n\nAborted!\n"),
    ],
)
async def test_an_interrupted_import_lists_all_bad_rows_in_the_end(
    old: Live,
    command: Command,
    migrated_url: str,
    redis_url: str,
    tmp_path: Path,
    meanwhile: str,
    how: signal.Signals,
    told: str,
) -> None:
    file = tmp_path / "members.csv"
    rows = [f"m{number},,1\n" for number in range(900)]
    rows[17], rows[899] = "m17,,wrong\n", "last,,wrong\n"
    file.write_text(HEADER + "".join(rows))
    assert (await interrupted(old, migrated_url, redis_url, file, how)).endswith(told)
    arguments = ("members", "import", str(file), "--program", old.program_key)
    first = errors_of(file)
    assert first is not None
    assert [row[0] for row in first] == ["line", "19"]
    before = await _sums(old)
    tried = await command(*arguments, "--dry-run")
    stopped = re.search(r"The import would go on after line (401|801)\.", tried.stderr)
    assert stopped is not None, tried.stderr
    assert (errors_of(file), await _sums(old)) == (first, before)
    if meanwhile == "removed":
        file.with_name("members.csv.errors.csv").unlink()
        tried = await command(*arguments, "--dry-run")
    done = await command(*arguments)
    assert (f"Going on after line {stopped[1]}." in done.stderr) == (meanwhile == "nothing")
    assert ("Beginning anew" in done.stderr) == (meanwhile == "removed")
    last = errors_of(file)
    assert last is not None
    assert ([row[0] for row in last], "2 bad rows" in done.stdout) == (["line", "19", "901"], True)
    assert (await _sums(old))[1] == 898
    assert summary(tried) == summary(done)
    assert errors_of(file, ".dry-run") == last
