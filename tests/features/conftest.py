"""The programs that the slices are tested with."""

from collections.abc import AsyncIterator

import pytest
from tests.features.bank import DOCUMENT, Bank
from tests.service import another, live, service_settings


@pytest.fixture(scope="session")
async def bank(migrated_url: str, redis_url: str) -> AsyncIterator[Bank]:
    """One program for all tests that leave its clock and its document alone."""
    async with live(service_settings(migrated_url, redis_url), DOCUMENT, kind="sandbox") as running:
        yield Bank(running)


@pytest.fixture
async def own_bank(bank: Bank) -> AsyncIterator[Bank]:
    """A program of the test's own, whose clock and document it may change; the service is that of all."""
    async with another(bank.live, DOCUMENT, kind="sandbox") as running:
        yield Bank(running)
