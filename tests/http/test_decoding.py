"""Bodies are decoded strictly, and a mistake says where it is and what would be right."""

import gzip
import json
import time
import timeit
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.errors import InvalidInput
from rewards.http import decoding
from rewards.http.decoding import Body, decode, decode_items, gunzip


class Line(Body, frozen=True):
    sku: str
    units: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Order(Body, frozen=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=8)]
    total: int = 0
    gift: bool = False
    note: str | None = None
    lines: list[Line] = msgspec.field(default_factory=list)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class Several(Order, frozen=True):
    array_advice: ClassVar[str] = "send one after another"


def nested(levels: int) -> str:
    return '{"id": "a", "properties": {"deep": ' + "[" * (levels - 2) + "]" * (levels - 2) + "}}"


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "a"}',
        '{"id": "a", "total": 9007199254740991, "note": null}',
        '{"id": "a", "properties": {"n": -9007199254740991, "f": 0.12345678901234567, "big": 9e15}}',
        '{"id": "a", "properties": {"digits": "12345678901234567890", "escaped": "\\\\u0000"}}',
        '{"id": "a", "properties": {"emoji": "\\ud83d\\ude00", "brackets": "' + "[{" * 40 + '"}}',
        '{"id": "a", "properties": {"quote": "\\\\\\"[", "more": "' + "]\\\\" * 40 + '"}}',
        nested(32),
        '{"id": "old", "id": "new"}',  # the last of a repeated name wins
    ],
)
def test_what_is_right_is_taken(body: str) -> None:
    assert decode(body.encode(), Order) == msgspec.json.decode(body, type=Order)


@pytest.mark.parametrize(
    ("body", "code", "path", "expected"),
    [
        ("", "malformed-json", "", "JSON in UTF-8"),
        ("{", "malformed-json", "", "JSON in UTF-8"),
        ('{"id": "a"} x', "malformed-json", "", "JSON in UTF-8"),
        ("NaN", "malformed-json", "", "JSON in UTF-8"),
        ('{"id": "\x00"}', "malformed-json", "", "JSON in UTF-8"),
        (b'{"id": "\xff"}', "malformed-json", "", "JSON in UTF-8"),
        (b'{"id": "\xed\xa0\x80"}', "malformed-json", "", "JSON in UTF-8"),
        ('{"id": "\\ud800"}', "malformed-json", "", "JSON in UTF-8"),  # a lone surrogate
        ('{"id": "a", "properties": {"x": "\\udc00 low"}}', "malformed-json", "", "JSON in UTF-8"),
        ("[]", "invalid-input", "", "object"),
        ("null", "invalid-input", "", "object"),
        ("{}", "invalid-input", "id", "a field `id`"),
        ('{"id": 9}', "invalid-input", "id", "string"),
        ('{"id": "a", "total": "9"}', "invalid-input", "total", "integer"),
        ('{"id": "a", "total": 9.0}', "invalid-input", "total", "integer"),
        ('{"id": "a", "total": true}', "invalid-input", "total", "integer"),
        ('{"id": "a", "total": 9007199254740992}', "invalid-input", "total", "an integer within ±(2^53−1)"),
        ('{"id": "a", "total": -9007199254740992}', "invalid-input", "total", "an integer within ±(2^53−1)"),
        ('{"id": "a", "gift": 1}', "invalid-input", "gift", "boolean"),
        ('{"id": "a", "note": 1}', "invalid-input", "note", "string | null"),
        ('{"id": ""}', "invalid-input", "id", "string of length >= 1"),
        ('{"id": "123456789"}', "invalid-input", "id", "string of length <= 8"),
        ('{"id": "a", "totl": 1}', "invalid-input", "totl", "total"),
        ('{"id": "a", "lines": [{"sku": "x", "units": 1}, {"unit": 1}]}', "invalid-input", "lines[1].unit", "units"),
        ('{"id": "a", "lines": [{"sku": "x", "units": 101}]}', "invalid-input", "lines[0].units", "integer <= 100"),
        ('{"id": "a", "labels": {"x": 1}}', "invalid-input", "labels[...]", "string"),
        ('{"id": "a", "properties": {"n": [1, 123456789012345678901]}}', "invalid-input", "properties.n[1]",
         "an integer within ±(2^53−1)"),
        ('{"id": "a", "properties": {"n": [1, 1e308]}}', "invalid-input", "properties.n[1]", "a number within ±(2^53−1)"),
        ('{"id": "a", "properties": {"n": -1e400}}', "invalid-input", "properties.n", "a number within ±(2^53−1)"),
        ('{"id": "a", "properties": {"x": {"y": "a\\u0000"}}}', "invalid-input", "properties.x.y",
         "text without NUL characters"),
        ('{"id": "a", "properties": {"a\\u0000": 1}}', "invalid-input", "properties", "names without NUL characters"),
        (nested(33), "too-deep", None, "at most 32 levels"),
        (nested(100_000), "too-deep", None, "at most 32 levels"),
        ("[" * 500_000, "too-deep", None, "at most 32 levels"),
        # Brackets in strings must not make deep JSON look shallow.
        ('["]",' * 40 + "1" + ',"["]' * 40, "too-deep", None, "at most 32 levels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_explained(body: str | bytes, code: str, path: str | None, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(body if isinstance(body, bytes) else body.encode(), Order)
    error = refused.value
    assert (error.code, error.details.get("path"), error.details.get("expected")) == (code, path, expected)


def test_an_unknown_field_without_a_near_name_lists_all() -> None:
    with pytest.raises(InvalidInput, match="known are sku, units"):
        decode(b'{"id": "a", "lines": [{"zzzzzz": 1}]}', Order)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(value=JSON, levels=st.integers(0, 40), ascii_only=st.booleans())
def test_depth_is_exact(value: Any, levels: int, ascii_only: bool) -> None:
    for level in range(levels):
        value = [value] if level % 2 else {'[\\"': value, "]": "}"}
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert decoding.is_shallow(body) == (depth(value) <= decoding.DEPTH_MAX)


@given(value=JSON)
def test_what_inspection_refuses_was_suspicious(value: Any) -> None:
    body = msgspec.json.encode(value) if not _lone_surrogate(value) else b"null"
    try:
        decoding.inspect(msgspec.json.decode(body))
    except InvalidInput:
        assert decoding.is_suspicious(body)


def _lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def outcomes(items: list[Order | InvalidInput]) -> list[str]:
    return [item.id if isinstance(item, Order) else f"{item.code} {item.details['path']}" for item in items]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"orders": [{"id": "a"}, {"id": "b"}]}', ["a", "b"]),
        ('{"orders": [{"id": "a"}, {"id": 2}, {"id": "c"}]}', ["a", "invalid-input orders[1].id", "c"]),
        ('{"orders": [3, {"id": "b"}]}', ["invalid-input orders[0]", "b"]),
        ('{"orders": [{"id": "a", "x": 1}, {"id": "b"}]}', ["invalid-input orders[0].x", "b"]),
        ('{"orders": [{"id": "a", "properties": {"n": 99999999999999999}}, {"id": "b"}]}',
         ["invalid-input orders[0].properties.n", "b"]),
        ('{"orders": [{"id": "a"}, {"id": "b", "note": "\\u0000"}]}', ["a", "invalid-input orders[1].note"]),
        # An item may be as deep in a batch as it may be alone.
        (f'{{"orders": [{nested(32)}, {{"id": "b"}}]}}', ["a", "b"]),
        (f'{{"orders": [{{"id": "b"}}, {nested(33)}]}}', ["b", "too-deep orders[1]"]),
        (f'{{"orders": [{nested(900)}, {{"id": "b"}}]}}', ["too-deep orders[0]", "b"]),
    ],
)  # fmt: skip
def test_one_bad_item_does_not_spoil_the_others(body: str, expected: list[str]) -> None:
    assert outcomes(decode_items(body.encode(), Order, field="orders")) == expected


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ("{", "malformed-json", ""),
        ('{"orders": [{"id": "a"]}', "malformed-json", ""),
        ('{"orders": 1}', "invalid-input", "orders"),
        ('{"order": []}', "invalid-input", "order"),
        ('{"orders": []}', "invalid-input", "orders"),
        ('{"orders": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}', "invalid-input", "orders"),
    ],
)
def test_a_wrong_envelope_is_refused(body: str, code: str, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_items(body.encode(), Order, field="orders", items_max=2)
    assert (refused.value.code, refused.value.details["path"]) == (code, path)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"plain", "malformed-encoding"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], "malformed-encoding"),
        (gzip.compress(b"x" * 10_000_000, mtime=0), "body-too-large"),
    ],
)
def test_bad_gzip_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gunzip(body, bytes_max=1000)
    assert refused.value.code == code


def test_gzip_is_undone() -> None:
    assert gunzip(gzip.compress(b"x" * 1000, mtime=0), bytes_max=1000) == b"x" * 1000


def test_checks_cost_little() -> None:
    """Relative to the decoder alone, so that a busy machine does not decide: measured 4 × (170 µs for a batch of 100)."""
    order = {"id": "a", "total": 5, "properties": {"category": "audio", "price": 12.5, "at": "2026-11-21T10:00:00Z"}}
    body = json.dumps({"orders": [order] * 100}).encode()
    plain = msgspec.json.Decoder(dict[str, list[Order]])
    clock = time.process_time  # other processes may take the machine, not our share of it
    strict_seconds = min(
        timeit.repeat(lambda: decode_items(body, Order, field="orders"), timer=clock, number=50, repeat=7)
    )
    plain_seconds = min(timeit.repeat(lambda: plain.decode(body), timer=clock, number=50, repeat=7))
    assert strict_seconds < 8 * plain_seconds


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"[]", "`body` must be object, not array; send one after another"),
        (b"3", "`body` must be object, not integer."),
        (b'{"id": []}', "`id` must be string, not array."),
    ],
)
def test_an_array_in_place_of_an_object_is_told_where_several_go(body: bytes, detail: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(body, Several)
    assert refused.value.message == detail


def test_an_item_that_is_none_is_not_called_the_body() -> None:
    (item,) = decode_items(b'{"orders": [3]}', Order, field="orders")
    assert isinstance(item, InvalidInput)
    assert item.message == "`orders[0]` must be object, not integer."


class Formed(Body, frozen=True):
    wait: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*(s|m|h|d)$")] = "1d"
    reason: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")] = "x"
    other: Annotated[str, msgspec.Meta(pattern="^x+$")] = "x"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"wait": "3 days"}', "a duration such as 90s, 10m, 72h or 14d"),
        (b'{"reason": "was late"}', "a code such as goodwill: up to 64 letters, digits and _ . : -"),
        (b'{"other": "y"}', "string matching regex '^x+$'"),
    ],
)
def test_the_form_of_a_text_is_told_in_words(body: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(body, Formed)
    assert refused.value.details["expected"] == expected


def test_items_without_their_envelope_are_told_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_items(b'[{"id": "a"}]', Order, field="orders")
    assert refused.value.message == '`body` must be object, not array; put it into an object: {"orders": […]}'
