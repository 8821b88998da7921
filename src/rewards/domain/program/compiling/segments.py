"""Segments: conditions over members. One that refers to another is decided with it, on the same snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial

from rewards.domain.program.binding import Plans
from rewards.domain.program.compiled import Metric, Segment
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.metrics import PREVIOUS
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.expressions.nodes import Binary, ExpressionError, Name, Node, Select, Text
from rewards.domain.program.expressions.resolve import dotted
from rewards.domain.program.expressions.syntax import parse
from rewards.domain.program.expressions.walk import walk

MEMBER: str = ""
"""The trigger under which the conditions of segments are bound: none."""


def memberships(node: Node, of: str = "segments") -> Iterator[Text]:
    """The names in `"gold" in member.segments` anywhere in an expression."""
    for each in walk(node):
        if isinstance(each, Binary) and each.operator == "in" and isinstance(each.left, Text):
            path = dotted(each.right) if isinstance(each.right, Name | Select) else None
            if path == ("member", of):
                yield each.left


def tiers_named(node: Node) -> Iterator[Text]:
    """The names that `member.tier` is compared with: `member.tier == "gold"`, `member.tier in ["silver", "gold"]`."""
    for each in walk(node):
        if isinstance(each, Binary) and each.operator in {"==", "!=", "in"}:
            for one, other in ((each.left, each.right), (each.right, each.left)):
                if isinstance(one, Name | Select) and dotted(one) == ("member", "tier"):
                    yield from (text for text in walk(other) if isinstance(text, Text))


def check_tier_names(context: Context, path: str, node: Node) -> None:
    """Tiers that an expression names must be declared; the empty text is nobody's tier yet."""
    tiers = context.document.tiers
    for text in tiers_named(node) if tiers is not None else ():
        assert tiers is not None
        if text.value and text.value not in tiers.levels:
            context.problems.unknown(path, "tier", text.value, tiers.levels)


def check_memberships(context: Context, path: str, source: str) -> None:
    """Segments and badges that an expression names must be declared."""
    try:
        node = parse(source)
    except ExpressionError:
        return  # reported where it is compiled
    document = context.document
    for section, what, declared in (("segments", "segment", document.segments), ("badges", "badge", document.badges)):
        known = context.known(section, declared)
        for text in memberships(node, of=section):
            if text.value not in known:
                context.problems.unknown(path, what, text.value, known)
    check_tier_names(context, path, node)


def build_segments(
    context: Context, scopes: Scopes, plans: Plans, metrics: Mapping[str, Metric]
) -> tuple[Segment, ...]:
    """The segments that are in order, in document order."""
    nodes = _parsed(context)
    cyclic = _cycles(context, nodes)
    built = []
    for key, each in context.document.segments.items():
        path = f"segments.{key}"
        if each.top is not None and each.of is not None:
            if context.refers(f"{path}.of", "metric", "metrics", each.of, context.document.metrics):
                share = Decimal(each.top.rstrip("%")) / 100
                built.append(Segment(key, None, share, each.of, (each.of,)))
            continue
        source = each.when
        if source is None or key in cyclic or key not in nodes:
            continue
        check_memberships(context, f"{path}.when", source)
        condition = context.expression(
            f"{path}.when", source, partial(compile_condition, source, scopes.segment(), inline=nodes.get)
        )
        if condition is not None and _reads_no_split(context, path, condition, metrics):
            plans.add((MEMBER,), condition.needs)
            built.append(Segment(key, condition, None, None, metrics_read(condition.fields)))
    return tuple(built)


def metrics_read(fields: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics among fields; the window before belongs to its metric."""
    names = [field.removeprefix("metrics.").removesuffix(PREVIOUS) for field in fields if field.startswith("metrics.")]
    return tuple(dict.fromkeys(names))


def splits_out_of_reach(metrics: Mapping[str, Metric], triggers: tuple[str, ...] | None) -> dict[str, str]:
    """The split metrics that no event of `triggers` can be read for, and why; none where the triggers cannot be told."""
    return {
        key: f"metrics.{key} is split by {metric.by.source}, which the rule's events do not count"
        for key, metric in metrics.items()
        if triggers is not None and metric.by is not None and not metric.events.intersection(triggers)
    }


def check_splits(context: Context, path: str, fields: tuple[str, ...], out_of_reach: Mapping[str, str]) -> None:
    """Reports the metrics among `fields` that are `splits_out_of_reach`."""
    for key in metrics_read(fields):
        if key in out_of_reach:
            context.problems.error(path, "split-metric", out_of_reach[key])


def _reads_no_split(context: Context, path: str, condition: CelCondition, metrics: Mapping[str, Metric]) -> bool:
    for key in metrics_read(condition.fields):
        metric = metrics.get(key)
        if metric is not None and metric.by is not None:
            message = f"metrics.{key} is split by {metric.by.source}, and a segment has no event to say which"
            context.problems.error(f"{path}.when", "split-metric", message)
            return False
    if "at" in condition.fields:
        message = "reads the time: it is decided again when the member does something or a metric changes, not by time"
        context.problems.warn(f"{path}.when", "reads-time", message)
    return True


def _parsed(context: Context) -> dict[str, Node]:
    nodes = {}
    for key, each in context.document.segments.items():
        source = each.when
        if source is not None:
            node = context.expression(f"segments.{key}.when", source, partial(parse, source))
            if node is not None:
                nodes[key] = node
    return nodes


def _cycles(context: Context, nodes: Mapping[str, Node]) -> set[str]:
    refers = {key: {text.value for text in memberships(node)} & nodes.keys() for key, node in nodes.items()}
    cyclic = set()
    for key in nodes:
        reached: set[str] = set()
        waiting = list(refers[key])
        while waiting:
            other = waiting.pop()
            if other not in reached:
                reached.add(other)
                waiting.extend(refers[other])
        if key in reached:
            cyclic.add(key)
            context.problems.error(f"segments.{key}.when", "cycle", f"segment {key} depends on itself")
    # What leads into a cycle cannot be written out either.
    return cyclic | {key for key in nodes if _leads_to(key, refers, cyclic)}


def _leads_to(key: str, refers: Mapping[str, set[str]], cyclic: set[str]) -> bool:
    seen: set[str] = set()
    waiting = [key]
    while waiting:
        other = waiting.pop()
        if other in cyclic:
            return True
        if other not in seen:
            seen.add(other)
            waiting.extend(refers[other])
    return False
