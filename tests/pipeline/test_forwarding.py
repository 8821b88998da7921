"""Where a merge leads, once both members may have been merged themselves."""

from __future__ import annotations

from uuid import UUID

import pytest

from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.state import MemberState
from rewards.pipeline.forwarding import settled

NAMES = "abc"
IDS = {name: UUID(int=number) for number, name in enumerate(NAMES, start=1)}


def states(merged: str) -> dict[UUID, MemberState]:
    """From `ab bc`: a was merged into b, b into c."""
    into = {IDS[pair[0]]: IDS[pair[1]] for pair in merged.split()}
    return {
        identifier: MemberState(identifier, 0, "user", name, merged_into=into.get(identifier))
        for name, identifier in IDS.items()
    }


@pytest.mark.parametrize(
    ("merged", "asked", "leads_to"),
    [
        ("", "ab", "b"),
        ("bc", "ab", "c"),  # b is c by now
        ("ab", "ab", "b"),  # once more
        ("ab bc", "ab", "b"),  # once more, after b went on
        ("", "aa", "a"),  # itself, which is refused
        ("ab", "aa", "a"),  # also after it went elsewhere
        ("ba", "ab", "a"),  # b is a by now: itself
    ],
)
def test_a_merge_leads_to_what_the_other_has_become(merged: str, asked: str, leads_to: str) -> None:
    known = states(merged)
    source, target = IDS[asked[0]], IDS[asked[1]]
    merge = MergeOut(MemberRef("user", asked[1]), target)
    assert settled(merge, known[source], known).into_id == IDS[leads_to]
