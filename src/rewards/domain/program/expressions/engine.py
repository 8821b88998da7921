"""Compiles rewritten expressions with the CEL runtime, and says in an author's words what it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel

from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.expressions.nodes import Call, ExpressionError, Node, Text
from rewards.domain.program.expressions.promote import DIVISION_BY_ZERO, Inline, Promoted, promote
from rewards.domain.program.expressions.scope import Engine, Scope
from rewards.domain.program.expressions.syntax import parse
from rewards.domain.program.expressions.walk import walk

_REMARK: Final = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_NO_FIELDS: Final = re.compile(r"expression of type '(.*)' cannot be the operand of a select operation")
_ABSENT: Final = re.compile(r'No value with name "\w+\.([^"]+)" found')
_WORDS: Final = {
    "double": "number", "int": "number", "string": "text", "bool": "true or false", "null_type": "null",
    "google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration", "dyn": "any value",
}  # fmt: skip
KIND_OF_CEL: Final = {
    "BOOL": Kind.FLAG, "DOUBLE": Kind.NUMBER, "INT": Kind.NUMBER, "STRING": Kind.TEXT, "TIMESTAMP": Kind.MOMENT,
    "DURATION": Kind.LENGTH, "LIST": Kind.ITEMS, "MAP": Kind.OBJECT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """One checked expression. `gives` is what it evaluates to, as far as the engine knows."""

    source: str
    node: Node
    promoted: Promoted
    program: Any
    gives: Kind


def compile_expression(source: str, scope: Scope, inline: Inline | None = None, node: Node | None = None) -> Compiled:
    """Read, resolve, promote and check `source` (or its part `node`). Raises `ExpressionError` at the mistake."""
    node = parse(source) if node is None else node
    promoted = promote(node, scope, inline)
    try:
        program = scope.engine.compile(promoted.text)
    except (RuntimeError, TypeError) as error:
        raise _translated(str(error), promoted) from None
    _check_patterns(node, scope.engine)
    gives = KIND_OF_CEL.get(program.return_type().name(), Kind.ANY)
    return Compiled(source, node, promoted, program, gives)


def _check_patterns(node: Node, engine: Engine) -> None:
    for each in walk(node):
        if isinstance(each, Call) and each.function == "matches" and each.args and isinstance(each.args[-1], Text):
            pattern = each.args[-1]
            result = engine.compile(f'"".matches({pattern.raw})').eval(engine.activation({}))
            if result.type() == cel.Type.ERROR:
                raise ExpressionError(str(result.value()).partition(": ")[2], pattern.start, code="pattern")


def _translated(remark: str, promoted: Promoted) -> ExpressionError:
    found = _REMARK.search(remark)
    if found is None or "recursion" in remark:
        return ExpressionError("nested too deeply, or too long a chain of operators", 0, code="too-deep")
    offset = promoted.origin(max(int(found[2]) - 1, 0))
    overload = _OVERLOAD.search(found[3])
    if (bare := _NO_FIELDS.search(found[3])) is not None:
        return ExpressionError(f"this is a {_word(bare[1])}, which has no fields", offset, code="type")
    if overload is None:
        return ExpressionError(
            found[3].replace(" (in container '')", "").removesuffix(" [INVALID_ARGUMENT]"), offset, code="type"
        )
    operator = overload[1].replace("_", "").replace("@", "") or overload[1]
    kinds = [_word(part) for part in _split(overload[2])]
    return ExpressionError(_mismatch(operator, kinds), offset, code="type")


def _mismatch(operator: str, kinds: list[str]) -> str:
    if operator == "?:":
        return f"the two outcomes must be of one type, not {' and '.join(kinds[1:])}"
    if len(kinds) == 1:
        return f"{operator} does not work on {kinds[0]}"
    return f"{operator} does not work between {' and '.join(kinds)}"


def _split(signature: str) -> list[str]:
    """The parts of `(double, list(int))` and of the method form `string.(double)`."""
    target, dot, rest = signature.partition(".(")
    inner = rest.removesuffix(")") if dot else signature.strip("()") if signature.count("(") == 1 else signature[1:-1]
    parts = re.split(r",\s*(?![^(]*\))", inner) if inner else []
    return [target, *parts] if dot else parts


def _word(name: str) -> str:
    name = name.strip()
    if name.startswith("list("):
        return "list"
    if name.startswith("map("):
        return "object"
    return _WORDS.get(name.removeprefix("wrapper(").rstrip(")") if name.startswith("wrapper") else name, name)


def failure(message: str, fields: tuple[str, ...]) -> tuple[str, str]:
    """The field and the reason behind an evaluation that ended in an error."""
    absent = _ABSENT.search(message)
    if absent is not None:
        return absent[1], "missing"
    reason = message.partition(": ")[2] or message
    if reason.startswith("Unexpected value type for "):
        name = reason.split("'")[1]
        return name.partition(".")[2], "of another type than declared"
    if "cannot convert string to double" in reason:
        reason = DIVISION_BY_ZERO
    return (fields[0] if fields else ""), reason
