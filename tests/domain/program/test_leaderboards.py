"""Leaderboards in documents: what is refused and how it is said, and how they are told to people."""

from __future__ import annotations

from typing import Final

import pytest

from rewards.domain.program import check, read_document
from rewards.domain.program.docs import render
from rewards.domain.program.models.document import Document

DOCUMENT: Final = """
rewards: 1
program: {key: play, timezone: UTC}
currencies: {points: {}}
attributes: {team: {type: string, purpose: test}}
events: {scored: {properties: {points: number, word: string}}}
metrics:
  plays: {count: scored}
  total: {sum: scored, value: event.points}
  top: {max: scored, value: event.points}
  words: {distinct: scored, value: event.word}
  usual: {favorite: scored, value: event.word}
  warm: {score: scored, value: event.points, half_life: 7d}
segments: {many: metrics.plays > 3}
rules:
  - {key: extra, on: scored, then: [{score: {leaderboard: board, value: event.points}}]}
leaderboards:
  board: BOARD
"""


def problems(board: str) -> list[tuple[str, str]]:
    report = check(read_document(DOCUMENT.replace("BOARD", board).encode()))
    return [(problem.path, str(problem)) for problem in (*report.errors, *report.warnings)]


@pytest.mark.parametrize(
    "board",
    [
        "{score: {metric: plays}}",
        "{score: {metric: words}}",
        "{score: {metric: top}}",
        "{score: {metric: total, operator: last}, order: ascending}",
        "{score: {currency: points}, period: {every: month}, by: {segment: many}}",
        "{score: {operator: best}, by: {attribute: team}, visibility: {names: {attribute: team}}}",
        '{score: {metric: plays}, period: {cron: "0 18 * * 0"}, ties: first, grace: 1m}',
        "{score: {metric: plays}, period: {every: day}, prizes: [{percentile: 0.5, then: [{earn: {currency: points, amount: 1}}]}]}",
    ],
)
def test_what_fits(board: str) -> None:
    assert problems(board) == []


@pytest.mark.parametrize(
    ("board", "path", "message"),
    [
        ("{score: {metric: play}}", "score.metric", "unknown metric 'play'"),
        ("{score: {currency: point}}", "score.currency", "unknown currency 'point'"),
        ("{score: {metric: plays, operator: best}}", "score.operator", "plays is a count: best goes with"),
        ("{score: {metric: top, operator: sum}}", "score.operator", "top is a max: sum goes with"),
        ("{score: {metric: usual}}", "score.operator", "usual is no number"),
        ("{score: {metric: warm}}", "score.operator", "warm fades with time"),
        ("{score: {metric: plays, currency: points}}", "score", "not of both"),
        ("{score: {currency: points, operator: best}}", "score", "operator is sum, or left out"),
        ("{score: {}}", "score", "names a metric or a currency, or an operator"),
        ("{score: {metrics: plays}}", "score.metrics", "unknown key 'metrics'; did you mean metric?"),
        ("{score: {metric: plays}, period: {every: year}}", "period.every", "must be 'day', 'week' or 'month'"),
        ('{score: {metric: plays}, period: {cron: "*/5 * * * *"}}', "period.cron", "a period lasts at least an hour"),
        (
            "{score: {metric: plays}, period: {every: day, cron: 0 18 * * *}}",
            "period",
            "{every: day, week or month} or {cron",
        ),
        ("{score: {metric: plays}, grace: 30s}", "grace", "grace is at least 1m"),
        ("{score: {metric: plays}, grace: 8d}", "grace", "at most 7d"),
        ("{score: {metric: plays}, by: {segment: few}}", "by.segment", "unknown segment 'few'"),
        (
            "{score: {metric: plays}, by: {attribute: tema}}",
            "by.attribute",
            "unknown attribute 'tema'; did you mean team?",
        ),
        ("{score: {metric: plays}, visibility: {names: real}}", "visibility.names", "'pseudonym' or 'external_id'"),
        (
            "{score: {metric: plays}, prizes: [{ranks: [1, 1], then: [{earn: {currency: points, amount: 1}}]}]}",
            "",
            "never closes, so it has no prizes",
        ),
        (
            "{score: {metric: plays}, period: {every: day}, prizes: [{ranks: [3, 1], then: [{earn: {currency: points, amount: 1}}]}]}",
            "prizes.0",
            "the better one first",
        ),
        (
            "{score: {metric: plays}, period: {every: day}, prizes: [{then: [{earn: {currency: points, amount: 1}}]}]}",
            "prizes.0",
            "ranks: [first, last] or for a percentile",
        ),
        (
            "{score: {metric: plays}, period: {every: day}, prizes: [{ranks: [1, 1], then: [{voucher: {campaign: x}}]}]}",
            "prizes.0.then.0.voucher",
            "the action voucher is not yet available",
        ),
        (
            "{score: {metric: plays}, period: {every: day}, prizes: [{ranks: [1, 1], then: [{earn: {currency: coins, amount: 1}}]}]}",
            "prizes.0.then.0.earn.currency",
            "unknown currency 'coins'",
        ),
    ],
)
def test_what_does_not_fit_is_said_where_it_stands(board: str, path: str, message: str) -> None:
    found = problems(board)
    where = f"leaderboards.board.{path}".rstrip(".")
    assert [each for each in found if each[0] == where or each[0].startswith(f"{where}.")], found
    assert message in str(found)
    assert len(found) == 1


def test_a_score_action_names_a_board() -> None:
    text = DOCUMENT.replace("BOARD", "{score: {metric: plays}}").replace("leaderboard: board", "leaderboard: boards")
    report = check(read_document(text.encode()))
    [problem] = report.errors
    assert (problem.path, problem.near) == ("rules.extra.then.0.score.leaderboard", "board")


def test_a_board_without_a_source_needs_the_action() -> None:
    text = DOCUMENT.replace("BOARD", "{score: {operator: sum}}")
    text = text.replace("{score: {leaderboard: board, value: event.points}}", "{earn: {currency: points, amount: 1}}")
    report = check(read_document(text.encode()))
    assert [problem.code for problem in report.warnings] == ["nothing-scores"]


def test_boards_are_told_to_people() -> None:
    board = (
        "{name: Best of the week, score: {metric: plays}, period: {every: week}, ties: first,"
        " prizes: [{ranks: [1, 3], then: [{earn: {currency: points, amount: 5}}]}]}"
    )
    report = check(read_document(DOCUMENT.replace("BOARD", board).encode()))
    assert isinstance(report.document, Document)
    [line] = [each for each in render(report.document).splitlines() if each.startswith("| Best of the week")]
    assert line == (
        "| Best of the week | `board` | `plays` | every week, closed 1h after its end "
        "| the highest first, ties go to the earlier | ranks 1 to 3: earn 5 points |  |"
    )
