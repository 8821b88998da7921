"""The ledger in memory against the model."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from tests.domain.ledger.machine import LedgerMachine
from tests.domain.ledger.memory import MemoryLedger
from tests.domain.ledger.model import LedgerPort


class MemoryMachine(LedgerMachine):
    def port(self, *, eager: bool, batching: bool) -> LedgerPort:
        return MemoryLedger(eager=eager, batching=batching)


class LongMachine(MemoryMachine):
    """The same, as far as patience reaches."""


TestLedger = MemoryMachine.TestCase
TestLedger.settings = settings(
    max_examples=30, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

TestLedgerAtLength = pytest.mark.slow(pytest.mark.timeout(900)(LongMachine.TestCase))
TestLedgerAtLength.settings = settings(
    max_examples=500, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
