"""`python -m benchmarks`: everything, about an hour. `--quick`: two minutes, for a look at a change."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Final

from benchmarks import phases, report
from benchmarks.boards import measure_boards
from benchmarks.installation import PROCESSES, servers
from benchmarks.play import measure_play
from benchmarks.timers import measure_timers
from rewards.local import LocalServers

PHASES: Final = ("limit", "apply", "service", "simulate", "play", "boards", "timers", "growth")
QUICK_PHASES: Final = ("limit", "apply", "service")
TOGETHER: Final = (("limit", "service"), ("play",), ("boards",), ("timers",), ("growth",))
_began = time.monotonic()


def say(text: str) -> None:
    """A line with the minutes and seconds since the start; it comes out at once, also into a pipe."""
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    print(f"{minutes:>2}:{seconds:02}  {text}", flush=True)


def told(phase: str) -> Callable[[str], None]:
    return lambda text: say(f"{phase:<9}{text}")


def measure(chosen: Sequence[str], size: phases.Size) -> phases.Figures:
    """The chosen phases. What is compared with each other shares servers, and what is not has new ones: the pages and the log
    of one installation would take memory and disk from the next.
    """
    figures: phases.Figures = {}
    if "apply" in chosen:
        figures |= phases.measure_apply(size)
        told("apply")(f"{figures['apply_events_per_s']:,.0f} events/s")
    if "simulate" in chosen:
        if phases.can_simulate():
            figures |= phases.measure_simulation(size, told("simulate"))
        else:
            told("simulate")("`rewards program simulate` is not there; left out")
    for group in TOGETHER:
        wanted = [phase for phase in group if phase in chosen]
        if wanted:
            say("starting PostgreSQL and Valkey")
            with servers() as local:
                for phase in wanted:
                    figures |= _ON_SERVERS[phase](local, size, told(phase))
    return figures


def _play(local: LocalServers, size: phases.Size, told: phases.Told) -> phases.Figures:
    return measure_play(
        local,
        members=size.members,
        seconds=size.seconds,
        warmup_seconds=size.warmup_seconds,
        processes=size.processes,
        told=told,
    )


def _boards(local: LocalServers, size: phases.Size, told: phases.Told) -> phases.Figures:
    return measure_boards(local, members=size.board_members, seconds=size.seconds, processes=size.processes, told=told)


def _timers(local: LocalServers, size: phases.Size, told: phases.Told) -> phases.Figures:
    return measure_timers(local, pending=size.pending_timers, due=size.due_timers, seconds=size.seconds, told=told)


_ON_SERVERS: Final[Mapping[str, Callable[[LocalServers, phases.Size, phases.Told], phases.Figures]]] = {
    "limit": phases.measure_limit,
    "service": phases.measure_service,
    "play": _play,
    "boards": _boards,
    "timers": _timers,
    "growth": phases.measure_growth,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short and small, without simulation and growth")
    parser.add_argument(
        "--only", nargs="+", choices=PHASES, metavar="PHASE", help=f"some of {', '.join(PHASES)}; keeps nothing"
    )
    parser.add_argument(
        "--processes", type=int, default=PROCESSES, help=f"serving processes; {PROCESSES} on this machine unless told"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    chosen = options.only or (QUICK_PHASES if options.quick else PHASES)
    about = report.machine()
    say(f"{about['cores']} cores, {about['memory_mb']:,} MB, {about['processor']}")
    try:
        size = phases.QUICK if options.quick else phases.FULL
        figures = measure(chosen, replace(size, processes=options.processes))
    except KeyboardInterrupt:
        say("stopped; nothing was kept")
        return 130
    print(f"\n{report.table(figures)}\n")
    if options.only is None:
        report.save(figures, about, quick=options.quick)
        say(f"kept in {report.OUT}")
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: every process is stopped on the way out."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
