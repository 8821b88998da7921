"""Who is merged into whom, as the calls of one batch see it one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.errors import InvalidInput, MemberErased
from rewards.features.segment.queries import FORWARDS_MAX, Standing
from rewards.pipeline.identity import Identity

_FORWARDS_MAX: Final = 2 * FORWARDS_MAX


class Merges:
    """Decides which merges the calls ask for. `standings` is what the database knew before the batch."""

    def __init__(self, identity: Identity, standings: Mapping[UUID, Standing]) -> None:
        self._identity = identity
        self._standings = dict(standings)

    def saw(self, member: MemberRef) -> None:
        """A call of this batch is about the member, so it will be there for the calls that follow."""
        self._standings.setdefault(self._identity.member(member), Standing(member, None))

    def on_identify(self, anonymous: MemberRef, user: MemberRef) -> MergeOut | None:
        """An identify that names both ids ties them: what the anonymous member has goes to the user.

        Nothing to merge where the anonymous member never did anything, or belongs to somebody already: on a shared
        device the first to sign in keeps what was earned before. Raises MemberErased.
        """
        standing = self._standings.get(self._identity.member(anonymous))
        if standing is None or standing.merged_into is not None:
            return None
        return self._merge(anonymous, user)

    def on_alias(self, previous_id: str, user: MemberRef) -> tuple[MemberRef, MergeOut]:
        """The member that goes, and the command for it. An anonymous member is made if there is none, so that what is
        still sent for it goes to the user. Raises InvalidInput when the two are one member, and MemberErased.
        """
        anonymous = MemberRef.parse(f"anon:{previous_id}")
        known = MemberRef.parse(f"user:{previous_id}")
        is_user = self._is_there(known) and not self._is_there(anonymous)
        previous = known if is_user else anonymous
        return previous, self._merge(previous, user)

    def _is_there(self, member: MemberRef) -> bool:
        return self._identity.member(member) in self._standings

    def _merge(self, previous: MemberRef, user: MemberRef) -> MergeOut:
        origin = self._identity.member(previous)
        into, into_id = self._end_of(user)
        if into_id == origin:
            raise InvalidInput(
                "The two ids are one member already.", path="previousId", expected="an id of another member"
            )
        standing = self._standings.get(origin)
        if standing is None or standing.merged_into is None:
            self._standings[origin] = Standing(previous, into_id)
            self._standings.setdefault(into_id, Standing(into, None))
        return MergeOut(into=into, into_id=into_id)

    def _end_of(self, member: MemberRef) -> tuple[MemberRef, UUID]:
        """The member that commands for `member` really reach: merging into that one keeps chains from growing."""
        identifier = self._identity.member(member)
        standing = self._standings.get(identifier)
        for _ in range(_FORWARDS_MAX):
            if standing is None or standing.merged_into is None:
                break
            identifier = standing.merged_into
            standing = self._standings.get(identifier)
        if standing is None:
            return member, identifier
        if standing.ref is None:
            raise MemberErased("The member to merge into was erased.")
        return standing.ref, identifier
