"""Tiers on the wire."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from rewards.domain.errors import RewardsError
from rewards.domain.periods import (
    Calendar,
    Rolling,
    add_months,
    epoch_micros,
    epoch_seconds,
    from_epoch_micros,
    from_epoch_seconds,
    period_at,
)
from rewards.domain.play.tier_held import LADDER, MECHANIC
from rewards.domain.play.tier_memory import read
from rewards.domain.play.tier_standing import Reading, lost_at
from rewards.domain.program.compiled import SUM_SCALE, MetricKind
from rewards.domain.program.tier import Ladder, Level
from rewards.domain.program.wording import worded
from rewards.domain.state import MemberState
from rewards.pipeline.lookup import FoundWallet


class NoTiers(RewardsError):
    """The program has no tiers."""

    code = "no-tiers"


class TierOut(Struct, frozen=True):
    """One tier, in the member's language. `at` is the qualification that it takes."""

    key: str
    name: str
    description: str | None
    image: str | None
    at: float
    earn_rate: str
    benefits: dict[str, str]


class Qualification(Struct, frozen=True):
    """What counts towards tiers, and how much of it there is.

    `metric` or `currency` names it; it counts from `since` on and, over calendar periods, until `until`.
    """

    metric: str | None
    currency: str | None
    per: str
    value: float
    since: datetime | None
    until: datetime | None


class NextTier(Struct, frozen=True):
    """The next tier up, and how far it is. `percent` is 0 to 100, rounded down."""

    tier: TierOut
    remaining: float
    percent: int


class Keeping(Struct, frozen=True):
    """What it takes to keep the tier beyond `until`: a qualification of `at`, of which `remaining` is left to do.

    What counts by then is taken off: by calendar periods what the last one before `until` has, of a window what is still in it.
    """

    at: float
    remaining: float
    until: datetime


class Held(Struct, frozen=True):
    """From `since` on a tier was held; null: none."""

    tier: str | None
    since: datetime


class TierStandingOut(Struct, frozen=True):
    """A member's tier as of now. `keeps_until` is when it is lost if nothing more counts; null: it stays.

    `history` tells of the latest changes, newest first. After a merge all of it is of the member named by `merged_into`.
    """

    member: str
    merged_into: str | None
    tier: TierOut | None
    since: datetime | None
    keeps_until: datetime | None
    qualification: Qualification
    next: NextTier | None
    keep: Keeping | None
    tiers: list[TierOut]
    history: list[Held]


def standing_of(wallet: FoundWallet, state: MemberState) -> TierStandingOut:
    """Raises `NoTiers`."""
    ladder = wallet.program.tiers
    if ladder is None:
        raise NoTiers("the program has no tiers")
    zone = ZoneInfo(state.timezone) if state.timezone else wallet.program.zone
    reading = Reading(ladder, state.metrics.get(ladder.metric.id), zone)
    stored: dict[str, Any] | None = state.play.get(MECHANIC, {}).get(LADDER)
    memory = None if stored is None or stored["terms"] != ladder.terms else read(ladder, stored)
    now = epoch_micros(wallet.now)
    value = max(reading.at(now), 0)
    held = ladder.lowest if memory is None else memory.known(ladder)
    lost = None if memory is None else lost_at(memory.head, reading)
    until = None if lost is None else from_epoch_micros(lost)
    told = [_tier(level, state.locale, wallet.program.locale) for level in ladder.levels]
    history = [] if memory is None else memory.history
    return TierStandingOut(
        member=str(wallet.found.ref),
        merged_into=wallet.found.merged_into,
        tier=told[held - 1] if held else None,
        since=from_epoch_micros(history[-1][0]) if history else None,
        keeps_until=until,
        qualification=_qualification(ladder, _plain(ladder, value), wallet.now, zone),
        next=_next(ladder, told, held, value),
        keep=None if until is None else _keeping(held, reading, wallet.now, until),
        tiers=told,
        history=[Held(ladder.key(rank) or None, from_epoch_micros(micros)) for micros, rank in reversed(history)],
    )


def _tier(level: Level, locale: str | None, fallback: str) -> TierOut:
    return TierOut(
        key=level.key,
        name=worded(level.name, locale, fallback) or level.key,
        description=worded(level.description, locale, fallback),
        image=worded(level.image, locale, fallback),
        at=float(level.at),
        earn_rate=str(level.earn_rate),
        benefits={name: worded(texts, locale, fallback) or "" for name, texts in level.benefits.items()},
    )


def _plain(ladder: Ladder, units: int) -> float:
    return units / SUM_SCALE if ladder.metric.kind is MetricKind.SUM else float(units)


def _qualification(ladder: Ladder, value: float, now: datetime, zone: ZoneInfo) -> Qualification:
    since = until = None
    if isinstance(ladder.per, Calendar):
        period = period_at(ladder.per, epoch_seconds(now), zone)
        since, until = from_epoch_seconds(period.start_seconds), from_epoch_seconds(period.end_seconds)
    elif isinstance(ladder.per, Rolling):
        since = add_months(now, -ladder.per.months, zone) if ladder.per.months else now - ladder.per.length
    return Qualification(
        metric=None if ladder.currency is not None else ladder.source,
        currency=ladder.currency,
        per=ladder.per_written,
        value=value,
        since=since,
        until=until,
    )


def _next(ladder: Ladder, told: list[TierOut], held: int, value: int) -> NextTier | None:
    if held >= len(ladder.levels):
        return None
    threshold = ladder.thresholds[held]
    percent = min(100, 100 * value // threshold) if threshold else 100
    return NextTier(told[held], _plain(ladder, max(0, threshold - value)), percent)


def _keeping(held: int, reading: Reading, now: datetime, until: datetime) -> Keeping:
    ladder = reading.ladder
    left = max(0, ladder.thresholds[held - 1] - _counting_by(reading, now, until))
    return Keeping(float(ladder.levels[held - 1].at), _plain(ladder, left), until)


def _counting_by(reading: Reading, now: datetime, until: datetime) -> int:
    """What there is by now of what decides at `until` whether the tier is kept.

    By calendar periods that is the period that ends then, or in its grace the new one; else what the window still holds then.
    """
    per, moment = reading.ladder.per, until
    if isinstance(per, Calendar):
        start = from_epoch_seconds(period_at(per, epoch_seconds(until), reading.zone).start_seconds)
        moment = now if start <= now else start - timedelta(seconds=1)
    return max(0, reading.at(epoch_micros(moment)))
