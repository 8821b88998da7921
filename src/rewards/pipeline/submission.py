"""A command on its way: who, what, and the identity that makes it happen once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from rewards.domain.commands import Command, MemberRef
from rewards.domain.errors import Refusal, RewardsError
from rewards.domain.ids import bucket_of
from rewards.domain.outcome import Outcome, Status


@dataclass(slots=True, eq=False)
class Submission:
    """`member_id` is the member as sent; `target` the one it has become by merges, once known, and `passed` those between.

    `key` and `fingerprint` identify the command; without a key it is never a duplicate (wake-ups and jobs).
    `due` is the key of the `due` row that this command settles, deleted in the same transaction.
    """

    program_id: int
    ref: MemberRef
    member_id: UUID
    key: UUID | None
    fingerprint: bytes
    command: Command
    actor: str = "system"
    due: UUID | None = None
    target: UUID | None = None
    passed: tuple[UUID, ...] = ()
    lots_needed: bool = False

    @property
    def row_id(self) -> UUID:
        """The member whose row is locked."""
        return self.target or self.member_id

    def forward(self, path: tuple[UUID, ...]) -> None:
        """Sends the command to the end of a path of merges; the path begins at the row that it was for."""
        self.passed = (*self.passed, *path[:-1])
        self.target = path[-1]

    @property
    def bucket(self) -> int:
        return bucket_of(self.row_id)


@dataclass(slots=True)
class Receipt:
    """The durable answer to one command. `replayed` marks the stored answer of an earlier one."""

    status: Status
    answer: dict[str, Any]
    trace: list[dict[str, Any]] = field(default_factory=list)
    replayed: bool = False
    first_status: str = Status.PROCESSED.value
    """For a replayed event: what became of it the first time."""
    refusal: dict[str, Any] | None = None
    """A business refusal as (code, message, details), kept and replayed like any answer."""


Result: TypeAlias = Receipt | RewardsError
"""What a caller hears of one command."""


@dataclass(slots=True)
class Decided:
    """One command of a batch with what became of it: an outcome to write, or a refusal to keep, or neither."""

    submission: Submission
    receipt: Receipt
    outcome: Outcome | None = None
    entry_id: UUID | None = None
    """The event or answer row to write; None when nothing is stored."""


class StoredRefusal(Refusal):
    """A refusal as it is kept with the idempotency key, with its code. `replayed` marks one that an earlier command got."""

    def __init__(self, code: str, message: str, details: dict[str, Any], *, replayed: bool = False) -> None:
        super().__init__(message, **details)
        self.code = code  # type: ignore[misc]
        self.replayed = replayed
