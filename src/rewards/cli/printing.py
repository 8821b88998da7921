"""How commands print: colours, widths and bars for terminals only, and numbers of things."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.progress import Progress, ProgressColumn

PIPE_COLUMNS: Final = 1000


def console(*, stderr: bool = False) -> Console:
    """Colours only on a terminal; lines are never wrapped, so that they can be searched and cut."""
    return _unbounded(Console(stderr=stderr, soft_wrap=True, highlight=False))


def table_console() -> Console:
    """For tables, whose cells are folded to fit a terminal, and stay on their line elsewhere."""
    return _unbounded(Console())


def _unbounded(made: Console) -> Console:
    if not made.is_terminal:  # a pipe has no width to fit into
        made.width = PIPE_COLUMNS
    return made


def progress_bar(*columns: ProgressColumn) -> Progress:
    """On standard error, and gone when it is done; where that is no terminal, nothing at all, not even an empty line."""
    shown = Console(stderr=True)
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)


def counted(number: int, thing: str, things: str | None = None) -> str:
    """`1 error`, `2 errors`; `things` where the plural is another one."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
