"""Documents are checked in a process of their own, which may hang, crash or fill up without harm to the service."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rewards.domain.program.check import check_bytes
from rewards.features.programs.checking import Checker

SHOP = (Path(__file__).parents[3] / "seeds/shop.yaml").read_bytes()
BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)
SLOW = b"rewards: 1\nrules: [" + b"{key: r, on: e, then: []}, " * 30_000 + b"]"


@pytest_asyncio.fixture
async def checker() -> AsyncIterator[Checker]:
    checker = Checker()
    yield checker
    await checker.close()


def worker_pid(checker: Checker) -> int:
    assert checker._process is not None
    return checker._process.pid


async def test_the_same_report_as_in_this_process(checker: Checker) -> None:
    for source in (SHOP, SHOP.replace(b"event.category", b"event.catgory"), b"a: [", b"rewards: 1"):
        assert await checker.check(source, timeout_seconds=10) == check_bytes(source)


async def test_a_documents_own_tests(checker: Checker) -> None:
    good = await checker.test(SHOP, timeout_seconds=10)
    assert good.ok
    assert len(good.results) == SHOP.count(b"\n  - name: ")
    bad = await checker.test(
        SHOP.replace(b"otherwise: [{earn: {currency: points, amount: 5}}]", b"otherwise: []"), timeout_seconds=10
    )
    assert [result["name"] for result in bad.results if not result["passed"]] == [
        "feedback is welcome either way, once in thirty days"
    ]
    assert not bad.ok


@pytest.mark.parametrize(
    ("source", "timeout_seconds", "code"),
    [
        (b"x" * 10_000_000, 10, "too-large"),
        (BOMB, 10, "too-large"),
        (b"[" * 1_000_000, 10, "too-deep"),
        (SLOW, 0.2, "too-slow"),
    ],
    ids=["ten megabytes", "alias bomb", "a million brackets", "slow"],
)
async def test_hostile(checker: Checker, source: bytes, timeout_seconds: float, code: str) -> None:
    await checker.check(b"rewards: 1", timeout_seconds=10)
    report = await checker.check(source, timeout_seconds=timeout_seconds)
    assert [problem.code for problem in report.errors] == [code]
    assert (await checker.check(SHOP, timeout_seconds=10)).ok


async def test_a_worker_that_took_too_long_is_gone(checker: Checker) -> None:
    await checker.check(b"rewards: 1", timeout_seconds=10)
    pid = worker_pid(checker)
    await checker.check(SLOW, timeout_seconds=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_that_dies_costs_one_check(checker: Checker) -> None:
    await checker.check(b"rewards: 1", timeout_seconds=10)
    pid = worker_pid(checker)
    slow = asyncio.ensure_future(checker.check(SLOW, timeout_seconds=10))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert [problem.code for problem in (await slow).errors] == ["too-costly"]
    assert (await checker.check(SHOP, timeout_seconds=10)).ok


async def test_an_abandoned_check_does_not_answer_the_next(checker: Checker) -> None:
    abandoned = asyncio.ensure_future(checker.check(SLOW, timeout_seconds=10))
    await asyncio.wait([abandoned], timeout=0.2)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    assert (await checker.check(SHOP, timeout_seconds=10)).ok
