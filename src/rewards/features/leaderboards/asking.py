"""Questions to the sets of boards, asked together.

While an answer is awaited, questions wait, and all that wait go in the next call: a busy set costs little per question, an
idle one answers at once. Who asks the same shares an answer. No question joins a call that has been sent, so that every
answer holds what was written before it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from rewards.features.leaderboards import scripts
from rewards.valkey import Valkey, end

ROWS_AT_ONCE_MAX: Final = 500
"""Members that one call reads, beyond its first question: it keeps the server from everybody else meanwhile."""
MEMBER_BYTES: Final = 16


class Question(NamedTuple):
    """As `scripts.READ` takes it. Equal ones have one answer."""

    what: Literal["page", "around", "places", "scores"]
    first: bytes | int
    second: bytes | int

    @property
    def rows(self) -> int:
        """How many members the answer may hold."""
        if self.what == "page":
            return int(self.second)
        if self.what == "around":
            return 2 * int(self.second) + 1
        assert isinstance(self.first, bytes)
        return len(self.first) // MEMBER_BYTES


class Answer(NamedTuple):
    """What a set held at one moment: `as_of` and `version` of its board, how many are in it, and what was asked for."""

    as_of: bytes
    version: bytes
    total: int
    found: Any


class Readable(Hashable, Protocol):
    """A set, as far as reading it goes."""

    @property
    def read_from(self) -> tuple[str, str, str]:
        """The keys of the board's `meta`, of the entries and of the members."""

    @property
    def layout(self) -> str:
        """How the board has to be written to be read."""


Waiting = dict[Question, list[asyncio.Future[Answer | None]]]


@dataclass(slots=True)
class _Lane:
    """The questions that wait to be asked of one set."""

    waiting: Waiting = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Asking:
    """One call at a time for each set."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._lanes: dict[Readable, _Lane] = {}

    async def ask(self, of: Readable, question: Question) -> Answer | None:
        """None for a board that is not complete. Raises what calling Valkey raises."""
        lane = self._lanes.get(of)
        if lane is None:
            lane = self._lanes[of] = _Lane()
            lane.task = asyncio.create_task(self._answer(of, lane.waiting), name="board-questions")
        mine: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        lane.waiting.setdefault(question, []).append(mine)
        return await mine

    async def aclose(self) -> None:
        """Leaves what is asked unanswered."""
        await end(*(lane.task for lane in self._lanes.values() if lane.task is not None))

    async def _answer(self, of: Readable, waiting: Waiting) -> None:
        """Until nothing waits. What fails one call fails those who wait behind it, who would wait as long again."""
        keys, layout = of.read_from, of.layout
        asked: Waiting = {}
        try:
            while waiting:
                asked = _taken(waiting)
                found = await scripts.READ(
                    self._valkey, keys, layout, *(value for question in asked for value in question)
                )
                _tell(asked, found)
        except BaseException as error:
            told = error if isinstance(error, Exception) else ConnectionError("the service ends")
            for mine in _all(asked, waiting):
                if not mine.done():
                    mine.set_exception(told)
            if told is not error:
                raise
        finally:
            del self._lanes[of]


def _taken(waiting: Waiting) -> Waiting:
    """The first questions, as many as go in one call; they wait no longer."""
    taken: Waiting = {}
    rows = 0
    for question in list(waiting):
        rows += question.rows
        if taken and rows > ROWS_AT_ONCE_MAX:
            break
        taken[question] = waiting.pop(question)
    return taken


def _tell(asked: Waiting, found: Any) -> None:
    if found is None:
        answers: Iterable[Answer | None] = [None] * len(asked)
    else:
        as_of, version, total, *each = found
        answers = [Answer(as_of, version, total, one) for one in each]
    for who, answer in zip(asked.values(), answers, strict=True):
        for mine in who:
            if not mine.done():  # whoever gave up has been cancelled
                mine.set_result(answer)


def _all(*questions: Waiting) -> Iterable[asyncio.Future[Answer | None]]:
    return (mine for some in questions for who in some.values() for mine in who)
