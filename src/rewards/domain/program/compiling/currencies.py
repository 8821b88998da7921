"""Currencies and their expiry."""

from __future__ import annotations

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
from rewards.domain.program.durations import parse_length
from rewards.domain.program.models.base import duration, texts
from rewards.domain.program.models.document import Document
from rewards.domain.program.models.header import Expires


def build_currencies(document: Document) -> dict[str, Currency]:
    """All currencies by key."""
    locale = document.program.locale
    return {
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
