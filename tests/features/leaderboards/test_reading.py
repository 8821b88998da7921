"""Boards over HTTP: top, page, around, one member, among friends; as the app's server and as customers see them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.features.leaderboards.boards import Boards


async def fill(boards: Boards) -> None:
    """Ada 9, bob 7, cem 7 (later than bob), dan 7 (later still), eve 2."""
    for member, points in (("bob", 7), ("ada", 9), ("cem", 7), ("dan", 7), ("eve", 2)):
        await boards.score(member, points)
    await boards.project()


@pytest.mark.parametrize(
    ("board", "query", "expected"),
    [
        ("shared", {"limit": 2}, [(1, "ada", 9), (2, "bob", 7)]),
        ("shared", {"limit": 3, "offset": 2}, [(2, "cem", 7), (2, "dan", 7), (5, "eve", 2)]),
        ("first", {"limit": 3, "offset": 1}, [(2, "bob", 7), (3, "cem", 7), (4, "dan", 7)]),
        ("first", {"offset": 5}, []),
        ("weekly", {"limit": 1}, [(1, "bob", 1)]),
    ],
)
async def test_a_page(boards: Boards, board: str, query: dict[str, Any], expected: list[Any]) -> None:
    await fill(boards)
    assert await boards.places(f"/{board}", **query) == expected
    body = await boards.get(f"/{board}", **query)
    assert (body["total"], body["stale"], body["part"]) == (5, False, "")
