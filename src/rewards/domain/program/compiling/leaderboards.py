"""Leaderboards: what may score how, and remarks about boards on which nobody can score."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar
from rewards.domain.program.board import Board, Boards, Names, Prize, Shown, Source, Tally, Ties
from rewards.domain.program.compiled import Metric, MetricKind
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.durations import parse_duration
from rewards.domain.program.models import leaderboards as written
from rewards.domain.program.models.actions import Score
from rewards.domain.program.models.base import Localised, texts
from rewards.domain.program.models.document import Document
from rewards.domain.program.models.rules import Rule
from rewards.domain.program.schedule import BadCron, Schedule, check_cron

_SUMMED = {MetricKind.COUNT: Tally.SUM, MetricKind.SUM: Tally.SUM, MetricKind.DISTINCT: Tally.DISTINCT}
_COMPARED = frozenset({MetricKind.SUM, MetricKind.MAX, MetricKind.LAST})
_OWN = {MetricKind.MAX: "best", MetricKind.LAST: "last"}


def build_boards(
    context: Context, zone: ZoneInfo, metrics: Mapping[str, Metric], rewards: RewardBuilder
) -> Boards | None:
    """The boards that are in order, in document order; None if the document declares none."""
    scored = _scored_by_action(context)
    built: dict[str, Board] = {}
    for key, each in context.document.leaderboards.items():
        board = _board(context, zone, metrics, rewards, key, each)
        if board is not None:
            built[key] = board
        if each.score.metric is None and each.score.currency is None and key not in scored:
            message = "neither a metric nor a currency nor an action score gives it any score"
            context.problems.warn(f"leaderboards.{key}.score", "nothing-scores", message)
    if not context.document.leaderboards:
        return None
    by_event: dict[str, tuple[Board, ...]] = {}
    by_currency: dict[str, tuple[Board, ...]] = {}
    for board in built.values():
        for event in sorted(board.source.events) if board.source is not None else ():
            by_event[event] = (*by_event.get(event, ()), board)
        if board.currency is not None:
            by_currency[board.currency] = (*by_currency.get(board.currency, ()), board)
    return Boards(built, by_event, by_currency)


def _board(
    context: Context,
    zone: ZoneInfo,
    metrics: Mapping[str, Metric],
    rewards: RewardBuilder,
    key: str,
    each: written.Leaderboard,
) -> Board | None:
    path = f"leaderboards.{key}"
    document = context.document
    locale = document.program.locale
    before = len(context.problems.errors)
    if each.by is not None and each.by.segment is not None:
        context.refers(f"{path}.by.segment", "segment", "segments", each.by.segment, document.segments)
    shown = each.visibility.names
    for where, attribute in (
        (f"{path}.by.attribute", each.by.attribute if each.by is not None else None),
        (f"{path}.visibility.names.attribute", shown.attribute if isinstance(shown, written.NameAttribute) else None),
    ):
        if attribute is not None:
            context.refers(where, "attribute", "attributes", attribute, document.attributes)
    currency = each.score.currency
    if currency is not None:
        context.refers(f"{path}.score.currency", "currency", "currencies", currency, document.currencies)
    tally, source = _source(context, metrics, f"{path}.score", each.score)
    schedule = _schedule(context, zone, f"{path}.period", each.period)
    prizes = tuple(
        _prize(rewards, f"{path}.prizes.{number}", number, prize) for number, prize in enumerate(each.prizes)
    )
    if len(context.problems.errors) > before or schedule is None or tally is None:
        return None
    return Board(
        key=key,
        id=board_identity(document, key),
        name=texts(each.name, locale=locale, fallback=key),
        description=_texts(each.description, locale),
        image=_texts(each.image, locale),
        tally=tally,
        source=source,
        currency=currency,
        ascending=each.order == "ascending",
        ties=Ties(each.ties),
        schedule=schedule,
        segment=each.by.segment if each.by is not None else None,
        attribute=each.by.attribute if each.by is not None else None,
        names=Names(Shown.ATTRIBUTE, shown.attribute)
        if isinstance(shown, written.NameAttribute)
        else Names(Shown(shown)),
        grace=parse_duration(each.grace),
        prizes=prizes,
    )


def _source(
    context: Context, metrics: Mapping[str, Metric], path: str, score: written.Score
) -> tuple[Tally | None, Source | None]:
    """How the board counts, and what; no tally after reporting what is wrong."""
    if score.metric is None:
        return Tally(score.operator or "sum"), None
    declared = context.document.metrics
    if not context.refers(f"{path}.metric", "metric", "metrics", score.metric, declared):
        return None, None
    metric = metrics.get(score.metric)
    if metric is None:
        return None, None  # what is wrong with the metric is reported there
    operator = score.operator or _OWN.get(metric.kind, "sum")
    tally = _tally(metric, operator)
    if tally is None:
        context.problems.error(f"{path}.operator", "operator", _misfit(metric, operator))
        return None, None
    return tally, Source(metric.key, metric.events, metric.where, metric.value)


def _tally(metric: Metric, operator: str) -> Tally | None:
    if operator == "sum":
        weighed = metric.kind is MetricKind.SCORE and metric.half_life is None
        return Tally.SUM if weighed else _SUMMED.get(metric.kind)
    return Tally(operator) if metric.kind in _COMPARED else None


def _misfit(metric: Metric, operator: str) -> str:
    if metric.kind is MetricKind.SCORE and metric.half_life is not None:
        return f"{metric.key} fades with time, and the scores of a board stand still"
    if metric.kind is MetricKind.FAVORITE:
        return f"{metric.key} is no number"
    if operator == "sum":
        return f"{metric.key} is a {metric.kind.value}: sum goes with count, sum and distinct; here best or last"
    return (
        f"{metric.key} is a {metric.kind.value}: {operator} goes with sum, max and last, which have values to compare"
    )


def _schedule(context: Context, zone: ZoneInfo, path: str, period: str | written.Every) -> Schedule | None:
    if isinstance(period, str):
        return Schedule(zone)
    if period.every is not None:
        return Schedule(zone, every=Calendar(period.every))
    assert period.cron is not None
    try:
        check_cron(period.cron, zone)
    except BadCron as wrong:
        context.problems.error(f"{path}.cron", "cron", str(wrong))
        return None
    return Schedule(zone, cron=period.cron)


def _prize(rewards: RewardBuilder, path: str, number: int, prize: written.Prize) -> Prize:
    then = rewards.build(prize.then, f"{path}.then")
    if prize.ranks is not None:
        return Prize(number, prize.ranks[0], prize.ranks[1], None, then)
    return Prize(number, 1, None, Decimal(repr(prize.percentile)), then)


def _scored_by_action(context: Context) -> set[str]:
    """The boards that some action of the document names."""
    rules: Iterable[Rule] = context.document.rules
    actions = [action.content for rule in rules for action in (*rule.then, *rule.otherwise)]
    return {action.leaderboard for action in actions if isinstance(action, Score)}


def _texts(localised: Localised | None, locale: str) -> dict[str, str]:
    return texts(localised, locale=locale, fallback="") if localised is not None else {}


def board_identity(document: Document, key: str) -> str:
    """The hash of what scores, when, and in which ranking: a board that counts something else starts anew."""
    each = document.leaderboards[key]
    metric = document.metrics.get(each.score.metric or "")
    definition = {
        "key": key,
        "score": each.score.model_dump(),
        "order": each.order,
        "period": each.period if isinstance(each.period, str) else each.period.model_dump(),
        "metric": metric.model_dump(exclude={"name", "description", "unit"}) if metric is not None else None,
    }
    if each.by is not None:
        # Who does nothing after a new version would stay in the parts of before.
        definition["by"] = each.by.model_dump()
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
