"""Lanes: a member's commands queue in one lane, and whatever waits when a transaction ends goes in the next one.

An idle service answers at the latency of one transaction; a busy one gets cheaper per command. A lane that has just answered
several callers at once draws breath before it takes what waits, so that it takes those together who came together; a command
that comes to an idle lane never waits. See docs/decisions/0020.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any, ClassVar, Final
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from rewards.db.transact import StorageError, UnknownCommit, sqlstate
from rewards.domain.errors import RewardsError
from rewards.domain.outcome import Status
from rewards.pipeline.attempt import InternalError
from rewards.pipeline.batch import Batches
from rewards.pipeline.submission import Receipt, Result, Submission

log = structlog.get_logger()

BATCH_MAX: Final = 200
BREATH_SECONDS: Final = 0.002
RERUNS_MAX: Final = 3


class Overloaded(RewardsError):
    """The lanes are full. Nothing was changed; try again after `retry_after_seconds`."""

    code: ClassVar[str] = "overloaded"
    retry_after_seconds: ClassVar[int] = 1


class ShuttingDown(RewardsError):
    """The service is stopping and takes no more commands."""

    code: ClassVar[str] = "shutting-down"
    retry_after_seconds: ClassVar[int] = 2


class _Lane:
    """One queue and the one transaction that it has in flight."""

    def __init__(self, batches: Batches, *, batch_max: int, span_buckets: bool) -> None:
        self._batches = batches
        self._batch_max = batch_max
        self._span_buckets = span_buckets
        self.waiting: deque[tuple[Submission, asyncio.Future[Result]]] = deque()
        self._work = asyncio.Event()
        self.closing = False

    def put(self, submission: Submission) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting.append((submission, future))
        self._work.set()
        return future

    def close(self) -> None:
        self.closing = True
        self._work.set()

    async def run(self) -> None:
        """Until closed and empty."""
        while True:
            if not self.waiting:
                if self.closing:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            taken = self._take()
            await self._run_batch(taken)
            if len(taken) > 1 and len(self.waiting) < self._batch_max and not self.closing:
                await asyncio.sleep(BREATH_SECONDS)

    def _take(self) -> list[tuple[Submission, asyncio.Future[Result]]]:
        """What goes together: one program (and one bucket, where batches may not span them), in the order of arrival."""
        waiting = self.waiting
        head = waiting[0][0]
        taken: list[tuple[Submission, asyncio.Future[Result]]] = []
        left: list[tuple[Submission, asyncio.Future[Result]]] = []
        while waiting and len(taken) < self._batch_max:
            pair = waiting.popleft()
            item = pair[0]
            fits = item.program_id == head.program_id and (self._span_buckets or item.bucket == head.bucket)
            (taken if fits else left).append(pair)
        waiting.extendleft(reversed(left))
        return taken

    async def _run_batch(self, taken: list[tuple[Submission, asyncio.Future[Result]]]) -> None:
        futures = dict(taken)
        try:
            done = await self._durable([item for item, _ in taken])
        except RewardsError as error:
            for future in futures.values():
                _settle(future, error)
            return
        except Exception as defect:  # noqa: BLE001 - the lane is the last to hear of it
            # Whatever broke, the callers must hear of it and the lane must go on.
            log.error("batch_failed", size=len(taken), **_told(defect))  # noqa: TRY400
            for future in futures.values():
                _settle(future, InternalError("the command failed; nothing was changed"))
            return
        for item, result in done[0].items():
            _settle(futures[item], result)
        self.waiting.extendleft((item, futures[item]) for item in reversed(done[1]))

    async def _durable(self, submissions: Sequence[Submission]) -> tuple[dict[Submission, Result], list[Submission]]:
        """Runs again after a commit whose outcome is unknown: the dedup rows decide, and what had happened answers as it did.

        Raises `UnknownCommit` where that cannot be found out: what failed last only knows that it changed nothing itself.
        """
        unknown: UnknownCommit | None = None
        for attempt in range(RERUNS_MAX + 1):
            try:
                done = await self._batches.run(submissions)
            except UnknownCommit as error:
                if attempt == RERUNS_MAX:
                    raise
                unknown = error
                await asyncio.sleep(0.05 * 2**attempt)
            except StorageError as error:
                if unknown is None:
                    raise
                if attempt == RERUNS_MAX:
                    raise unknown from error
                await asyncio.sleep(0.25 * 2**attempt)
            else:
                return _first_answers(submissions, done.results) if unknown else done.results, done.deferred
        raise AssertionError("unreachable")


def _first_answers(submissions: Sequence[Submission], results: dict[Submission, Result]) -> dict[Submission, Result]:
    """What the rerun found already done was done by the first run, whose caller still waits for the first answer.

    Of several that are the same command the first in order is the one that ran; the others are duplicates, as ever.
    """
    answered = dict(results)
    ran: set[tuple[UUID, UUID | None]] = set()
    for item in submissions:
        identity = (item.member_id, item.key)
        result = results.get(item)
        if identity not in ran and isinstance(result, Receipt):
            ran.add(identity)
            answered[item] = _first_answer(result)
    return answered


def _first_answer(result: Receipt) -> Receipt:
    if not result.replayed:
        return result
    first = result.first_status
    answer = {**result.answer, "status": first} if "status" in result.answer else result.answer
    return Receipt(Status(first), answer, trace=result.trace, refusal=result.refusal)


def _told(defect: Exception) -> dict[str, Any]:
    """What broke and where, without its words: a database quotes rows in them, which are personal."""
    return {
        "error": type(defect).__name__,
        "sqlstate": sqlstate(defect) if isinstance(defect, DBAPIError) else None,
        "where": [
            f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in extract_tb(defect.__traceback__)
        ],
    }


def _settle(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():  # the caller may have gone
        future.set_result(result)


class Lanes:
    """Takes commands, bounded in number, and answers each once it is durable."""

    def __init__(
        self, batches: Batches, *, lanes: int, queue_max: int, batch_max: int = BATCH_MAX, span_buckets: bool = True
    ) -> None:
        self._lanes = [_Lane(batches, batch_max=batch_max, span_buckets=span_buckets) for _ in range(lanes)]
        self._queue_max = queue_max
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @property
    def waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(lane.run(), name=f"lane-{index}") for index, lane in enumerate(self._lanes)]

    async def drain(self) -> None:
        """Takes no more, finishes what waits."""
        self._closing = True
        for lane in self._lanes:
            lane.close()
        await asyncio.gather(*self._tasks)

    async def submit_all(self, submissions: Sequence[Submission]) -> list[Result]:
        """Room for all or none. Raises `Overloaded`; every other outcome is in the list, in order."""
        if self._closing:
            raise ShuttingDown("the service is stopping")
        if self.waiting + len(submissions) > self._queue_max:
            raise Overloaded(f"more than {self._queue_max} commands wait", waiting=self.waiting)
        futures = [self._lane_of(item).put(item) for item in submissions]
        return list(await asyncio.gather(*futures))

    async def submit(self, submission: Submission) -> Receipt:
        """The durable answer to one command. Raises what it was refused with."""
        [result] = await self.submit_all([submission])
        if isinstance(result, RewardsError):
            raise result
        return result

    def _lane_of(self, submission: Submission) -> _Lane:
        return self._lanes[submission.member_id.int % len(self._lanes)]
