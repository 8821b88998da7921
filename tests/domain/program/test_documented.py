"""The programs in the documentation are what it says: they check, and their tests pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.testing import run_tests

ROOT: Final = Path(__file__).parents[3]
PROGRAMS: Final = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(re.findall(r"```ya?ml\n(.*?)```", page.read_text(), re.DOTALL))
    if block.lstrip().startswith("rewards: 1")
]


def test_there_are_some() -> None:
    assert len(PROGRAMS) >= 6


@pytest.mark.parametrize("source", PROGRAMS)
def test_a_documented_program_is_in_order(source: str) -> None:
    report = check_bytes(source.encode())
    assert report.document is not None, report.errors
    results = run_tests(report.document, compile_program(report.document, version=1))
    assert [failure for result in results for failure in result.failures] == []
