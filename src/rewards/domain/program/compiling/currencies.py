"""Currencies and their expiry."""

from __future__ import annotations

from rewards.domain.program.compiled import (
    Clawback,
    Currency,
    ExpiresAfter,
    ExpiresInactive,
    ExpiresOn,
    Expiry,
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


def build_expiry(expires: Expires | str | None) -> Expiry:
    """None for never."""
    if expires is None or isinstance(expires, str):
        return None
    if expires.on is not None:
        month, day = expires.on.split("-")
        return ExpiresOn(int(month), int(day))
    if expires.after is not None:
        after = parse_length(expires.after)
        return ExpiresAfter(after.length, after.months, Round(expires.round))
    assert expires.inactive is not None
    inactive = parse_length(expires.inactive)
    return ExpiresInactive(inactive.length, inactive.months)
