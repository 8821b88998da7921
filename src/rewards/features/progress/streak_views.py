"""Streaks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from rewards.domain.periods import epoch_seconds, from_epoch_seconds
from rewards.domain.play.streaking.memory import Memory
from rewards.domain.play.streaking.pauses import left_seconds, renews_at
from rewards.domain.play.streaks import MECHANIC
from rewards.domain.program.compiled import SUM_SCALE
from rewards.domain.program.models.streaks import FREEZES_MAX, LENGTH_MAX
from rewards.domain.program.streak import Streak
from rewards.domain.program.wording import worded
from rewards.domain.state import MemberState
from rewards.http.decoding import Body
from rewards.pipeline.lookup import FoundWallet

Count = Annotated[int, Meta(ge=1, le=FREEZES_MAX)]
DurationText = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}(s|m|h|d)$", description="`36h`, `7d`.")]
Reason = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$", description="A code for machines: `goodwill`, `outage`.")
]


class BuyFreezesIn(Body, frozen=True, omit_defaults=True):
    """How many freezes to buy."""

    count: Count = 1


class FreezesIn(Body, frozen=True, omit_defaults=True):
    """How many freezes to buy at the price of the program, or with `free` to give away, for a reason."""

    count: Count = 1
    free: bool = False
    reason: Reason | None = None


class PauseIn(Body, frozen=True):
    """How long missed periods shall not break the streak, from now on."""

    length: DurationText = field(name="for")


class RestoreIn(Body, frozen=True, omit_defaults=True):
    """Why the streak is put back, and to which length if not to the one that was lost."""

    reason: Reason
    length: Annotated[int, Meta(ge=1, le=LENGTH_MAX)] | None = None


class StreakNow(Struct, frozen=True):
    """A streak right after the change."""

    key: str
    length: int
    best: int
    freezes: int
    paused_until: datetime | None


class StreakChangedOut(Struct, frozen=True, omit_defaults=True):
    """The streak after the change, what was paid for it and what it set off."""

    streak: StreakNow | None = None
    transactions: list[dict[str, Any]] = []
    effects: list[dict[str, Any]] = []
    balances: dict[str, dict[str, int]] = {}
    answer_expired: bool = False


class NextMilestone(Struct, frozen=True):
    """The milestone at `length`, `remaining` periods away."""

    length: int
    remaining: int
    name: str | None


class FreezePrice(Struct, frozen=True):
    """What one freeze costs."""

    currency: str
    amount: int


class PausesOut(Struct, frozen=True):
    """What further pauses may last: each one `longest_seconds`, all that begin before `renews_at` together `left_seconds`.

    They count in whole periods, a month as 30 days.
    """

    longest_seconds: int
    left_seconds: int
    renews_at: datetime


class StreakOut(Struct, frozen=True):
    """One streak as of now.

    `length`: periods kept in a row, the present one included once it is `kept`; `progress` of `target` are reached in it.
    `at_risk`: if nothing more is done the streak breaks at `period_ends_at`, for there is neither a freeze nor a pause.
    `lost`: the length at which it broke last, as long as staff can restore it; else 0.
    """

    key: str
    name: str
    description: str | None
    image: str | None
    per: Literal["day", "week", "month"]
    length: int
    best: int
    lost: int
    kept: bool
    progress: float
    target: float
    period_ends_at: datetime
    at_risk: bool
    freezes: int
    freezes_most: int
    freeze_price: FreezePrice | None
    paused_until: datetime | None
    pauses: PausesOut | None
    next_milestone: NextMilestone | None


class StreaksOut(Struct, frozen=True):
    """All streaks of one member. After a merge they are of the member named by `merged_into`."""

    member: str
    merged_into: str | None
    timezone: str
    streaks: list[StreakOut]


def streaks_of(wallet: FoundWallet, state: MemberState) -> StreaksOut:
    """All streaks of the program, in the member's language."""
    zone = ZoneInfo(state.timezone) if state.timezone else wallet.program.zone
    shown = [_streak(streak, wallet, state, zone) for streak in wallet.program.streaks.values()]
    return StreaksOut(str(wallet.found.ref), wallet.found.merged_into, zone.key, shown)


def _streak(streak: Streak, wallet: FoundWallet, state: MemberState, zone: ZoneInfo) -> StreakOut:
    kept = state.play.get(MECHANIC, {}).get(streak.key)
    memory = Memory.new(streak, zone) if kept is None else Memory.read(streak, kept)
    now = epoch_seconds(wallet.now)
    memory.advance(now, zone, late_seconds=wallet.program.late_seconds)
    standing, last = memory.tell().standing, memory.stretches[-1]
    scale = SUM_SCALE if streak.value is not None else 1
    until = memory.paused_until(now)
    locale, fallback = state.locale, wallet.program.locale
    terms = streak.freezes
    return StreakOut(
        key=streak.key,
        name=worded(streak.name, locale, fallback) or streak.key,
        description=worded(streak.description or {}, locale, fallback),
        image=worded(streak.image or {}, locale, fallback),
        per=streak.per.value,  # type: ignore[arg-type]  # years are no periods of streaks
        length=standing.length,
        best=standing.best,
        lost=standing.lost,
        kept=last.count >= streak.target,
        progress=last.count / scale,
        target=streak.target / scale,
        period_ends_at=from_epoch_seconds(last.end),
        at_risk=memory.is_at_risk(),
        freezes=standing.freezes,
        freezes_most=terms.most,
        freeze_price=FreezePrice(terms.currency, terms.amount) if terms.currency is not None else None,
        paused_until=None if until is None else from_epoch_seconds(until),
        pauses=_pauses(memory, now),
        next_milestone=_next(streak, standing.length, locale, fallback),
    )


def _pauses(memory: Memory, now: int) -> PausesOut | None:
    terms = memory.streak.pause
    if terms is None:
        return None
    longest = int(terms.longest.total_seconds())
    return PausesOut(longest, left_seconds(memory, terms, now), renews_at(memory, now))


def _next(streak: Streak, length: int, locale: str | None, fallback: str) -> NextMilestone | None:
    following = streak.next_milestone(length)
    if following is None:
        return None
    names = [worded(each.name, locale, fallback) for each in streak.milestones if each.name and each.is_at(following)]
    return NextMilestone(following, following - length, names[0] if names else None)
