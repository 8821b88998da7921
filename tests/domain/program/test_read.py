from datetime import timedelta
from typing import Any

import pytest

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span
from rewards.domain.program.durations import parse_span
from rewards.domain.program.problems import Position
from rewards.domain.program.read import Unreadable, read_document

BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)


@pytest.mark.parametrize(
    ("source", "data"),
    [
        (b"on: no\nyes: off", {"on": "no", "yes": "off"}),
        (
            b"a: 12:30\nb: 2026-12-01\nc: 2026-12-01T00:00:00",
            {"a": "12:30", "b": "2026-12-01", "c": "2026-12-01T00:00:00"},
        ),
        (
            b"a: 1\nb: -1.5\nc: 1e3\nd: 0x1F\ne: 0o17\nf: 1_000",
            {"a": 1, "b": -1.5, "c": 1000.0, "d": 31, "e": 15, "f": "1_000"},
        ),
        (b"a: true\nb: ~\nc:\nd: 'true'", {"a": True, "b": None, "c": None, "d": "true"}),
        (b"a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        (b'{"a": [1, 2.5, null, true, "\\u00e9\\ud83d\\ude00"]}', {"a": [1, 2.5, None, True, "é😀"]}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        (b"a: !!str 1", {"a": "1"}),
        (b"", None),
    ],
)
def test_read(source: bytes, data: Any) -> None:
    assert read_document(source).data == data


@pytest.mark.parametrize(
    ("source", "code", "place"),
    [
        (b"a: 1\nb: 2\na: 3", "duplicate-key", Position(3, 1)),
        (b'{"a": 1, "a": 2}', "duplicate-key", Position(1, 10)),
        (b"a: [1, 2", "syntax", Position(1, 9)),
        (b"a: b: c", "syntax", Position(1, 5)),
        (b"a: 1\n---\nb: 2", "syntax", Position(2, 1)),
        (b"? [a]\n: 1", "syntax", Position(1, 3)),
        (b"a: *b", "syntax", Position(1, 4)),
        (b"a: &a [*a]", "syntax", Position(1, 8)),
        (b"a: !!python/object:os.system x", "tag", Position(1, 4)),
        (b"a: .inf", "not-finite", Position(1, 4)),
        (b"a: 1e999", "not-finite", Position(1, 4)),
        (b'a: "\\ud800"', "encoding", Position(1, 4)),
        (b'a: "\\0"', "encoding", Position(1, 4)),
        (b"a: \xff", "encoding", None),
        (b"[" * 100_000, "too-deep", Position(1, 33)),
        (b"x" * 10_000_000, "too-large", None),
        (BOMB, "too-large", Position(6, 8)),
        (b"a: &a 1\nb: [" + b"*a, " * 300 + b"]", "too-many-aliases", Position(2, 805)),
    ],
)
def test_unreadable(source: bytes, code: str, place: Position | None) -> None:
    with pytest.raises(Unreadable) as caught:
        read_document(source)
    assert (caught.value.problem.code, caught.value.problem.place) == (code, place)


def test_places() -> None:
    places = read_document(b"rules:\n  - key: a\n    then: [{earn: 1}]\n").places
    assert places["rules.0.then"] == Position(3, 5)
    assert places["rules.0.then.0.earn"] == Position(3, 13)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", Rolling(timedelta(seconds=90))),
        ("10m", Rolling(timedelta(minutes=10))),
        ("72h", Rolling(timedelta(hours=72))),
        ("7d", Rolling(timedelta(days=7))),
        ("12mo", Rolling(timedelta(0), months=12)),
        ("week", Calendar.WEEK),
        ("lifetime", Lifetime.LIFETIME),
    ],
)
def test_span(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1.5h", "7 days", "1y", "100000d", "999mo", "Week", "7D"])
def test_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is"):
        parse_span(text)
