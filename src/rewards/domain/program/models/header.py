"""The header and the currencies."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rewards.domain.periods import iana_zone
from rewards.domain.program.models.base import DurationText, Key, LengthText, Locale, Localised, Part

MONEY_PATTERN: Final = "^[A-Z]{3}$"


def _zone(name: str) -> str:
    iana_zone(name)
    return name


def _day(text: str) -> str:
    try:
        date.fromisoformat(f"2023-{text}")
    except ValueError:
        raise ValueError(f"{text!r} is not a day of every year such as 12-31") from None
    return text


Policy = Literal["accept", "quarantine", "reject"]


class Header(Part):
    """Who the program is. `late_window`: how long after it happened an event still counts."""

    key: Key
    name: Localised | None = None
    description: Localised | None = None
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    locale: Locale = "en"
    money: Annotated[str, StringConstraints(pattern=MONEY_PATTERN)] = "EUR"
    late_window: DurationText = "72h"
    unknown_events: Policy = "quarantine"
    """What becomes of an event whose type is not declared."""
    invalid_events: Policy = "reject"
    """What becomes of an event that violates its schema."""


class Expires(Part):
    """Exactly one of `after` (with `round`), `on` and `inactive`."""

    after: LengthText | None = None
    round: Literal["none", "month_end", "year_end"] = "none"
    on: Annotated[str, StringConstraints(pattern=r"^\d\d-\d\d$"), AfterValidator(_day)] | None = None
    inactive: LengthText | None = None

    @model_validator(mode="after")
    def _one(self) -> Expires:
        if [self.after, self.on, self.inactive].count(None) != 2:
            raise ValueError("expires takes exactly one of after, on and inactive")
        if self.after is None and self.round != "none":
            raise ValueError("round goes with after")
        return self


class Currency(Part):
    """`worth`: minor units of the program's money per point, for liability and money budgets."""

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    unit: Localised | None = None
    spendable: bool = True
    qualifying: bool = False
    expires: Expires | Literal["never"] = "never"
    hold: DurationText | None = None
    clawback: Literal["pending_only", "within_balance", "allow_debt"] = "within_balance"
    worth: Annotated[int | float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 0

    def exact_worth(self) -> Decimal:
        """As written."""
        return Decimal(repr(self.worth))
