"""What all parts of a document share: strictness, keys, localised text, durations, expressions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from rewards.domain.periods import Span
from rewards.domain.program.durations import EXPECTED, parse_duration, parse_length, parse_span
from rewards.domain.program.expressions.syntax import LENGTH_MAX

KEY_PATTERN: Final = r"^[a-z][a-z0-9_]*$"
SECTION_MAX: Final = 500
ACTIONS_MAX: Final = 20
_DURATION_SCHEMA: Final = {"type": "string", "pattern": "^[1-9][0-9]*(s|m|h|d|mo)$"}
LOCALE_PATTERN: Final = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"


class Part(BaseModel):
    """A part of the document. Unknown keys and loose types are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _length(text: str) -> str:
    parse_length(text)
    return text


def _span(text: str) -> str:
    parse_span(text)
    return text


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {EXPECTED}")  # noqa: TRY004 - which Pydantic reports
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=64)]
EventName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]*$", max_length=64)]
"""An event type, a group, or an internal event such as `segment.entered`."""
PropertyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
Locale = Annotated[str, StringConstraints(pattern=LOCALE_PATTERN, max_length=35)]
Localised = Words | dict[Locale, Words]
"""What people see: one text, or a text per locale."""
DurationText = Annotated[str, BeforeValidator(_with_unit), AfterValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
LengthText = Annotated[str, BeforeValidator(_with_unit), AfterValidator(_length), WithJsonSchema(_DURATION_SCHEMA)]
SpanText = Annotated[str, BeforeValidator(_with_unit), AfterValidator(_span)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=LENGTH_MAX)]
Events = Annotated[
    list[EventName],
    BeforeValidator(_one_or_more),
    Field(min_length=1, max_length=SECTION_MAX),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""One event type or group, or several."""


def texts(localised: Localised | None, *, locale: str, fallback: str) -> dict[str, str]:
    """Localised text as a mapping by locale."""
    if localised is None:
        return {locale: fallback}
    return {locale: localised} if isinstance(localised, str) else dict(localised)


def duration(text: str | None) -> timedelta | None:
    """A duration that the models have already accepted."""
    return None if text is None else parse_duration(text)


def span(text: str) -> Span:
    """A span that the models have already accepted."""
    return parse_span(text)
