"""SIGKILL at every step of a batch and around the commit, while clients send, repeat and race the same events."""

import asyncio

import pytest
from tests.chaos.conftest import Chaos
from tests.chaos.doomed import STEPS, WAKING
from tests.chaos.harness import Ledger, Process, insist, repeated
from tests.service import EventFactory

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

MEMBERS = 8
EVENTS = 120
CLIENTS = 6


@pytest.mark.parametrize(
    "step", [*STEPS, *(f"{WAKING}{step}" for step in ("locked", "loaded", "written", "committed"))]
)
async def test_nothing_is_lost_or_paid_twice(chaos: Chaos, processes: list[Process], step: str) -> None:
    events = [
        EventFactory(type="played", member=f"member-{number % MEMBERS}", properties={"level": number})
        for number in range(EVENTS)
    ]
    process = processes[0]
    # The insertion of members happens in the first batches only; the other steps are reached again and again.
    process.start(step=step, times=1 if step == "inserted" or step.startswith(WAKING) else 5)
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
