"""Markdown for people: tables and words of a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rewards.domain.program.models.base import Localised


def say(text: Localised | None, locale: str) -> str:
    """The text in `locale`, else in any."""
    if text is None:
        return ""
    if isinstance(text, str):
        return text
    return text.get(locale) or next(iter(text.values()), "")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table with an empty line after it; nothing without rows."""
    body = ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    if not body:
        return []
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body, ""]


def cell(value: Any) -> str:
    """What stands in one field of a table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(text: Any) -> str:
    """A key or an expression; nothing for nothing."""
    return f"`{text}`" if text not in {None, ""} else ""


def titled(title: str, lines: list[str]) -> list[str]:
    """A section; nothing without content."""
    return [f"## {title}", "", *lines] if lines else []
