"""Leaderboards: what scores, in which period, and the rows that others see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from rewards.domain.commands import Command, Event, MemberRef
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

DOCUMENT: Final = """
rewards: 1
program: {key: play, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {}, coins: {}}
attributes: {team: {type: string, purpose: test}, nick: {type: string, purpose: test}}
events:
  scored: {properties: {points: number, word: string}}
  ordered: {properties: {id: string, total: number}, required: [id, total]}
  refunded: {properties: {id: string}, required: [id]}
  bonus: {properties: {by: number}}
metrics:
  plays: {count: scored}
  total: {sum: scored, value: event.points, where: event.points != 13}
  words: {distinct: scored, value: event.word}
  orders: {count: ordered}
segments: {regulars: metrics.plays >= 2}
rules:
  - {key: pay, on: ordered, then: [{earn: {currency: points, amount: event.total, reference: event.id}}]}
  - {key: back, on: refunded, then: [{reverse: {reference: event.id}}]}
  - {key: extra, on: bonus, then: [{score: {leaderboard: given, value: event.by}}]}
leaderboards:
  weekly: {score: {metric: total}, period: {every: week}, ties: first}
  daily_plays: {score: {metric: plays}, period: {every: day}}
  best: {score: {metric: total, operator: best}, period: {every: month}}
  lowest: {score: {metric: total, operator: best}, order: ascending, period: {every: month}}
  latest: {score: {metric: total, operator: last}}
  spelled: {score: {metric: words}}
  earners: {score: {currency: points}, period: {every: week}}
  orders: {score: {metric: orders}}
  given: {score: {operator: sum}}
  evenings: {score: {metric: plays}, period: {cron: "0 18 * * *"}, grace: 1m}
  regulars: {score: {metric: plays}, by: {segment: regulars}}
  teams: {score: {metric: plays}, by: {attribute: team}}
"""
START: Final = datetime(2026, 11, 18, 10, tzinfo=UTC)  # a Wednesday, W47
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def compiled(text: str = DOCUMENT) -> Program:
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


PROGRAM: Final = compiled()


class World:
    """Members in memory, and the rows that their commands leave: what the database would hold."""

    def __init__(self, program: Program = PROGRAM) -> None:
        self.members = Members(program, heard=self._hear)
        self.rows: dict[tuple[str, str, str], tuple[str, float, datetime, bool]] = {}
        self.outcome: Outcome | None = None
        self.sent = 0

    def _hear(self, member: Member, _: Command, outcome: Outcome) -> None:
        for row in outcome.scores:
            key = (member.state.external_id, row.board, row.period)
            if row.score is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = (row.part, row.score, row.achieved_at, row.shown)

    def member(self, name: str = "ada") -> Member:
        return self.members.member({"ada": ADA, "ben": BEN}[name], MemberRef("user", name))

    def tell(self, command: Command, at: datetime, name: str = "ada") -> Outcome:
        self.members.advance(at)
        return self.members.decide(self.member(name), command, at)

    def happen(
        self, kind: str, occurred: datetime, received: datetime | None = None, name: str = "ada", **properties: Any
    ) -> Outcome:
        self.sent += 1
        event = Event(f"e{self.sent}", kind, occurred_at=occurred, properties=properties)
        return self.tell(event, max(received or occurred, self.member(name).state.last_now or occurred), name)

    def score(self, board: str, period: str, name: str = "ada") -> float | None:
        row = self.rows.get((name, board, period))
        return row[1] if row is not None else None


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_each_board_scores_in_its_own_way() -> None:
    world = World()
    for hour, (points, word) in enumerate([(5, "a"), (13, "b"), (9, "a"), (2, "c")]):
        world.happen("scored", START + hours(hour), points=points, word=word)
    found = {
        board: {period: row[1] for (_, key, period), row in world.rows.items() if key == board}
        for _, board, _ in world.rows
    }
    assert found == {
        "weekly": {"2026-W47": 16},  # 13 does not count
        "daily_plays": {"2026-11-18": 4},
        "best": {"2026-11": 9},
        "lowest": {"2026-11": 2},
        "latest": {"all_time": 2},
        "spelled": {"all_time": 3},
        "evenings": {"2026-11-17T17:00Z": 4},
        "regulars": {"all_time": 4},
        "teams": {"all_time": 4},
    }
