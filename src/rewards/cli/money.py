"""Money for people: minor units of ISO 4217 as an amount."""

from __future__ import annotations

from typing import Final

_NO_MINOR_UNIT: Final = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
_THREE_DIGITS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


def minor_digits(code: str) -> int:
    """How many decimals amounts of a currency have."""
    return 0 if code in _NO_MINOR_UNIT else 3 if code in _THREE_DIGITS else 2


def money(minor: int, code: str) -> str:
    """`1234` cents are `12.34 EUR`; `1234` yen are `1,234 JPY`."""
    digits = minor_digits(code)
    whole, part = divmod(abs(minor), 10**digits)
    text = f"{whole:,}.{part:0{digits}}" if digits else f"{whole:,}"
    return f"{'-' if minor < 0 else ''}{text} {code}"
