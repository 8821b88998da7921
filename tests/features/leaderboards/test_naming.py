"""What members are called before others."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.ids import keyed_hash
from rewards.features.leaderboards.naming import ADJECTIVES, ANIMALS, NUMBERS, pseudonym
from rewards.pipeline.identity import Identity


@given(secret=st.binary(min_size=32, max_size=32), member=st.uuids())
def test_a_pseudonym_is_that_of_a_keyed_hash(secret: bytes, member: UUID) -> None:
    """However it is computed: a member keeps its name for good."""
    number = int.from_bytes(keyed_hash(secret, b"pseudonym", member.bytes)[:8], "big")
    adjective = ADJECTIVES[number % len(ADJECTIVES)]
    number //= len(ADJECTIVES)
    animal = ANIMALS[number % len(ANIMALS)]
    number //= len(ANIMALS)
    assert pseudonym(Identity(secret), member) == f"{adjective} {animal} {number % NUMBERS:04}"
