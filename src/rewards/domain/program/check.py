"""Checks a document: every mistake at once, each with its place, what is wrong and what is near."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from rewards.domain.program.compile import build_program
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.expected import check_tests
from rewards.domain.program.later import drop_later
from rewards.domain.program.models.document import Document
from rewards.domain.program.problems import PROBLEMS_MAX, Position, Problem, Problems
from rewards.domain.program.read import Source, Unreadable, read_document
from rewards.domain.program.repair import repaired, shape_problems


@dataclass(frozen=True, slots=True)
class Report:
    """`document` is there exactly when there are no errors."""

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    document: Document | None = None
    data: Any = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the document can be published."""
        return not self.errors

    def as_json(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return {
            "ok": self.ok,
            "errors": [problem.as_json() for problem in self.errors],
            "warnings": [problem.as_json() for problem in self.warnings],
        }


def check_bytes(source: bytes) -> Report:
    """`check` of what is read from bytes; bytes that cannot be read give one error. Never raises."""
    try:
        return check(read_document(source))
    except Unreadable as unreadable:
        return Report(errors=(unreadable.problem,))


def check(source: Source) -> Report:
    """All that is wrong with a document, and what is odd about it. Never raises.

    Parts that do not parse are left out of what follows and count as declared, so that one mistake is reported once.
    """
    problems = Problems()
    data = source.data
    if not isinstance(data, Mapping):
        problems.error("", "type", "a document is an object: start with `rewards: 1`")
        return _report(problems, source, None)
    data, aliases = _told_apart(dict(data), problems)
    data, reduced = drop_later(data, problems)
    document, broken = _document(data, problems)
    if document is not None:
        context = Context(document, problems, broken)
        build_program(context, version=0)
        check_tests(context)
    problems.warnings = [
        each for each in problems.warnings if ".".join(each.path.split(".")[:2]) not in reduced | broken
    ]
    problems.errors = [_by_place(each, aliases) for each in problems.errors]
    problems.warnings = [_by_place(each, aliases) for each in problems.warnings]
    return _report(problems, source, document)


def _told_apart(data: dict[str, Any], problems: Problems) -> tuple[dict[str, Any], dict[str, int]]:
    """Gives a rule that is called like one before it a name of its own, so that its mistakes are not told of that one.
    With where each such name stands."""
    rules = data.get("rules")
    if not isinstance(rules, list):
        return data, {}
    keys = [rule.get("key") if isinstance(rule, Mapping) else None for rule in rules]
    kept, aliases, seen = list(rules), dict[str, int](), set[str]()
    for position, key in enumerate(keys):
        if not isinstance(key, str):
            continue
        if key in seen:
            problems.error(f"rules.{position}.key", "duplicate-key", f"two rules are called {key}")
            alias = f"rule_{position}"
            while alias in keys:
                alias += "_"
            kept[position] = {**rules[position], "key": alias}
            aliases[alias] = position
        seen.add(key)
    return {**data, "rules": kept}, aliases


def _by_place(problem: Problem, aliases: Mapping[str, int]) -> Problem:
    section, _, rest = problem.path.partition(".")
    name, dot, inner = rest.partition(".")
    if section != "rules" or name not in aliases:
        return problem
    return replace(problem, path=f"rules.{aliases[name]}{dot}{inner}")


def _document(data: dict[str, Any], problems: Problems) -> tuple[Document | None, frozenset[str]]:
    try:
        return Document.model_validate(data), frozenset()
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=True, include_context=True)
        shape_problems(mistakes[:PROBLEMS_MAX], data, problems)
        rest, broken = repaired(data, mistakes)
    try:
        return Document.model_validate(rest), broken
    except ValidationError:
        return None, broken  # the header itself is wrong: what is there is reported, nothing more can be said


def _report(problems: Problems, source: Source, document: Document | None) -> Report:
    errors, warnings = (_in_order(each, source) for each in (problems.errors, problems.warnings))
    return Report(errors, warnings, None if errors else document, source.data)


def _in_order(problems: Iterable[Problem], source: Source) -> tuple[Problem, ...]:
    """As somebody meets them who goes through the file from its beginning; those without a place come first."""
    placed = (_placed(problem, source) for problem in problems)
    return tuple(sorted(placed, key=lambda each: (each.place.line, each.place.column) if each.place else (0, 0)))


def _placed(problem: Problem, source: Source) -> Problem:
    """With the line and column in the file of the nearest enclosing part that is known."""
    path = _positional(problem.path, source.data)
    while path and path not in source.places:
        path = path.rpartition(".")[0]
    place = source.places.get(path)
    return replace(problem, place=place) if place is not None else problem


def _positional(path: str, data: Any) -> str:
    """`rules.audio_interest.when` as it stands in the file: `rules.0.when`."""
    section, _, rest = path.partition(".")
    if section != "rules" or not isinstance(data, Mapping) or not isinstance(data.get("rules"), list):
        return path
    key, _, inner = rest.partition(".")
    for position, rule in enumerate(data["rules"]):
        if isinstance(rule, Mapping) and rule.get("key") == key:
            return f"rules.{position}.{inner}" if inner else f"rules.{position}"
    return path


__all__ = ["Position", "Problem", "Report", "check", "check_bytes"]
