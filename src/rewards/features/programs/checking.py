"""Checks documents in another process: a hostile one can hang or fill that process, which is then killed, never us."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rewards.domain.program.check import Report
from rewards.domain.program.models import Document
from rewards.domain.program.problems import Position, Problem
from rewards.domain.program.read import SIZE_MAX_BYTES

WORKER: Final = "rewards.features.programs.check_worker"
ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
START_MAX_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class TestReport:
    """`results` are the document's own tests as JSON (`name`, `passed`, `failures`, `effects`); none if it has errors."""

    __test__ = False

    report: Report
    results: tuple[Mapping[str, Any], ...]

    @property
    def ok(self) -> bool:
        """Whether the document has no errors and every test passed."""
        return self.report.ok and all(result["passed"] for result in self.results)


class Checker:
    """Keeps one worker process warm and gives it one document at a time. Close it when done."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def check(self, source: bytes, *, timeout_seconds: float) -> Report:
        """All that is wrong with a document. A document that takes too long or too much memory is reported as such."""
        return _report(await self._ask("check", source, timeout_seconds))

    async def test(self, source: bytes, *, timeout_seconds: float) -> TestReport:
        """As `check`; without errors, the document's own tests are run too."""
        answer = await self._ask("test", source, timeout_seconds)
        return TestReport(_report(answer), tuple(answer.get("results", ())))

    async def close(self) -> None:
        """Ends the worker."""
        process, self._process = self._process, None
        if process is not None:
            await _end(process)

    async def _ask(self, task: str, source: bytes, timeout_seconds: float) -> dict[str, Any]:
        if len(source) > SIZE_MAX_BYTES:
            return _failed("too-large", f"the document has {len(source)} bytes, at most {SIZE_MAX_BYTES} are read")
        async with self._turn:
            try:
                process = await self._worker()
                async with asyncio.timeout(timeout_seconds):
                    return await _exchange(process, task, source, timeout_seconds)
            except TimeoutError:
                await self.close()
                return _failed("too-slow", f"checking took more than {timeout_seconds:g} seconds and was ended")
            except (asyncio.IncompleteReadError, ConnectionError):
                await self.close()
                return _failed("too-costly", "checking needed more memory or time than is allowed and was ended")
            except asyncio.CancelledError:
                # The answer to an abandoned question would be taken for the next one's.
                await asyncio.shield(self.close())
                raise

    async def _worker(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", WORKER, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=ANSWER_MAX_BYTES
        )
        self._process = process
        assert process.stdout is not None
        async with asyncio.timeout(START_MAX_SECONDS):
            await process.stdout.readexactly(1)  # it has imported everything: only now does a check's time run
        return process


async def _exchange(process: Process, task: str, source: bytes, timeout_seconds: float) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    head = json.dumps({"task": task, "bytes": len(source), "seconds": timeout_seconds}).encode()
    process.stdin.write(head + b"\n" + source)
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(8), "big")
    answer: dict[str, Any] = json.loads(await process.stdout.readexactly(size))
    return answer


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"errors": [Problem("", code, message).as_json()], "warnings": [], "data": None}


def _report(answer: Mapping[str, Any]) -> Report:
    errors = tuple(map(_problem, answer["errors"]))
    data = answer["data"]
    document = None if errors else Document.model_validate(data)
    return Report(errors, tuple(map(_problem, answer["warnings"])), document, data)


def _problem(value: Mapping[str, Any]) -> Problem:
    return Problem(
        path=value["path"],
        code=value["code"],
        message=value["message"],
        position=_position(value["position"]),
        near=value["near"],
        place=_position(value["place"]),
    )


def _position(value: Mapping[str, int] | None) -> Position | None:
    return None if value is None else Position(value["line"], value["column"])
