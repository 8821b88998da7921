"""What the owner of a program does: draft, publish, roll back, pause and resume. The same for HTTP and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import reading, transact
from rewards.domain.errors import Refusal
from rewards.domain.program.check import Report
from rewards.domain.program.compile import InvalidProgram
from rewards.domain.program.diff import RESTARTS, Change, diff
from rewards.domain.program.models.document import INTERNAL_EVENTS, Document
from rewards.domain.program.problems import Problem, meant
from rewards.features.programs import queries
from rewards.features.programs.checking import Checker, TestReport
from rewards.features.programs.queries import StoredDocument, VersionRow, record_audit
from rewards.features.programs.store import (
    Draft,
    UnknownRule,
    add_version,
    lock_program,
    pause_rule,
    publish_version,
    resume_rule,
)

CHECK_SECONDS_MAX: Final = 5.0
"""How long checking one document may take, its tests included."""
NOTE_LENGTH_MAX: Final = 1_000
COUNTED: Final = ("metrics", "badges", "tiers")
"""What a backfill can make up for."""
VERSION_MAX: Final = 2**31 - 1
"""What the database counts versions up to."""


class NothingBefore(Refusal):
    """No version was published before this one."""

    code = "nothing-to-roll-back-to"


class PublishedMeanwhile(Refusal):
    """Another version is published than the caller believes. Nothing was changed. `details`: published."""

    code = "published-meanwhile"


@dataclass(frozen=True, slots=True)
class Publication:
    """A version that decides from now on, and what that changes.

    `replaced` is the version that decided before: None for the first, the same where nothing was done. `changes` is
    None where there is nothing to compare with: for the first version, and where the one before no longer reads.
    """

    version: VersionRow
    replaced: int | None
    changes: list[Change] | None
    document: Document | None = None
    """As published; None where there is nothing to compare it with."""

    @property
    def fresh(self) -> dict[str, list[str]]:
        """The metrics, badges and tiers that are new or count something else: a backfill makes up for what was before them.

        Sections without any are left out, as is what a backfill cannot make up for.
        """
        if self.document is None or self.changes is None:
            return {}
        new = {
            section: {
                change.key
                for change in self.changes
                if change.section == section and (change.kind == "added" or change.note == RESTARTS)
            }
            for section in COUNTED
        }
        beginning = _begin_now(self.document, new["metrics"])
        return {section: sorted(left) for section, keys in new.items() if (left := keys - beginning[section])}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who acts for which program."""

    engine: AsyncEngine
    checker: Checker
    program_id: int
    program_key: str
    actor: str

    async def draft(self, source: bytes, *, note: str | None, keep_source: bool) -> tuple[VersionRow, Report]:
        """Stores a document as the next version, mistakes or not, and says what is wrong with it.

        The same content as the newest version is that version. Raises `InvalidProgram` for what is no document at all.
        """
        report = await self.checker.check(source, timeout_seconds=CHECK_SECONDS_MAX)
        if not isinstance(report.data, dict):
            raise invalid(report.errors)
        draft = Draft(report.data, source.decode("utf-8-sig") if keep_source else None, self.actor, note)

        async def store(connection: AsyncConnection) -> VersionRow:
            number = await add_version(connection, self.program_id, draft)
            return await queries.read_version(connection, self.program_id, number)

        return await transact(self.engine, store), report

    async def publish(self, number: int) -> Publication:
        """Makes a version the one that decides, once it has no mistakes and its own tests pass.

        Raises `UnknownVersion`, `InvalidProgram`. Publishing what is published changes nothing.
        """
        return await self._publish(number, action="program.published", expected=None)

    async def roll_back(self, to: int | None = None, *, published: int | None = None) -> Publication:
        """Publishes `to` again, by default the newest earlier version that was published once.

        `published` guards against repetition: it must be the published version. Raises `NothingBefore`,
        `PublishedMeanwhile`, and as `publish`.
        """
        async with reading(self.engine) as connection:
            current = await queries.published_number(connection, self.program_id)
            if published is not None and current != published:
                raise PublishedMeanwhile(f"version {current} is published, not {published}", published=current)
            if to is None:
                to = current and await queries.published_before(connection, self.program_id, current)
        if to is None:
            raise NothingBefore("no version was published before this one")
        return await self._publish(to, action="program.rolled_back", expected=current)

    async def _publish(self, number: int, *, action: str, expected: int | None) -> Publication:
        async with reading(self.engine) as connection:
            document = await queries.read_document(connection, self.program_id, number)
        await self.check_publishable(document.as_written)

        async def store(connection: AsyncConnection) -> tuple[VersionRow, int | None]:
            await lock_program(connection, self.program_id)
            before = await queries.published_number(connection, self.program_id)
            if expected is not None and before != expected:
                raise PublishedMeanwhile(f"version {before} is published, not {expected}", published=before)
            if before != number:
                await publish_version(connection, self.program_id, number)
                await self._audit(connection, action, f"version:{number}", {"before": before})
            return await queries.read_version(connection, self.program_id, number), before

        version, replaced = await transact(self.engine, store)
        return await self._publication(version, replaced, document)

    async def _publication(self, version: VersionRow, before: int | None, after: StoredDocument) -> Publication:
        if before is None:
            return Publication(version, before, None)
        async with reading(self.engine) as connection:
            replaced = await queries.read_document(connection, self.program_id, before)
        try:
            document = parsed(after)
            return Publication(version, before, diff(parsed(replaced), document), document)
        except InvalidProgram:  # written for an older grammar: that must not keep anybody from publishing
            return Publication(version, before, None)

    async def check_publishable(self, source: bytes) -> None:
        """As `check_publishable`, for this program."""
        await check_publishable(self.checker, self.program_key, source)

    async def pause(self, rule: str, *, reason: str | None) -> None:
        """Stops a rule at once, without a new version; pausing it again changes nothing. Raises `UnknownRule`."""
        await self._known_rule(rule)

        async def store(connection: AsyncConnection) -> None:
            if await pause_rule(connection, self.program_id, rule, actor=self.actor, reason=reason):
                await self._audit(connection, "rule.paused", f"rule:{rule}", {"reason": reason})

        await transact(self.engine, store)

    async def resume(self, rule: str) -> None:
        """Lets a paused rule fire again; one that is not paused stays as it is. Raises `UnknownRule`."""
        await self._known_rule(rule)

        async def store(connection: AsyncConnection) -> None:
            if await resume_rule(connection, self.program_id, rule):
                await self._audit(connection, "rule.resumed", f"rule:{rule}", {})

        await transact(self.engine, store)

    async def _known_rule(self, rule: str) -> None:
        """A rule of the published version, or one that is paused although it is gone."""
        async with reading(self.engine) as connection:
            known = await rule_keys(connection, self.program_id)
            known |= (await queries.list_pauses(connection, self.program_id)).keys()
        if rule not in known:
            raise UnknownRule(f"the published program has no rule {rule!r}{meant(rule, known)}")

    async def _audit(self, connection: AsyncConnection, action: str, target: str, details: dict[str, Any]) -> None:
        await record_audit(connection, self.program_id, actor=self.actor, action=action, target=target, details=details)


def _begin_now(document: Document, new_metrics: set[str]) -> dict[str, set[str]]:
    """What begins with the version, since nothing recorded says what was before it, by section: metrics of internal events,
    what goes by a new one of those, and badges that actions give.
    """
    metrics = {key for key, each in document.metrics.items() if not INTERNAL_EVENTS.keys().isdisjoint(each.events)}
    unknown = metrics & new_metrics
    badges = {key for key, each in document.badges.items() if each.metric is None or each.metric in unknown}
    tiers = document.tiers
    return {
        "metrics": metrics,
        "badges": badges,
        "tiers": {"tiers"} if tiers is not None and tiers.qualify.metric in metrics else set(),
    }


async def check_publishable(checker: Checker, program_key: str, source: bytes) -> None:
    """Raises `InvalidProgram` for mistakes, failing tests and another program's document."""
    tested = await checker.test(source, timeout_seconds=CHECK_SECONDS_MAX)
    if not tested.report.ok:
        raise invalid(tested.report.errors)
    assert tested.report.document is not None
    key = tested.report.document.program.key
    if key != program_key:
        raise invalid([Problem("program.key", "other-program", f"this is the program {key!r}, not {program_key!r}")])
    if not tested.ok:
        raise invalid(failures(tested))


async def rule_keys(connection: AsyncConnection, program_id: int) -> set[str]:
    """The rules of the published version; none if there is none."""
    number = await queries.published_number(connection, program_id)
    if number is None:
        return set()
    stored = await queries.read_document(connection, program_id, number)
    return {rule["key"] for rule in stored.document.get("rules", ())}


def parsed(stored: StoredDocument) -> Document:
    """The document of a version. Raises `InvalidProgram` for a draft with mistakes in its shape."""
    try:
        return Document.model_validate(stored.document)
    except ValidationError:
        raise InvalidProgram(
            f"version {stored.number} has mistakes; check it to see them", path="version", expected="a valid version"
        ) from None


def invalid(problems: Iterable[Problem]) -> InvalidProgram:
    """All mistakes as one error."""
    found = list(problems)
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return InvalidProgram(f"{found[0]}{more}", errors=[problem.as_json() for problem in found])


def failures(tested: TestReport) -> list[Problem]:
    """The document's own tests that fail, as mistakes."""
    return [
        Problem(f"tests.{position}", "test-failed", f"{result['name']}: {'; '.join(result['failures'])}")
        for position, result in enumerate(tested.results)
        if not result["passed"]
    ]
