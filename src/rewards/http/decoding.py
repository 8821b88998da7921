"""Bodies: bytes in, exact values out, or an error that says where and what would be right.

Strict: `"9"` is not 9, unknown fields are errors, numbers stay within ±(2^53−1), depth within 32, and no NUL
characters, which PostgreSQL cannot store. Of a repeated key the last wins, once and for all: the body is decoded once.
The checks look at the bytes first and at the values only when the bytes are suspicious, so that they cost almost
nothing: a batch of 100 events must decode in 400 µs.
"""

from __future__ import annotations

import difflib
import re
import zlib
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import msgspec

from rewards.domain.errors import InvalidInput

T = TypeVar("T")

DEPTH_MAX: Final = 32
ENVELOPE_LEVELS: Final = 2
"""The object and the array around the items of a batch, which take nothing from the levels that an item may have."""
SAFE_INTEGER_MAX: Final = 2**53 - 1
ITEMS_MAX: Final = 1000
ITEM_ID_LENGTH_MAX: Final = 255

# Sixteen digits in a row may be an integer beyond 2^53−1. Every digit becomes `0`, so that one search finds them.
_DIGITS: Final = bytes(ord("0" if chr(byte) in "0123456789" else " ") for byte in range(256))
_LONG_NUMBER: Final = b"0" * 16
_NUL: Final = b"\\u0000"
_ONE_KIND: Final = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_PATH: Final = re.compile(r"^(?P<message>.*?)(?: - at `\$?(?P<path>.*)`)?$", re.DOTALL)
_EXPECTED: Final = re.compile(r"Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_TYPE: Final = re.compile(r"\b(?:str|int|float|bool)\b")
_TOO_LARGE: Final = "The number is too large"
_WITHIN: Final = "a number within ±(2^53−1)"
_RIGHT: Final = {
    "Number out of range": _WITHIN,
    _TOO_LARGE: _WITHIN,
    "Invalid RFC3339 encoded datetime": "RFC 3339 with an offset: 2026-11-21T10:00:00Z",
    "Invalid UUID": "a UUID",
    "Invalid enum value": "one of the values that the reference at /docs lists",
}
_FORM: Final = re.compile(r"string matching regex '(?P<pattern>.*)'")
_DURATION: Final = "a duration such as 90s, 10m, 72h or 14d"
_FORM_WORDS: Final = {
    "^[1-9][0-9]*(s|m|h|d)$": _DURATION,
    "^[1-9][0-9]{0,8}(s|m|h|d)$": _DURATION,
    "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$": "a code such as goodwill: up to 64 letters, digits and _ . : -",
}
"""Forms of texts as people say them."""
"""What would be right, for messages of the decoder that do not say it."""
GZIP_OR_ZLIB: Final = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""No JSON begins so: bodies are known by their bytes, since some clients compress and do not say it."""
ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", "identity", ""})
_JSON_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller sends. `class Spend(Body, frozen=True)` for every body of the API, with `msgspec.Meta` for limits.

    (A field's limits belong in `Meta`: those reach the API document.)
    """

    array_advice: ClassVar[str] = ""
    """What to tell whoever sends an array instead: where several go."""


class MalformedJson(InvalidInput):
    """The body is not one JSON value in UTF-8."""

    code = "malformed-json"


class TooDeep(InvalidInput):
    """The JSON is nested more than 32 levels."""

    code = "too-deep"


class BodyTooLarge(InvalidInput):
    """The body is larger than this address takes, before or after decompression."""

    code = "body-too-large"


class MalformedEncoding(InvalidInput):
    """The body says that it is gzip and is not, or uses another content encoding."""

    code = "malformed-encoding"


def bounded_float(text: str) -> float:
    """For `float_hook`: what JSON may be stored must come back as it was, and PostgreSQL writes 1e308 out as an integer."""
    value = float(text)
    if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
        raise ValueError(_TOO_LARGE)
    return value


_unbounded: Final = msgspec.json.Decoder(float_hook=float)


def is_too_large(error: msgspec.ValidationError) -> bool:
    """Whether it is `bounded_float` that refused."""
    return str(error).startswith(_TOO_LARGE)


class BodyDecoder(Generic[T]):
    """Decodes bodies of one type. Make one per type, through `decoder_for`."""

    __slots__ = ("_decoder", "_depth_max", "wire_type")

    def __init__(self, wire_type: type[T], *, depth_max: int = DEPTH_MAX) -> None:
        self.wire_type = wire_type
        self._depth_max = depth_max
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(wire_type, strict=True, float_hook=bounded_float)

    def decode(self, body: bytes) -> T:
        """Raises MalformedJson, TooDeep or InvalidInput, whose details hold `path` and `expected`."""
        refuse_deep(body, depth_max=self._depth_max)
        try:
            value = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            if is_too_large(error):
                inspect_floats(_unbounded.decode(body))
            raise explain(error, self.wire_type) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed(error) from None
        if is_suspicious(body):
            inspect(msgspec.json.decode(body))
        return value


_DECODERS: Final[dict[Any, BodyDecoder[Any]]] = {}  # one per type of the code, so it does not grow with traffic


def decoder_for(wire_type: type[T]) -> BodyDecoder[T]:
    """The one decoder of a type."""
    decoder = _DECODERS.get(wire_type)
    if decoder is None:
        decoder = _DECODERS[wire_type] = BodyDecoder(wire_type)
    return decoder


def decode(body: bytes, wire_type: type[T]) -> T:
    """Decode a body strictly; see `BodyDecoder.decode`."""
    return decoder_for(wire_type).decode(body)


_ENVELOPES: Final[dict[tuple[Any, str], tuple[BodyDecoder[Any], BodyDecoder[Any]]]] = {}


def _envelopes(item_type: Any, field: str) -> tuple[BodyDecoder[Any], BodyDecoder[Any]]:
    """Decoders of `{field: [item, …]}`: with the items decoded, and with the items left as they are."""
    if (known := _ENVELOPES.get((item_type, field))) is not None:
        return known
    closed = bool(getattr(getattr(item_type, "__struct_config__", None), "forbid_unknown_fields", False))
    advice = {"array_advice": f'put it into an object: {{"{field}": […]}}'}
    whole = msgspec.defstruct("Items", [(field, list[item_type])], forbid_unknown_fields=closed, namespace=advice)
    raw = msgspec.defstruct("Items", [(field, list[msgspec.Raw])], forbid_unknown_fields=closed, namespace=advice)
    levels = DEPTH_MAX + ENVELOPE_LEVELS
    both = BodyDecoder(whole, depth_max=levels), BodyDecoder(raw, depth_max=levels)
    _ENVELOPES[item_type, field] = both
    return both


def decode_items(body: bytes, item_type: type[T], *, field: str, items_max: int = ITEMS_MAX) -> list[T | InvalidInput]:
    """The items of `{field: [item, …]}` in order; a wrong item is the InvalidInput that explains it.

    Raises InvalidInput when the envelope itself is wrong, empty or holds too many items.
    """
    whole, raw = _envelopes(item_type, field)
    try:
        items: list[T | InvalidInput] = getattr(whole.decode(body), field)
    except MalformedJson:
        raise
    except InvalidInput:
        left = getattr(decode_envelope(body, raw.wire_type), field)
        items = [decode_item(bytes(item), item_type, f"{field}[{index}]") for index, item in enumerate(left)]
    if not 1 <= len(items) <= items_max:
        raise InvalidInput(
            f"`{field}` holds {len(items)} items.", path=field, expected=f"1 to {items_max} items", items=len(items)
        )
    return items


def decode_envelope(body: bytes, wire_type: type[T]) -> T:
    """A body whose items are left as they are (`msgspec.Raw`). What is suspicious or too deep in one is found when it is
    decoded; what nests so deep that the items cannot even be told apart is refused here.
    """
    try:
        return msgspec.json.decode(body, type=wire_type)
    except msgspec.ValidationError as error:
        raise explain(error, wire_type) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(error) from None
    except RecursionError:
        raise too_deep() from None


def decode_item(item: bytes, item_type: type[T], path: str) -> T | InvalidInput:
    """One item of a batch, or what is wrong with it; `path` is where the item is in the body."""
    try:
        return decode(item, item_type)
    except InvalidInput as error:
        inner = str(error.details.get("path", ""))
        error.details["path"] = path + (inner if inner.startswith("[") or not inner else f".{inner}")
        if not inner:  # the mistake is the item as a whole, which is not the body here
            error.message = error.message.replace("`body`", f"`{path}`")
        error.item_id = _id_in(item)
        return error


class _Named(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(max_length=ITEM_ID_LENGTH_MAX)]


_named: Final = msgspec.json.Decoder(_Named)


def _id_in(item: bytes) -> str:
    try:
        return _named.decode(item).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def plain(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """The body, decompressed if need be. Raises BodyTooLarge, and MalformedEncoding for an encoding that is not read here."""
    if encoding.strip().lower() not in ENCODINGS:
        raise MalformedEncoding("The body is in a content encoding that is not read here.", expected="gzip")
    return gunzip(body, bytes_max=bytes_max) if body.startswith(GZIP_OR_ZLIB) else body


def gunzip(body: bytes, *, bytes_max: int) -> bytes:
    """Decompress a gzip or zlib body. Stops at the limit, so that a bomb costs no memory. Raises BodyTooLarge."""
    machine = zlib.decompressobj(wbits=47)
    try:
        plain = machine.decompress(body, bytes_max + 1)
    except zlib.error:
        raise MalformedEncoding("The body is not gzip, although it says so.", expected="gzip") from None
    if len(plain) > bytes_max:
        raise BodyTooLarge(f"The decompressed body is larger than {bytes_max} bytes.", bytes_max=bytes_max)
    if not machine.eof:
        raise MalformedEncoding("The gzip body ends too early.", expected="gzip")
    return plain


def refuse_deep(body: bytes, *, depth_max: int = DEPTH_MAX) -> None:
    """Raises TooDeep. Counting all openings settles almost every body; only crowded ones are looked at closely."""
    if body.count(b"{") + body.count(b"[") > depth_max and not is_shallow(body, depth_max=depth_max):
        raise too_deep()


def too_deep() -> TooDeep:
    return TooDeep(f"The JSON is nested more than {DEPTH_MAX} levels.", expected=f"at most {DEPTH_MAX} levels")


def is_shallow(body: bytes, *, depth_max: int = DEPTH_MAX) -> bool:
    """Whether brackets outside strings nest at most so deep. Exact for JSON; other input fails when decoded."""
    if b"\\" in body:  # pairs first, so that the quote after an escaped backslash still counts
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(body.split(b'"')[::2]).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(depth_max):  # each round removes the innermost level
        if not brackets:
            return True
        brackets = brackets.replace(b"{}", b"")
    return not brackets


def is_suspicious(body: bytes) -> bool:
    """Whether the bytes may hold a NUL character or an integer beyond 2^53−1."""
    return _NUL in body or _LONG_NUMBER in body.translate(_DIGITS)


def inspect(value: Any, path: str = "") -> None:
    """Look at every value of decoded JSON of at most 32 levels. Raises InvalidInput at the first that is wrong."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput("Text holds a NUL character.", path=path, expected="text without NUL characters")
    elif isinstance(value, int):
        if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            raise InvalidInput("The integer is too large.", path=path, expected="an integer within ±(2^53−1)")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            inspect(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                raise InvalidInput("A name holds a NUL character.", path=path, expected="names without NUL characters")
            inspect(item, f"{path}.{key}" if path else key)


def inspect_floats(value: Any, path: str = "") -> None:
    """Find the float that `bounded_float` refused, whose place its error does not name. Raises InvalidInput."""
    if isinstance(value, float) and not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
        raise InvalidInput(f"{_TOO_LARGE}.", path=path, expected=_WITHIN)
    if isinstance(value, list):
        for index, item in enumerate(value):
            inspect_floats(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inspect_floats(item, f"{path}.{key}" if path else key)


def malformed(error: Exception) -> MalformedJson:
    """Why the bytes are not JSON. Where they are not UTF-8 the position would repeat what the caller sent."""
    if isinstance(error, UnicodeDecodeError):
        return MalformedJson("The body is not UTF-8.", path="", expected="JSON in UTF-8")
    return MalformedJson(f"The body is not JSON: {error}.", path="", expected="JSON in UTF-8")


def explain(error: msgspec.ValidationError, wire_type: Any) -> InvalidInput:
    """The first mistake that the decoder met: its path, what was found, and what would be right."""
    match = _PATH.match(str(error))
    message, path = (match["message"], (match["path"] or "").lstrip(".")) if match else (str(error), "")
    if unknown := _UNKNOWN.fullmatch(message):
        return _unknown_field(unknown["name"], path, wire_type)
    if missing := _MISSING.fullmatch(message):
        name = missing["name"]
        return InvalidInput(f"`{name}` is missing.", path=_joined(path, name), expected=f"a field `{name}`")
    if expected := _EXPECTED.fullmatch(message):
        right = _json_words(expected["expected"])
        found = f", not {_json_words(expected['got'])}" if expected["got"] else ""
        advice = "" if path or expected["got"] != "`array`" else getattr(wire_type, "array_advice", "")
        hint = f"; {advice}" if advice else "."
        return InvalidInput(f"`{path or 'body'}` must be {right}{found}{hint}", path=path, expected=right)
    known = (right for wrong, right in _RIGHT.items() if message.startswith(wrong))
    right = next(known, "what the reference at /docs says")
    return InvalidInput(f"`{path or 'body'}`: {message}.", path=path, expected=right)


def _unknown_field(name: str, path: str, wire_type: Any) -> InvalidInput:
    known = sorted(_fields_at(msgspec.inspect.type_info(wire_type), _steps(path)))
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}."
    return InvalidInput(
        f"`{name}` is not a field here; {hint}",
        path=_joined(path, name),
        expected=near[0] if near else f"one of {', '.join(known)}",
    )


def _json_words(types: str) -> str:
    """What JSON calls the types that the decoder names as Python does."""
    words = _TYPE.sub(lambda found: _JSON_TYPES.get(found[0], found[0]), types.replace("`", ""))
    form = _FORM.fullmatch(words)
    return words if form is None else _FORM_WORDS.get(form["pattern"], words)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _steps(path: str) -> list[str]:
    return re.findall(r"\[[^\]]*\]|[^.\[\]]+", path)


def _fields_at(info: Any, steps: list[str]) -> set[str]:
    """The field names that the type knows at a path."""
    if isinstance(info, msgspec.inspect.UnionType):
        return set().union(*(_fields_at(kind, steps) for kind in info.types))
    if isinstance(info, msgspec.inspect.Metadata):
        return _fields_at(info.type, steps)
    if not steps:
        return {field.encode_name for field in info.fields} if isinstance(info, msgspec.inspect.StructType) else set()
    if isinstance(info, msgspec.inspect.StructType):
        return set().union(
            *(_fields_at(field.type, steps[1:]) for field in info.fields if field.encode_name == steps[0])
        )
    if isinstance(info, msgspec.inspect.DictType):
        return _fields_at(info.value_type, steps[1:])
    inner = getattr(info, "item_type", None)
    return _fields_at(inner, steps[1:]) if inner is not None else set()
