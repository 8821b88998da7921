"""Programs and their versions in the database: create, draft, publish, roll back, pause and resume.

Publishing raises the program's revision in the same transaction, so every batch that begins afterwards decides by it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.tables import program, program_version, rule_pause
from rewards.domain.errors import InvalidInput, Refusal, RewardsError
from rewards.domain.program import sealing
from rewards.domain.program.models.base import Key
from rewards.domain.program.models.document import Document
from rewards.pipeline.identity import new_secret, unwrap_secret
from rewards.pipeline.programs import countings

_KEY: Final[TypeAdapter[str]] = TypeAdapter(Key)
KEY_WORDS: Final = "lower-case letters, digits and `_` after a first letter, at most 64 characters in all"


class ProgramExists(Refusal):
    """A program of this key exists."""

    code = "program-exists"


class UnknownProgram(RewardsError):
    """There is no program of this key."""

    code = "unknown-program"


class UnknownVersion(RewardsError):
    """The program has no version of this number."""

    code = "unknown-version"


class UnknownRule(RewardsError):
    """The published program has no rule of this key."""

    code = "unknown-rule"


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked document about to be stored as the next version."""

    document: dict[str, Any]
    source: str | None
    author: str
    note: str | None


async def create_program(connection: AsyncConnection, key: str, *, secret_key: bytes, kind: str = "live") -> int:
    """A program without versions; its member key is made here and never changes.

    Raises `ProgramExists`, `InvalidInput`, and `WrongSecretKey` where other programs were made with another one.
    """
    try:
        _KEY.validate_python(key)
    except ValidationError:
        raise InvalidInput(f"{key!r} cannot be a program's key", path="key", expected=KEY_WORDS) from None
    await check_secret_key(connection, secret_key)
    made = await connection.execute(
        upsert(program)
        .values(key=key, kind=kind, secret=new_secret(secret_key), created_at=func.now())
        .on_conflict_do_nothing()
        .returning(program.c.id)
    )
    program_id: int | None = made.scalar_one_or_none()
    if program_id is None:
        raise ProgramExists(f"a program {key!r} exists", key=key)
    return program_id


async def check_secret_key(connection: AsyncConnection, secret_key: bytes) -> None:
    """What is made with another secret key than the rest would be of no use to a service. Raises `WrongSecretKey`."""
    wrapped = (await connection.execute(select(program.c.secret).limit(1))).scalar_one_or_none()
    if wrapped is not None:
        unwrap_secret(secret_key, bytes(wrapped))


async def find_program(connection: AsyncConnection, key: str) -> Any | None:
    """The program's row, or None."""
    return (await connection.execute(select(program).where(program.c.key == key))).one_or_none()


async def program_id_of(connection: AsyncConnection, key: str) -> int:
    """Raises `UnknownProgram`."""
    found: int | None = (
        await connection.execute(select(program.c.id).where(program.c.key == key))
    ).scalar_one_or_none()
    if found is None:
        raise UnknownProgram(f"there is no program {key!r}", key=key)
    return found


async def lock_program(connection: AsyncConnection, program_id: int) -> None:
    """One change of a program at a time."""
    await connection.execute(select(program.c.id).where(program.c.id == program_id).with_for_update())


async def add_version(connection: AsyncConnection, program_id: int, draft: Draft) -> int:
    """Stores the document as the next version, a draft; returns its number. The same content as the newest is that version."""
    await lock_program(connection, program_id)
    digest = hashlib.sha256(
        (draft.source or msgspec.json.encode(draft.document, order="sorted").decode()).encode()
    ).digest()
    newest = (
        await connection.execute(
            select(program_version.c.number, program_version.c.digest)
            .where(program_version.c.program_id == program_id)
            .order_by(program_version.c.number.desc())
            .limit(1)
        )
    ).one_or_none()
    if newest is not None and newest.digest == digest:
        return int(newest.number)
    number = 1 if newest is None else newest.number + 1
    await connection.execute(
        insert(program_version).values(
            program_id=program_id,
            number=number,
            status="draft",
            document=draft.document,
            source=draft.source,
            digest=digest,
            author=draft.author,
            note=draft.note,
            created_at=func.now(),
        )
    )
    return number


async def publish_version(connection: AsyncConnection, program_id: int, number: int) -> int:
    """Makes a version the one that decides, also an older one (a rollback). Returns the new revision."""
    await lock_program(connection, program_id)
    versions = program_version.c
    mine = versions.program_id == program_id
    changed = await connection.execute(
        update(program_version)
        .where(mine, versions.number == number)
        .values(status="published", published_at=func.now())
        .returning(versions.document)
    )
    document = changed.scalar_one_or_none()
    if document is None:
        raise UnknownVersion(f"the program has no version {number}", number=number)
    await connection.execute(
        update(program_version)
        .where(mine, versions.number != number, versions.status == "published")
        .values(status="superseded")
    )
    boards = await _boards_after(connection, program_id, Document.model_validate(document))
    return await raise_revision(connection, program_id, published=number, boards=boards)


async def _boards_after(connection: AsyncConnection, program_id: int, document: Document) -> Any:
    """What is known of boards once the document decides. The moment is taken under the program's lock: a period that was
    closed before has closed by then."""
    now = func.clock_timestamp() + program.c.clock_offset
    replaced = (program_version.c.program_id == program.c.id) & (program_version.c.number == program.c.published)
    row = (
        await connection.execute(
            select(program.c.boards, now.label("now"), program_version.c.document)
            .outerjoin(program_version, replaced)
            .where(program.c.id == program_id)
        )
    ).one()
    before = countings(row.boards)
    if not before and row.document is not None:
        before = _declared(row.document)  # it was published when nothing was kept of boards
    return msgspec.to_builtins(sealing.published(before, document, row.now))


def _declared(document: Any) -> dict[str, sealing.Counting]:
    try:
        return sealing.declared(Document.model_validate(document))
    except ValidationError:  # written for an older grammar: that must not keep anybody from publishing
        return {}


async def raise_revision(connection: AsyncConnection, program_id: int, **values: Any) -> int:
    """Whatever changes how the program decides ends here."""
    raised = await connection.execute(
        update(program)
        .where(program.c.id == program_id)
        .values(revision=program.c.revision + 1, **values)
        .returning(program.c.revision)
    )
    return int(raised.scalar_one())


async def pause_rule(
    connection: AsyncConnection, program_id: int, rule: str, *, actor: str, reason: str | None
) -> bool:
    """Whether it was not paused before."""
    await lock_program(connection, program_id)
    paused = await connection.execute(
        upsert(rule_pause)
        .values(program_id=program_id, rule=rule, actor=actor, reason=reason, paused_at=func.now())
        .on_conflict_do_nothing()
    )
    if paused.rowcount:
        await raise_revision(connection, program_id)
    return paused.rowcount > 0


async def resume_rule(connection: AsyncConnection, program_id: int, rule: str) -> bool:
    """Whether the rule was paused."""
    await lock_program(connection, program_id)
    gone = await connection.execute(
        delete(rule_pause).where(rule_pause.c.program_id == program_id, rule_pause.c.rule == rule)
    )
    if gone.rowcount:
        await raise_revision(connection, program_id)
    return gone.rowcount > 0
