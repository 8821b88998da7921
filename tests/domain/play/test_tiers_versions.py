"""Versions of a ladder published in any order, at any moment: nobody hangs, and nobody holds less than is earned right now."""

from datetime import timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play.test_tiers import ADA, World, moment, program
from tests.properties import explored

from rewards.domain.periods import epoch_micros
from rewards.domain.play.tier_standing import Reading
from rewards.domain.program.compiled import Program

LEVELS: Final = (
    "silver: {at: 500}; gold: {at: 1000}",
    "silver: {at: 300}; top: {at: 700}; gold: {at: 900}",
    "gold: {at: 1}",
)
TERMS: Final = [
    *(f"per: 30d{more}" for more in ("", "; grace: 2d", "; grace: 20d; downgrade: one_level", "; downgrade: never")),
    *(f"per: month{more}" for more in ("", "; grace: 10d; downgrade: one_level", "; downgrade: never")),
    *("per: 60d", "per: year", "per: lifetime"),
]
VERSIONS: Final = [program(terms, levels=levels) for terms in TERMS for levels in LEVELS]
PUBLISHED = st.sampled_from(VERSIONS)
WAITED = st.sampled_from([1, 30, 24 * 9, 24 * 33, 24 * 70]).map(lambda hours: timedelta(hours=hours))
ORDERED = st.integers(1, 900)


def _is_enough(world: World) -> bool:
    ladder = world.members.program.tiers
    assert ladder is not None
    state = world.member(ADA).state
    reading = Reading(ladder, state.metrics.get(ladder.metric.id), world.members.program.zone)
    earned = ladder.level(ladder.rank_of(reading.at(epoch_micros(world.now))))
    held = next((level for level in ladder.levels if level.key == world.held()), None)
    return earned is None or (held is not None and held.rank >= earned.rank)


@explored(
    given(PUBLISHED, st.lists(st.one_of(PUBLISHED, WAITED, ORDERED), min_size=2, max_size=20)), few=100, at_length=1_000
)
def test_whatever_is_published_meanwhile(first: Program, steps: list[Program | timedelta | int]) -> None:
    world = World(first)
    world.at(moment("2026-01-10"))
    for number, step in enumerate(steps):
        if isinstance(step, Program):
            world.members.program = step
        elif isinstance(step, timedelta):
            world.at(world.now + step)
        else:
            world.happen("ordered", world.now, id=f"o{number}", total=step)
            assert _is_enough(world)
