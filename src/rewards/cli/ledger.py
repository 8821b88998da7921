"""`rewards ledger`: prove the books, and print statements."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.money import money
from rewards.cli.printing import counted, progress_bar, table_console
from rewards.cli.root import run
from rewards.db.engine import make_engine
from rewards.db.transact import reading, snapshot
from rewards.domain.commands import MemberRef
from rewards.domain.periods import rfc3339
from rewards.features.ledger.findings import Finding, Size
from rewards.features.ledger.statement import (
    HouseLine,
    MemberLine,
    database_now,
    house_statement,
    member_statement,
    period,
)
from rewards.features.ledger.verification import Verification
from rewards.pipeline.programs import Programs, Published
from rewards.service import compiled
from rewards.settings import Settings

STATEMENT_TIMEOUT_SECONDS: Final = 3600
"""These commands read whole months and buckets; the service's own limits are for answering callers."""
FINDINGS_SHOWN: Final = 200
DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def ledger() -> None:
    """Prove the books of a program, and print statements of the house or of a member."""


JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification came to."""

    findings: list[Finding]
    size: Size


@ledger.command()
@PROGRAM
@JSON
@click.pass_context
def verify(ctx: click.Context, program: str | None, *, as_json: bool) -> None:
    """Check every invariant of the ledger. Changes nothing, and may run while the service does.

    Exit code 0 when the books are sound, 1 when something is wrong.
    """

    async def work(settings: Settings) -> Verdict:
        async with _engine(settings) as engine:
            return await _verify(engine, await _published(engine, settings, program))

    verdict = run(work)
    if as_json:
        findings = [{**asdict(each), "member": str(each.member) if each.member else None} for each in verdict.findings]
        click.echo(json.dumps({"sound": not findings, **asdict(verdict.size), "findings": findings}, indent=2))
    else:
        _print_verdict(verdict)
    ctx.exit(1 if verdict.findings else 0)


async def _verify(engine: AsyncEngine, published: Published) -> Verdict:
    verification = Verification(engine, published)
    buckets = await verification.buckets()
    findings: list[Finding] = []
    columns = (
        TextColumn("Verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("buckets, {task.fields[postings]:,} postings, {task.fields[findings]:,} findings"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as progress:
        task = progress.add_task("", total=len(buckets) + 1, postings=0, findings=0)
        async for found in verification.each_bucket(buckets):
            findings += found
            progress.update(task, advance=1, postings=verification.size.postings, findings=len(findings))
        findings += await verification.house()
        progress.update(task, advance=1)
    return Verdict(findings, verification.size)


def _print_verdict(verdict: Verdict) -> None:
    size = verdict.size
    looked_at = ", ".join(
        (
            counted(size.members, "member"),
            counted(size.transactions, "transaction"),
            counted(size.postings, "posting"),
        )
    )
    if not verdict.findings:
        click.echo(f"The books are sound: {looked_at}.")
        return
    table = Table(Column("member", no_wrap=True), "invariant", "where", "found", "expected", box=None)
    for finding in verdict.findings[:FINDINGS_SHOWN]:
        table.add_row(
            str(finding.member or "house"), finding.invariant, finding.subject, finding.found, finding.expected
        )
    table_console().print(table)
    if len(verdict.findings) > FINDINGS_SHOWN:
        click.echo(f"… and {len(verdict.findings) - FINDINGS_SHOWN:,} more; --json has all of them.")
    click.echo(f"{counted(len(verdict.findings), 'finding')} in {looked_at}.")


@ledger.command()
@PROGRAM
@click.option("--from", "start", type=DAY, help="First day, in the program's time zone; without it from the beginning.")
@click.option("--to", "end", type=DAY, help="Last day; without it until now.")
@click.option("--currency", metavar="KEY", help="Only this currency.")
@click.option("--member", metavar="REF", help="One member's statement instead, such as `alice` or `anon:4711`.")
@JSON
def statement(
    program: str | None,
    start: datetime | None,
    end: datetime | None,
    currency: str | None,
    member: str | None,
    *,
    as_json: bool,
) -> None:
    """What the house owed, issued, redeemed and let expire; or what one member earned and spent."""
    days = (start.date() if start else None, end.date() if end else None)

    async def work(settings: Settings) -> None:
        async with _engine(settings) as engine:
            published = await _published(engine, settings, program)
            if member is None:
                await _print_house(engine, published, days, currency, as_json=as_json)
            else:
                await _print_member(engine, published, MemberRef.parse(member), days, currency, as_json=as_json)

    run(work)


Days = tuple[date | None, date | None]


async def _print_house(
    engine: AsyncEngine, published: Published, days: Days, currency: str | None, *, as_json: bool
) -> None:
    first, last = period(*days, published.program.zone, now=await database_now(engine))
    lines = await house_statement(engine, published, start=first, end=last, currency=currency)
    code = published.program.money
    if as_json:
        document = {
            "program": published.key,
            "from": rfc3339(first) if first else None,
            "to": rfc3339(last),
            "money": code,
            "currencies": [_house_json(line) for line in lines],
        }
        click.echo(json.dumps(document, indent=2))
        return
    names = list(lines[0].amounts()) if lines else []
    table = Table("currency", *(Column(name, justify="right", no_wrap=True) for name in names), box=None)
    for line in lines:
        amounts = line.amounts()
        table.add_row(line.currency, *(f"{amounts[name]:,}" for name in names))
        if line.worth is not None:
            table.add_row("", *(money(line.money(amounts[name]) or 0, code) for name in names))
    zone = published.program.zone
    since = f"{first.astimezone(zone):%Y-%m-%d %H:%M}" if first else "the beginning"
    click.echo(f"{published.key}, from {since} until {last.astimezone(zone):%Y-%m-%d %H:%M} ({zone})")
    table_console().print(table)


def _house_json(line: HouseLine) -> dict[str, Any]:
    amounts = line.amounts()
    worth = {f"{name}_minor": line.money(amount) for name, amount in amounts.items()} if line.worth is not None else {}
    return {"currency": line.currency, **amounts, **worth}


_LINE: Final = "{:<16}  {:<9}  {:<12}  {:>15}  {:>15}  {:>12}  {:>12}  {:>10}  {}"


async def _print_member(
    engine: AsyncEngine, published: Published, ref: MemberRef, days: Days, currency: str | None, *, as_json: bool
) -> None:
    """Line by line as they are read, so that a history of any length can be printed."""
    zone = published.program.zone
    first, last = period(*days, zone, now=datetime.max.replace(tzinfo=UTC))
    if currency is not None and currency not in published.program.currencies:
        # It may have been one: the house refuses what nobody ever had, of which a statement would be empty.
        await house_statement(engine, published, start=None, end=await database_now(engine), currency=currency)
    async with snapshot(engine) as connection:
        found = await member_statement(connection, published, ref, start=first, end=last, currency=currency)
        if as_json:
            opening = {key: asdict(balances) for key, balances in found.opening.items()}
            click.echo(json.dumps({"member": str(ref), "merged": found.merged, "opening": opening}))
            async for line in found.lines:
                click.echo(json.dumps({**asdict(line), "recorded_at": rfc3339(line.recorded_at)}))
            return
        click.echo(
            _LINE.format("recorded", "kind", "currency", "amount", "available", "pending", "held", "debt", "source")
        )
        for key, balances in found.opening.items():
            click.echo(_LINE.format("", "opening", key, "", *(f"{part:,}" for part in astuple(balances)), ""))
        async for line in found.lines:
            when = f"{line.recorded_at.astimezone(zone):%Y-%m-%d %H:%M}"
            after = (f"{part:,}" for part in astuple(line.after))
            click.echo(_LINE.format(when, line.kind, line.currency, f"{line.amount:,}", *after, _cause(line)).rstrip())
        if found.merged:
            click.echo(f"{ref} was merged into another member, who has all that came since.")


def _cause(line: MemberLine) -> str:
    source = line.source if line.reason is None else f"{line.source}, {line.reason}"
    return source if line.reference is None else f"{source} ({line.reference})"


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(
        settings.database_url.get_secret_value(),
        application_name="rewards ledger",
        role=settings.database_role,
        pool_size=1,
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        idle_in_transaction_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def _published(engine: AsyncEngine, settings: Settings, key: str | None) -> Published:
    async with reading(engine) as connection:
        program_id, _ = await chosen_program(connection, key)
    return await Programs(engine, secret_key=settings.secret_key.get_secret_value(), compiler=compiled).get(program_id)
