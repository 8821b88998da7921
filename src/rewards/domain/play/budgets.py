"""Budgets: what a rule may give away over all members, kept as shared counters, one per rule and period of the
program's zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from rewards.domain.periods import Rolling, period_key
from rewards.domain.program.compiled import Budget

Counters: TypeAlias = Mapping[str, int]
"""What is used of each shared counter, by `counter_key`; a counter that is absent is unused."""


def counter_key(rule_key: str, budget: Budget, at: datetime, zone: ZoneInfo) -> str:
    """The counter that a firing at `at` draws on: `audio_interest/points:coins/2026-11`, `welcome/money/lifetime`.

    The total is no part of it: a version that raises the total goes on counting. Raises ValueError for a rolling
    budget, which a shared counter cannot keep exactly (`check` refuses it).
    """
    if isinstance(budget.per, Rolling):
        raise ValueError(  # noqa: TRY004 - the value is out of range, not of a wrong type
            f"rule {rule_key}: a budget is per calendar period or lifetime"
        )
    unit = budget.unit.value if budget.currency is None else f"{budget.unit.value}:{budget.currency}"
    return f"{rule_key}/{unit}/{period_key(budget.per, at, zone)}"


def remaining(budget: Budget, counters: Counters, key: str) -> int:
    """What may still be given out, in the budget's unit; 0 also when a version lowered the total below what is used."""
    return max(0, budget.total - counters.get(key, 0))
