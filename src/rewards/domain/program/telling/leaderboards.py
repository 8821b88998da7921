"""Leaderboards, told to people."""

from __future__ import annotations

from rewards.domain.program.flowchart import told_action
from rewards.domain.program.markdown import code, say, table, titled
from rewards.domain.program.models import Document
from rewards.domain.program.models.leaderboards import Leaderboard, NameAttribute, Prize

_OWN = {"sum": "sum of", "best": "best of", "last": "last of"}


def leaderboards(document: Document, locale: str) -> list[str]:
    """The section of leaderboards."""
    rows = [
        (
            say(each.name, locale) or key,
            code(key),
            _score(each),
            _period(each),
            _ranking(each),
            "; ".join(map(_prize, each.prizes)),
            say(each.description, locale),
        )
        for key, each in document.leaderboards.items()
    ]
    head = ("leaderboard", "key", "score", "period", "ranking", "prizes", "about")
    return titled("Leaderboards", table(head, rows))


def _score(board: Leaderboard) -> str:
    score = board.score
    if score.currency is not None:
        return f"{code(score.currency)} earned"
    if score.metric is None:
        return f"{_OWN[score.operator or 'sum']} what rules score"
    return f"{_OWN[score.operator]} {code(score.metric)}" if score.operator else code(score.metric)


def _period(board: Leaderboard) -> str:
    if isinstance(board.period, str):
        return "all time"
    told = f"every {board.period.every}" if board.period.every is not None else f"cron {code(board.period.cron)}"
    return f"{told}, closed {board.grace} after its end"


def _ranking(board: Leaderboard) -> str:
    terms = ["the lowest first" if board.order == "ascending" else "the highest first"]
    terms.append("ties share a rank" if board.ties == "shared" else "ties go to the earlier")
    if board.by is not None and board.by.segment is not None:
        terms.append(f"only members of {code(board.by.segment)}")
    if board.by is not None and board.by.attribute is not None:
        terms.append(f"one for each {code(board.by.attribute)}")
    names = board.visibility.names
    if isinstance(names, NameAttribute):
        terms.append(f"named by {code(names.attribute)}")
    elif names == "external_id":
        terms.append("named by their ids")
    return ", ".join(terms)


def _prize(prize: Prize) -> str:
    gives = ", ".join(map(told_action, prize.then))
    if prize.ranks is None:
        return f"best {prize.percentile} %: {gives}"
    first, last = prize.ranks
    return f"rank {first}: {gives}" if first == last else f"ranks {first} to {last}: {gives}"
