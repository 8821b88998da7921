"""The real service, sentenced: it kills itself with SIGKILL the n-th time it reaches a step of a batch, of projecting boards,
or of folding their marks.

Run as `python -m tests.chaos.doomed STEP N PORT`; with `waking-` before the step of a batch only passes count that come after
a worker has claimed what was due, with `locking-` all batches begin anew with a lock. The wrapping happens here, so the service
itself knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rewards.app import make_app
from rewards.features.events.jobs import DueCommands
from rewards.features.leaderboards import folding, projecting, rebuilding
from rewards.features.leaderboards.ranking import Build
from rewards.http.server import bind, serve
from rewards.pipeline import attempt, batch
from rewards.pipeline.write_batch import MEMBERS_CHECK, Outdated
from rewards.service import Service
from rewards.settings import load_settings
from rewards.worker import Worker

LOCKING: Final = "locking-"
WAKING: Final = "waking-"

# Each step by the function of `rewards.pipeline` after which the process dies. What is written is committed, and nobody is answered;
# where the batch locks first it is not, but for `locking-committed`.
STEPS: Final = {
    "loaded": "load_members",
    "asked": "seen_before",
    "written": "write",
    "locking-locked": "lock_members",
    "locking-loaded": "load_members",
    "locking-written": "write",
    "locking-committed": "transact",
    "waking-loaded": "load_members",
    "waking-written": "write",
}

# Likewise of `rewards.features.leaderboards.projecting`; only passes count in which some board had marks.
PROJECTING_STEPS: Final = {"read": "read_loads", "carried": "carry", "cleared": "clear"}

# What folding too many marks of a board into one goes through, up to the end of the build that it asks for: each by where
# the function is looked up and its name. Of the first two the first pass is of the mark of the whole board, and
# each further one of a few marks that are deleted.
FOLDING_STEPS: Final[dict[str, tuple[object, str]]] = {
    "folding-executed": (folding, "rows"),
    "folding-committed": (folding, "transact"),
    "folded": (projecting, "fold"),
    "begun": (Build, "start"),
    "filled": (Build, "add"),
    "installed": (Build, "install"),
    "built": (projecting, "rebuild"),
    "done": (projecting, "clear_whole"),
}
FEW_MARKS: Final = 4
"""So many marks of a board are too many here."""
FEW_AT_ONCE: Final = 3
"""So many are deleted at once, and so many scores are a page."""


async def outdated(*_: Any) -> None:
    raise Outdated(MEMBERS_CHECK)


def sentence(step: str, times: int) -> None:
    """Arranges the death after the `times`-th pass of the step."""
    name = STEPS[step]
    if step.startswith(LOCKING):
        setattr(batch, "transact_at_once", outdated)  # noqa: B010 - a test's own doing
    claimed = [] if step.startswith(WAKING) else [True]
    where = batch if hasattr(batch, name) else attempt
    original: Callable[..., Awaitable[Any]] = getattr(where, name)
    passed = 0

    async def then_die(*arguments: Any, **named: Any) -> Any:
        nonlocal passed
        result = await original(*arguments, **named)
        passed += bool(claimed)
        if passed == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    async def run_program(due: DueCommands, *arguments: Any) -> int:
        claimed.append(True)
        return await run_claimed(due, *arguments)

    run_claimed = DueCommands._run_program
    setattr(DueCommands, "_run_program", run_program)  # noqa: B010 - a test's own doing
    setattr(where, name, then_die)


def sentence_projector(step: str, times: int) -> None:
    """Arranges the death after the `times`-th pass of the step."""
    name = PROJECTING_STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(projecting, name)
    passed = 0

    async def then_die(*arguments: Any) -> Any:
        nonlocal passed
        result = await original(*arguments)
        # What is read are loads; of those carried, what went wrong with each: a board that is not built yet is not carried.
        passed += {"read": bool(result), "carried": None in (result or ()), "cleared": True}[step]
        if passed == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(projecting, name, then_die)


def sentence_folding(step: str, times: int) -> None:
    """Arranges the death after the `times`-th pass of the step, and that it does not take 10,000 marks."""
    for module, name, few in (
        (projecting, "COUNTED_MAX", FEW_MARKS),
        (folding, "FOLDED_AT_ONCE_MAX", FEW_AT_ONCE),
        (rebuilding, "PAGE_SCORES", FEW_AT_ONCE),
    ):
        assert getattr(module, name) > few
        setattr(module, name, few)
    where, name = FOLDING_STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(where, name)
    passed = 0

    async def then_die(*arguments: Any, **named: Any) -> Any:
        nonlocal passed
        result = await original(*arguments, **named)
        passed += 1
        if passed == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(where, name, then_die)


def main() -> None:
    step, times, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if step in STEPS:
        sentence(step, times)
    elif step in PROJECTING_STEPS:
        sentence_projector(step, times)
    elif step in FOLDING_STEPS:
        sentence_folding(step, times)
    settings = load_settings(port=port, log_level="error")
    service = Service(settings)
    serve(make_app(service, Worker(service).running), bind("127.0.0.1", port), shutdown_seconds=5)


if __name__ == "__main__":
    main()
