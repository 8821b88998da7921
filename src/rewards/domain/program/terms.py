"""What of a member's `play` still means the same under another version, as one number.

A version that keeps the terms of the one before has nothing to forget or to bring into line: the `drop_removed` of every
mechanic, and of rules that wait, reads nothing of the program but what is named here.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewards.domain.program.compiled import Program


def play_terms_of(program: Program) -> int:
    """A hash of the terms, of 56 bits."""
    boards, ladder = program.boards, program.tiers
    terms = (
        program.mechanics,
        sorted(rule.key for rule in program.rules.values() if rule.wait is not None),
        sorted((quest.key, quest.definition) for quest in program.quests.quests.values()),
        sorted((streak.key, streak.per.value) for streak in program.streaks.values()),
        sorted((board.key, board.id) for board in boards.by_key.values()) if boards is not None else (),
        ladder.terms if ladder is not None else "",
    )
    return int.from_bytes(blake2b(repr(terms).encode(), digest_size=7).digest())
