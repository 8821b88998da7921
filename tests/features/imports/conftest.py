"""The command line on the database of these tests."""

import pytest
from tests.command import Command, rewards


@pytest.fixture
def command(migrated_url: str, redis_url: str) -> Command:
    return rewards(migrated_url, redis_url)
