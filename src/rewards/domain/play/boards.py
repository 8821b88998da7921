"""Leaderboards: what a member scores, and the rows in which readers find it.

The member's document holds, by board, the standing in every period that can still change; the rows are what follows from it
for all to see, absolute and written anew whenever they change. Neither the order in which events come nor a repetition
makes a difference, and what is taken back, merged or moved to another part follows by comparing before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from rewards.domain.outcome import BoardNotice, BoardScore, Outcome
from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play import standings
from rewards.domain.play.actions import CannotCompute, Firing, performs
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.metrics import Stored
from rewards.domain.program.board import Board, ScoreAction
from rewards.domain.program.compiled import SUM_SCALE, Missing
from rewards.domain.state import MemberState
from rewards.domain.work import Earning, Work

NAME: Final = "leaderboards"
"""As the section of the document is called."""
OPTED_OUT: Final = "!opted_out"
REMOVED: Final = "!removed"
"""Both stand beside the boards' keys, which never begin with an exclamation mark."""
ASIDE: Final = "~"
"""Before the key of a board: standings of its definition before."""
PART_LENGTH_MAX: Final = 128
GONE_MAX: Final = 8
"""Boards that the program has no more, of which a member's standings are kept."""


class Boards(Mechanic):
    """Scores on the boards of a program."""

    name: ClassVar[str] = NAME

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        program = work.program
        boards = program.boards.by_event.get(event_type) if program.boards is not None else None
        if not boards:
            return
        bound = facts.inputs(event_type)
        for board in boards:
            source = board.source
            assert source is not None
            if source.where is not None and source.where.test(bound) is not True:
                continue
            value = 1 if source.value is None else source.value.read(bound)
            payload = None if isinstance(value, Missing) else standings.payload_of(board.tally, value)
            if payload is not None:
                score(work, board, payload, facts.at)

    def earned(self, work: Work, earning: Earning) -> None:
        program = work.program
        boards = program.boards.by_currency.get(earning.currency, ()) if program.boards is not None else ()
        for board in boards:
            period = _open_period(work, board, earning.at)
            if period is not None:
                known = _standings(work, board).get(period)
                state = standings.earned(known, earning.amount * SUM_SCALE, epoch_micros(earning.at))
                _keep(work, board, period, state)

    def take_back(self, work: Work, key: str, stored: Stored) -> None:
        board = next((each for each in _boards(work).values() if each.id == key), None)
        period = _open_period(work, board, stored.occurred_at) if board is not None else None
        if board is None or period is None:
            return
        known = _standings(work, board).get(period)
        micros = epoch_micros(stored.occurred_at)
        _keep(work, board, period, standings.take(board.tally, known, stored.contribution[0], micros, stored.order))

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        if other.get(OPTED_OUT):
            work.set_play(NAME, OPTED_OUT, 1)
        if other.get(REMOVED):
            work.set_play(NAME, REMOVED, {**other[REMOVED], **removals(work.play)})
        for key, board in _boards(work).items():
            theirs = other.get(key)
            if theirs is None or theirs[0] != board.id:
                continue
            for period, state in theirs[1].items():
                if board.is_open(period, work.now):
                    mine = _standings(work, board).get(period)
                    both = standings.merged(board.tally, mine, state, ascending=board.ascending)
                    _keep(work, board, period, both)

    def drop_removed(self, work: Work) -> None:
        """Puts aside what counts something else than its board does now, and takes up again what counted the same: a version
        may be rolled back. Standings on a board that is gone stay as well, for it may come back."""
        boards, before = _boards(work), work.play[NAME]
        for key, board in boards.items():
            kept, aside = before.get(key), before.get(ASIDE + key)
            if kept is not None and kept[0] == board.id:
                continue
            again = aside if aside is not None and aside[0] == board.id else None
            if kept is not None or again is not None:
                work.set_play(NAME, key, again)
                work.set_play(NAME, ASIDE + key, kept)
        gone = [key for key in before if not key.startswith(("!", ASIDE)) and key not in boards]
        for key in gone[: max(0, len(gone) - GONE_MAX)]:
            work.set_play(NAME, key, None)
            work.set_play(NAME, ASIDE + key, None)


def score(work: Work, board: Board, payload: Any, at: datetime) -> bool:
    """Puts one contribution of this command to the board's period of `at`; False, with a trace, when that is closed."""
    period = _open_period(work, board, at)
    if period is None:
        return False
    order = work.id.hex
    known = _standings(work, board).get(period)
    state = standings.put(board.tally, known, payload, epoch_micros(at), order, ascending=board.ascending)
    _keep(work, board, period, state)
    work.contributions.append([f"{NAME}:{board.id}", payload])
    return True


@performs(ScoreAction)
def _score(firing: Firing, action: ScoreAction) -> None:
    """The action `score`. Raises `CannotCompute` for what is no number."""
    work = firing.work
    board = _boards(work)[action.board]
    found = action.value.read(firing.bound)
    if isinstance(found, Missing):
        raise CannotCompute(f"{found.field} is {found.why}", field=found.field)
    payload = standings.payload_of(board.tally, found) if isinstance(found, int | float | Decimal) else None
    if payload is None:
        raise CannotCompute(f"{action.value.source} gives {found!r}, which is no number", field=action.value.source)
    if score(work, board, payload, firing.occurred_at):
        work.effects.append(
            {"type": "score", "leaderboard": board.key, "value": found, firing.cause.kind: firing.cause.key}
        )


def removals(play: Mapping[str, Mapping[str, Any]]) -> Mapping[str, list[Any]]:
    """The boards off which staff took the member, each with the reason and the actor."""
    removed: Mapping[str, list[Any]] = play.get(NAME, {}).get(REMOVED, {})
    return removed


def opted_out(play: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the member wants to be on no board."""
    return bool(play.get(NAME, {}).get(OPTED_OUT))


def part_of(board: Board, attributes: Mapping[str, Any]) -> str:
    """The part of a board in which a member with these attributes is; "" in none, as on a board that has no parts."""
    return _told(attributes.get(board.attribute)) if board.attribute is not None else ""


def record(work: Work, outcome: Outcome) -> None:
    """Leaves in the outcome the rows that this command changed: what others see of the member's standings."""
    before, after = work.state, outcome.state
    outcome.elsewhere = _is_elsewhere(work, before, after)
    mine, now = before.play.get(NAME), after.play.get(NAME)
    if mine is now and before.attributes is after.attributes and before.segments is after.segments:
        return
    if not outcome.board_notices and mine is not now:
        # A removal that came along with a merged member is this member's from now on.
        known = removals(before.play)
        outcome.board_notices.extend(
            BoardNotice("removed", key, kept[0]) for key, kept in removals(after.play).items() if key not in known
        )
    boards = work.program.boards
    mine, now = mine or {}, now or {}
    same_view = _same_view(before, after, mine, now)
    for board in boards.by_key.values() if boards is not None else ():
        old, new = mine.get(board.key), now.get(board.key)
        if old is new and (same_view or old is None):
            continue
        view = _view(board, after)
        seen = view if same_view else _view(board, before)
        if old is new and view == seen:
            continue
        outcome.scores.extend(_changes(board, old, new, seen, view, outcome.now))


def _is_elsewhere(work: Work, before: MemberState, after: MemberState) -> bool:
    """Whether the member is in another part of a board than before, with a score there or without, or was merged."""
    if before.merged_into != after.merged_into:
        return True
    if before.attributes is after.attributes:
        return False
    boards = _boards(work).values()
    return any(part_of(board, before.attributes) != part_of(board, after.attributes) for board in boards)


def _same_view(before: MemberState, after: MemberState, mine: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the member is in the same parts of all boards as before, and others see as much."""
    return (
        before.attributes is after.attributes
        and before.segments == after.segments
        and mine.get(OPTED_OUT) == now.get(OPTED_OUT)
        and mine.get(REMOVED) == now.get(REMOVED)
    )


def _changes(
    board: Board, old: Any, new: Any, seen: tuple[str, bool], view: tuple[str, bool], now: datetime
) -> Iterator[BoardScore]:
    old_states = {} if old is None else old[1]
    new_states = {} if new is None else new[1]
    for period in {**old_states, **new_states}:
        known, state = old_states.get(period), new_states.get(period)
        if (known is state and seen == view) or not board.is_open(period, now):
            continue  # what is closed has its result, and leaves the document without a word
        if state is None and old is not None and old[0] != board.id and _has_ended(board, period, now):
            continue  # the board counts something else now, and what was over by then stands
        part, shown = view
        left_part = seen[0] if known is not None else part
        if state is None:
            yield BoardScore(board.key, period, left_part, left_part, None, now, shown, board.id)
            continue
        reached, micros = standings.standing(board.tally, state)
        yield BoardScore(board.key, period, part, left_part, reached, from_epoch_micros(micros), shown, board.id)


def _view(board: Board, state: MemberState) -> tuple[str, bool]:
    """In which part of the board the member is, and whether others see it there."""
    shown = not opted_out(state.play) and board.key not in removals(state.play)
    if board.segment is not None:
        return "", shown and board.segment in state.segments
    if board.attribute is not None:
        part = part_of(board, state.attributes)
        return part, shown and part != ""
    return "", shown


def _told(value: Any) -> str:
    """The value of an attribute as the name of a part."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:PART_LENGTH_MAX] if isinstance(value, str | int | float) else ""


def _boards(work: Work) -> Mapping[str, Board]:
    return work.program.boards.by_key if work.program.boards is not None else {}


def _standings(work: Work, board: Board) -> Mapping[str, Any]:
    kept = work.play.get(NAME, {}).get(board.key)
    return kept[1] if kept is not None and kept[0] == board.id else {}


def _keep(work: Work, board: Board, period: str, state: Any) -> None:
    kept = {
        key: each for key, each in _standings(work, board).items() if key != period and board.is_open(key, work.now)
    }
    if state is not None:
        kept[period] = state
    work.set_play(NAME, board.key, [board.id, kept] if kept else None)


def _open_period(work: Work, board: Board, at: datetime) -> str | None:
    """The name of the period of `at`; None, with a trace, when its result is frozen or about to be."""
    period = board.schedule.at(at)
    if board.is_open(period.key, work.now):
        return period.key
    work.trace.append({"leaderboard": board.key, "result": "board_closed", "period": period.key})
    return None


def _has_ended(board: Board, period: str, now: datetime) -> bool:
    named = board.named(period)
    return named is None or (named.ends_at is not None and named.ends_at <= now)
