"""Visits every node of an expression."""

from __future__ import annotations

from collections.abc import Iterator

from rewards.domain.program.expressions.nodes import Binary, Call, Choice, Entries, Index, Items, Node, Select, Unary


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node."""
    parts: tuple[Node, ...] = ()
    if isinstance(node, Select):
        parts = (node.base,)
    elif isinstance(node, Index):
        parts = (node.base, node.at)
    elif isinstance(node, Call):
        parts = (node.target, *node.args) if node.target is not None else node.args
    elif isinstance(node, Unary):
        parts = (node.operand,)
    elif isinstance(node, Binary):
        parts = (node.left, node.right)
    elif isinstance(node, Choice):
        parts = (node.when, node.yes, node.no)
    elif isinstance(node, Items):
        parts = node.items
    elif isinstance(node, Entries):
        parts = tuple(part for entry in node.entries for part in entry)
    return parts


def walk(node: Node) -> Iterator[Node]:
    """`node` and all below it."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(reversed(children(each)))
