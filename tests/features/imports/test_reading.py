"""One line is one row, and every way in which a line can be wrong is told with its number."""

import io

import pytest

from rewards.domain.errors import InvalidInput
from rewards.features.imports.reading import LINE_BYTES_MAX, BadRow, Row, Table

HEADER = b"external_id,email,points_balance\n"


def rows(content: bytes) -> list[Row | BadRow | None]:
    return list(Table(io.BytesIO(content)).rows(after_line=1))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"ann,a@x.org,5", ("user", "ann", 5, {"email": "a@x.org"})),
        (b"ann,,5\r", ("user", "ann", 5, {})),
        (b' ann ,"a, b", 5 ', ("user", "ann", 5, {"email": "a, b"})),
        (b"anon:4711,,0", ("anon", "4711", 0, {})),
        ("jürgen,,9007199254740991".encode(), ("user", "jürgen", 2**53 - 1, {})),
    ],
)
def test_a_row_is_read(line: bytes, expected: tuple[str, str, int, dict[str, str]]) -> None:
    [row] = rows(HEADER + line + b"\n")
    assert isinstance(row, Row)
    assert (row.ref.kind, row.ref.external_id, row.balance, row.more) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ann,,five", "points_balance is 'five', not a whole number"),
        (b"ann,,5.0", "points_balance is '5.0', not a whole number"),
        (b"ann,,1e3", "points_balance is '1e3', not a whole number"),
        ("ann,,٥".encode(), "points_balance is '٥', not a whole number"),
        (b"ann,,", "points_balance is missing"),
        (b"ann,,-5", "points_balance is -5, below zero"),
        (b"ann,,9007199254740992", "points_balance is 9007199254740992, more than 9007199254740991"),
        (b"ann,," + b"9" * 5000, f"points_balance is '{'9' * 5000}', not a whole number"),
        (b",,5", "external_id is missing"),
        (b"x" * 201 + b",,5", "a member id has 1 to 200 characters"),
        (b"ann,,5,6", "too many columns: 4 instead of 3"),
        (b"ann,5", "too few columns: 2 instead of 3"),
        (b"\xff\xfe,,5", "not UTF-8 at byte 1"),
        (b"a\x00n,,5", "external_id holds a control character"),
        (b'"ann,,5', "unexpected end of data"),
        (b'"a"n,,5', "',' expected after '\"'"),
        (b"a" * (LINE_BYTES_MAX * 3), f"longer than {LINE_BYTES_MAX} bytes"),
    ],
)
def test_a_bad_row_spoils_no_other(line: bytes, reason: str) -> None:
    before, bad, empty, after = rows(HEADER + b"one,,1\n" + line + b"\n\ntwo,,2")
    assert isinstance(before, Row)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (3, reason)
    assert len(bad.text) <= 1000
    assert empty is None
    assert isinstance(after, Row)
    assert after.line == 5


@pytest.mark.parametrize(
    "header", [b"\xef\xbb\xbfexternal_id,points_balance", b"external_id;points_balance", b"external_id\tpoints_balance"]
)
def test_what_spreadsheets_write_is_read(header: bytes) -> None:
    delimiter = next(character for character in (b";", b"\t", b",") if character in header)
    [row] = rows(header + b"\nann" + delimiter + b"5\n")
    assert isinstance(row, Row)
    assert row.balance == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"email,points_balance\n",
        b"external_id,points\n",
        b"external_id,external_id,points_balance\n",
        b"\xff\xfee\x00",
    ],
)
def test_a_file_without_the_columns_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput):
        Table(io.BytesIO(content))


def test_reading_goes_on_after_a_line() -> None:
    table = Table(io.BytesIO(HEADER + b"one,,1\ntwo,,2\nthree,,3\n"))
    assert [row.line for row in table.rows(after_line=3) if isinstance(row, Row)] == [4]
