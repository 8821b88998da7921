"""What people see, in their own language."""

from __future__ import annotations

from collections.abc import Mapping


def worded(texts: Mapping[str, str], locale: str | None, fallback: str) -> str | None:
    """The text for `locale`, else for its language, else for `fallback` (the program's locale), else any there is.

    Tags are looked up as RFC 4647 section 3.4 says: `de-AT-1996`, `de-AT`, `de`; `PT-br` means what `pt-BR` does.
    """
    folded = {tag.lower(): text for tag, text in texts.items()}
    for wanted in (locale, fallback):
        tag = wanted.lower() if wanted is not None else ""
        while tag:
            if tag in folded:
                return folded[tag]
            tag = tag.rpartition("-")[0]
    return next(iter(texts.values()), None)
