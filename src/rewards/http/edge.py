"""The outermost layer: request ids, security headers, CORS, metrics and the log, in one pass over each answer."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from rewards import telemetry
from rewards.domain.errors import InvalidInput
from rewards.http.auth import RESPONSE_HEADERS
from rewards.http.event_stream import LASTING
from rewards.http.parameters import SLASH_INSIDE
from rewards.http.problems import MEDIA_TYPE, problem_bytes, status_of
from rewards.http.request_ids import SCOPE_KEY, request_id_from

log = structlog.get_logger("rewards.http")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Frameworks and servers each have their own types for this; they agree on the shape only.
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Direct: TypeAlias = Callable[[Message, Receive, Send], Awaitable[Receive | None]]
"""Answers a request and returns None, or leaves it to the application and returns what that is to read it from."""

NOTHING_DIRECT: Final[Mapping[tuple[str, str], Direct]] = MappingProxyType({})
ESCAPED_SLASH: Final = re.compile(rb"%2[fF]")
SLOW_SECONDS: Final = 1.0
BUCKETS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"
INTERNAL_ERRORS: Final = 500

_CSP: Final = b"content-security-policy"
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
# An API answer is no page. A page (the reference) brings its own policy and may be cached.
API_HEADERS: Final = (
    (_CSP, b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_PROBLEM_HEADERS: Final = [(b"content-type", MEDIA_TYPE.encode())]
PREFLIGHT_HEADERS: Final = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Content-Encoding, Idempotency-Key, Last-Event-ID, X-Request-Id",
    ),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin"),
)


class MalformedAddress(InvalidInput):
    """The path or the query is no UTF-8, or holds a NUL character: no id of ours can be meant by it."""

    code = "malformed-parameter"


class HttpMetrics:
    """Requests and their seconds, by method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._requests = Counter("rewards_http_requests", "Answered requests.", labels, registry=registry)
        self._seconds = Histogram(
            "rewards_http_request_seconds",
            "From the first byte received to the last byte sent.",
            ("method", "route"),
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        # `labels()` costs more than counting; templates, methods and statuses are few, so the children are kept.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method if method in METHODS else "OTHER", route, status)
        children = self._children.get(key)
        if children is None:
            children = (self._requests.labels(key[0], route, str(status)), self._seconds.labels(key[0], route))
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)


class Edge:
    """Wraps the application: `app = Edge(litestar, HttpMetrics(registry))`.

    `direct` has the first word on requests of its methods and paths, before the application hears of them; where a path
    ends with a slash, on those of all that begin so.
    """

    def __init__(
        self, app: ASGIApp, metrics: HttpMetrics, *, direct: Mapping[tuple[str, str], Direct] = NOTHING_DIRECT
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._direct = direct
        self._direct_under = [(*where, how) for where, how in direct.items() if where[1].endswith("/")]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = request_id_from(scope["headers"])
        scope[SCOPE_KEY] = request_id
        telemetry.request_id.set(request_id)
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(scope, message["headers"], request_id)]
            await send(message)

        try:
            if (wrong := _wrong_address(scope)) is not None:
                body = problem_bytes(wrong, instance=f"urn:rewards:request:{request_id}")
                size = (b"content-length", str(len(body)).encode())
                await _answer(send_on, status_of(wrong), body, [*_PROBLEM_HEADERS, size])
            elif scope["method"] == "OPTIONS" and (preflight := _preflight(scope)) is not None:
                await _answer(send_on, 204, b"", preflight)
            else:
                if ESCAPED_SLASH.search(scope.get("raw_path") or b""):
                    scope["path"] = _path_of(scope["raw_path"])
                direct = self._direct_of(scope["method"], scope["path"])
                left = receive if direct is None else await direct(scope, receive, send_on)
                if left is not None:
                    await self.app(scope, left, send_on)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("path_template", UNMATCHED)
            self._metrics.observe(scope["method"], route, status, seconds)
            if status >= INTERNAL_ERRORS or (seconds > SLOW_SECONDS and LASTING not in scope):
                log.warning("slow or failed", method=scope["method"], route=route, status=status, seconds=seconds)

    def _direct_of(self, method: str, path: str) -> Direct | None:
        for begins, under, direct in self._direct_under:
            if method == begins and path.startswith(under):
                return direct
        return self._direct.get((method, path))


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _wrong_address(scope: Message) -> MalformedAddress | None:
    """Decoders replace what is no UTF-8, which would let two addresses name one member; PostgreSQL stores no NUL."""
    for part, raw in (("path", scope.get("raw_path") or b""), ("query", scope.get("query_string") or b"")):
        if b"%" not in raw and raw.isascii():
            continue
        plain = unquote_to_bytes(raw)
        try:
            plain.decode()
        except UnicodeDecodeError:
            return MalformedAddress(f"The {part} is not UTF-8.", path=part, expected="percent-encoded UTF-8")
        if b"\0" in plain:
            return MalformedAddress(f"The {part} holds a NUL character.", path=part, expected="text without NUL")
    return None


def _path_of(raw: bytes) -> str:
    """The path, in which a slash that was escaped is no separator but part of an id; see `unescaped`."""
    return "/".join(unquote(part).replace("/", SLASH_INSIDE) for part in raw.decode("latin-1").split("/"))


def _headers(scope: Message, given: Any, request_id: str) -> list[tuple[bytes, bytes]]:
    added = [(b"x-request-id", request_id.encode("ascii")), *SECURITY_HEADERS, *scope.get(RESPONSE_HEADERS, ())]
    if not any(name == _CSP for name, _ in given):
        added.extend(API_HEADERS)
    return added


def _preflight(scope: Message) -> list[tuple[bytes, bytes]] | None:
    """The answer to a browser that asks before it sends; the request itself is judged by its key.

    A preflight carries no key, so it cannot be refused by one; a page that the key does not list is answered 403 later.
    """
    asked = dict(scope["headers"])
    origin = asked.get(b"origin")
    if origin is None or b"access-control-request-method" not in asked:
        return None
    return [(b"access-control-allow-origin", origin), *PREFLIGHT_HEADERS]
