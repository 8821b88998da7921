"""The API's own description, OpenAPI 3.1, the reference page at `/docs`, served without any outside host, and `/`.

The framework describes parameters, bodies and good answers; `describe` adds what it leaves out: every error status with
the problem schema, which key an operation needs, that bodies take no unknown fields, and how large an integer may be.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.routes import HTTPRoute

from rewards import __version__
from rewards.http.auth import Requires
from rewards.http.decoding import SAFE_INTEGER_MAX
from rewards.http.idempotency import describe_idempotency
from rewards.http.problems import MEDIA_TYPE, NotFound, Problem
from rewards.http.strict_query import is_strict

SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A secret key `rk_…`; where it says so, a public key `pk_…` or a member token `mt_…`.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "The key as the user name, with any password."},
}
ALWAYS: Final = (400, 500, 503)
ASSETS: Final[Mapping[str, tuple[str, str]]] = {
    "swagger-ui-bundle.js": ("javascripts/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("stylesheets/swagger-ui.css", "text/css"),
}
START_SCRIPT: Final = b"""\
SwaggerUIBundle({url: "openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null,
  defaultModelsExpandDepth: 0, docExpansion: "list", tryItOutEnabled: true, persistAuthorization: false});
"""
PAGE: Final = b"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rewards API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<main id="reference"></main>
<noscript>The reference needs JavaScript. The description is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Everything from here, nothing from elsewhere. The viewer sets styles on its elements and holds its icons as data.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Complete(JsonRenderPlugin):
    """Serves the completed document in the place of the framework's own."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        return _described(request.app)


def openapi_config() -> OpenAPIConfig:
    """For the application's `openapi_config`. The description itself is served by `reference_router`."""
    return OpenAPIConfig(
        title="Rewards",
        version=__version__,
        description=(
            "Engagement events in; points, tiers and rewards out. Amounts are integers within ±(2^53−1). Fields that an address "
            "does not know are refused, and so are query parameters where something is changed (`unknown-parameter`)."
        ),
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, *_: handler.handler_name,
        path="/openapi",
        render_plugins=[_Complete(path="/openapi.json")],
    )


def describe(app: Litestar) -> dict[str, Any]:
    """The complete OpenAPI document of an application, as plain JSON values."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    components = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    document["openapi"] = "3.1.0"
    _, problem_schemas = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    schemas.update(problem_schemas)
    _close_bodies(app, schemas)
    for path, method, handler in _operations(app):
        operation = document["paths"].get(path, {}).get(method)
        if operation is not None:
            _complete(operation, path, method, handler)
    _bound_integers(document)
    _join_unions(document)
    return document


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                yield route.path_format or "/", method.lower(), handler


def _complete(operation: dict[str, Any], path: str, method: str, handler: HTTPRouteHandler) -> None:
    guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Requires)]
    responses: dict[str, Any] = operation.setdefault("responses", {})
    statuses = {*ALWAYS}
    if need := handler.opt.get("idempotency_key"):
        describe_idempotency(operation, need)
        statuses |= {422}  # the key was used for something else
    if guards:
        operation["security"] = [{scheme: []} for scheme in SECURITY_SCHEMES]
        operation["description"] = "\n\n".join(part for part in (operation.get("description"), _needed(guards)) if part)
        statuses |= {401, 403, 429}
    else:
        operation["security"] = []
    if "{" in path:
        statuses |= {404}
    if is_strict(method.upper(), path):
        statuses |= {422}
    if "requestBody" in operation:
        statuses |= {413, 422}
        data = handler.parsed_fn_signature.parameters.get("data")
        operation["requestBody"]["required"] = data is None or not data.has_default
    if not guards and not operation.get("parameters") and "requestBody" not in operation:
        statuses -= {400}  # nothing is read that could be malformed, not even a header
    for status in statuses - set(handler.responses or ()):  # what the handler itself describes stays
        responses[str(status)] = problem_answer(status)


def _needed(guards: list[Requires]) -> str:
    """Which key an operation needs, in words."""
    if any("member" in guard.kinds for guard in guards):
        return "A member token."
    scopes = " and ".join(f"`{guard.scope}`" for guard in guards)
    kinds = "A secret or public key" if all("public" in guard.kinds for guard in guards) else "A secret key"
    return f"{kinds} with the scope {scopes}."


def problem_answer(status: int) -> dict[str, Any]:
    """The description of an error answer."""
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
    return answer


def also(*statuses: int) -> dict[int, ResponseSpec]:
    """For a handler's `responses`: error statuses beyond those that every operation of its kind has."""
    return {
        status: ResponseSpec(
            Problem,
            description=HTTPStatus(status).phrase,
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in statuses
    }


def _close_bodies(app: Litestar, schemas: dict[str, Any]) -> None:
    """Say `additionalProperties: false` where unknown fields are errors; the framework leaves it out."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            data = handler.parsed_fn_signature.parameters.get("data")
            if data is not None:
                for kind in _structs(data.annotation if data.origin is None else data.inner_types[0].annotation):
                    if kind.__struct_config__.forbid_unknown_fields and kind.__name__ in schemas:
                        schemas[kind.__name__]["additionalProperties"] = False


def _structs(annotation: Any) -> Iterator[Any]:
    """The struct types that a wire type is made of."""
    seen: set[Any] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(annotation)]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            waiting.extend(field.type for field in info.fields)
        for attribute in ("type", "item_type", "value_type"):
            inner = getattr(info, attribute, None)
            if isinstance(inner, msgspec.inspect.Type):
                waiting.append(inner)
        waiting.extend(getattr(info, "types", ()))


def _bound_integers(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _bound_integers(item)
    elif isinstance(node, dict):
        if node.get("type") == "integer" and not {"const", "enum"} & node.keys():
            node.setdefault("minimum", node.get("exclusiveMinimum", -SAFE_INTEGER_MAX))
            node.setdefault("maximum", SAFE_INTEGER_MAX)
        for item in node.values():
            _bound_integers(item)


def _join_unions(node: Any) -> None:
    """A value may be of several types of a union at once; the framework says `oneOf`, which forbids that."""
    if isinstance(node, list):
        for item in node:
            _join_unions(item)
    elif isinstance(node, dict):
        if isinstance(kinds := node.get("oneOf"), list):
            node["anyOf"] = kinds
            del node["oneOf"]
        for item in node.values():
            _join_unions(item)


def reference_router() -> Router:
    """`/openapi.json`, the reference page `/docs` with its files, and `/`, which names them."""
    return Router("/", route_handlers=[_index, _openapi_json, _page, _file], include_in_schema=False)


@cache
def _described(app: Litestar) -> bytes:
    return msgspec.json.encode(describe(app))


@cache
def _asset(name: str) -> bytes:
    files = importlib.resources.files("mkdocs_swagger_ui_tag") / "swagger-ui"
    return files.joinpath(ASSETS[name][0]).read_bytes()


@get("/openapi.json", media_type="application/json", sync_to_thread=False)
def _openapi_json(request: Request[Any, Any, Any]) -> bytes:
    return _described(request.app)


@get("/", sync_to_thread=False)
def _index(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """For whoever opens the bare address: what answers here, and where to go on."""
    prefix = request.scope.get("root_path", "").rstrip("/")
    links = {"docs": "/docs", "openapi": "/openapi.json", "health": "/healthz", "ready": "/readyz"}
    return {
        "name": "Rewards",
        "version": __version__,
        "links": {name: f"{prefix}{path}" for name, path in links.items()},
    }


@get("/docs", sync_to_thread=False, media_type="text/html")
def _page(request: Request[Any, Any, Any]) -> Response[Any]:
    if request.scope["raw_path"].endswith(b"/"):  # the page's links are relative to an address without it
        return Redirect("../docs", status_code=308)
    return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@get("/docs/{name:str}", sync_to_thread=True)
def _file(name: FromPath[str]) -> Response[bytes]:
    if name == "start.js":
        content, media_type = START_SCRIPT, "text/javascript"
    elif name in ASSETS:
        content, media_type = _asset(name), ASSETS[name][1]
    else:
        raise NotFound("There is no such file.")
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "public, max-age=3600"}
    return Response(content, media_type=media_type, headers=headers)
