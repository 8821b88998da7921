"""What members and staff ask of a streak: freezes, a pause, and to be put back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from rewards.domain.commands import BuyFreezes, GiveFreezes, PauseStreak, RestoreStreak, ResumeStreak
from rewards.domain.errors import InvalidInput, Refusal
from rewards.domain.ledger.accounts import Transaction
from rewards.domain.ledger.spend import spend
from rewards.domain.moves import answered
from rewards.domain.outcome import Outcome
from rewards.domain.periods import epoch_seconds, from_epoch_seconds, rfc3339
from rewards.domain.play.streaking import pauses
from rewards.domain.play.streaking.purchases import source_of
from rewards.domain.play.streaks import Change
from rewards.domain.program.durations import in_words
from rewards.domain.program.models.streaks import LENGTH_MAX
from rewards.domain.program.problems import meant
from rewards.domain.program.streak import Streak
from rewards.domain.work import Work


class UnknownStreak(Refusal):
    """The program has no streak of this key."""

    code = "unknown-streak"


class FreezesNotForSale(Refusal):
    """The streak names no price for freezes."""

    code = "freezes-not-for-sale"


class FreezesFull(Refusal):
    """There is no room for so many freezes. `details` say how many there are, and how many there may be."""

    code = "freezes-full"


class StreakNotPausable(Refusal):
    """The program lets nobody pause this streak."""

    code = "streak-not-pausable"


class StreakPaused(Refusal):
    """The streak is paused already, see `details["until"]`."""

    code = "streak-paused"


class StreakPausesUsedUp(Refusal):
    """The pauses of this calendar year have lasted too long for this one, see `details`.

    `left` can be asked for now, or None for nothing; `next_at` is when the next pause may begin, of as long as was asked for.
    """

    code = "streak-pauses-used-up"


class StreakNotPaused(Refusal):
    """The streak is not paused, so it cannot be resumed."""

    code = "streak-not-paused"


class StreakNotRunning(Refusal):
    """There is nothing to pause: no period in a row is kept."""

    code = "streak-not-running"


class StreakNotBroken(Refusal):
    """There is nothing to restore: the streak has not broken since it began, or was put back already."""

    code = "streak-not-broken"


def decide_buy_freezes(work: Work, command: BuyFreezes) -> Outcome:
    """Raises `FreezesNotForSale`, `FreezesFull`, and what spending raises; nothing is changed then."""
    streak = _streak(work, command.streak)
    terms = streak.freezes
    if terms.currency is None:
        raise FreezesNotForSale(f"freezes of {streak.key} are not for sale", streak=streak.key)
    change = Change(work, streak, work.now)
    _check_room(change, command.count)
    origin = work.origin(source_of(streak, command.count), reference=f"{streak.cause.source}:freezes")
    paid = spend(work.draft, work.program.currencies[terms.currency], terms.amount * command.count, origin)
    work.ledger_effect(paid, name="spend", cause=streak.cause)
    change.give_freezes(command.count, bought=True)
    return _answered(change, paid)


def decide_give_freezes(work: Work, command: GiveFreezes) -> Outcome:
    """Raises `FreezesFull` where not all of them have room."""
    change = Change(work, _streak(work, command.streak), work.now)
    _check_room(change, command.count)
    change.give_freezes(command.count)
    work.trace.append({"streak": command.streak, "result": "freezes_given", "by": work.actor, "reason": command.reason})
    return _answered(change)


def decide_pause(work: Work, command: PauseStreak) -> Outcome:
    """Raises `StreakNotPausable`, `StreakPaused`, `StreakNotRunning`, `StreakPausesUsedUp`, and `InvalidInput` for a pause that
    is too long.
    """
    streak = _streak(work, command.streak)
    terms = streak.pause
    if terms is None:
        raise StreakNotPausable(f"{streak.key} cannot be paused", streak=streak.key)
    if command.length > terms.longest:
        expected = f"at most {in_words(terms.longest.total_seconds())}"
        raise InvalidInput(f"{streak.key} can be paused for so long only", path="for", expected=expected)
    change = Change(work, streak, work.now)
    now = epoch_seconds(work.now)
    until = change.memory.paused_until(now)
    if until is not None:
        raise StreakPaused(f"{streak.key} is paused already", until=rfc3339(from_epoch_seconds(until)))
    if change.standing.length == 0:
        raise StreakNotRunning(f"{streak.key} has no length, so there is nothing to pause", streak=streak.key)
    until = now + int(command.length.total_seconds())
    left = pauses.left_seconds(change.memory, terms, now)
    if terms.counted_seconds(until - now) > left:
        _refuse_pause(change, left, pauses.renews_at(change.memory, now))
    pauses.begin(change.memory, terms, now, until)
    change.say("streak_paused", until=rfc3339(from_epoch_seconds(until)))
    return _answered(change)


def _refuse_pause(change: Change, left_seconds: int, next_at: datetime) -> NoReturn:
    """Says what may be asked for instead, and when."""
    streak, zone = change.streak, change.memory.zone
    assert streak.pause is not None
    whole = left_seconds - left_seconds % streak.pause.counted_seconds(1)
    begins = next_at.astimezone(zone).isoformat()
    left = in_words(whole) if whole else None
    rest = f"the next pause may begin at {begins}" if left is None else f"{left} of that are left until {begins}"
    message = f"{streak.key} can be paused for {in_words(streak.pause.per_year_seconds)} of a calendar year; {rest}"
    raise StreakPausesUsedUp(message, left=left, next_at=begins)


def decide_resume(work: Work, command: ResumeStreak) -> Outcome:
    """Raises `StreakNotPaused`."""
    change = Change(work, _streak(work, command.streak), work.now)
    now = epoch_seconds(work.now)
    if change.memory.paused_until(now) is None:
        raise StreakNotPaused(f"{command.streak} is not paused", streak=command.streak)
    pauses.end(change.memory, change.streak.pause, now)
    change.say("streak_resumed")
    return _answered(change)


def decide_restore(work: Work, command: RestoreStreak) -> Outcome:
    """Raises `StreakNotBroken`, and `InvalidInput` for a length that is no more than the present one."""
    change = Change(work, _streak(work, command.streak), work.now)
    standing = change.standing
    if standing.lost == 0:
        raise StreakNotBroken(f"{command.streak} has not broken", streak=command.streak)
    if command.length is not None and command.length <= standing.length:
        expected = f"{standing.length + 1} to {LENGTH_MAX}"
        raise InvalidInput(f"the length is {standing.length} already", path="length", expected=expected)
    change.restore(command.length, command.reason)
    return _answered(change)


def _streak(work: Work, key: str) -> Streak:
    found = work.program.streaks.get(key)
    if found is None:
        known = ", ".join(sorted(work.program.streaks)) or "none"
        message = f"the program has no streak {key!r}{meant(key, work.program.streaks)}"
        raise UnknownStreak(message, streak=key, known=known)
    return found


def _check_room(change: Change, count: int) -> None:
    has, most = change.standing.freezes, change.streak.freezes.most
    if has + count > most:
        message = f"{change.streak.key} has {has} of at most {most} freezes"
        raise FreezesFull(message, freezes=has, most=most)


def _answered(change: Change, *paid: Transaction) -> Outcome:
    change.tell()
    standing = change.standing
    until = change.memory.paused_until(epoch_seconds(change.work.now))
    view: dict[str, Any] = {
        "key": change.streak.key,
        "length": standing.length,
        "best": standing.best,
        "freezes": standing.freezes,
        "paused_until": None if until is None else rfc3339(from_epoch_seconds(until)),
    }
    outcome = answered(change.work, *paid, streak=view)
    outcome.answer["effects"] = outcome.effects[change.work.effects_before :]
    return outcome
