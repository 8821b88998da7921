"""Query parameters of requests that change something: one that the address does not know is refused, not overlooked.

Whoever writes `?dryrun=true` means that nothing is to happen. Reading stays lenient, and so do the addresses of others'
clients (`/segment/v1`).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Litestar, Request
from litestar.routes import HTTPRoute

from rewards.domain.errors import InvalidInput
from rewards.domain.program.problems import nearest

UNDER: Final = "/v1/"
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class UnknownParameter(InvalidInput):
    """The query names a parameter that this address does not take. Nothing was changed."""

    code = "unknown-parameter"


def is_strict(method: str, path: str) -> bool:
    """Whether an address refuses parameters that it does not know."""
    return path.startswith(UNDER) and method not in READING


class StrictQuery:
    """For the application's `before_request`: behind the guards, and before the body is read."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    async def __call__(self, request: Request[Any, Any, Any]) -> None:
        """Raises `UnknownParameter`."""
        scope = request.scope
        query = scope["query_string"]
        if not query or not is_strict(scope["method"], scope["path"]):
            return
        if not self._known:
            self._known = _declared(request.app)
        known = self._known[scope["path_template"], scope["method"]]
        for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name not in known:
                raise _unknown(name, known)


def _unknown(name: str, known: frozenset[str]) -> UnknownParameter:
    near = nearest(name, known)
    return UnknownParameter(
        f"This address has no parameter `{name}`" + (f"; did you mean `{near}`?" if near else "."),
        path=f"query.{name}",
        expected=f"none but {', '.join(sorted(known))}" if known else "no query",
    )


def _declared(app: Litestar) -> dict[tuple[str, str], frozenset[str]]:
    """The names of the query parameters that handlers declare, by template of the path and method."""
    return {
        (route.path_format, method): frozenset(each.field_alias for each in model.expected_query_params)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (_, model) in route.route_handler_map.items()
    }
