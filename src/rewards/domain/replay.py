"""Commands applied to members in memory, named as callers name them: what document tests run on.

Nothing is read or written outside; the same commands at the same moments give the same outcomes, ids included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from rewards.domain.commands import Command, Event, MemberRef, SentBy
from rewards.domain.errors import IdentityConflict, Refusal, RewardsError
from rewards.domain.ids import member_id
from rewards.domain.ledger.upkeep import project
from rewards.domain.memory import Heard, Member, Members
from rewards.domain.outcome import Outcome, Status
from rewards.domain.program.compiled import Program

Result: TypeAlias = Outcome | RewardsError

_KEY: Final = b"replay"
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def replay_id(ref: MemberRef) -> UUID:
    """The id of a member where no program's own key is at hand."""
    return member_id(_KEY, ref.kind, ref.external_id)


@dataclass(frozen=True, slots=True)
class _Seen:
    content: tuple[Any, ...]
    result: Outcome | Refusal


class Replay:
    """A program at work on members that exist only here.

    `identify` gives member ids; `heard` is told of every decision, also of those that silence and merges bring.
    """

    def __init__(
        self, program: Program, *, identify: Callable[[MemberRef], UUID] = replay_id, heard: Heard | None = None
    ) -> None:
        self.program = program
        self.members = Members(program, heard=heard)
        self.now = _BEGINNING
        self._identify = identify
        self._seen: dict[tuple[UUID, SentBy, str], _Seen] = {}

    def submit(self, member: str, command: Command, at: datetime, *, actor: str = "system") -> Result:
        """Decides one command at `at`, after what silence brings until then. A refusal is returned, not raised.

        An event seen before answers as the first time, with the status `duplicate`; with other content it is an
        `IdentityConflict`. Time never runs backwards: an earlier `at` counts as the latest one so far.
        """
        self.advance(at)
        try:
            ref = MemberRef.parse(member)
        except RewardsError as error:
            return error
        identifier = self._identify(ref)
        if not isinstance(command, Event) or command.replay:
            return self._decided(identifier, ref, command, actor)
        key = (identifier, command.sent_by, command.client_id)
        content = (command.type, command.occurred_at, dict(command.properties))
        seen = self._seen.get(key)
        if seen is not None:
            return _again(seen, content)
        result = self._decided(identifier, ref, command, actor)
        if isinstance(result, Outcome | Refusal):
            self._seen[key] = _Seen(content, result)
        return result

    def _decided(self, identifier: UUID, ref: MemberRef, command: Command, actor: str) -> Result:
        try:
            return self.members.decide(self.members.member(identifier, ref), command, self.now, actor=actor)
        except RewardsError as error:
            return error

    def advance(self, until: datetime) -> None:
        """Lets time pass: members whom silence moves are decided anew, each at its moment."""
        if until > self.now:
            self.members.advance(until)
            self.now = until

    def member(self, member: str) -> Member:
        """What is kept of a member, or of the one it was merged into; an empty one if nothing happened to it."""
        ref = MemberRef.parse(member)
        found = self.members.member(self._identify(ref), ref)
        while found.state.merged_into is not None:
            found = self.members.member(found.state.merged_into, ref)
        return found

    def balances(self, member: str) -> dict[str, dict[str, int]]:
        """The four buckets of every currency as of now, with all that has matured or expired."""
        state = self.member(member).load(self.now, complete=True)
        due = project(state.wallet, self.program.currencies, self.program.zone, self.now)
        nothing = {"available": 0, "pending": 0, "held": 0, "debt": 0}
        return {
            currency: {bucket: getattr(due[currency], bucket) for bucket in nothing} if currency in due else nothing
            for currency in self.program.currencies
        }


def _again(seen: _Seen, content: tuple[Any, ...]) -> Result:
    if seen.content != content:
        return IdentityConflict(
            "this event id was used before with other content; nothing was changed. Another event needs another id"
        )
    if isinstance(seen.result, Refusal):
        return seen.result
    first = seen.result
    return replace(
        first,
        status=Status.DUPLICATE,
        answer={**first.answer, "status": Status.DUPLICATE.value},
        transactions=[],
        accounts={},
        lots={},
        holds={},
        reversed={},
        reservations=[],
        legs=[],
        wake_at=None,
    )
