"""SIGKILL at every step of a batch, of projecting boards and of folding their marks, while clients send, repeat and race
the same events."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from tests.chaos.conftest import PATIENCE_SECONDS, Chaos
from tests.chaos.doomed import FEW_AT_ONCE, FEW_MARKS, FOLDING_STEPS, PROJECTING_STEPS, STEPS, WAKING
from tests.chaos.harness import Ledger, Process, insist, repeated
from tests.service import EventFactory

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

MEMBERS = 8
EVENTS = 120
CLIENTS = 6


@pytest.mark.parametrize("step", STEPS)
async def test_nothing_is_lost_or_paid_twice(chaos: Chaos, processes: list[Process], step: str) -> None:
    events = [
        EventFactory(type="played", member=f"member-{number % MEMBERS}", properties={"level": number})
        for number in range(EVENTS)
    ]
    process = processes[0]
    process.start(step=step, times=1 if step.startswith(WAKING) else 5)
    await process.ready()
    told = Ledger()
    clients = [
        asyncio.create_task(insist([process.url], chaos.server_key, mine, told)) for mine in repeated(events, CLIENTS)
    ]
    await process.died()
    process.start()
    await process.ready()
    await asyncio.gather(*clients)
    await chaos.check(told, events)


# Most members play in the beginning or in the end only: a change that is lost is not made good by the next one.
PLAYERS = 80


@pytest.mark.parametrize("step", PROJECTING_STEPS)
async def test_boards_are_right_after_a_projector_died(chaos: Chaos, processes: list[Process], step: str) -> None:
    events = [
        EventFactory(type="played", member=f"member-{number * PLAYERS // 240}", properties={"level": number})
        for number in range(240)
    ]
    process = processes[0]
    process.start(step=step, times=8)
    await process.ready()
    told = Ledger()
    clients = [
        asyncio.create_task(insist([process.url], chaos.server_key, mine, told)) for mine in repeated(events, CLIENTS)
    ]
    await process.died()
    if step != "cleared":  # then there may be others by now
        assert await chaos.marks() > 0, "what was not cleared is marked"
    process.start()
    await process.ready()
    await asyncio.gather(*clients)
    await _projected(chaos)
    assert await _board(chaos, process) == Counter(event["member"] for event in events)


UNREACHABLE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("step", "times"),
    [
        *((step, 1) for step in FOLDING_STEPS),
        *((step, 2) for step in ("folding-executed", "folding-committed", "filled")),
    ],
)
async def test_boards_are_right_after_one_died_that_folded_marks(
    chaos: Chaos, processes: list[Process], step: str, times: int
) -> None:
    """Of a board that Valkey holds whole: nothing but the marks tells that it is not as it should be."""

    def plays(members: str, count: int) -> list[dict[str, Any]]:
        return [EventFactory(type="played", member=f"{members}-{number % 10}") for number in range(count)]

    process, without_valkey = processes[0], Process({**chaos.environment, "REWARDS_REDIS_URL": UNREACHABLE})
    processes.append(without_valkey)
    told = Ledger()
    process.start()
    await process.ready()
    shown = [*plays("early", 20), *plays("both", 10)]
    await insist([process.url], chaos.server_key, shown, told)
    await _projected(chaos)
    assert await _board(chaos, process) == Counter(event["member"] for event in shown)
    process.stop()

    without_valkey.start()
    await without_valkey.ready()
    marked = [*plays("both", 10), *plays("absent", 10)]
    await insist([without_valkey.url], chaos.server_key, marked, told)
    without_valkey.stop()
    assert await chaos.marks() > FEW_MARKS + 3 * FEW_AT_ONCE

    process.start(step=step, times=times)
    await process.ready()
    late = plays("late", 40)
    client = asyncio.create_task(insist([process.url], chaos.server_key, late, told))
    await process.died()
    if step != "done":  # then there may be others by now
        assert await chaos.marks() > 0, "what was not built is marked"
    process.start()
    await process.ready()
    await client
    await _projected(chaos)
    assert await _board(chaos, process) == Counter(event["member"] for event in [*shown, *marked, *late])


async def _board(chaos: Chaos, process: Process) -> dict[str, Any]:
    """The score of every member who is on the board."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {chaos.server_key}"}) as client:
        answer = await client.get(f"{process.url}/v1/leaderboards/players", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return {entry["member"]: entry["score"] for entry in answer.json()["entries"]}


async def _projected(chaos: Chaos) -> None:
    """Until every mark is cleared."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await chaos.marks():  # noqa: ASYNC110 - what is waited for is the work of another process
            await asyncio.sleep(0.05)
