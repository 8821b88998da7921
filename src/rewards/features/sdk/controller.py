"""`/sdk.js` and `/sdk.mjs`: the browser SDK as a classic script and as a module."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from litestar import Request, Router
from litestar.enums import HttpMethod
from litestar.handlers import route
from litestar.response.base import ASGIResponse

SOURCE: Final = "rewards.js"
MODULE: Final = b"""
const here = new URL(import.meta.url).origin;
export const init = (options) => Rewards.init({url: here, ...options});
export const {track, flush, stop} = Rewards;
"""
"""What makes a module of the script. A module finds out by other means where it came from."""
CACHE_SECONDS: Final = 3600
_METHODS: Final = (HttpMethod.GET, HttpMethod.HEAD)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is sent, and the tag by which browsers ask whether it changed."""

    plain: bytes
    packed: bytes
    tag: str


@cache
def script(*, module: bool) -> Script:
    plain = importlib.resources.files(__package__).joinpath(SOURCE).read_bytes() + (MODULE if module else b"")
    return Script(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:32])


@route("/sdk.js", http_method=_METHODS, sync_to_thread=False)
def _classic(request: Request[Any, Any, Any]) -> ASGIResponse:
    return _answer(request, script(module=False))


@route("/sdk.mjs", http_method=_METHODS, sync_to_thread=False)
def _module(request: Request[Any, Any, Any]) -> ASGIResponse:
    return _answer(request, script(module=True))


def _answer(request: Request[Any, Any, Any], sent: Script) -> ASGIResponse:
    """Pages of any origin may load it: it holds nothing of anybody."""
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'W/"{sent.tag}"'  # weak, for it stands for both encodings
    headers = {
        "ETag": tag,
        "Cache-Control": f"public, max-age={CACHE_SECONDS}",
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Content-Security-Policy": "default-src 'none'",
    }
    known = (part.strip() for part in request.headers.get("if-none-match", "").split(","))
    if any(part in {"*", tag, tag.removeprefix("W/")} for part in known):
        return ASGIResponse(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    body = sent.packed if packed else sent.plain
    headers["Content-Type"] = "text/javascript; charset=utf-8"
    headers["Content-Length"] = str(len(body))
    without = request.method == HttpMethod.HEAD
    return ASGIResponse(body=b"" if without else body, headers=headers, is_head_response=without)


def sdk_router() -> Router:
    """Needs nothing."""
    return Router("/", route_handlers=[_classic, _module], include_in_schema=False)
