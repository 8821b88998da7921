"""When and where a call happened, out of what Segment's clients say of it. Nothing here refuses a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rewards.domain.commands import YEARS
from rewards.domain.errors import InvalidInput
from rewards.domain.profile import zone
from rewards.features.segment.schemas import Call

SKEW_MIN: Final = timedelta(seconds=10)
"""A client's clock that differs by less is right: the difference is the way here."""
TEXT_LENGTH_MAX: Final = 200

_EPOCH_MILLISECONDS_MIN: Final = 1e11
_SPACE_BEFORE_OFFSET: Final = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


def moment(value: Any) -> datetime | None:
    """A timestamp as clients write it: ISO 8601 (UTC where it names no zone), or seconds or milliseconds since 1970.

    None for what is no moment, and for the year 1: clients send its first second where they have no time at all.
    """
    parsed = _parsed(value)
    return parsed if parsed is not None and parsed.year in YEARS else None


def _parsed(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            text = value.strip()
            if not text.replace(".", "", 1).isdigit():
                parsed = datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text))
                return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            value = float(text)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return datetime.fromtimestamp(value / 1000 if value >= _EPOCH_MILLISECONDS_MIN else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def claimed_moment(call: Call) -> datetime | None:
    """When the call happened by the clock of the client."""
    return moment(call.timestamp) or moment(call.original_timestamp)


def occurred_at(call: Call, *, sent_at: datetime | None, received_at: datetime) -> datetime | None:
    """When the call happened, never after its receipt; None: on receipt.

    A client whose clock is wrong says so by `sentAt`: then the call happened as long before its receipt as the client saw
    between the call and its sending. A call that carries `originalTimestamp` beside `timestamp` was corrected already.
    """
    claimed = claimed_moment(call)
    if claimed is None:
        return None
    corrected = call.timestamp is not None and call.original_timestamp is not None
    if sent_at is not None and not corrected:
        skew = received_at - sent_at
        if abs(skew) >= SKEW_MIN:
            try:
                claimed += skew
            except OverflowError:
                return None
    return min(claimed, received_at)


def context_of(call: Call) -> dict[str, str]:
    """What rules may ask as `context.…`. Addresses, user agents and device ids stay out: nothing needs them."""
    told = call.context if isinstance(call.context, dict) else {}
    os, app, page = _part(told, "os"), _part(told, "app"), _part(told, "page")
    place = _part(told, "location")
    locale = locale_of(told)
    found = {
        "device": _flat(told, "device", _part(told, "device").get("type") or os.get("name")),
        "channel": _flat(told, "channel", call.channel),
        "page": _flat(told, "page", page.get("path") or page.get("url")),
        "location": _flat(told, "location", _named(place)),
        "country": _flat(told, "country", place.get("country")),
        "region": _flat(told, "region", place.get("region")),
        "city": _flat(told, "city", place.get("city")),
        "os": _flat(told, "os", os.get("name")),
        "language": _flat(told, "language", locale.partition("-")[0].lower() if locale else None),
        "app_version": _flat(told, "app_version", app.get("version")),
        "campaign": _flat(told, "campaign", _part(told, "campaign").get("name")),
        "referrer": _flat(told, "referrer", _part(told, "referrer").get("url") or page.get("referrer")),
        "locale": locale,
        "timezone": timezone_of(told),
    }
    return {name: text for name, value in found.items() if (text := _short(value))}


def locale_of(context: Any) -> str | None:
    """The language tag in a context, if it is one: `de-DE`."""
    value = context.get("locale") if isinstance(context, dict) else None
    if not isinstance(value, str):
        return None
    tag = value.replace("_", "-")
    return tag if _LOCALE.fullmatch(tag) else None


def timezone_of(context: Any) -> str | None:
    """The time zone in a context, if it is one: `Europe/Berlin`."""
    value = context.get("timezone") if isinstance(context, dict) else None
    if not isinstance(value, str) or not value:
        return None
    try:
        return zone(value).key
    except InvalidInput:
        return None


def _part(context: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = context.get(name)
    return value if isinstance(value, dict) else {}


def _flat(context: Mapping[str, Any], name: str, mapped: Any) -> Any:
    """A client that already speaks our names wins."""
    value = context.get(name)
    return value if isinstance(value, str) else mapped


def _named(place: Mapping[str, Any]) -> str:
    return ", ".join(
        part for name in ("city", "region", "country") if isinstance(part := place.get(name), str) and part
    )


def _short(value: Any) -> str | None:
    return value[:TEXT_LENGTH_MAX] if isinstance(value, str) and "\0" not in value else None
