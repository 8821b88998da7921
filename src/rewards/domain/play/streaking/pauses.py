"""How long members may pause a streak: each time, and in all pauses that begin in one calendar year.

A pause bridges the periods that it touches, however short it is. So it counts in whole periods, and at least as one; else
a pause of a second each midnight would keep a streak alive for nothing.
"""

from __future__ import annotations

from datetime import datetime

from rewards.domain.periods import Calendar, from_epoch_seconds, period_at
from rewards.domain.play.streaking.memory import Memory
from rewards.domain.program.streak import PauseTerms


def left_seconds(memory: Memory, terms: PauseTerms, now: int) -> int:
    """How long further pauses that begin this year may last together. One that begins in the period of another goes on with it."""
    _, used = _this_year(memory, now)
    return max(0, terms.per_year_seconds - max(0, used - _replaced(memory, terms)))


def renews_at(memory: Memory, now: int) -> datetime:
    """When the member's next year begins."""
    return from_epoch_seconds(period_at(Calendar.YEAR, now, memory.zone).end_seconds)


def begin(memory: Memory, terms: PauseTerms, now: int, until: int) -> None:
    """Pauses from now on. Nothing is paused now, and there is enough left."""
    year, used = _this_year(memory, now)
    memory.paused_in = [year, max(0, used - _replaced(memory, terms)) + terms.counted_seconds(until - now)]
    # A pause touches whole periods, so of this one no other need be kept; else a document would grow with every short pause.
    memory.pauses = [each for each in memory.pauses if each[0] < memory.stretches[-1].start]
    memory.pauses.append([now, until])


def end(memory: Memory, terms: PauseTerms | None, now: int) -> None:
    """Ends the pause that goes on now. What is spared of it may be used for another one.

    `terms` are None where the program lets nobody pause it any more.
    """
    year, used = memory.paused_in
    for since, until in memory.pauses:
        if terms is not None and since <= now < until and period_at(Calendar.YEAR, since, memory.zone).number == year:
            used -= terms.counted_seconds(until - since) - terms.counted_seconds(now - since)
    memory.paused_in = [year, max(0, used)]
    memory.pauses = [[since, min(until, now)] for since, until in memory.pauses if since < now]


def _this_year(memory: Memory, now: int) -> list[int]:
    """The year and what of it is used. Who moves to where it is still the old year stays in the new one."""
    year = period_at(Calendar.YEAR, now, memory.zone).number
    return memory.paused_in if memory.paused_in[0] >= year else [year, 0]


def _replaced(memory: Memory, terms: PauseTerms) -> int:
    """What pauses that began in the present period were counted for: another one in it takes their place."""
    begins = memory.stretches[-1].start
    return sum(terms.counted_seconds(until - since) for since, until in memory.pauses if since >= begins)
