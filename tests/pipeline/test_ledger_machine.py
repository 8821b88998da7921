"""The service on PostgreSQL against the naive model of the ledger, step by step and with everything verified at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.domain.ledger.machine import LedgerMachine
from tests.domain.ledger.model import CURRENCIES, LedgerPort
from tests.pipeline.ledger_service import ServiceLedger, ServiceThread
from tests.service import create_database, service_settings


class ServiceMachine(LedgerMachine):
    """`earn` as a command books as of now, and takes no points that expire before they mature: other tests see to those."""

    late_hours = (0,)
    thread: ClassVar[ServiceThread]

    def port(self, *, eager: bool, batching: bool) -> LedgerPort:
        self.service_ledger = ServiceLedger(self.thread, repeating=eager, together=batching)
        return self.service_ledger

    def _earn(
        self,
        key: str,
        amount: int,
        *,
        hold: timedelta | None = None,
        until_matured: bool = False,
        lasts: int | None = None,
        **more: Any,
    ) -> None:
        waits = CURRENCIES[key].hold if hold is None else hold
        if waits and not until_matured and lasts is not None and timedelta(hours=lasts) <= waits:
            lasts = None
        super()._earn(key, amount, hold=hold, until_matured=until_matured, lasts=lasts, **more)

    def teardown(self) -> None:
        if hasattr(self, "service_ledger"):
            assert self.service_ledger.swept() == []


@pytest.fixture(scope="module")
async def machine_url(database_url: str) -> str:
    return await create_database(database_url, "ledger_machine")


@pytest.fixture
def machine(machine_url: str, redis_url: str) -> Iterator[type[ServiceMachine]]:
    with ServiceThread(service_settings(machine_url, redis_url)) as thread:
        ServiceMachine.thread = thread
        yield ServiceMachine


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(4, 25),
        pytest.param(40, 50, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
    ],
)
def test_the_service_agrees_with_the_model(machine: type[ServiceMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
