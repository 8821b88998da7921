"""Segment's calls on the wire, read leniently where its clients are careless and strictly where a value is used.

Whatever is wrong with one call is that call's own mistake: only a body that is not JSON, or too large, is refused as a whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from rewards.domain.errors import InvalidInput, RewardsError
from rewards.http.decoding import (
    BodyTooLarge,
    bounded_float,
    explain,
    gunzip,
    inspect,
    inspect_floats,
    is_suspicious,
    is_too_large,
    malformed,
    refuse_deep,
)

BATCH_BYTES_MAX: Final = 500 * 1024
CALL_BYTES_MAX: Final = 32 * 1024
CALLS_PER_BATCH_MAX: Final = 2_500
CALLS: Final = ("track", "identify", "page", "screen", "group", "alias")

_GZIP_OR_ZLIB: Final = (b"\x1f\x8b", b"\x78")
"""How compressed bodies begin; JSON never does. The headers say so only sometimes, and sometimes wrongly."""


class TooLarge(RewardsError):
    """The body is larger than Segment's limits. Answered 400, the one status that no client ever repeats."""

    code: ClassVar[str] = "batch-too-large"


class Unreadable(RewardsError):
    """The body is not JSON of the right shape. Answered 400."""

    code: ClassVar[str] = "malformed-json"


class Call(msgspec.Struct, frozen=True, rename="camel"):
    """One call of any type. Fields that no call uses are ignored, and null is the same as absent."""

    type: str | None = None
    event: str | None = None
    message_id: str | int | None = None
    user_id: str | int | float | None = None
    anonymous_id: str | int | float | None = None
    previous_id: str | int | float | None = None
    group_id: str | int | float | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: Any = None
    channel: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None

    def values(self) -> list[Any]:
        """What may be stored of the call, apart from its context."""
        return [
            self.type, self.event, self.message_id, self.user_id, self.anonymous_id, self.previous_id, self.group_id,
            self.name, self.category, self.properties, self.traits,
        ]  # fmt: skip


_decode_bounded = msgspec.json.Decoder(Call, float_hook=bounded_float).decode
_decode_unbounded = msgspec.json.Decoder(Call, float_hook=float).decode


@dataclass(frozen=True, slots=True)
class Envelope:
    """What came in one request. A call that cannot be read is the `InvalidInput` that says why."""

    calls: list[Call | InvalidInput]
    write_key: str | None
    sent_at: Any


class _Batch(msgspec.Struct, frozen=True, rename="camel"):
    batch: list[msgspec.Raw]
    write_key: Any = None
    sent_at: Any = None
    context: Any = None


class _Single(msgspec.Struct, frozen=True, rename="camel"):
    write_key: Any = None
    sent_at: Any = None


def plain_body(body: bytes, *, bytes_max: int) -> bytes:
    """The body, decompressed if need be. Raises TooLarge or `MalformedEncoding`."""
    if body.startswith(_GZIP_OR_ZLIB):
        try:
            body = gunzip(body, bytes_max=bytes_max)
        except BodyTooLarge as error:
            raise TooLarge(error.message, bytes_max=bytes_max) from None
    if len(body) > bytes_max:
        raise TooLarge(f"The body is larger than {bytes_max} bytes.", bytes_max=bytes_max)
    return body


def read_batch(body: bytes) -> Envelope:
    """A plain body of `/batch`. What the batch says of the context holds for each call that says nothing else."""
    try:
        batch = msgspec.json.decode(body, type=_Batch)
    except msgspec.ValidationError as error:
        raise _unreadable(explain(error, _Batch)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        batch = _reread_batch(body, error)
    except RecursionError:
        raise Unreadable("The JSON is nested too deeply.") from None
    if len(batch.batch) > CALLS_PER_BATCH_MAX:
        raise TooLarge(
            f"The batch holds {len(batch.batch)} calls; at most {CALLS_PER_BATCH_MAX}.", calls_max=CALLS_PER_BATCH_MAX
        )
    calls = [_read_call(bytes(raw)) for raw in batch.batch]
    if isinstance(batch.context, dict):
        calls = [call if isinstance(call, InvalidInput) else _in_context(call, batch.context) for call in calls]
    return Envelope(calls, _text(batch.write_key), batch.sent_at)


def read_single(body: bytes, call_type: str) -> Envelope:
    """A plain body of `/track` and the like: the call itself, with `writeKey` beside its fields."""
    try:
        single = msgspec.json.decode(body, type=_Single)
    except msgspec.ValidationError as error:
        raise _unreadable(explain(error, _Single)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        single = msgspec.convert(_reread(body, error), _Single)
    except RecursionError:
        raise Unreadable("The JSON is nested too deeply.") from None
    call = _read_call(body)
    if isinstance(call, Call):
        call = msgspec.structs.replace(call, type=call_type)
    return Envelope([call], _text(single.write_key), single.sent_at)


def _read_call(raw: bytes) -> Call | InvalidInput:
    if len(raw) > CALL_BYTES_MAX:
        return InvalidInput("The call is too large.", path="", expected=f"at most {CALL_BYTES_MAX} bytes")
    try:
        refuse_deep(raw)
        call = _decode_call(raw)
        if is_suspicious(raw):
            inspect(call.values())
    except InvalidInput as error:
        return error
    except msgspec.ValidationError as error:
        return explain(error, Call)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return malformed(error)
    return call


def _decode_call(raw: bytes) -> Call:
    """What is stored is bounded; a time stamp may be any number, since one that makes no sense is ignored."""
    try:
        return _decode_bounded(raw)
    except msgspec.ValidationError as error:
        if not is_too_large(error):
            raise
    call = _decode_unbounded(raw)
    inspect_floats([*call.values(), call.context])
    return call


def _in_context(call: Call, context: dict[str, Any]) -> Call:
    own = call.context if isinstance(call.context, dict) else {}
    return msgspec.structs.replace(call, context={**context, **own})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _unreadable(error: InvalidInput) -> Unreadable:
    return Unreadable(error.message, **error.details)


def _reread_batch(body: bytes, error: Exception) -> _Batch:
    """A second, slower reading that lets the other calls pass when one holds what JSON or UTF-8 has no word for."""
    document = _reread(body, error)
    calls = document.pop("batch", None)
    if not isinstance(calls, list):
        raise Unreadable("`batch` must be an array.", path="batch", expected="array") from None
    batch = msgspec.convert({**document, "batch": []}, _Batch)
    return msgspec.structs.replace(batch, batch=[_raw(call) for call in calls])


def _reread(body: bytes, error: Exception) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_NotANumber)
    except (ValueError, RecursionError):
        raise _unreadable(malformed(error)) from None
    if not isinstance(document, dict):
        raise Unreadable("The body must be an object.", path="", expected="object")
    return document


class _NotANumber:
    """NaN and Infinity, which some clients write although JSON has no such thing. Nothing can encode it."""

    def __init__(self, name: str) -> None:
        self.name = name


def _raw(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (TypeError, UnicodeEncodeError):
        return msgspec.Raw(b"")  # nothing: the call is read as malformed
