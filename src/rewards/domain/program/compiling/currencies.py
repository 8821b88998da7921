"""Currencies and their expiry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, add_months, period_end
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.currency import (
    Clawback,
    Currency,
    ExpiresAfter,
    ExpiresInactive,
    ExpiresNever,
    ExpiresOn,
    Expiry,
    OwnExpiry,
    Round,
)
from rewards.domain.program.durations import in_words, parse_length
from rewards.domain.program.models.base import duration, texts
from rewards.domain.program.models.header import Expires

_UTC: Final = ZoneInfo("UTC")
_LEAST_YEAR: Final = timedelta(days=365)
_ROUNDED: Final = {Round.MONTH_END: Calendar.MONTH, Round.YEAR_END: Calendar.YEAR}


def build_currencies(context: Context) -> dict[str, Currency]:
    """All currencies by key."""
    document = context.document
    locale = document.program.locale
    currencies = {
        key: Currency(
            key=key,
            name=texts(each.name, locale=locale, fallback=key),
            spendable=each.spendable,
            qualifying=each.qualifying,
            expires=build_expiry(each.expires),
            hold=duration(each.hold),
            clawback=Clawback(each.clawback),
            worth=each.exact_worth(),
        )
        for key, each in document.currencies.items()
    }
    for key, currency in currencies.items():
        warn_of_term(context, f"currencies.{key}.hold", currency.hold, currency.expires)
    return currencies


def warn_of_term(context: Context, path: str, hold: timedelta | None, expires: Expiry | ExpiresNever) -> None:
    """Remarks on points that wait for longer than they last: nobody can ever spend them."""
    lasts = shortest_life(expires)
    if hold is None or lasts is None or hold < lasts:
        return
    message = (
        f"points that wait for {in_words(hold.total_seconds())} may expire before they mature: "
        f"some last for {in_words(lasts.total_seconds())}"
    )
    context.problems.warn(path, "expires-before-maturing", message)


@lru_cache(maxsize=256)
def shortest_life(expires: Expiry | ExpiresNever) -> timedelta | None:
    """How long points last at least, to the hour; None: as long as one likes, or as the member is active.

    Of a day of the year it is the whole year: what is earned shortly before is meant to be gone soon.
    """
    if isinstance(expires, ExpiresOn):
        return _LEAST_YEAR
    if not isinstance(expires, ExpiresAfter):
        return None
    return expires.length if not expires.months else min(_lives(expires))


def _lives(expires: ExpiresAfter) -> Iterator[timedelta]:
    """Of points earned at the very end of each month between two leap years: those have the shortest."""
    tick = timedelta(microseconds=1)
    for number in range(4 * 12):
        first = datetime(2024 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        end = add_months(first - tick, expires.months, _UTC) + tick
        if expires.round is not Round.NONE:
            end = period_end(_ROUNDED[expires.round], end - tick, _UTC)
        yield end - first


def build_expiry(expires: Expires | str) -> Expiry:
    """None for never."""
    if isinstance(expires, str):
        return None
    if expires.inactive is not None:
        inactive = parse_length(expires.inactive)
        return ExpiresInactive(inactive.length, inactive.months)
    return _of_each_earn(expires)


def build_own_expiry(context: Context, expires: Expires | str | None, path: str) -> OwnExpiry:
    """What an earn says of its points; reports an inactivity, which belongs to the whole account."""
    if expires is None:
        return None
    if isinstance(expires, str):
        return ExpiresNever()
    if expires.inactive is not None:
        message = (
            "inactivity expires a whole balance, not one earn: say it at the currency, and here after, on or never"
        )
        context.problems.error(f"{path}.inactive", "inactive", message)
        return None
    return _of_each_earn(expires)


def _of_each_earn(expires: Expires) -> ExpiresAfter | ExpiresOn:
    if expires.on is not None:
        month, day = expires.on.split("-")
        return ExpiresOn(int(month), int(day))
    assert expires.after is not None
    after = parse_length(expires.after)
    return ExpiresAfter(after.length, after.months, Round(expires.round))
