"""`/v1/programs`: check, draft, publish, roll back, compare and explain the program that the key belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import MediaType, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, QueryParameter

from rewards.db.transact import reading
from rewards.domain.program.diff import diff
from rewards.domain.program.docs import render
from rewards.domain.program.schema import document_schema
from rewards.features.programs import queries
from rewards.features.programs.owning import CHECK_SECONDS_MAX, NOTE_LENGTH_MAX, VERSION_MAX, Owner, parsed
from rewards.features.programs.queries import StoredDocument
from rewards.features.programs.schemas import (
    CheckOut,
    DiffOut,
    Drafted,
    PauseRule,
    ProgramsOut,
    Published,
    RollBack,
    RulesOut,
    TestOut,
    TestsOut,
    Version,
    changes_out,
    check_out,
    mistakes,
    program_out,
    published_out,
    rules_out,
    version_out,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.bodies import body_of
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, Cursors, Page, PageCursor, PageSize
from rewards.pipeline.programs import NothingPublished

YAML: Final = "application/yaml"
MARKDOWN: Final = "text/markdown"
_ONE_BACK: Final = RollBack()
_FOR_NO_REASON: Final = PauseRule()
_YAML_TYPES: Final = ("text/yaml", "application/yaml", "text/x-yaml", "application/x-yaml")

Number = FromPath[Annotated[int, PathParameter(ge=1, le=VERSION_MAX)]]
VersionNumber = FromQuery[
    Annotated[int | None, QueryParameter(ge=1, le=VERSION_MAX, description="Default: the published one.")]
]


@dataclass
class _DocumentOperation(Operation):
    """Describes the body, which is read as bytes: a document as JSON or as YAML."""

    def __post_init__(self) -> None:
        content = {
            "application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT)),
            YAML: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)),
        }
        self.request_body = RequestBody(content=content, required=True, description="The document.")


def owner_of(request: ApiRequest) -> Owner:
    state = request.app.state
    caller = request.auth
    return Owner(state.engine, state.checker, caller.program_id, caller.program_key, caller.actor)


@get("/", operation_id="list_programs")
async def list_programs(request: ApiRequest) -> ProgramsOut:
    """The programs that the key can see: the one that it belongs to, by what is published."""
    async with reading(request.app.state.engine) as connection:
        row = await queries.read_program(connection, request.auth.program_id)
    return ProgramsOut([program_out(row)])


@post("/check", status_code=200, operation_class=_DocumentOperation, operation_id="check_program")
async def check(request: ApiRequest) -> CheckOut:
    """Everything that is wrong with a document, each mistake with its place. Nothing is stored."""
    report = await request.app.state.checker.check(await body_of(request), timeout_seconds=CHECK_SECONDS_MAX)
    return check_out(report)


@post("/test", status_code=200, operation_class=_DocumentOperation, operation_id="test_program")
async def test(request: ApiRequest) -> TestsOut:
    """Runs the tests that a document carries. Nothing is stored."""
    tested = await request.app.state.checker.test(await body_of(request), timeout_seconds=CHECK_SECONDS_MAX)
    return TestsOut(
        tested.ok,
        mistakes(tested.report.errors),
        mistakes(tested.report.warnings),
        [msgspec.convert(result, TestOut) for result in tested.results],
    )


@post("/versions", operation_class=_DocumentOperation, operation_id="create_version")
async def create_version(
    request: ApiRequest,
    note: FromQuery[
        Annotated[str | None, QueryParameter(max_length=NOTE_LENGTH_MAX, description="Why this version is made.")]
    ] = None,
) -> Drafted:
    """Store a document as the next version, a draft. The same content as the newest version is that version."""
    kept = request.content_type[0] in _YAML_TYPES
    row, report = await owner_of(request).draft(await body_of(request), note=note, keep_source=kept)
    return Drafted(version_out(row), check_out(report))


@get("/versions", operation_id="list_versions")
async def list_versions(
    request: ApiRequest, limit: PageSize = PAGE_ITEMS_DEFAULT, cursor: PageCursor = None
) -> Page[Version]:
    """All versions, the newest first."""
    cursors: Cursors = request.app.state.cursors
    of = f"versions/{request.auth.program_id}"
    position = cursors.read(of, cursor)
    async with reading(request.app.state.engine) as connection:
        rows = await queries.list_versions(
            connection, request.auth.program_id, before=position[0] if position else None, limit=limit + 1
        )
    shown = rows[:limit]
    more = cursors.write(of, (shown[-1].number,)) if len(rows) > limit else None
    return Page([version_out(row) for row in shown], more)


@get(
    "/versions/{number:int}",
    operation_id="read_version",
    responses={200: ResponseSpec(dict[str, Any], media_type="application/json", description="The document.")},
)
async def read_version(request: ApiRequest, number: Number) -> Response[bytes]:
    """A version's document as JSON, or with `Accept: application/yaml` as it was written."""
    stored = await _document(request, number)
    wanted = request.accept.best_match(["application/json", *_YAML_TYPES], default="application/json")
    if wanted in _YAML_TYPES:
        return Response(stored.as_written, media_type=YAML)
    return Response(stored.as_json, media_type=MediaType.JSON)


@post(
    "/versions/{number:int}/publish",
    status_code=200,
    operation_id="publish_version",
    responses=also(409, 422),
)
async def publish(request: ApiRequest, number: Number) -> Published:
    """Let a version decide from now on, and see what that changes.

    Refused with all mistakes, or the tests that fail, if it has any.
    """
    return published_out(await owner_of(request).publish(number))


@post("/rollback", status_code=200, operation_id="roll_back", responses=also(404, 409))
async def roll_back(request: ApiRequest, data: JSONBody[RollBack] = _ONE_BACK) -> Published:
    """Publish an earlier version again, and see what that changes."""
    return published_out(await owner_of(request).roll_back(data.to, published=data.published))


@get("/diff", operation_id="compare_versions", responses=also(404, 409, 422))
async def compare(
    request: ApiRequest,
    before: FromQuery[
        Annotated[
            int | None, QueryParameter(name="from", ge=1, le=VERSION_MAX, description="Default: the published version.")
        ]
    ] = None,
    after: FromQuery[
        Annotated[
            int | None, QueryParameter(name="to", ge=1, le=VERSION_MAX, description="Default: the newest version.")
        ]
    ] = None,
) -> DiffOut:
    """What changes from one version to another: sections, keys and fields, whatever the layout."""
    one = await _document(request, before)
    if after is None:
        async with reading(request.app.state.engine) as connection:
            after = await queries.newest_number(connection, request.auth.program_id)
    other = await _document(request, after)
    return DiffOut(one.number, other.number, changes_out(diff(parsed(one), parsed(other))))


@get(
    "/docs",
    operation_id="program_docs",
    responses={
        200: ResponseSpec(str, media_type="text/markdown", description="Markdown with Mermaid flowcharts."),
        **also(404, 409, 422),
    },
)
async def docs(request: ApiRequest, version: VersionNumber = None) -> Response[str]:
    """The program for people: tables, and a flowchart of each rule."""
    return Response(render(parsed(await _document(request, version))), media_type=MARKDOWN)


@get("/schema", operation_id="program_schema", sync_to_thread=True)
def schema() -> dict[str, Any]:
    """JSON Schema of the program document, for editors. No key is needed."""
    return document_schema()


@get("/rules", operation_id="list_rules")
async def list_rules(request: ApiRequest) -> RulesOut:
    """The rules of the published version, and which are paused."""
    return await _rules(request)


@post("/rules/{rule:str}/pause", status_code=200, operation_id="pause_rule")
async def pause(request: ApiRequest, rule: FromPath[str], data: JSONBody[PauseRule] = _FOR_NO_REASON) -> RulesOut:
    """Stop a rule at once, without a new version. Pausing it again changes nothing."""
    await owner_of(request).pause(rule, reason=data.reason)
    return await _rules(request)


@post("/rules/{rule:str}/resume", status_code=200, operation_id="resume_rule")
async def resume(request: ApiRequest, rule: FromPath[str]) -> RulesOut:
    """Let a paused rule fire again."""
    await owner_of(request).resume(rule)
    return await _rules(request)


async def _rules(request: ApiRequest) -> RulesOut:
    program_id = request.auth.program_id
    async with reading(request.app.state.engine) as connection:
        number = await queries.published_number(connection, program_id)
        stored = None if number is None else await queries.read_document(connection, program_id, number)
        pauses = await queries.list_pauses(connection, program_id)
    keys = [rule["key"] for rule in stored.document.get("rules", ())] if stored else []
    return rules_out(keys, pauses)


async def _document(request: ApiRequest, number: int | None) -> StoredDocument:
    """A version's document, by default the published one's. Raises `UnknownVersion`, `NothingPublished`."""
    program_id = request.auth.program_id
    async with reading(request.app.state.engine) as connection:
        if number is None:
            number = await queries.published_number(connection, program_id)
        if number is None:
            raise NothingPublished("the program has no published version yet")
        return await queries.read_document(connection, program_id, number)


def programs_routers() -> list[Router]:
    """Needs `engine`, `checker` and `cursors` in the application's state."""
    owned = [
        *(list_programs, check, test, create_version, list_versions, read_version, publish, roll_back, compare, docs),
        *(list_rules, pause, resume),
    ]
    return [
        Router("/v1/programs", route_handlers=owned, guards=[requires("program")], tags=["programs"]),
        Router("/v1/programs", route_handlers=[schema], tags=["programs"]),
    ]
