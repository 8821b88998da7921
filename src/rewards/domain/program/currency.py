"""Currencies ready to decide: how points wait, expire and are taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias


class Clawback(StrEnum):
    """How far taking points back may reach when the lot they came from is spent."""

    PENDING_ONLY = "pending_only"
    WITHIN_BALANCE = "within_balance"
    ALLOW_DEBT = "allow_debt"


class Round(StrEnum):
    NONE = "none"
    MONTH_END = "month_end"
    YEAR_END = "year_end"


@dataclass(frozen=True, slots=True)
class ExpiresAfter:
    """A time after earning (`months` for calendar months), then rounded up to the end of the month or year in the program's zone."""

    length: timedelta
    months: int
    round: Round


@dataclass(frozen=True, slots=True)
class ExpiresOn:
    """The end of the next such day of the year in the program's zone."""

    month: int
    day: int


@dataclass(frozen=True, slots=True)
class ExpiresInactive:
    """Everything expires once the account has seen neither earning nor spending for so long."""

    length: timedelta
    months: int


@dataclass(frozen=True, slots=True)
class ExpiresNever:
    """An earn that says so itself, whatever its currency says."""


Expiry: TypeAlias = ExpiresAfter | ExpiresOn | ExpiresInactive | None
OwnExpiry: TypeAlias = ExpiresAfter | ExpiresOn | ExpiresNever | None
"""What one earn says of its points; None: as the currency says. Inactivity is the account's, so no earn can say it."""


@dataclass(frozen=True, slots=True)
class Currency:
    """`hold`: how long earned points stay pending. `worth`: minor units of the program's money per 1 point, for liability."""

    key: str
    name: Mapping[str, str]
    spendable: bool
    qualifying: bool
    expires: Expiry
    hold: timedelta | None
    clawback: Clawback
    worth: Decimal
