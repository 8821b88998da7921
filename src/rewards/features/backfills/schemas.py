"""What backfills look like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from rewards.features.backfills.runs import Named
from rewards.features.backfills.starting import Wish

Key = Annotated[str, msgspec.Meta(max_length=64)]


class NewBackfill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`metrics`: which to fill in; by default those that the version before did not have. An empty list only decides badges
    and tiers anew. `announce`: whether members hear of what they achieve by it, and rules of internal events do. `rewards`:
    whether it is rewarded; by default what is announced is."""

    metrics: Annotated[list[Key], msgspec.Meta(max_length=100)] | None = None
    announce: bool = True
    rewards: bool | None = None

    def wish(self) -> Wish:
        metrics = None if self.metrics is None else tuple(self.metrics)
        return Wish(metrics, self.announce, self.announce if self.rewards is None else self.rewards)


class BackfillOut(msgspec.Struct, frozen=True):
    """`members_total` counts the members that there were when it began; new ones are seen to as well. `members_changed`: those
    who had recorded events to count. `achieved`: badges' levels and tiers that members have by it."""

    id: UUID
    state: Literal["running", "done", "cancelled"]
    version: int
    metrics: list[str]
    announce: bool
    rewards: bool
    started_at: datetime
    members_total: int
    members_done: int
    members_failed: int
    members_changed: int
    achieved: int
    finished_at: datetime | None = None


class BackfillsOut(msgspec.Struct, frozen=True):
    """The newest first."""

    items: list[BackfillOut]


def backfill_out(found: Named) -> BackfillOut:
    run = found.run
    return BackfillOut(
        found.id,
        run.state,
        run.version,
        sorted(run.metrics),
        run.announce,
        run.rewards,
        run.started_at,
        max(run.members, run.done),
        run.done,
        run.failed,
        run.changed,
        run.achieved,
        run.finished_at,
    )
