"""The programs that the slices are tested with."""

from collections.abc import AsyncIterator

import pytest
from tests.features.bank import DOCUMENT, Bank
from tests.service import Live, another


@pytest.fixture(scope="session")
async def bank(shared_service: Live) -> AsyncIterator[Bank]:
    """One program for all tests that leave its clock and its document alone."""
    async with another(shared_service, DOCUMENT, kind="sandbox") as running:
        yield Bank(running)


@pytest.fixture
async def own_bank(bank: Bank) -> AsyncIterator[Bank]:
    """A program of the test's own, whose clock and document it may change; the service is that of all."""
    async with another(bank.live, DOCUMENT, kind="sandbox") as running:
        yield Bank(running)
