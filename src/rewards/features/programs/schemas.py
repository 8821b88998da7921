"""Programs on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, convert, structs

from rewards.domain.program.check import Report
from rewards.domain.program.diff import Change
from rewards.domain.program.problems import Position, Problem
from rewards.features.programs.owning import NOTE_LENGTH_MAX, VERSION_MAX, Publication
from rewards.features.programs.queries import Pause, ProgramRow, VersionRow
from rewards.http.decoding import Body

LOCALE_DEFAULT: Final = "en"
"""The grammar's own default."""
Note = Annotated[str, Meta(max_length=NOTE_LENGTH_MAX)]


class Place(Struct, frozen=True):
    """Counted from 1."""

    line: int
    column: int


class Mistake(Struct, frozen=True):
    """`path` names the part of the document, `position` is inside the expression there, `place` in the text as sent."""

    path: str
    code: str
    message: str
    position: Place | None
    near: str | None
    place: Place | None


class CheckOut(Struct, frozen=True):
    """What is wrong with a document (`errors`; none: it can be published) and what is odd about it (`warnings`)."""

    ok: bool
    errors: list[Mistake]
    warnings: list[Mistake]


class TestOut(Struct, frozen=True):
    """One of the document's own tests."""

    __test__ = False

    name: str
    passed: bool
    failures: list[str]
    effects: dict[str, list[dict[str, Any]]]


class TestsOut(Struct, frozen=True):
    """`tests` are only run where there are no errors; `ok` says that there are none and that all tests passed."""

    __test__ = False

    ok: bool
    errors: list[Mistake]
    warnings: list[Mistake]
    tests: list[TestOut]


class Version(Struct, frozen=True):
    """A version of the program. `note` says why it was made."""

    number: int
    status: Literal["draft", "published", "superseded"]
    author: str
    note: str | None
    created_at: datetime
    published_at: datetime | None


class ProgramOut(Struct, frozen=True):
    """A program by its published version; without one, `version` is null and the counts are zero."""

    key: str
    name: str | None
    kind: Literal["live", "sandbox"]
    version: int | None
    currencies: list[str]
    event_types: int
    rules: int
    paused_rules: int


class ProgramsOut(Struct, frozen=True):
    """The programs that the key can see. A key belongs to one."""

    programs: list[ProgramOut]


class Drafted(Struct, frozen=True):
    """A stored draft, and what is wrong with it."""

    version: Version
    report: CheckOut


class RollBack(Body, frozen=True):
    """Which version to publish again, by default the newest earlier one that was published once.

    `published` guards against repetition: where another version is published, nothing is changed.
    """

    to: Annotated[int, Meta(ge=1, le=VERSION_MAX)] | None = None
    published: Annotated[int, Meta(ge=1, le=VERSION_MAX)] | None = None


class PauseRule(Body, frozen=True):
    """Why the rule is stopped."""

    reason: Note | None = None


class RuleOut(Struct, frozen=True):
    """A rule of the published version and whether it may fire. A paused rule that the version lacks is shown too."""

    rule: str
    paused: bool
    published: bool
    reason: str | None = None
    actor: str | None = None
    paused_at: datetime | None = None


class RulesOut(Struct, frozen=True):
    """In the order of the document."""

    rules: list[RuleOut]


class FieldChangeOut(Struct, frozen=True):
    """Null where the field is not there."""

    path: str
    before: Any
    after: Any


class ChangeOut(Struct, frozen=True):
    """One part of the document that is different. `note` says what follows from it."""

    section: str
    key: str
    kind: Literal["added", "removed", "changed", "moved"]
    fields: list[FieldChangeOut]
    note: str | None


class Published(Version, frozen=True):
    """The version that decides from now on, and what that changes.

    `replaced` is the version that decided before: null for the first, the same where nothing was done. `changes` is
    null where there is nothing to compare with: for the first version, and where the one before no longer reads.
    """

    replaced: int | None
    changes: list[ChangeOut] | None
    backfill: dict[str, list[str]]
    """The metrics, badges and tiers, by section, that have not counted what was recorded before: `POST /v1/programs/backfills`
    makes up for it. Left out is what begins with the version: metrics of internal events, and badges that actions give."""


class DiffOut(Struct, frozen=True):
    """What changes from one version to another, by meaning."""

    before: int
    after: int
    changes: list[ChangeOut]


def check_out(report: Report) -> CheckOut:
    return CheckOut(report.ok, mistakes(report.errors), mistakes(report.warnings))


def mistakes(problems: Sequence[Problem]) -> list[Mistake]:
    return [
        Mistake(
            problem.path,
            problem.code,
            problem.message,
            _place(problem.position),
            problem.near,
            _place(problem.place),
        )
        for problem in problems
    ]


def _place(position: Position | None) -> Place | None:
    return None if position is None else Place(position.line, position.column)


def version_out(row: VersionRow) -> Version:
    return Version(
        row.number,
        row.status,  # type: ignore[arg-type]  # the table checks it
        row.author,
        row.note,
        row.created_at,
        row.published_at,
    )


def published_out(publication: Publication) -> Published:
    shown = version_out(publication.version)
    changes = publication.changes
    return Published(
        **structs.asdict(shown),
        replaced=publication.replaced,
        changes=None if changes is None else changes_out(changes),
        backfill=publication.fresh,
    )


def changes_out(changes: Sequence[Change]) -> list[ChangeOut]:
    return [convert(change.as_json(), ChangeOut) for change in changes]


def program_out(row: ProgramRow) -> ProgramOut:
    document = row.document
    return ProgramOut(
        key=row.key,
        name=_name(document.get("program", {})),
        kind=row.kind,  # type: ignore[arg-type]  # the table checks it
        version=row.published,
        currencies=list(document.get("currencies") or ()),
        event_types=len(document.get("events") or ()),
        rules=len(document.get("rules") or ()),
        paused_rules=row.paused_rules,
    )


def _name(header: Mapping[str, Any]) -> str | None:
    """A name in several languages is told in the program's own."""
    name = header.get("name")
    if isinstance(name, Mapping):
        return name.get(header.get("locale", LOCALE_DEFAULT)) or next(iter(name.values()), None)
    return name


def rules_out(keys: Sequence[str], pauses: Mapping[str, Pause]) -> RulesOut:
    shown = dict.fromkeys((*keys, *sorted(pauses.keys() - set(keys))))
    published = set(keys)
    return RulesOut([_rule(key, pauses.get(key), published=key in published) for key in shown])


def _rule(key: str, pause: Pause | None, *, published: bool) -> RuleOut:
    if pause is None:
        return RuleOut(key, paused=False, published=published)
    return RuleOut(
        key, paused=True, published=published, reason=pause.reason, actor=pause.actor, paused_at=pause.paused_at
    )
