"""The process in which documents are checked: it answers one question after the other, and dies rather than overrun.

Reads a line of JSON (`task`, `bytes`, `seconds`) and that many bytes; answers eight bytes of length and JSON.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
from typing import Any, Final

from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.testing import run_tests

MEMORY_MAX_BYTES: Final = 1024 * 1024 * 1024


def main() -> None:
    """Runs until its input ends. The alarm ends it even if whoever asked is gone and the engine never returns."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle; it ends us
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b"!")
    answers.flush()
    while head := questions.readline():
        question = json.loads(head)
        signal.alarm(math.ceil(question["seconds"]) + 1)
        answer = json.dumps(_answer(question["task"], questions.read(question["bytes"]))).encode()
        signal.alarm(0)
        answers.write(len(answer).to_bytes(8, "big") + answer)
        answers.flush()


def _answer(task: str, source: bytes) -> dict[str, Any]:
    report = check_bytes(source)
    answer = report.as_json() | {"data": report.data}
    if task == "test" and report.document is not None:
        program = compile_program(report.document, version=0)
        answer["results"] = [result.as_json() for result in run_tests(report.document, program)]
    return answer


if __name__ == "__main__":
    main()
