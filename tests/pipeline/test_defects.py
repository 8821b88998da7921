"""A defect of the service met by one command leaves the other commands of its batch alone."""

from typing import Any

import pytest
from tests.service import EventFactory, Live

from rewards.domain.apply import apply
from rewards.domain.commands import Event
from rewards.pipeline import attempt


async def test_one_command_that_breaks_the_service_breaks_no_other(shop: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(program: Any, state: Any, command: Any, **how: Any) -> Any:
        if isinstance(command, Event) and command.client_id == "poison":
            raise ZeroDivisionError
        return apply(program, state, command, **how)

    monkeypatch.setattr(attempt, "apply", defective)
    events = [EventFactory(member=f"beside-{number}") for number in range(3)]
    events[1]["id"] = "poison"
    answer = await shop.client.post("/v1/events/batch", json={"events": events})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["processed", "rejected", "processed"]
    assert results[1]["error"]["type"] == "urn:rewards:problem:internal-error"
    assert [await shop.balance(f"beside-{number}") for number in range(3)] == [5, 0, 5]
