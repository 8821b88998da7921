"""Origins of web pages, as programs and keys list them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rewards.domain.errors import InvalidInput

ORIGINS_MAX: Final = 20
ANY: Final = "*"
_ORIGIN: Final = re.compile(r"\*|https?://[a-z0-9.-]+(?::\d{1,5})?|https?://\[[0-9a-f:]+\](?::\d{1,5})?")


def check_origins(origins: Sequence[str]) -> None:
    """Raises InvalidInput for too many, and for one that no browser would name as a page's origin."""
    if len(origins) > ORIGINS_MAX:
        raise InvalidInput("Too many origins.", path="origins", expected=f"at most {ORIGINS_MAX}")
    for index, origin in enumerate(origins):
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInput(
                f"`{origin}` is not an origin.", path=f"origins[{index}]", expected="https://shop.example.com, or *"
            )
