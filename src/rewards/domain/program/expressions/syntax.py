"""Reads CEL text into a tree: our own reader, so that numbers can be promoted, names resolved and errors placed.

The grammar is CEL's, but for bytes and message literals, which no document needs; the engine reads the rewritten text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rewards.domain.program.expressions.nodes import (
    Binary,
    Call,
    Choice,
    Entries,
    ExpressionError,
    Index,
    Items,
    Name,
    Node,
    Number,
    Select,
    Text,
    Unary,
    Word,
)

LENGTH_MAX: Final = 2_000
DEPTH_MAX: Final = 24
LIST_MAX: Final = 100

_TOKEN: Final = re.compile(
    r"""(?P<space>(?:\s+|//[^\n]*)+)
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    |(?P<text>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||==|!=|<=|>=|\.\?|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)
_LEVELS: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_WORDS: Final = frozenset({"true", "false", "null"})
_RESERVED: Final = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"}
    | {"namespace", "return", "var", "void", "while", "in"}
)
_ESCAPE: Final = re.compile(r"""\\([\\?"'`abfnrtv]|[0-3][0-7]{2}|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})""")
_ESCAPES: Final = {
    **{each: each for each in "\\?\"'`"},
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_HINTS: Final = {"=": "==", "&": "&&", "|": "||", "and": "&&", "or": "||", "not": "!"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse(source: str) -> Node:
    """The tree of `source`. Raises `ExpressionError` with the offset of the mistake; bounded in length and nesting."""
    if len(source) > LENGTH_MAX:
        raise ExpressionError(f"longer than {LENGTH_MAX} characters", LENGTH_MAX, code="too-long")
    if not source.strip():
        raise ExpressionError("an expression cannot be empty", 0, code="empty")
    reader = _Reader(_tokens(source), len(source.rstrip()))
    node = reader.choice(0)
    if reader.peek().kind != "end":
        raise reader.unexpected("the end of the expression or an operator")
    return node


def _tokens(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    offset = 0
    while offset < len(source):
        match = _TOKEN.match(source, offset)
        if match is None:
            mark = source[offset]
            if mark in "\"'":
                raise ExpressionError("this text has no closing quote", offset, code="syntax")
            hint = _HINTS.get(mark)
            raise ExpressionError(f"unexpected {mark!r}", offset, code="syntax", near=hint)
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match[0], offset))
        offset = match.end()
    return tokens


class _Reader:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self._tokens = [*tokens, _Token("end", "", end)]
        self._next = 0

    def peek(self) -> _Token:
        return self._tokens[self._next]

    def take(self, text: str | None = None) -> _Token:
        token = self._tokens[self._next]
        if text is not None and (token.text != text or token.kind == "text"):
            raise self.unexpected(repr(text))
        if token.kind != "end":
            self._next += 1
        return token

    def unexpected(self, expected: str) -> ExpressionError:
        token = self.peek()
        found = repr(token.text) if token.kind != "end" else "the end"
        return ExpressionError(
            f"found {found} where {expected} should be", token.start, code="syntax", near=_HINTS.get(token.text)
        )

    def choice(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise ExpressionError(f"nested more than {DEPTH_MAX} deep", self.peek().start, code="too-deep")
        node = self.binary(1, depth)
        if self.peek().text != "?" or self.peek().kind != "mark":
            return node
        start = self.take().start
        yes = self.choice(depth + 1)
        self.take(":")
        return Choice(start, node, yes, self.choice(depth + 1))

    def binary(self, level: int, depth: int) -> Node:
        left = self.unary(depth)
        while True:
            token = self.peek()
            found = _LEVELS.get(token.text) if token.kind in {"mark", "name"} else None
            if found is None or found < level:
                return left
            self.take()
            left = Binary(token.start, token.text, left, self.binary(found + 1, depth + 1))

    def unary(self, depth: int) -> Node:
        token = self.peek()
        if token.kind == "mark" and token.text in {"!", "-"}:
            if depth > DEPTH_MAX:
                raise ExpressionError(f"nested more than {DEPTH_MAX} deep", token.start, code="too-deep")
            self.take()
            operand = self.unary(depth + 1)
            if token.text == "-" and isinstance(operand, Number):
                return Number(token.start, -operand.value)
            return Unary(token.start, token.text, operand)
        return self.postfix(self.primary(depth), depth)

    def postfix(self, node: Node, depth: int) -> Node:
        while (token := self.peek()).kind == "mark":
            if token.text in {".", ".?"}:
                self.take()
                field = self.take()
                if field.kind != "name":
                    self._next -= 1
                    raise self.unexpected("a field")
                if token.text == "." and self.peek().text == "(" and self.peek().kind == "mark":
                    node = Call(field.start, node, field.text, self.arguments(depth))
                else:
                    node = Select(field.start, node, field.text, token.text == ".?")
            elif token.text == "[":
                self.take()
                at = self.choice(depth + 1)
                self.take("]")
                node = Index(token.start, node, at)
            else:
                break
        return node

    def primary(self, depth: int) -> Node:
        token = self.peek()
        if token.kind == "number":
            self.take()
            return Number(token.start, _number(token))
        if token.kind == "text":
            self.take()
            return Text(token.start, token.text, _text(token))
        if token.kind == "name" and token.text not in _RESERVED:
            self.take()
            if token.text in _WORDS:
                return Word(token.start, token.text)
            if self.peek().text == "(" and self.peek().kind == "mark":
                return Call(token.start, None, token.text, self.arguments(depth))
            return Name(token.start, token.text)
        return self.bracketed(token, depth)

    def bracketed(self, token: _Token, depth: int) -> Node:
        if token.text == "(" and token.kind == "mark":
            self.take()
            node = self.choice(depth + 1)
            self.take(")")
            return node
        if token.text == "[" and token.kind == "mark":
            self.take()
            items = self.separated("]", depth)
            return Items(token.start, items)
        if token.text == "{" and token.kind == "mark":
            self.take()
            return Entries(token.start, self.entries(depth))
        raise self.unexpected("a value")

    def arguments(self, depth: int) -> tuple[Node, ...]:
        self.take("(")
        return self.separated(")", depth)

    def separated(self, end: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while self.peek().text != end or self.peek().kind != "mark":
            items.append(self.choice(depth + 1))
            if len(items) > LIST_MAX:
                raise ExpressionError(f"more than {LIST_MAX} items", self.peek().start, code="too-long")
            if self.peek().text != ",":
                break
            self.take()
        self.take(end)
        return tuple(items)

    def entries(self, depth: int) -> tuple[tuple[Node, Node], ...]:
        entries: list[tuple[Node, Node]] = []
        while self.peek().text != "}" or self.peek().kind != "mark":
            key = self.choice(depth + 1)
            self.take(":")
            entries.append((key, self.choice(depth + 1)))
            if self.peek().text != ",":
                break
            self.take()
        self.take("}")
        return tuple(entries)


def _number(token: _Token) -> Decimal:
    text = token.text.rstrip("uU")
    if text[:2] in {"0x", "0X"}:
        return Decimal(int(text, 16))
    value = Decimal(text)
    if abs(value) > Decimal("1e300"):
        raise ExpressionError("this number is too large", token.start, code="too-large")
    return value


def _text(token: _Token) -> str:
    raw = token.text[0] in "rR"
    body = token.text[2:-1] if raw else token.text[1:-1]
    if raw or "\\" not in body:
        return body
    parts: list[str] = []
    offset = 0
    while offset < len(body):
        if body[offset] != "\\":
            parts.append(body[offset])
            offset += 1
            continue
        match = _ESCAPE.match(body, offset)
        if match is None:
            raise ExpressionError("there is no such escape", token.start + 1 + offset, code="syntax")
        parts.append(_unescaped(match[1], token.start))
        offset = match.end()
    return "".join(parts)


def _unescaped(escape: str, start: int) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    code = int(escape, 8) if escape[0] in "0123" else int(escape[1:], 16)
    if code in {0, *range(0xD800, 0xE000)} or code > 0x10FFFF:
        raise ExpressionError("a text holds no NUL and no half characters", start, code="syntax")
    return chr(code)
