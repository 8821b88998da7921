"""What verification found."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of an invariant. `member` is None where it concerns the house."""

    invariant: str
    member: UUID | None
    subject: str
    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class Size:
    """How much was looked at."""

    members: int = 0
    transactions: int = 0
    postings: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(
            self.members + other.members, self.transactions + other.transactions, self.postings + other.postings
        )
