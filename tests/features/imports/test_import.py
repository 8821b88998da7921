"""Opening balances are booked once, whatever is repeated, wrong or killed."""

import asyncio
import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.command import Command, start
from tests.features.bank import Bank
from tests.service import Live, another, publish

from rewards.domain.commands import MemberRef
from rewards.features.ledger.verification import Verification

PROGRAM = """
rewards: 1
program: {key: imported, name: Imported, timezone: Europe/Berlin, locale: en, money: EUR}
currencies:
  points: {name: Points, worth: 1}
  coins: {name: Coins}
events: {opened: {}}
attributes:
  email: {use: email, purpose: receipts, pii: true}
  tier: {type: string, purpose: greeting}
  vip: {type: boolean, purpose: greeting}
  visits: {type: integer, purpose: greeting}
rules: []
"""
HEADER = "external_id,email,points_balance,lifetime_points,tier,joined_at\n"


@pytest.fixture
async def old(bank: Bank) -> AsyncIterator[Live]:
    """A program of its own for each test."""
    async with another(bank.live, PROGRAM) as running:
        yield running


async def _attributes(running: Live, member: str) -> dict[str, object]:
    identity = (await running.service.programs.get(running.program_id)).identity
    async with running.service.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT attributes FROM member WHERE program_id = :p AND member_id = :m"),
            {"p": running.program_id, "m": identity.member(MemberRef.parse(member))},
        )
        attributes: dict[str, object] = found.scalar_one()
        return attributes


async def _sums(running: Live) -> tuple[int, int, int]:
    """Members, points and transactions of the program."""
    async with running.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT (SELECT count(*) FROM account WHERE program_id = :p), (SELECT coalesce(sum(available), 0) FROM account"
                " WHERE program_id = :p), (SELECT count(*) FROM transaction WHERE program_id = :p)"
            ),
            {"p": running.program_id},
        )
        members, points, transactions = found.one()
        return int(members), int(points), int(transactions)


async def _is_sound(running: Live) -> bool:
    verification = Verification(running.service.engine, await running.service.programs.get(running.program_id))
    buckets = await verification.buckets()
    found = [finding for each in [one async for one in verification.each_bucket(buckets)] for finding in each]
    return not found and not await verification.house()


async def test_balances_and_attributes_are_booked_once(old: Live, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "members.csv"
    file.write_text(HEADER + "ann,ann@x.org,120,500,gold,2020-01-01\nbob,,0,0,,\nanon:7,,30,30,,\n")
    arguments = ("members", "import", str(file), "--program", old.program_key)
    tried = await command(*arguments, "--dry-run")
    assert (tried.returncode, await _sums(old)) == (0, (0, 0, 0))
    done = await command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "3 members imported with 150 points, 0 imported before, 0 bad rows" in done.stdout
    assert "passed over: lifetime_points, joined_at" in done.stderr
    assert await _attributes(old, "ann") == {"email": "ann@x.org", "tier": "gold"}
    assert await old.balance("anon:7") == 30
    again = await command(*arguments)
    assert (again.returncode, "nothing to do" in again.stderr) == (0, True)
    assert (await _sums(old))[1:] == (150, 2)
    assert not file.with_name("members.csv.errors.csv").exists()


@pytest.mark.parametrize(
    ("second", "more", "points", "said"),
    [
        ("ann,,120\ncid,,7\n", (), 127, "1 member imported with 7 points, 1 imported before"),
        ("cid,,7\nann,,120\n", ("--source", "other"), 247, "2 members imported"),
        ("ann,,121\ncid,,7\n", (), 127, "1 bad row"),  # a changed balance of a known member is told, not paid
        ("ann,,1\nann,,2\ncid,,7\ncid,,7\n", ("--source", "twice"), 128, "1 imported before, 1 bad row"),
    ],
)
async def test_another_file_adds_only_what_is_new(
    old: Live, command: Command, tmp_path: Path, second: str, more: tuple[str, ...], points: int, said: str
) -> None:
    first, other = tmp_path / "first", tmp_path / "second"
    first.write_text("external_id,email,points_balance\nann,,120\n")
    other.write_text("external_id,email,points_balance\n" + second)
    await command("members", "import", str(first), "--program", old.program_key)
    done = await command("members", "import", str(other), "--program", old.program_key, *more)
    assert said in done.stdout
    assert (await _sums(old))[1] == points
    assert await _is_sound(old)


async def test_bad_rows_are_listed_and_stop_nothing(old: Live, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "members.csv"
    file.write_bytes(
        b"external_id,email,points_balance,vip,visits\n"
        b"ann,ann@x.org,1,true,12\n"
        b"bob,not an address,1,,\n"
        b"cid,,many,,\n"
        b",,1,,\n"
        b"dan,,1,perhaps,\n"
        b"\xe9ve,,1,,\n"
        b"fay,,1,,few\n"
        b"gus,,2,false,0\n"
    )
    arguments = ("members", "import", str(file), "--program", old.program_key)
    done = await command(*arguments)
    assert done.returncode == 1
    errors = file.with_name("members.csv.errors.csv")
    with errors.open(newline="") as listed:
        bad = {int(row["line"]): row for row in csv.DictReader(listed)}
    lines = {line: row["reason"] for line, row in bad.items()}
    assert sorted(lines) == [3, 4, 5, 6, 7, 8]
    assert [bad[line]["row"] for line in (4, 6, 8)] == ["cid,,many,,", "dan,,1,perhaps,", "fay,,1,,few"]
    assert lines[4] == "points_balance is 'many', not a whole number"
    assert lines[6].startswith("vip: ")
    assert lines[8].startswith("visits: ")
    assert errors.stat().st_mode & 0o077 == 0
    assert "line 5: external_id is missing" in done.stderr
    assert await _attributes(old, "ann") == {"email": "ann@x.org", "vip": True, "visits": 12}
    assert (await _sums(old))[1] == 3
    once_more = await command(*arguments)  # what was wrong may have been put right meanwhile
    assert "0 members imported with 0 points, 2 imported before, 6 bad rows" in once_more.stdout


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ("id,points\n", (), "points_balance"),
        ("external_id,points_balance\n", ("--currency", "miles"), "no currency 'miles'"),
        ("external_id,points_balance\n", ("--source", "a/b"), "letters, digits"),
    ],
)
async def test_a_wrong_call_changes_nothing(
    old: Live, command: Command, tmp_path: Path, content: str, more: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "members.csv"
    file.write_text(content)
    done = await command("members", "import", str(file), "--program", old.program_key, *more)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
async def test_a_killed_import_goes_on_and_pays_nothing_twice(
    old: Live, command: Command, migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    count = 12_000
    file = tmp_path / "members.csv"
    lines = [f"m{number},,{number % 100}\n" for number in range(count)]
    lines[17] = "m17,,wrong\n"
    lines[count - 1] = "last,,wrong\n"
    file.write_text("external_id,email,points_balance\n" + "".join(lines))
    arguments = ("members", "import", str(file), "--program", old.program_key)
    for least in (1, 3_000, 6_000):
        process = await start(migrated_url, redis_url, *arguments)
        while (await _sums(old))[2] < least:
            assert process.returncode is None, "it must not be done before it is killed"
            await asyncio.sleep(0.01)
        process.kill()
        await process.communicate()
    done = await command(*arguments)
    assert done.returncode == 1
    assert "Going on after line" in done.stderr
    assert "2 bad rows" in done.stdout
    points = sum(number % 100 for number in range(count) if number not in {17, count - 1})
    assert (await _sums(old))[1] == points
    with file.with_name("members.csv.errors.csv").open(newline="") as listed:
        assert [row["line"] for row in csv.DictReader(listed)] == ["19", str(count + 1)]
    assert await _is_sound(old)
    other, key = await publish(old.service, PROGRAM)
    assert other != old.program_id
    elsewhere = await command("members", "import", str(file), "--program", key, "--dry-run")
    assert f"{count - 2:,} members would be imported" in elsewhere.stdout
