"""Segments by rank: who belongs to the top share of a metric, decided over all members by a job.

Metric values live in the members' documents, so the job reads them all, a page at a time, and sends a command only to the
members whose membership changes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading
from rewards.domain.commands import MemberRef, SetSegments
from rewards.domain.errors import RewardsError
from rewards.domain.play.metrics import read
from rewards.domain.program.compiled import Program
from rewards.domain.state import MemberState
from rewards.pipeline.codec import decode_state
from rewards.pipeline.lanes import Lanes
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Programs
from rewards.pipeline.submission import Submission

PAGE_MEMBERS: Final = 5_000
SUBMIT_MAX: Final = 200

MEMBERS_PAGE: Final = """
SELECT m.bucket, m.member_id, m.kind, m.timezone, m.state, clock_timestamp() + p.clock_offset AS now
FROM program p JOIN member m ON m.program_id = p.id
WHERE p.id = $1 AND (m.bucket, m.member_id) > ($2, $3) AND m.merged_into IS NULL AND m.erased_at IS NULL
ORDER BY m.bucket, m.member_id LIMIT $4
"""


async def rank_segments(engine: AsyncEngine, programs: Programs, lanes: Lanes, program_id: int) -> int:
    """Brings every `top` segment up to date; returns how many members changed. Members without a value take no part."""
    program = (await programs.get(program_id)).program
    ranked = [segment for segment in program.segments if segment.top is not None and segment.of is not None]
    if not ranked:
        return 0
    scores: dict[str, list[tuple[float, int]]] = {segment.key: [] for segment in ranked}
    inside: dict[str, set[int]] = {segment.key: set() for segment in ranked}
    async for state, now in _members(engine, program_id):
        for segment in ranked:
            value = _value(program, segment.of or "", state, now)
            if value is not None and value > 0:
                scores[segment.key].append((value, state.id.int))
            if segment.key in state.segments:
                inside[segment.key].add(state.id.int)
    changes: dict[int, tuple[list[str], list[str]]] = {}
    for segment in ranked:
        assert segment.top is not None
        count = math.ceil(len(scores[segment.key]) * segment.top)
        top = {member for _, member in heapq.nlargest(count, scores[segment.key])}
        for member in top - inside[segment.key]:
            changes.setdefault(member, ([], []))[0].append(segment.key)
        for member in inside[segment.key] - top:
            changes.setdefault(member, ([], []))[1].append(segment.key)
    return await _submit(lanes, program_id, changes)


async def _submit(lanes: Lanes, program_id: int, changes: dict[int, tuple[list[str], list[str]]]) -> int:
    commands = [
        Submission(
            program_id, MemberRef("user", ""), UUID(int=member), None, b"", SetSegments(tuple(entered), tuple(left))
        )
        for member, (entered, left) in changes.items()
    ]
    changed = 0
    for start in range(0, len(commands), SUBMIT_MAX):
        results = await lanes.submit_all(commands[start : start + SUBMIT_MAX])
        changed += sum(not isinstance(result, RewardsError) for result in results)
    return changed


async def _members(engine: AsyncEngine, program_id: int) -> AsyncIterator[tuple[MemberState, datetime]]:
    bucket, member = -1, UUID(int=0)
    while True:
        async with reading(engine) as connection:
            page = await rows(connection, MEMBERS_PAGE, program_id, bucket, member, PAGE_MEMBERS)
        for row in page:
            state = MemberState(row.member_id, row.bucket, row.kind, "", timezone=row.timezone)
            decode_state(row.state, state)
            yield state, row.now
        if len(page) < PAGE_MEMBERS:
            return
        bucket, member = page[-1].bucket, page[-1].member_id


def _value(program: Program, metric_key: str, state: MemberState, now: datetime) -> Any:
    metric = program.metrics[metric_key]
    zone = ZoneInfo(state.timezone) if state.timezone else program.zone
    found = state.metrics.get(metric.id)
    return None if found is None else read(metric, found, at=now, zone=zone)
