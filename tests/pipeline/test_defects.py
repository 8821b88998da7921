"""A defect of the service met by one command leaves the other commands of its batch alone."""

from typing import Any

import pytest
from tests.service import EventFactory, Live

from rewards.domain.apply import apply
from rewards.domain.commands import Event, MemberRef
from rewards.pipeline import attempt
from rewards.pipeline.attempt import InternalError
from rewards.pipeline.dry_run import dry_run_all
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.submission import Receipt


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of this id breaks the service."""

    def defective(program: Any, state: Any, command: Any, **how: Any) -> Any:
        if isinstance(command, Event) and command.client_id == "poison":
            raise ZeroDivisionError
        return apply(program, state, command, **how)

    monkeypatch.setattr(attempt, "apply", defective)


async def test_one_command_that_breaks_the_service_breaks_no_other(shop: Live) -> None:
    events = [EventFactory(member=f"beside-{number}") for number in range(3)]
    events[1]["id"] = "poison"
    answer = await shop.client.post("/v1/events/batch", json={"events": events})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["processed", "rejected", "processed"]
    assert results[1]["error"]["type"] == "urn:rewards:problem:internal-error"
    assert [await shop.balance(f"beside-{number}") for number in range(3)] == [5, 0, 5]


async def test_nor_where_all_are_only_tried(shop: Live) -> None:
    """What is tried is read from one snapshot, so what breaks is told of the command that broke, and not begun anew."""
    service, events = shop.service, [Event(name, "product_viewed") for name in ("sound", "poison")]
    published = await service.programs.get(shop.program_id)
    items = [
        submission(published, Addressed(MemberRef.parse("tried"), event, event.client_id, {}, "tests"))
        for event in events
    ]
    tried = await dry_run_all(service.engine, service.programs, shop.program_id, items)
    assert [type(each) for each in tried] == [Receipt, InternalError]
