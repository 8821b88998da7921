"""What would happen: the same decision on a read-only snapshot, without locks, lanes or traces of it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import snapshot
from rewards.domain.apply import apply
from rewards.domain.commands import Event
from rewards.domain.ids import Ids, unix_ms
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import Outcome
from rewards.pipeline.attempt import ATTEMPTS_MAX, UNLOADED_MAX, Attempt, Plan, StartOver, TooManyAttempts
from rewards.pipeline.counters import candidate_keys, read_counters
from rewards.pipeline.dedup import check_same, is_decided, seen_before, stored_receipts
from rewards.pipeline.forwarding import paths
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.load import Loaded, load_members, load_more, unknown_member
from rewards.pipeline.programs import Programs, Published
from rewards.pipeline.submission import Receipt, Result, Submission


class _Outdated(Exception):
    """A newer version was published than the one at hand."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


async def dry_run(engine: AsyncEngine, programs: Programs, program_id: int, addressed: Addressed) -> Receipt:
    """Decides by the published version and forgets. Raises what the command would be refused with."""
    published = await programs.get(program_id)
    for _ in range(ATTEMPTS_MAX):
        try:
            return await _decide(engine, published, addressed)
        except _Outdated as newer:
            published = await programs.refresh(program_id, at_least=newer.revision)
    raise TooManyAttempts("the program changed too often meanwhile; try again")


async def dry_run_all(
    engine: AsyncEngine, programs: Programs, program_id: int, submissions: Sequence[Submission]
) -> list[Result]:
    """An answer or an error for each, in order, as a batch of them would have it; each identity may be there once."""
    results: dict[Submission, Result] = {}
    left = list(submissions)
    for _ in range(ATTEMPTS_MAX + len(left)):  # of those that must wait for others one at least is decided each time
        if not left:
            return [results[item] for item in submissions]
        attempt = Attempt(await programs.get(program_id), left, Plan(), ())
        try:
            async with snapshot(engine) as connection:
                done = await attempt.run_dry(connection)
        except StartOver:
            if attempt.newer_revision:
                await programs.refresh(program_id, at_least=attempt.newer_revision)
            continue
        results.update(done.results)
        left = done.deferred
    raise TooManyAttempts("the members or the program changed too often meanwhile; try again")


async def _decide(engine: AsyncEngine, published: Published, addressed: Addressed) -> Receipt:
    item = submission(published, addressed)
    async with snapshot(engine) as connection:
        loaded = await _load(connection, item)
        if (found := loaded.states.get(item.row_id)) is not None and found.merged_into is not None:
            item.forward((await paths(connection, item.program_id, [item.row_id]))[item.row_id])
            loaded = await _load(connection, item)
        state = loaded.states.get(item.row_id) or unknown_member(item.row_id, item.ref)
        clock = loaded.clock
        if clock.revision > published.revision:
            raise _Outdated(clock.revision)
        seen = (await seen_before(connection, item.program_id, [item])).get(item)
        if seen is not None and is_decided(item, seen):
            check_same(item, seen.fingerprint)
            return (await stored_receipts(connection, item.program_id, {item: seen}))[item]
        moments = {clock.now}
        if isinstance(item.command, Event) and item.command.occurred_at is not None:
            moments.add(item.command.occurred_at)
        counters = await read_counters(
            connection, item.program_id, candidate_keys(published.program, moments), lock=False
        )
        for _ in range(UNLOADED_MAX):
            key = item.key.bytes if item.key is not None else b""
            ids = Ids(key, bucket=state.bucket, unix_ms=unix_ms(clock.wall), seq=state.seq)
            try:
                outcome: Outcome = apply(
                    published.program, state, item.command, now=clock.now, ids=ids, counters=counters, actor=item.actor
                )
            except Unloaded as wanted:
                if wanted.counter is not None:
                    counters.update(
                        await read_counters(connection, item.program_id, frozenset({wanted.counter}), lock=False)
                    )
                else:
                    await load_more(
                        connection, item.program_id, state, wanted, identity=published.identity, clock=clock
                    )
                continue
            return Receipt(outcome.status, outcome.answer, trace=outcome.trace)
        raise TooManyAttempts("deciding this command needs too much that is not loaded")


async def _load(connection: AsyncConnection, item: Submission) -> Loaded:
    complete = frozenset({item.row_id} if item.lots_needed else ())
    return await load_members(connection, item.program_id, [item.row_id], complete=complete)
