"""The ledger as anybody would first write it: every point is an object, and every question is a walk over all of them.

`LedgerPort` is what the state machine drives and compares with the `Model`; the ledger in memory and the service on
PostgreSQL implement it alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.program.currency import (
    Clawback,
    Currency,
    ExpiresAfter,
    ExpiresInactive,
    Expiry,
    Round,
)

ZONE = ZoneInfo("Europe/Amsterdam")
FAR = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ok:
    """Accepted. `lot` for an earn, `hold` for a hold, `amount` as recorded by the transaction.

    `at` is when the ledger decided, where that is not the `now` it was given. `code` is what a refusal would say.
    """

    transaction: UUID
    amount: int
    lot: UUID | None = None
    hold: UUID | None = None
    at: datetime | None = None
    code: str = "ok"


@dataclass(frozen=True, slots=True)
class Refused:
    code: str
    at: datetime | None = None


Answer: TypeAlias = Ok | Refused


class LedgerPort(ABC):
    """A ledger under test. `now` never goes back; every call first posts what fell due by `now`."""

    @abstractmethod
    def earn(
        self,
        member: str,
        currency: str,
        amount: int,
        *,
        now: datetime,
        rule: str,
        effective_at: datetime,
        hold: timedelta | None,
        until_matured: bool,
        expires_at: datetime | None,
    ) -> Answer: ...
    @abstractmethod
    def spend(self, member: str, currency: str, amount: int, *, now: datetime) -> Answer: ...
    @abstractmethod
    def hold(self, member: str, currency: str, amount: int, *, now: datetime, expires_at: datetime) -> Answer: ...
    @abstractmethod
    def capture(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer: ...
    @abstractmethod
    def release(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer: ...
    @abstractmethod
    def reverse(
        self, member: str, transaction: UUID, amount: int | None, policy: Clawback | None, *, now: datetime
    ) -> Answer: ...
    @abstractmethod
    def mature(self, member: str, transaction: UUID, *, now: datetime) -> None: ...
    @abstractmethod
    def merge(self, source: str, target: str, *, now: datetime) -> None: ...
    @abstractmethod
    def balances(self, member: str, *, now: datetime) -> dict[str, tuple[int, int, int, int]]:
        """By currency ever touched: available, pending, held, debt, as they are at `now`."""

    @abstractmethod
    def schedule(self, member: str, *, now: datetime) -> dict[str, list[tuple[datetime, int]]]:
        """What expires after `now` if nothing more is done, in time order."""

    @abstractmethod
    def violations(self, member: str) -> list[str]: ...


def currency(
    key: str,
    *,
    spendable: bool = True,
    expires: Expiry = None,
    hold: timedelta | None = None,
    clawback: Clawback = Clawback.ALLOW_DEBT,
) -> Currency:
    return Currency(key, {"en": key}, spendable, not spendable, expires, hold, clawback, Decimal(1))


def days(count: int) -> timedelta:
    return timedelta(days=count)


CURRENCIES = {
    item.key: item
    for item in (
        currency("points", expires=ExpiresAfter(days(30), 0, Round.NONE)),
        currency("monthly", expires=ExpiresAfter(days(10), 0, Round.MONTH_END), clawback=Clawback.WITHIN_BALANCE),
        currency("miles", expires=ExpiresInactive(days(20), 0), hold=days(3)),
        currency("stars", hold=days(5), clawback=Clawback.PENDING_ONLY),
        currency("status", spendable=False),
    )
}


@dataclass(slots=True, eq=False)
class Point:
    currency: str
    lot: UUID
    opened_at: datetime
    expires_at: datetime | None
    matures_at: datetime | None
    state: str
    hold: UUID | None = None


@dataclass(slots=True)
class Reservation:
    currency: str
    points: list[Point]
    expires_at: datetime
    given_back: bool = False


@dataclass(slots=True)
class Booking:
    """A transaction that can be reversed: the points spent in order, or the lot issued."""

    kind: str
    currency: str
    amount: int
    points: list[Point]
    lot: UUID | None = None
    reversed: int = 0


@dataclass(slots=True)
class Model:
    """One member. Methods give the amount recorded, or the code of the refusal."""

    points: list[Point] = field(default_factory=list)
    holds: dict[UUID, Reservation] = field(default_factory=dict)
    bookings: dict[UUID, Booking] = field(default_factory=dict)
    debt: Counter[str] = field(default_factory=Counter)
    active: dict[str, datetime] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    day_lots: dict[tuple[object, ...], UUID] = field(default_factory=dict)
    expired: list[tuple[str, datetime]] = field(default_factory=list)

    # What time does

    def pass_time(self, now: datetime) -> None:
        while (moment := self._next_moment(now)) is not None:
            for point in self.points:
                if point.state in {"available", "pending"} and self._gone(point, moment):
                    self._expire(point, moment)
            for _, hold in sorted(self.holds.items()):
                if hold.points and hold.expires_at <= moment:
                    hold.given_back = True
                    while hold.points:
                        self._free(hold.points.pop(), moment)
            for point in self._ordered("pending"):
                if point.matures_at is not None and point.matures_at <= moment:
                    self._make_available(point)

    def _next_moment(self, now: datetime) -> datetime | None:
        moments = [hold.expires_at for hold in self.holds.values() if hold.points]
        for point in self.points:
            if point.state == "pending" and point.matures_at is not None:
                moments.append(point.matures_at)
            if point.state in {"available", "pending"}:
                moments.append(self._deadline(point))
        return min((moment for moment in moments if moment <= now), default=None)

    def _deadline(self, point: Point) -> datetime:
        expires = CURRENCIES[point.currency].expires
        inactive = FAR
        if isinstance(expires, ExpiresInactive) and point.currency in self.active:
            inactive = self.active[point.currency] + expires.length
        return min(point.expires_at or FAR, inactive)

    def _gone(self, point: Point, moment: datetime) -> bool:
        return self._deadline(point) <= moment

    def _expire(self, point: Point, moment: datetime) -> None:
        point.state = "expired"
        self.expired.append((point.currency, moment))

    def _make_available(self, point: Point) -> None:
        point.state = "available"
        if self.debt[point.currency]:
            self.debt[point.currency] -= 1
            point.state = "revoked"

    def _free(self, point: Point, moment: datetime) -> None:
        if self._gone(point, moment):
            self._expire(point, moment)
        else:
            self._make_available(point)

    # What the member and the house do

    def earn(
        self,
        key: str,
        amount: int,
        *,
        now: datetime,
        rule: str,
        effective_at: datetime,
        hold: timedelta | None,
        until_matured: bool,
        expires_at: datetime | None,
        answer: Ok,
    ) -> None:
        """Follows an accepted earn; the id of the lot is taken from the answer, and whether it merged is checked."""
        assert answer.lot is not None
        expires_at = expires_at or self._expiry(key, effective_at)
        wait = CURRENCIES[key].hold if hold is None else hold
        matures_at = effective_at + wait if wait else None
        waits = until_matured or (matures_at is not None and matures_at > now)
        opened_at = effective_at
        if not waits:
            opened_at = effective_at.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
            known = self.day_lots.setdefault((key, rule, expires_at, opened_at), answer.lot)
            assert known == answer.lot, "lots of a day with one rule and expiry merge"
            assert Counter(self.day_lots.values())[answer.lot] == 1, "lots with different facts do not"
        else:
            assert all(point.lot != answer.lot for point in self.points), "pending lots never merge"
        due = None if until_matured else matures_at
        for _ in range(amount):
            point = Point(key, answer.lot, opened_at, expires_at, due, "pending" if waits else "new")
            self.points.append(point)
            if expires_at is not None and expires_at <= now:
                point.state = "expired"
            elif not waits:
                self._make_available(point)
        self._active(key, now)
        self.bookings[answer.transaction] = Booking("earn", key, amount, [], answer.lot)

    def take(self, key: str, amount: int) -> list[Point] | str:
        """The points that a spend or hold of `amount` takes, or why it is refused."""
        if not CURRENCIES[key].spendable:
            return "not-spendable"
        points = [point for point in self._ordered("available") if point.currency == key]
        return points[:amount] if len(points) >= amount else "insufficient-points"

    def spend(self, key: str, points: list[Point], now: datetime, answer: Ok) -> None:
        for point in points:
            point.state = "redeemed"
        self._active(key, now)
        self.bookings[answer.transaction] = Booking("spend", key, len(points), points)

    def hold(self, key: str, points: list[Point], now: datetime, expires_at: datetime, *, answer: Ok) -> None:
        assert answer.hold is not None
        for point in points:
            point.state = "held"
        self._active(key, now)
        self.holds[answer.hold] = Reservation(key, points, expires_at)

    def resolve(self, hold_id: UUID, amount: int | None, now: datetime) -> int | str:
        """How much a capture or release of `amount` is about, or why it is refused."""
        hold = self.holds[hold_id]
        if not hold.points:
            return "hold-expired" if hold.given_back and hold.expires_at <= now else "hold-resolved"
        if amount is not None and amount > len(hold.points):
            return "hold-exceeded"
        return len(hold.points) if amount is None else amount

    def capture(self, hold_id: UUID, amount: int, now: datetime, answer: Ok) -> None:
        hold = self.holds[hold_id]
        points, hold.points = hold.points[:amount], hold.points[amount:]
        self.spend(hold.currency, points, now, answer)

    def release(self, hold_id: UUID, amount: int, now: datetime) -> None:
        hold = self.holds[hold_id]
        hold.given_back = True
        for _ in range(amount):
            self._free(hold.points.pop(), now)

    def reverse(self, transaction: UUID, amount: int | None, policy: Clawback | None, now: datetime) -> int | str:
        """The amount recorded by the reversal, or why it is refused."""
        booking = self.bookings[transaction]
        left = booking.amount - booking.reversed
        if left == 0:
            return "already-reversed"
        if amount is not None and amount > left:
            return "reversal-exceeds-original"
        amount = left if amount is None else amount
        self.touched.add(booking.currency)
        if booking.kind == "spend":
            for point in reversed(booking.points[left - amount : left]):
                assert point.state == "redeemed"
                self._free(point, now)
        asked, booking.reversed = amount, booking.reversed + amount
        if booking.kind == "earn":
            return self._claw_back(booking, asked, policy or CURRENCIES[booking.currency].clawback)
        return asked

    def _claw_back(self, booking: Booking, amount: int, policy: Clawback) -> int:
        own = [point for point in self.points if point.lot == booking.lot]
        reach = [point for point in own if point.state == "pending"]
        if policy is not Clawback.PENDING_ONLY:
            reach += [point for point in own if point.state == "available"]
            reach += [
                point
                for point in self._ordered("available")
                if point.currency == booking.currency and point.lot != booking.lot
            ]
        taken = reach[:amount]
        for point in taken:
            point.state = "revoked"
        if policy is not Clawback.ALLOW_DEBT:
            return len(taken)
        self.debt[booking.currency] += amount - len(taken)
        return amount

    def mature(self, transaction: UUID, now: datetime) -> None:
        for point in self.points:
            if point.lot == self.bookings[transaction].lot and point.state == "pending":
                point.matures_at = now
                self._make_available(point)

    def merge_into(self, target: Model, now: datetime) -> None:
        """Gives everything to `target`, releasing the holds; what it spent stays its own history."""
        for _, hold in sorted(self.holds.items()):
            while hold.points:
                self._free(hold.points.pop(), now)
        moved = [*self._ordered("pending"), *self._ordered("available")]
        self.points = [point for point in self.points if point not in moved]
        for point in moved:
            target.points.append(point)
            if point.state == "available":
                target._make_available(point)
        for key in sorted(self.touched):
            for _ in range(self.debt[key]):
                target._owe(key)
            self.debt[key] = 0
            target.touched.add(key)
            if key in self.active:
                target.active[key] = max(self.active[key], target.active.get(key, self.active[key]))
        earned = {transaction: booking for transaction, booking in self.bookings.items() if booking.kind == "earn"}
        target.bookings |= earned
        self.bookings = {}
        self.holds = {}

    def _owe(self, key: str) -> None:
        available = [point for point in self._ordered("available") if point.currency == key]
        if available:
            available[0].state = "revoked"
        else:
            self.debt[key] += 1

    # What can be asked

    def earned(self) -> list[UUID]:
        return [transaction for transaction, booking in self.bookings.items() if booking.kind == "earn"]

    def left(self, kind: str) -> list[UUID]:
        """The transactions of a kind that are not wholly reversed."""
        return [
            transaction
            for transaction, booking in self.bookings.items()
            if booking.kind == kind and booking.reversed < booking.amount
        ]

    def open_holds(self) -> list[UUID]:
        return [hold_id for hold_id, hold in self.holds.items() if hold.points]

    def balances(self) -> dict[str, tuple[int, int, int, int]]:
        counts = Counter((point.currency, point.state) for point in self.points)
        return {
            key: (counts[key, "available"], counts[key, "pending"], counts[key, "held"], self.debt[key])
            for key in self.touched
        }

    def schedule(self) -> dict[str, list[tuple[datetime, int]]]:
        future = deepcopy(self)
        future.expired = []
        future.pass_time(FAR - timedelta(seconds=1))
        plan: dict[str, list[tuple[datetime, int]]] = {}
        for (key, moment), amount in sorted(Counter(future.expired).items()):
            plan.setdefault(key, []).append((moment, amount))
        return plan

    def _active(self, key: str, now: datetime) -> None:
        self.active[key] = now
        self.touched.add(key)

    def _ordered(self, state: str) -> list[Point]:
        points = [point for point in self.points if point.state == state]
        return sorted(points, key=lambda point: (point.expires_at or FAR, point.opened_at, point.lot.int))

    def _expiry(self, key: str, earned_at: datetime) -> datetime | None:
        expires = CURRENCIES[key].expires
        if not isinstance(expires, ExpiresAfter):
            return None
        moment = earned_at + expires.length
        if expires.round is Round.NONE:
            return moment
        day = moment.astimezone(ZONE)
        while day.month == moment.astimezone(ZONE).month:
            day += timedelta(days=1)
        return day.replace(day=1, hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
