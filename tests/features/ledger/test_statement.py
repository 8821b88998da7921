"""Statements of the house and of a member, by the command line and across months."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.features.ledger.test_verify import PROGRAM, Books
from tests.service import Live, live, publish, service_settings

from rewards.cli.money import money
from rewards.db.partitions import month_start
from rewards.db.transact import snapshot
from rewards.domain.commands import Earn, MemberRef, Spend
from rewards.domain.errors import InvalidInput
from rewards.domain.ids import id_floor
from rewards.features.ledger.statement import (
    Balances,
    UnknownMember,
    database_now,
    house_statement,
    member_statement,
    period,
)
from rewards.service import database

NEVER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture(scope="module")
async def service(migrated_url: str, redis_url: str) -> AsyncIterator[tuple[Live, AsyncEngine]]:
    settings = service_settings(migrated_url, redis_url)
    owner = database(settings, application_name="tests", role=None)
    async with live(settings, PROGRAM) as running:
        yield running, owner
    await owner.dispose()


@pytest.fixture
async def books(service: tuple[Live, AsyncEngine]) -> Books:
    running, owner = service
    program_id, _ = await publish(running.service, PROGRAM)
    return Books(running, owner, program_id)


async def _house(books: Books, **more: Any) -> dict[str, dict[str, int]]:
    published = await books.running.service.programs.get(books.program_id)
    return {
        line.currency: line.amounts() for line in await house_statement(books.running.service.engine, published, **more)
    }


async def test_the_house_owes_what_it_issued_less_what_came_back(books: Books) -> None:
    await books.begin()
    end = await database_now(books.running.service.engine) + timedelta(seconds=1)
    house = await _house(books, start=None, end=end)
    # ann 100 - (30 - 10) - 5 captured; bob 50 - 40 and 50 taken back; cid 7; dot 1,000
    assert house["points"] == {
        "opening": 0,
        "issued": 1157,
        "redeemed": 65,
        "expired": 0,
        "revoked": 50,
        "closing": 1042,
    }
    assert house["coins"]["closing"] == 3
    assert list(await _house(books, start=None, end=end, currency="coins")) == ["coins"]
    with pytest.raises(InvalidInput, match="no currency 'miles'"):
        await _house(books, start=None, end=end, currency="miles")


async def test_closed_months_are_summed_once_and_kept(books: Books) -> None:
    """A transaction moved into last month: opening of this month, and from then on read from what was kept."""
    await books.do("ann", Earn("points", 100))
    await books.do("ann", Spend("points", 40))
    now = await database_now(books.running.service.engine)
    this_month, last_month = month_start(now), month_start(now, -1)
    await _move_back(books, last_month + timedelta(days=3))
    months = {"start": this_month, "end": now + timedelta(seconds=1)}
    for _ in range(2):
        assert (await _house(books, **months))["points"] == {
            "opening": 100,
            "issued": 0,
            "redeemed": 40,
            "expired": 0,
            "revoked": 0,
            "closing": 60,
        }
    inside = await _house(books, start=last_month + timedelta(days=2), end=last_month + timedelta(days=4))
    assert (inside["points"]["opening"], inside["points"]["issued"]) == (0, 100)
    before = await _house(books, start=last_month, end=last_month + timedelta(days=3))
    assert before["points"]["closing"] == 0
    async with books.owner.connect() as connection:
        kept = await connection.execute(
            text("SELECT state -> :month FROM job_state WHERE program_id = :p"),
            {"p": books.program_id, "month": f"{last_month:%Y-%m}"},
        )
        assert kept.scalar_one()["points"]["issued"] == 100


async def _move_back(books: Books, moment: datetime) -> None:
    """Rewrites the first transaction as if it had been booked then."""
    mine = "program_id = :p AND member_id = :m"
    first = f"(SELECT id FROM transaction WHERE {mine} AND seq = 1)"
    identifier = id_floor(moment)
    await books.damage(f"UPDATE posting SET transaction_id = '{identifier}' WHERE {mine} AND transaction_id = {first}")
    await books.damage(
        f"UPDATE transaction SET id = '{identifier}', recorded_at = '{moment}' WHERE {mine} AND id = {first}"
    )


async def test_a_member_reads_line_by_line(books: Books) -> None:
    await books.begin()
    service = books.running.service
    published = await service.programs.get(books.program_id)
    async with snapshot(service.engine) as connection:
        found = await member_statement(connection, published, MemberRef.parse("ann"), start=None, end=NEVER)
        lines = [
            (line.kind, line.amount, line.after.available, line.reason, line.reference) async for line in found.lines
        ]
    assert lines == [
        ("earn", 100, 100, None, "order-1"),
        ("spend", 30, 70, "mug", None),
        ("hold", 20, 50, None, None),
        ("capture", 5, 50, None, None),
        ("refund", 10, 60, None, None),
        ("earn", 3, 0, None, None),
    ]
    async with snapshot(service.engine) as connection:
        later = await member_statement(connection, published, MemberRef.parse("ann"), start=NEVER, end=NEVER)
        assert later.opening["points"] == Balances(60, 0, 15, 0)
        assert [line async for line in later.lines] == []
        with pytest.raises(UnknownMember):
            await member_statement(connection, published, MemberRef.parse("nobody"), start=None, end=NEVER)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, (None, "now")),
        (date(2026, 11, 1), None, ("2026-10-31T23:00:00+00:00", "now")),
        (date(2026, 3, 29), date(2026, 3, 29), ("2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00")),  # 23 hours
        (None, date(2026, 12, 31), (None, "2026-12-31T23:00:00+00:00")),
    ],
)
def test_days_are_those_of_the_program(
    start: date | None, end: date | None, expected: tuple[str | None, str | None]
) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    first, last = period(start, end, ZoneInfo("Europe/Berlin"), now=now)
    assert (first.isoformat() if first else None, "now" if last == now else last.isoformat()) == expected


def test_a_period_does_not_end_before_it_begins() -> None:
    with pytest.raises(InvalidInput):
        period(date(2026, 2, 1), date(2026, 1, 1), ZoneInfo("UTC"), now=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("minor", "code", "expected"),
    [(123456, "EUR", "1,234.56 EUR"), (-5, "EUR", "-0.05 EUR"), (1234, "JPY", "1,234 JPY"), (1234, "KWD", "1.234 KWD")],
)
def test_money_has_the_digits_of_its_currency(minor: int, code: str, expected: str) -> None:
    assert money(minor, code) == expected


async def test_the_commands_print_what_was_found(books: Books, command: Any) -> None:
    await books.begin()
    async with books.owner.connect() as connection:
        key = await connection.scalar(text("SELECT key FROM program WHERE id = :p"), {"p": books.program_id})
    sound = await command("ledger", "verify", "--program", key)
    assert sound.returncode == 0
    assert "The books are sound: 4 members" in sound.stdout
    house = await command("ledger", "statement", "--program", key)
    assert "10.42 EUR" in house.stdout
    listed = json.loads((await command("ledger", "statement", "--program", key, "--json")).stdout)["currencies"]
    points = next(line for line in listed if line["currency"] == "points")
    assert (points["closing"], points["closing_minor"]) == (1042, 1042)
    member = await command("ledger", "statement", "--program", key, "--member", "ann", "--currency", "points")
    assert [line.split()[2:5] for line in member.stdout.splitlines()[1:3]] == [
        ["earn", "points", "100"],
        ["spend", "points", "30"],
    ]
    assert [line.split()[9:] for line in member.stdout.splitlines()[1:3]] == [["api", "(order-1)"], ["api,", "mug"]]
    await books.damage("UPDATE account SET available = 1, issued = 1 WHERE program_id = :p AND member_id = :m", "cid")
    broken = await command("ledger", "verify", "--program", key)
    assert broken.returncode == 1
    assert "an account is the fold of its postings" in broken.stdout
    report = json.loads((await command("ledger", "verify", "--program", key, "--json")).stdout)
    assert report["sound"] is False
    assert {finding["member"] for finding in report["findings"]} == {str(await books.member("cid")), None}
    assert (await command("ledger", "verify", "--program", "no_such")).returncode == 1
