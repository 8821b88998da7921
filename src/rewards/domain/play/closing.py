"""Boards that close where members are in memory: in document tests and simulations.

What the service does in the database, over as many members as there may be, is done here plainly: rank those who are shown,
and tell who gets which prize.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple
from uuid import UUID

from rewards.domain.commands import AwardPrize
from rewards.domain.outcome import BoardScore
from rewards.domain.program.board import Board, Boards, Ties


class Ranked(NamedTuple):
    """A place in a ranking. `position` counts from 1 without gaps; of one rank, by when they reached it, then by member."""

    part: str
    position: int
    rank: int
    member: UUID
    score: float


def ranked(board: Board, scores: Iterable[tuple[UUID, BoardScore]]) -> list[Ranked]:
    """Everybody who is shown, part by part, the best first."""
    parts: dict[str, list[tuple[float, datetime, UUID, float]]] = {}
    for member, row in scores:
        if row.shown and row.score is not None:
            key = row.score if board.ascending else -row.score
            parts.setdefault(row.part, []).append((key, row.achieved_at, member, row.score))
    return [place for part in sorted(parts) for place in _places(board, part, parts[part])]


def _places(board: Board, part: str, entries: list[tuple[float, datetime, UUID, float]]) -> Iterator[Ranked]:
    first = board.ties is Ties.FIRST
    entries.sort(key=lambda entry: entry[:3])
    rank = 0
    for position, (key, _, member, score) in enumerate(entries, start=1):
        if first or position == 1 or key != entries[position - 2][0]:
            rank = position
        yield Ranked(part, position, rank, member, score)


def prizes(board: Board, period: str, places: Iterable[Ranked]) -> Iterator[tuple[UUID, AwardPrize]]:
    """The commands to the members who win something."""
    listed = list(places)
    members = {place.part: place.position for place in listed}
    for prize in board.prizes:
        for place in listed:
            if prize.first <= place.rank <= prize.last_rank(members[place.part]):
                award = AwardPrize(board.key, period, place.part, prize.number, place.rank, place.score)
                yield place.member, award


class OpenPeriods:
    """The scores of all members in periods that have not closed, as their commands left them."""

    def __init__(self, boards: Boards) -> None:
        self._boards = {key: board for key, board in boards.by_key.items() if board.prizes}
        self._scores: dict[tuple[str, str], dict[UUID, BoardScore]] = {}
        self._closing: list[tuple[datetime, str, str]] = []

    def hear(self, member: UUID, scores: Iterable[BoardScore]) -> None:
        """Takes over what a command changed."""
        for row in scores:
            board = self._boards.get(row.board)
            if board is None:
                continue
            key = (row.board, row.period)
            if key not in self._scores:
                self._scores[key] = {}
                period = board.schedule.named(row.period)
                closes_at = board.closes_at(period) if period is not None else None
                if closes_at is not None:
                    heappush(self._closing, (closes_at, *key))
            if row.score is None:
                self._scores[key].pop(member, None)
            else:
                self._scores[key][member] = row

    @property
    def next_at(self) -> datetime | None:
        """When the next period closes."""
        return self._closing[0][0] if self._closing else None

    def close(self) -> list[tuple[UUID, AwardPrize]]:
        """Closes the period that is next, and tells who wins what."""
        _, key, period = heappop(self._closing)
        board = self._boards[key]
        return list(prizes(board, period, ranked(board, self._scores.pop((key, period)).items())))
