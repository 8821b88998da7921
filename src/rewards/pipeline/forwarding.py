"""Where commands go after merges: a → b → c means that what is sent to a is c's.

Merges are never undone, so a path that was read without a lock stays true; only its end may move on, and it is locked
before anything is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.errors import MemberErased
from rewards.domain.periods import rfc3339
from rewards.domain.state import MemberState
from rewards.pipeline import queries
from rewards.pipeline.load import rows


async def paths(connection: AsyncConnection, program_id: int, members: Iterable[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """For each member the ids from itself to the one that it has become, which is the last."""
    found: dict[UUID, tuple[UUID, ...]] = {}
    for row in await rows(connection, queries.PATHS, program_id, list(members)):
        found[row.origin] = (*found.get(row.origin, ()), row.member_id)
    return found


def settled(merge: MergeOut, state: MemberState, states: Mapping[UUID, MemberState]) -> MergeOut:
    """The merge into the member that `into` has become, so that members never go round in circles.

    Repeating a merge stays the same merge after the one merged into went on itself. `states` holds the whole of both paths.
    Raises `MemberErased`.
    """
    if merge.into_id == state.id:
        return merge  # into itself: a mistake, also after the member went elsewhere
    end = _end(states[merge.into_id], states)
    if state.merged_into is not None and _end(state, states).id == end.id:
        return replace(merge, into_id=state.merged_into)
    if end.erased_at is not None:
        raise MemberErased("the member to merge into was erased", since=rfc3339(end.erased_at))
    return MergeOut(MemberRef(end.kind, end.external_id), end.id)


def _end(state: MemberState, states: Mapping[UUID, MemberState]) -> MemberState:
    while state.merged_into is not None:
        state = states[state.merged_into]
    return state
