"""The member's compact document: msgpack in one column, versioned, at most `STATE_BYTES_MAX`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from rewards.domain.play.metric_upkeep import METRICS_BYTES_MAX, bounded
from rewards.domain.program.compiled import Metric
from rewards.domain.state import STATE_VERSION, MemberState

STATE_BYTES_MAX: Final = 65_536
METRICS_BYTES_MIN: Final = 8 * 1_024
"""What metrics keep, whatever else takes the room."""

log = structlog.get_logger("rewards.pipeline")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_UPGRADES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""From a version to the next. A document is upgraded when it is read and stored anew when the member next changes."""


def encode_state(state: MemberState, metrics: Iterable[Metric]) -> bytes:
    """The document. Past the bound the largest of `metrics` lose what is oldest in them, until it fits."""
    document: dict[str, Any] = {"v": STATE_VERSION, "m": state.metrics, "l": state.limits, "s": state.segments}
    if state.play:
        document["p"] = state.play
        document["t"] = state.play_terms
    if state.wake_at is not None:
        document["w"] = int(state.wake_at.timestamp())
    if state.absorbed:
        document["a"] = [member.bytes for member in state.absorbed]
    encoded = _encode(document)
    if len(encoded) > STATE_BYTES_MAX:
        log.warning("member_state_cut", member=str(state.id), size_bytes=len(encoded))
        left = STATE_BYTES_MAX - (len(encoded) - len(_encode(state.metrics)))
        document["m"] = bounded(state.metrics, metrics, bytes_max=max(METRICS_BYTES_MIN, min(METRICS_BYTES_MAX, left)))
        encoded = _encode(document)
    return encoded


def decode_state(encoded: bytes, into: MemberState) -> None:
    """Fills `metrics`, `limits`, `segments`, `play` with its terms, `wake_at` and `absorbed` of a member just loaded."""
    document = _decode(encoded)
    while document["v"] < STATE_VERSION:
        document = _UPGRADES[document["v"]](document)
    into.metrics = document.get("m", {})
    into.limits = document.get("l", {})
    into.segments = tuple(document.get("s", ()))
    wake = document.get("w")
    into.play = document.get("p", {})
    into.play_terms = document.get("t")
    into.wake_at = datetime.fromtimestamp(wake, UTC) if wake is not None else None
    into.absorbed = tuple(UUID(bytes=member) for member in document.get("a", ()))
