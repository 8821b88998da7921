"""Commands of leaderboards about one member: a prize, a removal by staff, and the wish to be on no board."""

from __future__ import annotations

from typing import Final

from rewards.domain.commands import AwardPrize, ModerateBoard, OptOut
from rewards.domain.errors import Refusal
from rewards.domain.outcome import Achievement, BoardNotice, EventRecord, Outcome, Status
from rewards.domain.play.boards import NAME, OPTED_OUT, REMOVED, opted_out, removals
from rewards.domain.play.rewards import give
from rewards.domain.profile import finish_profile
from rewards.domain.program.problems import meant
from rewards.domain.recorded import TIME_PASSED
from rewards.domain.work import Work

PRIZE: Final = "prize"
"""The kind of achievement: its key is the board's and the period's, its level the rank, its instance the prize's number from 1."""


class UnknownBoard(Refusal):
    """The program has no leaderboard of that key."""

    code = "unknown-leaderboard"


def decide_prize(work: Work, command: AwardPrize) -> Outcome:
    """What the current program has for the prize is given; it is kept like an event, with its trace, so that it can be explained."""
    board = work.program.boards.by_key.get(command.board) if work.program.boards is not None else None
    told = {"leaderboard": command.board, "period": command.period, "rank": command.rank, "score": command.score}
    if command.part:
        told["part"] = command.part
    if board is None or command.prize >= len(board.prizes):
        work.trace.append({**told, "result": "removed"})
    else:
        work.trace.append({**told, "result": "won"})
        prize = board.prizes[command.prize]
        if give(work, board.cause, prize.then, at=work.now, reference=board.reference(command.period)):
            key = f"{board.key}/{command.period}"
            work.achieve(Achievement(PRIZE, key, command.rank, prize.number + 1, work.now, event=work.cause))
    outcome = finish_profile(work)
    name = f"{TIME_PASSED}:{outcome.id}"
    outcome.event = EventRecord(TIME_PASSED, name, work.now, told, {}, work.contributions)
    return outcome


def decide_moderation(work: Work, command: ModerateBoard) -> Outcome:
    """Scores go on counting unseen, so that who is restored is where it would have been. Saying it twice changes nothing.

    Raises `UnknownBoard`; a board that is gone can still be restored to.
    """
    removed = dict(removals(work.play))
    known = work.program.boards.by_key if work.program.boards is not None else {}
    if command.board not in known and (command.reason is not None or command.board not in removed):
        message = f"the program has no leaderboard {command.board!r}{meant(command.board, known)}"
        raise UnknownBoard(message, leaderboard=command.board)
    notice = None
    if command.reason is None:
        if removed.pop(command.board, None) is not None:
            notice = BoardNotice("restored", command.board)
    elif command.board not in removed or removed[command.board][0] != command.reason:
        removed[command.board] = [command.reason, work.actor]
        notice = BoardNotice("removed", command.board, command.reason)
    if notice is not None:
        work.set_play(NAME, REMOVED, removed or None)
    return _moderated(work, notice, {"leaderboard": command.board, "removed": command.board in removed})


def decide_opt_out(work: Work, command: OptOut) -> Outcome:
    """Saying it twice changes nothing."""
    notice = None
    if command.out != opted_out(work.play):
        work.set_play(NAME, OPTED_OUT, 1 if command.out else None)
        notice = BoardNotice("opted_out" if command.out else "opted_in")
    return _moderated(work, notice, {"opted_out": command.out})


def _moderated(work: Work, notice: BoardNotice | None, answer: dict[str, object]) -> Outcome:
    outcome = work.finish(Status.PROCESSED)
    outcome.answer = answer
    if notice is not None:
        outcome.board_notices.append(notice)
    return outcome
