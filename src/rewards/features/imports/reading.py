"""A CSV file of opening balances, read line by line: one line is one row, so a broken one spoils no other.

The first line names the columns: `external_id` and `points_balance` are needed, every other one may be an attribute.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput
from rewards.domain.ledger.accounts import AMOUNT_MAX

LINE_BYTES_MAX: Final = 65_536
COLUMNS_MAX: Final = 200
MEMBER: Final = "external_id"
BALANCE: Final = "points_balance"

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DELIMITERS: Final = (",", ";", "\t")
_INTEGER: Final = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be imported. `more` holds the other columns that are not empty, as written; `text` is the
    row itself, as far as it is shown where it turns out to be bad."""

    line: int
    ref: MemberRef
    balance: int
    more: dict[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be, why, and what it said."""

    line: int
    reason: str
    text: str


class Table:
    """The rows of a file open for reading in binary. Raises `InvalidInput` when its first line names no such columns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._line = 1
        self.bytes_read = 0
        first = self._next_line()
        header = (first or b"").removeprefix(_BYTE_ORDER_MARK)
        try:
            text = header.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidInput("the file is not UTF-8", path="line 1", expected="a CSV file in UTF-8") from None
        self._delimiter = max(_DELIMITERS, key=text.count)
        self.columns = [name.strip() for name in _split(text, self._delimiter)]
        _check_columns(self.columns)

    def rows(self, *, after_line: int) -> Iterator[Row | BadRow | None]:
        """Every row past `after_line`; None for an empty line."""
        while (raw := self._next_line()) is not None:
            self._line += 1
            if self._line > after_line:
                yield self._row(raw)

    def _next_line(self) -> bytes | None:
        raw = self._file.readline(LINE_BYTES_MAX)
        self.bytes_read += len(raw)
        if not raw:
            return None
        rest = raw
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):  # only its beginning is kept
            rest = self._file.readline(LINE_BYTES_MAX)
            self.bytes_read += len(rest)
        return raw

    def _row(self, raw: bytes) -> Row | BadRow | None:
        if not raw.strip():
            return None
        shown = raw[:1000].decode(errors="replace").rstrip("\r\n")
        if len(raw) >= LINE_BYTES_MAX:
            return BadRow(self._line, f"longer than {LINE_BYTES_MAX} bytes", shown)
        try:
            cells = _split(raw.decode().rstrip("\r\n"), self._delimiter)
            ref, balance, more = self._read([cell.strip() for cell in cells])
        except UnicodeDecodeError as wrong:
            return BadRow(self._line, f"not UTF-8 at byte {wrong.start + 1}", shown)
        except (csv.Error, InvalidInput) as wrong:
            return BadRow(self._line, str(wrong), shown)
        return Row(self._line, ref, balance, more, shown)

    def _read(self, cells: Sequence[str]) -> tuple[MemberRef, int, dict[str, str]]:
        """Raises `InvalidInput`."""
        if len(cells) != len(self.columns):
            many = "many" if len(cells) > len(self.columns) else "few"
            raise InvalidInput(f"too {many} columns: {len(cells)} instead of {len(self.columns)}")
        named = dict(zip(self.columns, cells, strict=True))
        for column, cell in named.items():
            if _CONTROL.search(cell):
                raise InvalidInput(f"{column} holds a control character")
        member, balance = named.pop(MEMBER), named.pop(BALANCE)
        if not member:
            raise InvalidInput(f"{MEMBER} is missing")
        return MemberRef.parse(member), _amount(balance), {name: cell for name, cell in named.items() if cell}


def _amount(text: str) -> int:
    if not text:
        raise InvalidInput(f"{BALANCE} is missing")
    if not _INTEGER.fullmatch(text):
        raise InvalidInput(f"{BALANCE} is {text!r}, not a whole number")
    amount = int(text)
    if amount < 0:
        raise InvalidInput(f"{BALANCE} is {amount}, below zero")
    if amount > AMOUNT_MAX:
        raise InvalidInput(f"{BALANCE} is {amount}, more than {AMOUNT_MAX}")
    return amount


def _split(text: str, delimiter: str) -> list[str]:
    """The cells of one line. Raises `csv.Error` for a quotation that does not end."""
    return next(csv.reader([text], delimiter=delimiter, strict=True), [])


def _check_columns(columns: list[str]) -> None:
    missing = [name for name in (MEMBER, BALANCE) if name not in columns]
    if missing or len(columns) > COLUMNS_MAX or len(set(columns)) != len(columns):
        raise InvalidInput(
            f"the first line must name the columns {MEMBER} and {BALANCE}, each once; it has {', '.join(columns)[:200]}",
            path="line 1",
            expected=f"a first line such as {MEMBER},{BALANCE},email",
        )
