"""The fields that an expression may name: their kind, and how each is read from the facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cel_expr_python import cel

from rewards.domain.program.compiled import Facts

WHOLE_MAX: Final = 2**53 - 1


class Kind(StrEnum):
    """What a value is to an author. There is one kind of number."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "true or false"
    MOMENT = "timestamp"
    LENGTH = "duration"
    NUMBERS = "list of numbers"
    TEXTS = "list of texts"
    ITEMS = "list"
    OBJECT = "object"
    ANY = "any value"


CEL_TYPES: Final = {
    Kind.NUMBER: cel.Type.DOUBLE,
    Kind.TEXT: cel.Type.STRING,
    Kind.FLAG: cel.Type.BOOL,
    Kind.MOMENT: cel.Type.TIMESTAMP,
    Kind.LENGTH: cel.Type.DURATION,
    Kind.NUMBERS: cel.Type.List(cel.Type.DOUBLE),
    Kind.TEXTS: cel.Type.List(cel.Type.STRING),
    Kind.ITEMS: cel.Type.List(cel.Type.DYN),
    Kind.OBJECT: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    Kind.ANY: cel.Type.DYN,
}


@dataclass(frozen=True, slots=True)
class Field:
    """`read` gives the value for the engine, or None when it is absent."""

    name: str
    kind: Kind
    read: Callable[[Facts], Any]
    clash: str | None = None
    """Why the field cannot be used: the trigger's events declare it with different types."""

    @property
    def variable(self) -> str:
        """Its name to the engine, which knows one field of two events as two where their types differ."""
        return f"{self.kind.name.lower()}.{self.name}"

    @property
    def presence(self) -> str:
        """The engine's flag that says whether the field is there."""
        return f"present.{self.name}"


def plain_numbers(value: Any) -> Any:
    """Nested JSON with every integer as a float, so that values of undeclared shape compare and multiply alike."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain_numbers(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_numbers(item) for item in value]
    return value


_PLAIN: Final = frozenset({str, int, bool})


def moment_of(value: Any) -> datetime | None:
    """An aware timestamp from RFC 3339 text (UTC where it names no zone), or None."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def plain(value: Any) -> Any:
    """JSON again: whole floats as integers, timestamps as text, durations in seconds."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= WHOLE_MAX else value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def _converter(kind: Kind) -> Callable[[Any], Any] | None:
    if kind is Kind.MOMENT:
        return moment_of
    if kind in {Kind.ITEMS, Kind.OBJECT, Kind.ANY, Kind.NUMBERS, Kind.TEXTS}:
        return plain_numbers
    return None


def event_field(key: str, kind: Kind, clash: str | None = None) -> Field:
    """A property of the triggering event."""
    convert = _converter(kind)
    if convert is None:
        return Field(f"event.{key}", kind, lambda facts: facts.event.get(key), clash=clash)
    return Field(f"event.{key}", kind, lambda facts: _maybe(convert, facts.event.get(key)), clash=clash)


def member_field(key: str, kind: Kind) -> Field:
    """A declared attribute of the member, or one of `id kind locale timezone segments badges`."""
    convert = _converter(kind)
    if convert is None or key in {"segments", "badges"}:
        return Field(f"member.{key}", kind, lambda facts: _plain_list(facts.member.get(key)))
    return Field(f"member.{key}", kind, lambda facts: _maybe(convert, facts.member.get(key)))


def metric_field(key: str, kind: Kind) -> Field:
    """`metrics.<key>`; a split metric reads its value for the current event."""
    return Field(f"metrics.{key}", kind, lambda facts: _number(facts.metric(key)))


def balance_field(currency: str) -> Field:
    """`balances.<currency>`: what the member can spend."""
    return Field(f"balances.{currency}", Kind.NUMBER, lambda facts: facts.balance(currency))


CONTEXT_TEXTS: Final = (
    "device", "channel", "page", "location", "country", "region", "city", "os", "language", "app_version",
    "campaign", "referrer",
)  # fmt: skip


def context_fields(zone: ZoneInfo) -> list[Field]:
    """What the caller said about the circumstances, and the member's local time (the program's zone if unknown)."""

    def text(key: str) -> Field:
        def read(facts: Facts) -> Any:
            value = facts.context.get(key)
            return value if isinstance(value, str) else None

        return Field(f"context.{key}", Kind.TEXT, read)

    def local(key: str, kind: Kind, read: Callable[[datetime], Any]) -> Field:
        return Field(f"context.{key}", kind, lambda facts: read(_local(facts, zone)))

    return [
        *map(text, CONTEXT_TEXTS),
        local("hour", Kind.NUMBER, lambda moment: moment.hour),
        local("minute", Kind.NUMBER, lambda moment: moment.minute),
        local("day", Kind.NUMBER, lambda moment: moment.day),
        local("month", Kind.NUMBER, lambda moment: moment.month),
        local("weekday", Kind.TEXT, lambda moment: WEEKDAYS[moment.weekday()]),
        local("date", Kind.TEXT, lambda moment: moment.date().isoformat()),
        local("local_time", Kind.TEXT, lambda moment: f"{moment.hour:02}:{moment.minute:02}"),
    ]


WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def at_field() -> Field:
    """`at`: when the event happened."""
    return Field("at", Kind.MOMENT, lambda facts: facts.at)


def _local(facts: Facts, fallback: ZoneInfo) -> datetime:
    name = facts.member.get("timezone")
    try:
        zone = ZoneInfo(name) if name else fallback
    except (ZoneInfoNotFoundError, ValueError):
        zone = fallback
    return facts.at.astimezone(zone)


def _maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _plain_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | set | frozenset) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
