"""What the ledger can prove of the shared counters behind budgets.

A budget of points counts what its rule issues, in the same transaction. So a counter never shows more than the rule has
issued in its period; and where every published version has had the budget, it shows exactly that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Lifetime, period_key
from rewards.features.ledger.findings import Finding

INVARIANT: Final = "a budget counts what its rule issued"
BOUNDED: Final = "a budget is not overspent"
_PREFIX: Final = "rule:"


@dataclass(slots=True)
class Budgets:
    """Gathers, bucket by bucket, what rules with a budget of points have issued in each period.

    `before` are the counters (used, total) read before the first bucket, so that what they count is in the buckets.
    """

    zone: ZoneInfo
    before: Mapping[str, tuple[int, int]]
    always: frozenset[str]
    """`rule/points:currency/span` for budgets that every published version has had."""
    issued: dict[str, int] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """The sources of the transactions that the counters are about."""
        return sorted({_PREFIX + rule for rule, unit, _ in map(parts, self.before) if unit.startswith("points:")})

    def add(self, found: Iterable[Any]) -> None:
        """Rows (source, currency, quarter, amount) of one bucket."""
        for row in found:
            rule = row.source.removeprefix(_PREFIX)
            for span in (*Calendar, Lifetime.LIFETIME):
                key = f"{rule}/points:{row.currency}/{period_key(span, row.quarter, self.zone)}"
                if key in self.before:
                    self.issued[key] = self.issued.get(key, 0) + int(row.amount)

    def findings(self, after: Mapping[str, tuple[int, int]]) -> list[Finding]:
        """`after` are the counters read once all buckets were."""
        found = [
            Finding(BOUNDED, None, f"counter {key}", str(used), f"at most {total}")
            for key, (used, total) in after.items()
            if used > total
        ]
        for key, (used, _) in self.before.items():
            rule, unit, period = parts(key)
            if not unit.startswith("points:"):
                continue
            issued = self.issued.get(key, 0)
            if used > issued:
                found.append(Finding(INVARIANT, None, f"counter {key}", str(used), f"at most {issued}"))
            exact = f"{rule}/{unit}/{span_of(period)}" in self.always
            if exact and after.get(key, (0, 0))[0] < issued:
                found.append(Finding(INVARIANT, None, f"counter {key}", str(after.get(key, (0, 0))[0]), str(issued)))
        return found


def parts(key: str) -> tuple[str, str, str]:
    """The rule, the unit and the period of a counter's key."""
    rule, unit, period = key.split("/", 2)
    return rule, unit, period


def span_of(period: str) -> str:
    """`day` for `2026-11-21`, `week` for `2026-W47`, and so on: what `period_key` made it from."""
    if period == Lifetime.LIFETIME.value:
        return period
    if "W" in period:
        return Calendar.WEEK.value
    return (Calendar.YEAR, Calendar.MONTH, Calendar.DAY)[period.count("-")].value


def always_budgeted(documents: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The budgets of points that all these documents have in the same zone, on rules that pay in no other way."""
    common: frozenset[str] | None = None
    zones: set[str] = set()
    for document in documents:
        zones.add(str(document.get("program", {}).get("timezone", "UTC")))
        mine = frozenset(
            f"{rule['key']}/points:{rule['budget']['currency']}/{rule['budget'].get('per', 'lifetime')}"
            for rule in document.get("rules", ())
            if (rule.get("budget") or {}).get("currency") and not rule.get("otherwise")
        )
        common = mine if common is None else common & mine
    return common if common is not None and len(zones) == 1 else frozenset()
