"""What a command did to its member, as plain values that travel on the wire, in traces and in document tests."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Effect: TypeAlias = dict[str, Any]
"""One effect as JSON: always `type` (`earn`, `spend`, `reverse`, `mature`, `set`, `event`, `segment`, …) and, where a rule
caused it, `rule`. Ledger effects carry `currency`, `amount` and `transaction` (its id as text)."""

EFFECTS_MAX: Final = 100
"""How many effects one event may have. A rule whose actions would pass it does not fire, nor do internal events after it;
what one action takes back or matures, and the segments that follow, are never cut."""
