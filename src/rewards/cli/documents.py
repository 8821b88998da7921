"""Documents on the command line: read, checked in a process that can be ended, and their mistakes shown where they are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from rewards.cli.printing import console, counted
from rewards.domain.program.check import Report
from rewards.domain.program.models.document import Document
from rewards.domain.program.problems import Problem
from rewards.features.programs.checking import Checker, TestReport

CHECK_SECONDS_MAX: Final = 30.0
FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
EXCERPT_LENGTH_MAX: Final = 160


def read_source(path: Path) -> bytes:
    """A file, or standard input for `-`."""
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


def check_distinct(*paths: Path | None) -> None:
    """Raises `UsageError` where standard input is named twice: it can be read once."""
    if [str(path) for path in paths].count("-") > 1:
        raise click.UsageError("Standard input (-) can be read once only; name a file for the other.")


def checked(source: bytes) -> Report:
    """`check` in a process of its own."""

    async def ask() -> Report:
        checker = Checker()
        try:
            return await checker.check(source, timeout_seconds=CHECK_SECONDS_MAX)
        finally:
            await checker.close()

    return asyncio.run(ask())


def tested(source: bytes) -> TestReport:
    """`check`, and the document's own tests if it has no errors."""

    async def ask() -> TestReport:
        checker = Checker()
        try:
            return await checker.test(source, timeout_seconds=CHECK_SECONDS_MAX)
        finally:
            await checker.close()

    return asyncio.run(ask())


def document_of(path: Path) -> Document:
    """The document in a file. Shows its mistakes and ends the command if it has any."""
    return document_in(read_source(path), path)


def document_in(source: bytes, path: Path) -> Document:
    """As `document_of`, of a file that was read: standard input and pipes can be read once only."""
    report = checked(source)
    if report.document is None:
        show_problems(report, str(path), source)
        raise click.exceptions.Exit(1)
    return report.document


def show_problems(report: Report, name: str, source: bytes) -> None:
    """All errors and warnings on standard error, each with its place and a caret."""
    out = console(stderr=True)
    lines = source.decode(errors="replace").splitlines()
    for kind, colour, problems in (("error", "red", report.errors), ("warning", "yellow", report.warnings)):
        for problem in problems:
            _show(out, kind, colour, problem, name, lines, report.data)
    if report.errors:
        out.print(f"{name}: {counted(len(report.errors), 'error')}, {counted(len(report.warnings), 'warning')}")


def _show(out: Console, kind: str, colour: str, problem: Problem, name: str, lines: Sequence[str], data: Any) -> None:
    place = f"{name}:{problem.place.line}:{problem.place.column}" if problem.place else name
    near = f"; did you mean {problem.near}?" if problem.near else ""
    what = f"{problem.path or 'document'}: {problem.message}{near}"
    out.print(f"{escape(place)}: [bold {colour}]{kind}[/]: {escape(what)} [dim]\\[{problem.code}][/]")
    excerpt, column = _excerpt(problem, lines, data)
    if excerpt:
        out.print(f"    {escape(excerpt)}")
        out.print(f"    {' ' * (column - 1)}[{colour}]^[/]")


def _excerpt(problem: Problem, lines: Sequence[str], data: Any) -> tuple[str, int]:
    """The line to show and where the caret belongs: inside the expression if that is known, else in the file."""
    expression = _at(data, problem.path)
    if problem.position is not None and isinstance(expression, str):
        parts = expression.splitlines() or [""]
        if problem.position.line <= len(parts):
            return _cut(parts[problem.position.line - 1], problem.position.column)
    if problem.place is not None and problem.place.line <= len(lines):
        return _cut(lines[problem.place.line - 1], problem.place.column)
    return "", 1


def _cut(line: str, column: int) -> tuple[str, int]:
    """A long line around the column, which counts from 1."""
    start = 0 if len(line) <= EXCERPT_LENGTH_MAX else max(0, column - EXCERPT_LENGTH_MAX // 2)
    return line[start : start + EXCERPT_LENGTH_MAX], column - start


def _at(data: Any, path: str) -> Any:
    """The value at a path such as `rules.play.when`; rules are found by key or place."""
    for part in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, Sequence) and not isinstance(data, str):
            by_key = next((each for each in data if isinstance(each, Mapping) and each.get("key") == part), None)
            if by_key is not None:
                data = by_key
            elif part.isdecimal() and int(part) < len(data):
                data = data[int(part)]
            else:
                return None
        else:
            return None
    return data
