"""What a simulation found, as tables for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rewards.cli.money import minor_digits
from rewards.cli.printing import console, counted
from rewards.domain.periods import rfc3339
from rewards.domain.program.compiled import Program
from rewards.domain.simulation import REJECTED, Flow, Tally
from rewards.features.programs.event_file import BadLine
from rewards.features.programs.simulate import Simulated

FLOWS: Final = ("issued", "redeemed", "revoked", "expired", "outstanding")
Row = tuple[str, int | Decimal | None, int | Decimal | None]


def budget_totals(program: Program) -> dict[str, int]:
    """What each budget may give out in one period, by rule."""
    return {rule.key: rule.budget.total for rule in program.rules.values() if rule.budget is not None}


def figures(found: Simulated, label: str | None, money: str, budgets: Mapping[str, int]) -> dict[str, Any]:
    """Everything, for machines. Budgets are totals per period, by rule. `untold`: what figures leave out, and why."""
    sides = {"after": _side(found.after, found.rejected)}
    if found.before is not None:
        sides["before"] = _side(found.before, found.rejected_before)
    return {
        "events": found.events,
        "members": found.members,
        "members_affected": found.affected,
        "until": rfc3339(found.until) if found.until else None,
        "compared_with": label,
        "money": money,
        **sides,
        "budgets": budgets,
        "untold": [
            {"figure": each.figure, "until": rfc3339(each.until), "events": each.events, "why": each.why}
            for each in found.untold
        ],
        "bad_lines": _lines(found.bad),
        "bad_lines_count": found.bad_count,
    }


def _lines(lines: Iterable[BadLine]) -> list[dict[str, Any]]:
    return [{"line": each.number, "message": each.message} for each in lines]


def _side(tally: Tally, rejected: Iterable[BadLine]) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for (rule, result), number in sorted(tally.results.items()):
        rules.setdefault(rule, {"results": {}, "points": {}})["results"][result] = number
    for (rule, currency), points in sorted(tally.points.items()):
        rules.setdefault(rule, {"results": {}, "points": {}})["points"][currency] = points
    return {
        "statuses": tally.statuses,
        "currencies": {
            key: {name: getattr(flow, name) for name in FLOWS} for key, flow in sorted(tally.currencies.items())
        },
        "liability_minor_units": str(tally.liability),
        "rules": rules,
        "budgets_used": tally.budgets,
        "rejected_lines": _lines(rejected),
    }


def show(out: Console, found: Simulated, *, names: tuple[str, str], money: str, budgets: Mapping[str, int]) -> None:
    """The figures as tables. `names` are those of what is compared with and of the document."""
    errors = console(stderr=True)
    lines = "line is no event and was" if found.bad_count == 1 else "lines are no events and were"
    _show_lines(errors, found.bad, found.bad_count, f"{lines} left out")
    rejected = found.after.statuses.get(REJECTED, 0) if found.rejected else 0
    _show_lines(errors, found.rejected, rejected, f"{'event was' if rejected == 1 else 'events were'} rejected")
    until = f" until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else ""
    out.print(f"{counted(found.events, 'event')} of {counted(found.members, 'member')}{until}.")
    if found.affected is not None:
        out.print(f"[bold]{counted(found.affected, 'member')} would get something else.[/]")
    for untold in found.untold:
        out.print(f"[yellow]{escape(untold.why)}[/]", highlight=False)
    before, after = found.before, found.after
    _table(out, "points", names, _flows(before, after, money))
    for title, told in (
        ("events", _statuses),
        ("firings", _firings),
        ("points by what gave them", _points),
        ("budget used", lambda side: _budgets(side, budgets)),
    ):
        at_least = told is _firings and before is not None and before.untraced > 0
        _table(out, title, names, _counts(told(before) if before else None, told(after)), at_least=at_least)


def _show_lines(errors: Console, first: Sequence[BadLine], count: int, what: str) -> None:
    """The first of them, and how many there are in all."""
    for each in first:
        errors.print(f"line {each.number}: {escape(each.message)}")
    if count > len(first):
        errors.print(f"… and {count - len(first):,} more")
    if count:
        errors.print(f"{count:,} {what}")


def _flows(before: Tally | None, after: Tally, money: str) -> list[Row]:
    rows: list[Row] = []
    for currency in sorted({*after.currencies, *(before.currencies if before else ())}):
        one = before.currencies.get(currency, Flow()) if before else None
        other = after.currencies.get(currency, Flow())
        rows += [(f"{currency} {flow}", getattr(one, flow) if one else None, getattr(other, flow)) for flow in FLOWS]
    rows.append(
        (f"liability, {money}", _major(before.liability, money) if before else None, _major(after.liability, money))
    )
    return rows


def _major(minor_units: Decimal, money: str) -> Decimal:
    digits = minor_digits(money)
    return minor_units.scaleb(-digits).quantize(Decimal(1).scaleb(-digits))


def _statuses(side: Tally) -> dict[str, int]:
    return side.statuses


def _firings(side: Tally) -> dict[str, int]:
    return {rule: number for (rule, result), number in side.results.items() if result == "fired"}


def _points(side: Tally) -> dict[str, int]:
    return {f"{rule}, {currency}": amount for (rule, currency), amount in side.points.items()}


def _budgets(side: Tally, totals: Mapping[str, int]) -> dict[str, int]:
    return {
        f"{key} of {totals[rule]:,}" if (rule := key.partition("/")[0]) in totals else key: used
        for key, used in side.budgets.items()
    }


def _counts(before: Mapping[str, int] | None, after: Mapping[str, int]) -> list[Row]:
    names = sorted({*after, *(before or ())})
    return [(name, None if before is None else before.get(name, 0), after.get(name, 0)) for name in names]


def _table(out: Console, title: str, names: tuple[str, str], rows: list[Row], *, at_least: bool = False) -> None:
    """Figures side by side, with what changes; one column where there is nothing to compare with.

    `at_least`: those from before leave something out, so what changes cannot be told.
    """
    if not rows:
        return
    compared = any(before is not None for _, before, _ in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title)
    for name in (*names, "change") if compared else names[1:]:
        table.add_column(escape(name), justify="right")
    for name, before, after in rows:
        if compared and at_least:
            table.add_row(escape(name), f"≥ {_figure(before or 0)}", _figure(after or 0), "[dim]?[/]")
        elif compared:
            change = _known(after) - _known(before)
            colour = "green" if change > 0 else "red" if change < 0 else "dim"
            table.add_row(
                escape(name), _figure(_known(before)), _figure(_known(after)), f"[{colour}]{_figure(change, '+')}[/]"
            )
        else:
            table.add_row(escape(name), _figure(_known(after)))
    out.print()
    out.print(table)


def _known(number: int | Decimal | None) -> int | Decimal:
    return 0 if number is None else number


def _figure(number: int | Decimal, sign: str = "") -> str:
    return f"{number:{sign},}"
