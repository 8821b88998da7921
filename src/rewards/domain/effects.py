"""What a command did to its member, as plain values that travel on the wire, in traces and in document tests."""

from __future__ import annotations

from typing import Any, TypeAlias

Effect: TypeAlias = dict[str, Any]
"""One effect as JSON: always `type` (`earn`, `spend`, `reverse`, `mature`, `set`, `event`, `segment`, …) and, where a rule
caused it, `rule`. Ledger effects carry `currency`, `amount` and `transaction` (its id as text)."""
