"""Which tier a member holds, or held: read from what is remembered, without deciding anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rewards.domain.periods import epoch_micros
from rewards.domain.program.tier import Ladder, Level

MECHANIC: Final = "tiers"
LADDER: Final = "ladder"
"""The one key under which the mechanic remembers."""
CONTRIBUTED: Final = f"{MECHANIC}:{LADDER}"
"""How an event says what it contributed to the qualification: the metric's own entry is taken out by others."""
PAST: Final = "past"
FILLED_IN: Final = f"{MECHANIC}:{PAST}"
"""As `CONTRIBUTED`, of an event that was recorded before it could say so, and counted when the metric was filled in."""


def rank_at(ladder: Ladder, play: Mapping[str, Mapping[str, Any]], at: datetime) -> int:
    """The rank held at a moment, as far back as is remembered; before that, everybody's."""
    memory = play.get(MECHANIC, {}).get(LADDER)
    if memory is not None:
        micros = epoch_micros(at)
        for since, rank in reversed(memory["history"]):
            if since <= micros:
                return min(int(rank), len(ladder.levels))
    return ladder.lowest


def tier_at(ladder: Ladder, play: Mapping[str, Mapping[str, Any]], at: datetime) -> Level | None:
    """The tier held at a moment; None before any."""
    return ladder.level(rank_at(ladder, play, at))
