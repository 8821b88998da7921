"""Badges on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from rewards.domain.play.held_badges import Held, held
from rewards.domain.play.metrics import read
from rewards.domain.program.badge import Badge
from rewards.domain.program.wording import worded
from rewards.domain.state import MemberState
from rewards.features.progress.queries import Achieved
from rewards.pipeline.lookup import FoundWallet


class BadgeProgress(Struct, frozen=True):
    """How far the next level is, in the badge's metric. `percent` is 0 to 100, rounded down.

    `next` is what the metric must read for it; `next_name` is null where that level has no name of its own.
    """

    value: float
    next: float
    next_name: str | None
    remaining: float
    percent: int


class BadgeOut(Struct, frozen=True):
    """One badge. `level` of `levels` is held, 0 for none; name, image and moment are those of that level.

    `progress` is missing (null) where no metric leads to the badge and where the highest level is held.
    """

    key: str
    name: str
    level_name: str | None
    description: str | None
    image: str | None
    level: int
    levels: int
    secret: bool
    achieved_at: datetime | None
    progress: BadgeProgress | None


class BadgesOut(Struct, frozen=True):
    """All badges of one member. After a merge they are of the member named by `merged_into`."""

    member: str
    merged_into: str | None
    badges: list[BadgeOut]


Moments = Mapping[tuple[str, int], datetime]
"""When each level of each badge was achieved last."""


def achieved_moments(rows: Iterable[Achieved]) -> Moments:
    """Of levels that stand; of one that two merged members had, the earlier moment."""
    latest: dict[tuple[str, int], Achieved] = {}
    for row in rows:
        known = latest.get((row.key, row.level))
        if row.revoked_at is None and (known is None or _rank(row) > _rank(known)):
            latest[row.key, row.level] = row
    return {key: row.achieved_at for key, row in latest.items()}


def _rank(row: Achieved) -> tuple[int, float]:
    return row.instance, -row.achieved_at.timestamp()


def badges_of(wallet: FoundWallet, state: MemberState, moments: Moments) -> BadgesOut:
    """The badges that the member may see, in the member's language."""
    program = wallet.program
    badges = program.badges.by_key.values() if program.badges is not None else ()
    shown = []
    for badge in badges:
        mine = held(state.play, badge.key)
        if mine.level or not badge.secret:
            shown.append(_badge(badge, mine, wallet, state, moments))
    return BadgesOut(str(wallet.found.ref), wallet.found.merged_into, shown)


def _badge(badge: Badge, mine: Held, wallet: FoundWallet, state: MemberState, moments: Moments) -> BadgeOut:
    levels = len(badge.levels)
    level = min(mine.level, levels)
    reached = badge.levels[level - 1] if level else None
    locale, fallback = state.locale, wallet.program.locale
    return BadgeOut(
        key=badge.key,
        name=worded(badge.name, locale, fallback) or badge.key,
        level_name=worded(reached.name, locale, fallback) if reached is not None else None,
        description=worded(badge.description, locale, fallback),
        image=worded((reached.image if reached is not None else None) or badge.image, locale, fallback),
        level=level,
        levels=levels,
        secret=badge.secret,
        achieved_at=moments.get((badge.key, level), mine.reached_at(level)) if level else None,
        progress=_progress(badge, level, wallet, state),
    )


def _progress(badge: Badge, level: int, wallet: FoundWallet, state: MemberState) -> BadgeProgress | None:
    metric = badge.metric
    following = badge.levels[level] if level < len(badge.levels) else None
    if metric is None or following is None or following.at is None:
        return None
    threshold = following.at
    zone = ZoneInfo(state.timezone) if state.timezone else wallet.program.zone
    value: Any = read(metric, state.metrics.get(metric.id), at=wallet.now, zone=zone) or 0
    remaining, percent = how_far(value, threshold)
    return BadgeProgress(
        value=value,
        next=threshold,
        next_name=worded(following.name, state.locale, wallet.program.locale),
        remaining=remaining,
        percent=percent,
    )


def how_far(value: float, threshold: float) -> tuple[float, int]:
    """What remains up to a threshold, and how many whole percent of it there are: of the numbers as they are written."""
    is_at, aim = Decimal(repr(value)), Decimal(repr(threshold))
    return float(max(Decimal(0), aim - is_at)), max(0, min(100, int(100 * is_at / aim)))
