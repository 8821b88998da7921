"""Top, around and one member's place on the short way: what nearly every read of a board is, without the framework.

It answers only what it understands entirely: a known secret key, plain parameters, the current period of a live program's
board, somebody who is on it, names that need not be looked up, and a Valkey that answers. Everything else, mistakes above
all, it leaves to `controller`, which says what is wrong; so there is one set of rules, and this is only a faster way past
them. Measured: see docs/performance.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from rewards.domain.errors import RewardsError
from rewards.domain.program.board import Shown
from rewards.features.leaderboards.naming import name_of
from rewards.features.leaderboards.reading import CURRENT, BoardReader, Excerpt, View
from rewards.features.leaderboards.schemas import (
    ENTRIES_DEFAULT,
    ENTRIES_MAX,
    OFFSET_MAX,
    RADIUS_DEFAULT,
    RADIUS_MAX,
    RankingOut,
    StandingOut,
    ranking_out,
    standing_out,
)
from rewards.http.auth import ApiKeys, Caller
from rewards.http.direct import JSON, answer, known_caller
from rewards.http.edge import Message, Receive, Send
from rewards.http.parameters import member_ref

UNDER: Final = "/v1/leaderboards/"
QUERIES_KEPT_MAX: Final = 1024
QUERY_BYTES_MAX: Final = 256
"""A longer one is not plain, and not kept: anybody may send one."""
What: TypeAlias = Literal["top", "around", "members"]

_TEMPLATES: Final[Mapping[What, str]] = MappingProxyType(
    {
        "top": UNDER + "{board}",
        "around": UNDER + "{board}/around/{member}",
        "members": UNDER + "{board}/members/{member}",
    }
)
# By what is asked, the numbers that it takes: the one without the parameter, and the bounds.
_NUMBERS: Final[Mapping[What, Mapping[bytes, tuple[int, int, int]]]] = MappingProxyType(
    {
        "top": {b"limit": (ENTRIES_DEFAULT, 1, ENTRIES_MAX), b"offset": (0, 0, OFFSET_MAX)},
        "around": {b"radius": (RADIUS_DEFAULT, 0, RADIUS_MAX)},
        "members": {},
    }
)
_PLAIN_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,9}")
_PLAIN_TEXT: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_LEFT_TO_THE_FRAMEWORK: Final = frozenset({b"origin", b"content-length", b"transfer-encoding"})
_encode = msgspec.json.Encoder().encode


class DirectBoards:
    """Implements `edge.Direct`, for everything under `UNDER`."""

    def __init__(self, boards: BoardReader, keys: ApiKeys) -> None:
        self._boards = boards
        self._keys = keys

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> Receive | None:
        """None when it has answered; else what the framework is to read the request from."""
        board, _, rest = scope["path"][len(UNDER) :].partition("/")
        what, member = _what(rest)
        if what is None or len(scope["query_string"]) > QUERY_BYTES_MAX:
            return receive
        query = _parameters(what, scope["query_string"])
        if query is None:
            return receive
        caller = self._caller(scope["headers"])
        view = self._boards.at_hand(caller.program_id, board, query.part) if caller is not None else None
        if view is None or view.board.names.shown is Shown.ATTRIBUTE:
            return receive
        try:
            found = await self._found(view, what, member, query)
        except RewardsError:
            return receive
        if found is None:
            return receive
        scope["path_template"] = _TEMPLATES[what]
        await answer(send, 200, _encode(found), JSON)
        return None

    async def _found(self, view: View, what: What, member: str, query: _Query) -> RankingOut | StandingOut | None:
        """None where who is asked for has to be looked up: it was merged, is of another part, or is not there at all."""
        if what == "top":
            return _told(view, await self._boards.page(view, query.numbers[b"offset"], query.numbers[b"limit"]))
        sought = self._boards.quick(view, member_ref(member))
        if sought is None:
            return None
        if what == "around":
            excerpt = await self._boards.around(view, sought, query.numbers[b"radius"])
            return _told(view, excerpt) if excerpt.ranked else None
        places = await self._boards.places(view, [sought])
        return standing_out(view, places) if places.placed else None

    def _caller(self, headers: list[tuple[bytes, bytes]]) -> Caller | None:
        token = None
        for name, value in headers:
            if name == b"authorization":
                token = value
            elif name in _LEFT_TO_THE_FRAMEWORK:
                return None
        return known_caller(self._keys, token, "read")


class _Query(msgspec.Struct, frozen=True):
    """The parameters of a query, all of them."""

    numbers: dict[bytes, int]
    part: str


def _what(rest: str) -> tuple[What | None, str]:
    """What is asked of the board, and about whom."""
    if not rest:
        return "top", ""
    what, _, member = rest.partition("/")
    if member and "/" not in member:
        if what == "around":
            return "around", member
        if what == "members":
            return "members", member
    return None, ""


@lru_cache(maxsize=QUERIES_KEPT_MAX)
def _parameters(what: What, query: bytes) -> _Query | None:
    """None for a query that is not entirely plain."""
    bounds = _NUMBERS[what]
    given: dict[bytes, bytes] = {}
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        if name in given:
            return None
        given[name] = value
    part = given.pop(b"part", None)
    period = given.pop(b"period", None)
    if (part is not None and not _PLAIN_TEXT.fullmatch(part)) or period not in {None, CURRENT.encode()}:
        return None
    numbers = {name: otherwise for name, (otherwise, _, _) in bounds.items()}
    for name, value in given.items():
        if name not in bounds or not _PLAIN_NUMBER.fullmatch(value):
            return None
        _, least, most = bounds[name]
        numbers[name] = int(value)
        if not least <= numbers[name] <= most:
            return None
    return _Query(numbers, part.decode() if part is not None else "")


def _told(view: View, excerpt: Excerpt) -> RankingOut:
    identity, board = view.published.identity, view.board
    names: dict[Any, str] = {each.member: name_of(identity, board, each.member, each.ref) for each in excerpt.ranked}
    return ranking_out(view, excerpt, names)
