"""The member's document: what was put in comes out, and it stays within its bound whatever it is that takes the room."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import pytest

from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import Metric
from rewards.domain.state import MemberState
from rewards.pipeline.codec import STATE_BYTES_MAX, decode_state, encode_state

DOCUMENT: Final = b"""
rewards: 1
program: {key: codec}
events: {viewed: {properties: {product: string}}}
metrics:
  kinds: {distinct: viewed, value: event.product}
  views: {count: viewed, by: event.product}
"""
ADA: Final = UUID(int=0xADA)


def counted(metrics: dict[str, Metric]) -> dict[str, Any]:
    """Metrics of about 35 KB, less than what they may take by themselves."""
    hashes = [2**40 + number for number in range(1_000)]
    split = {f"{number:03}" + "x" * 120: [1_700_000_000, 1] for number in range(200)}
    return {metrics["kinds"].id: hashes, metrics["views"].id: split}


@pytest.mark.parametrize("others_bytes", [0, 20_000, 35_000, 50_000])
def test_the_document_stays_within_its_bound(others_bytes: int) -> None:
    report = check_bytes(DOCUMENT)
    assert report.document is not None, report.errors
    metrics = compile_program(report.document, version=1).metrics
    state = MemberState(ADA, 0, "user", "ada", metrics=counted(dict(metrics)))
    state.play = {"quests": {"q": "x" * others_bytes}}
    encoded = encode_state(state, metrics.values())
    assert len(encoded) <= STATE_BYTES_MAX
    read = MemberState(ADA, 0, "user", "ada")
    decode_state(encoded, read)
    assert read.play == state.play
    assert (read.metrics == state.metrics) == (others_bytes <= 20_000)
    assert read.metrics
