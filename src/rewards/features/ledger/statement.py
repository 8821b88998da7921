"""Statements: of the house by currency with what it is worth, and of one member line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import snapshot
from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.domain.ids import bucket_of
from rewards.domain.periods import Calendar, period_start
from rewards.features.ledger import queries
from rewards.features.ledger.totals import House, Totals
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Published

LINES_PER_PAGE: Final = 500


class UnknownMember(RewardsError):
    """The program has never heard of this member."""

    code = "unknown-member"


@dataclass(frozen=True, slots=True)
class HouseLine:
    """One currency over a period. `worth` is minor units of money per point, None for a currency without worth."""

    currency: str
    opening: Totals
    moved: Totals
    worth: Decimal | None

    @property
    def closing_liability(self) -> int:
        return self.opening.liability + self.moved.liability

    def amounts(self) -> dict[str, int]:
        """Opening, what moved, closing: `opening + issued - redeemed - expired - revoked = closing`."""
        moved = self.moved
        return {
            "opening": self.opening.liability,
            "issued": moved.issued,
            "redeemed": moved.redeemed,
            "expired": moved.expired,
            "revoked": moved.revoked,
            "closing": self.closing_liability,
        }

    def money(self, amount: int) -> int | None:
        """Minor units that so many points are worth, rounded half to even."""
        if self.worth is None:
            return None
        return int((amount * self.worth).to_integral_value(ROUND_HALF_EVEN))


async def house_statement(
    engine: AsyncEngine, published: Published, *, start: datetime | None, end: datetime, currency: str | None = None
) -> list[HouseLine]:
    """A line per currency, those of the program first. Raises `InvalidInput` for a currency nobody ever had."""
    opening, moved = await House(engine, published.program_id).between(start, end)
    program = published.program
    keys = list(dict.fromkeys((*program.currencies, *sorted({*opening, *moved}))))
    if currency is not None:
        if currency not in keys:
            raise InvalidInput(
                f"the program has no currency {currency!r}", path="currency", expected=f"one of {', '.join(keys)}"
            )
        keys = [currency]
    lines = []
    for key in keys:
        declared = program.currencies.get(key)
        worth = declared.worth if declared is not None and declared.worth else None
        lines.append(HouseLine(key, opening.get(key, Totals()), moved.get(key, Totals()), worth))
    return lines


@dataclass(frozen=True, slots=True)
class Balances:
    """The four buckets of one currency."""

    available: int
    pending: int
    held: int
    debt: int


@dataclass(frozen=True, slots=True)
class MemberLine:
    """One transaction with the balances after it. `amount` is what its kind is about, always positive."""

    recorded_at: datetime
    kind: str
    currency: str
    source: str
    amount: int
    after: Balances
    reason: str | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class MemberStatement:
    """Balances before the period by currency, and the lines in it as they are read."""

    opening: dict[str, Balances]
    merged: bool
    lines: AsyncIterator[MemberLine]


async def member_statement(
    connection: AsyncConnection,
    published: Published,
    ref: MemberRef,
    *,
    start: datetime | None,
    end: datetime,
    currency: str | None = None,
) -> MemberStatement:
    """The member's own history, also when merged into another since. Raises `UnknownMember`.

    The lines are read from `connection`, a snapshot, as they are asked for.
    """
    member = published.identity.member(ref)
    place = (published.program_id, bucket_of(member), member)
    found = await rows(connection, queries.MEMBER, *place)
    if not found:
        raise UnknownMember(f"the program has no member {ref}")
    before = await rows(connection, queries.BALANCES_BEFORE, *place, start, currency) if start is not None else []
    opening = {row.currency: Balances(*row[1:]) for row in before}
    lines = _lines(connection, place, start, end, currency)
    return MemberStatement(opening, found[0].merged_into is not None, lines)


async def _lines(
    connection: AsyncConnection, place: Any, start: datetime | None, end: datetime, currency: str | None
) -> AsyncIterator[MemberLine]:
    seq = 0
    while True:
        page = await rows(connection, queries.MEMBER_LINES, *place, seq, start, end, currency, LINES_PER_PAGE)
        for row in page:
            after = Balances(row.available_after, row.pending_after, row.held_after, row.debt_after)
            yield MemberLine(
                row.recorded_at, row.kind, row.currency, row.source, row.amount, after, row.reason, row.reference
            )
        if len(page) < LINES_PER_PAGE:
            return
        seq = page[-1].seq


def period(start: date | None, end: date | None, zone: ZoneInfo, *, now: datetime) -> tuple[datetime | None, datetime]:
    """From the first instant of `start` to the last of `end`, both days included, in the program's zone; `end` None is `now`.

    Raises `InvalidInput` when it ends before it begins.
    """
    if start is not None and end is not None and end < start:
        raise InvalidInput("the period ends before it begins", path="to", expected=f"{start} or later")
    first = _day_start(start, zone) if start is not None else None
    last = _day_start(end + timedelta(days=1), zone) if end is not None else now
    return first, last


def _day_start(day: date, zone: ZoneInfo) -> datetime:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    return period_start(Calendar.DAY, noon, zone)


async def database_now(engine: AsyncEngine) -> datetime:
    """The database's clock, which ids and booking times are taken from."""
    async with snapshot(engine) as connection:
        [row] = await rows(connection, queries.NOW)
        moment: datetime = row.now
        return moment
