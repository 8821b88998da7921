"""Errors on the wire: RFC 9457 `application/problem+json` with a stable `type`, and one table from code to status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from rewards.domain.errors import RewardsError
from rewards.http.decoding import MalformedJson
from rewards.http.idempotency import replay_headers
from rewards.http.request_ids import request_id_of

log = structlog.get_logger("rewards.http")

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:rewards:problem:"
UNEXPECTED: Final = "internal-error"

# A code that is missing here answers as the nearest ancestor of its class that is listed.
STATUSES: Final[Mapping[str, int]] = {
    "error": 400,
    "malformed-json": 400,
    "malformed-parameter": 400,
    "malformed-cursor": 400,
    "malformed-idempotency-key": 400,
    "malformed-encoding": 400,
    "too-deep": 400,
    "batch-too-large": 400,  # Segment's clients never repeat a 400, and repeat a 413
    "unauthorized": 401,
    "token-ended": 401,
    "insufficient-points": 402,
    "forbidden": 403,
    "not-found": 404,
    "unknown-member": 404,
    "hold-not-found": 404,
    "unknown-program": 404,
    "unknown-version": 404,
    "unknown-rule": 404,
    "unknown-quest": 404,
    "unknown-streak": 404,
    "no-tiers": 404,
    "method-not-allowed": 405,
    "refused": 409,
    "nothing-published": 409,
    "too-many-holds": 409,
    "not-a-sandbox": 409,
    "quest-active": 409,
    "quest-completed": 409,
    "quest-locked": 409,
    "quest-unavailable": 409,
    "quest-not-active": 409,
    "team-quest": 409,
    "too-many-groups": 409,
    "group-in-group": 409,
    "not-in-group": 409,
    "too-much-falls-due": 409,
    "member-erased": 410,
    "effects-expired": 410,
    "body-too-large": 413,
    "invalid-input": 422,
    "schema-violation": 422,
    "unknown-parameter": 422,
    "id-reused": 422,
    "cannot-store": 422,
    "too-many-requests": 429,
    "unknown-leaderboard": 404,
    "overloaded": 429,
    UNEXPECTED: 500,
    "unbalanced-posting": 500,
    "lots-disagree": 500,
    "unreadable": 500,
    "wrong-secret-key": 500,
    "database-busy": 503,
    "database-unavailable": 503,
    "unknown-commit": 503,
    "import-interrupted": 503,
    "unavailable": 503,
    "board-unavailable": 503,
    "shutting-down": 503,
}
RETRY_AFTER_SECONDS: Final = 1


class NotFound(RewardsError):
    """There is no such thing, or it belongs to another program."""

    code = "not-found"


class Unauthorized(RewardsError):
    """The key is missing, unknown, malformed or revoked."""

    code = "unauthorized"


class NoMemberToken(Unauthorized):
    """There is no member token where one is needed, or something else in its place."""

    # Basic would have browsers ask the customer for a password.
    headers: Final = {"WWW-Authenticate": 'Bearer realm="rewards"'}


class Forbidden(RewardsError):
    """The key is valid and may not do this. `details["required"]` names the scope that it lacks."""

    code = "forbidden"


class TooManyRequests(RewardsError):
    """The caller or the service is at its limit. Nothing was changed. `details["retry_after_seconds"]` says when."""

    code = "too-many-requests"


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One mistake in the input."""

    path: str
    message: str
    expected: str | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). More members may follow, by `type`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None
    errors: list[FieldError] | None = None


def status_of(error: RewardsError) -> int:
    """The HTTP status of an error: that of its code, else of the nearest ancestor that has one."""
    codes = (error.code, *(getattr(ancestor, "code", "") for ancestor in type(error).__mro__))
    return next(STATUSES[code] for code in codes if code in STATUSES)


def problem_members(error: RewardsError, *, instance: str | None = None) -> dict[str, Any]:
    """The members of the problem document, also used for the items of a batch.

    `path` and `expected` of a single mistake become an entry of `errors`.
    """
    details = dict(error.details)
    members: dict[str, Any] = {
        "type": f"{TYPE_PREFIX}{error.code}",
        "title": error.code.replace("-", " ").capitalize(),
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
    }
    if instance is not None:
        members["instance"] = instance
    if "path" in details:
        mistake = {"path": details.pop("path"), "message": error.message}
        if "expected" in details:
            mistake["expected"] = details.pop("expected")
        details.setdefault("errors", [mistake])
    return {**details, **members}


def problem_headers(error: RewardsError, status: int) -> dict[str, str]:
    """The headers that the status demands: `Retry-After` with 429 and 503, `WWW-Authenticate` with 401."""
    headers = dict(getattr(error, "headers", {}))
    headers.update(replay_headers(replayed=getattr(error, "replayed", False)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="rewards", Basic realm="rewards", charset="UTF-8"')
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        after = error.details.get("retry_after_seconds", getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS))
        headers.setdefault("Retry-After", str(max(1, round(after))))
    return headers


def problem_bytes(error: RewardsError, *, instance: str | None = None) -> bytes:
    """The problem document as JSON, for code below the framework."""
    return msgspec.json.encode(problem_members(error, instance=instance), enc_hook=str)


def problem_response(request: Request[Any, Any, Any], error: RewardsError) -> Response[bytes]:
    """Answer an error that the domain or the edge raised."""
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", code=error.code, detail=error.message, request_id=request_id_of(request.scope))
    return Response(
        problem_bytes(error, instance=_instance(request)),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=problem_headers(error, status),
    )


class FrameworkError(RewardsError):
    """An error of the framework's routing or parsing, with the status that it has."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.code = code  # type: ignore[misc]  # this class stands for several
        self.headers = dict(headers or {})


_FRAMEWORK_CODES: Final[Mapping[int, str]] = {
    HTTPStatus.BAD_REQUEST: "malformed-parameter",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
    HTTPStatus.TOO_MANY_REQUESTS: "too-many-requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
_FRAMEWORK_MESSAGES: Final[Mapping[str, str]] = {
    "not-found": "There is nothing at this address.",
    "method-not-allowed": "This address does not take this method; see the Allow header.",
    "body-too-large": "The body is larger than this address takes.",
}


def on_rewards_error(request: Request[Any, Any, Any], error: RewardsError) -> Response[bytes]:
    return problem_response(request, error)


def on_framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    code = _FRAMEWORK_CODES.get(error.status_code)
    if code is None:
        return on_unexpected(request, error)
    details: dict[str, Any] = {}
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        if any(mistake.get("key") == "data" for mistake in error.extra):  # the one parameter that is the body
            return problem_response(request, MalformedJson("The body is empty.", path="", expected="JSON in UTF-8"))
        details["errors"] = [
            {"path": _parameter_path(mistake), "message": str(mistake.get("message", ""))} for mistake in error.extra
        ]
        message = "; ".join(f"{mistake['path']}: {mistake['message']}" for mistake in details["errors"])
    else:
        message = _FRAMEWORK_MESSAGES.get(code, error.detail)
    return problem_response(request, FrameworkError(code, message, error.headers, **details))


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect of ours: the trace goes to the log, the caller gets the request id to quote."""
    log.error(
        "unexpected error",
        exc_info=error,
        request_id=request_id_of(request.scope),
        route=request.scope.get("path_template", ""),
    )
    return problem_response(
        request,
        FrameworkError(UNEXPECTED, "Something went wrong here. The log knows it by the request id in `instance`."),
    )


def problem_handlers() -> ExceptionHandlersMap:
    """For the application's `exception_handlers`: every error becomes a problem document."""
    return {RewardsError: on_rewards_error, HTTPException: on_framework_error, Exception: on_unexpected}


def _parameter_path(mistake: Mapping[str, Any]) -> str:
    source = getattr(mistake.get("source"), "value", mistake.get("source"))
    key = str(mistake.get("key", ""))
    return f"{source}.{key}" if source and source != "body" else key


def _instance(request: Request[Any, Any, Any]) -> str | None:
    request_id = request_id_of(request.scope)
    return f"urn:rewards:request:{request_id}" if request_id else None
