"""Moments as they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from rewards.domain.periods import rfc3339

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOON, "2026-11-21T12:00:00Z"),
        (NOON.replace(microsecond=1500), "2026-11-21T12:00:00.001500Z"),
        (NOON.astimezone(ZoneInfo("Asia/Kathmandu")), "2026-11-21T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=-3))), "2026-11-21T12:00:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_z(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written
    assert datetime.fromisoformat(written) == moment
