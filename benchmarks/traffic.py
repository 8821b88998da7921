"""The events under load, as bytes: five types in turn, members at random, every id once."""

from __future__ import annotations

from typing import Final

EVENT_TYPES: Final = 5
_SPREAD: Final = 2_654_435_761
"""Knuth's multiplier: numbers in a row fall on members far apart, the same ones in every run."""

_CONTEXT: Final = b'"context":{"device":"ios","app_version":"7.4.1"}}'
_KINDS: Final = (
    b'"product_viewed","properties":{"product_id":"p%d","category":"audio","dwell_seconds":42},',
    b'"product_shared","properties":{"product_id":"p%d","network":"direct"},',
    b'"order_placed","properties":{"order_id":"o%d","total":49.90,"items":3},',
    b'"review_posted","properties":{"product_id":"p%d","stars":4,"words":120},',
    b'"app_opened","properties":{"screen":"home-%d"},',
)


def member(number: int, members: int) -> int:
    """Who does the event of this number."""
    return number * _SPREAD % 4_294_967_296 * members >> 32


def event(number: int, *, who: bytes, prefix: bytes) -> bytes:
    """One event in JSON. Its id is `prefix` and the number; products and orders come from a range of 20,000."""
    return b'{"id":"%b-%d","member":"%b","type":%b%b' % (
        prefix,
        number,
        who,
        _KINDS[number % EVENT_TYPES] % (number // EVENT_TYPES % 20_000),
        _CONTEXT,
    )


def name(number: int) -> bytes:
    """A member's name; all are equally long."""
    return b"m%07d" % number


def body(first: int, size: int, *, members: int, prefix: bytes) -> bytes:
    """The body of a request: one event, or a batch of `size` events from the number `first` on."""
    items = [event(number, who=name(member(number, members)), prefix=prefix) for number in range(first, first + size)]
    return items[0] if size == 1 else b'{"events":[%b]}' % b",".join(items)
