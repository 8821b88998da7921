"""`rewards leaderboards`: boards are built again from PostgreSQL, and every entry can be compared with its score."""

from __future__ import annotations

import json
from typing import Any

from tests.command import Done, rewards
from tests.features.leaderboards.boards import Boards
from tests.service import another

from rewards.features.leaderboards.boards import board_id
from rewards.features.leaderboards.ranking import SetId


async def command(boards: Boards, *arguments: str) -> Done:
    settings = boards.live.service.settings
    rewards_here = rewards(settings.database_url.get_secret_value(), settings.redis_url.get_secret_value())
    return await rewards_here("leaderboards", *arguments, "--program", boards.live.program_key)


async def set_of(boards: Boards, key: str) -> SetId:
    published = await boards.live.service.programs.get(boards.live.program_id)
    assert published.program.boards is not None
    return SetId(board_id(published, published.program.boards.by_key[key]), "all_time")


async def test_a_board_is_verified_and_rebuilt(boards: Boards) -> None:
    valkey = boards.live.service.valkey
    for member, points in (("ada", 5), ("bob", 3), ("cem", 4)):
        await boards.score(member, points)
    await boards.project()
    sound = await command(boards, "verify", "--board", "shared")
    assert (sound.returncode, sound.stdout, sound.stderr) == (0, "shared: 3 entries agree.\n", "")

    of = await set_of(boards, "shared")
    entries: Any = await valkey.zrange(of.entries, 0, -1)
    await valkey.zincrby(of.entries, 1, entries[0])  # a wrong score
    moment, stranger, name = b"\x00" * 8, b"s" * 16, b"user:nobody"
    await valkey.zadd(of.entries, {moment + stranger + name: -9.0})
    await valkey.hset(of.members, stranger, moment + name)
    wrong = await command(boards, "verify", "--board", "shared", "--json")
    assert (wrong.returncode, wrong.stderr.strip()) == (1, "")
    found = json.loads(wrong.stdout)["shared"]
    assert found["members"] == 3
    assert {(each["found"], each["expected"]) for each in found["differences"]} == {(4.0, 5.0), (9.0, None)}

    rebuilt = await command(boards, "rebuild", "--board", "shared")
    assert (rebuilt.returncode, rebuilt.stdout) == (0, "shared: 3 entries\n"), rebuilt.stderr
    assert await boards.places("/shared") == [(1, "ada", 5), (2, "cem", 4), (3, "bob", 3)]
    assert (await command(boards, "verify")).returncode == 0


async def test_a_program_without_boards_says_so(boards: Boards) -> None:
    async with another(boards.live, "rewards: 1\nprogram: {key: bare, timezone: UTC}\n") as bare:
        for action in ("verify", "rebuild"):
            answer = await command(Boards(bare), action)
            assert (answer.returncode, answer.stdout, answer.stderr) == (0, "The program has no leaderboards.\n", "")


async def test_what_is_not_projected_yet_is_no_difference(boards: Boards) -> None:
    await boards.score("ada", 5)
    await boards.project()
    await boards.score("ada", 2)
    await boards.score("bob", 1)
    answer = await command(boards, "verify", "--board", "shared")
    assert answer.returncode == 0, answer.stdout


async def test_a_board_that_is_not_there_is_named(boards: Boards) -> None:
    for action in ("rebuild", "verify"):
        answer = await command(boards, action, "--board", "slowest")
        assert answer.returncode == 1
        assert "no leaderboard `slowest`; it has cities, fastest, first, shared, weekly" in answer.stderr
