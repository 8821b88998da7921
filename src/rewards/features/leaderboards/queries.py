"""All SQL of boards as they are read: marks, scores, periods, results."""

from __future__ import annotations

from typing import Final

LOCK_CLASS: Final = 0x626F6172
"""Of the advisory locks, so that they are no others'; a board's own number is the second part."""

NOW: Final = "SELECT statement_timestamp() AS now"

PUBLISHED: Final = "SELECT id, revision FROM program WHERE published IS NOT NULL"

# One row at least: the moment. Whoever commits after it leaves a mark for the next time. Jumps from board to board, and counts
# so many marks of each, since of a Valkey that is away for hours there are more than can be read in the time of a statement.
MARKED: Final = """
WITH RECURSIVE marked AS (
    (SELECT program_id, board FROM leaderboard_dirty ORDER BY program_id, board LIMIT 1)
    UNION ALL
    SELECT further.program_id, further.board
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT d.program_id, d.board FROM leaderboard_dirty d
        WHERE (d.program_id, d.board) > (m.program_id, m.board) ORDER BY d.program_id, d.board LIMIT 1
    ) further
)
SELECT statement_timestamp() AS now, counted.program_id, counted.board, counted.count, counted.marks
FROM (SELECT 1) AS one LEFT JOIN (
    SELECT m.program_id, m.board, oldest.count, oldest.marks
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT sum(cardinality(d.members)) AS count, count(*) AS marks FROM (
            SELECT d.members FROM leaderboard_dirty d
            WHERE d.program_id = m.program_id AND d.board = m.board ORDER BY d.id LIMIT $1
        ) d
    ) oldest
) AS counted ON true
"""

# Mine alone until they are unlocked or this session ends. The moment is taken once it is: it orders writers.
TRY_LOCKS: Final = """
SELECT taken.position, taken.mine, clock_timestamp() AS now
FROM (
    SELECT position, pg_try_advisory_lock($1::int, number) AS mine
    FROM unnest($2::int[]) WITH ORDINALITY AS asked (number, position)
    OFFSET 0
) AS taken
"""
UNLOCK: Final = "SELECT pg_advisory_unlock($1::int, number) FROM unnest($2::int[]) AS number"

# The oldest marks of each board, up to so many members and one mark at least. `number` is the board's place among them.
MARKS: Final = """
SELECT statement_timestamp() AS now, asked.number, marks.id, marks.period, marks.part, marks.buckets, marks.members
FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS asked (program_id, board, number)
CROSS JOIN LATERAL (
    SELECT id, period, part, buckets, members, sum(cardinality(members)) OVER (ORDER BY id) AS so_far
    FROM (
        SELECT id, period, part, buckets, members FROM leaderboard_dirty d
        WHERE d.program_id = asked.program_id AND d.board = asked.board ORDER BY id LIMIT $3
    ) AS oldest
) AS marks
WHERE marks.so_far - cardinality(marks.members) < $3
"""


def _ruling(program: str, board: str, period: str, definition: str, sealed_until: str) -> str:
    """By which definition a period counts: the board's, unless it had ended when the board began to count by that.

    As closing does, see `closing.Closings`.
    """
    return f"""CASE WHEN {sealed_until} IS NULL THEN {definition} ELSE coalesce((
    SELECT q.definition FROM leaderboard_period q
    WHERE q.program_id = {program} AND q.board = {board} AND q.period = {period}
      AND q.closed_at IS NULL AND q.ends_at <= {sealed_until}
), {definition}) END"""


# The scores of these members as they are now; who has none, or none that is shown, is missing. A member's scores are looked
# up by the member alone: told board and period, the planner of a young table reads the whole board for each member.
MARKED_SCORES: Final = f"""
SELECT k.number, k.member_id, s.score, s.achieved_at, m.kind, m.external_id
FROM unnest($1::int[], $2::smallint[], $3::uuid[]) AS k (number, bucket, member_id)
JOIN unnest($4::int[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::text[])
    WITH ORDINALITY AS p (program_id, board, definition, sealed_until, period, part, number) ON p.number = k.number
CROSS JOIN LATERAL (
    SELECT s.board, s.period, s.part, s.score, s.achieved_at, s.shown, s.definition FROM leaderboard_score s
    WHERE s.program_id = p.program_id AND s.bucket = k.bucket AND s.member_id = k.member_id
    OFFSET 0
) s
CROSS JOIN LATERAL (
    SELECT m.kind, m.external_id, m.merged_into, m.erased_at FROM member m
    WHERE m.program_id = p.program_id AND m.bucket = k.bucket AND m.member_id = k.member_id
    LIMIT 1
) m
WHERE s.board = p.board AND s.period = p.period AND s.part = p.part AND s.shown
  AND s.definition = {_ruling("p.program_id", "p.board", "p.period", "p.definition", "p.sealed_until")}
  AND m.merged_into IS NULL AND m.erased_at IS NULL
"""

# In a transaction of its own, whose commit waits for no disk.
CLEAR: Final = """
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS setting)
DELETE FROM leaderboard_dirty d
USING unhurried, unnest($1::int[], $2::text[], $3::bigint[]) AS done (program_id, board, id)
WHERE unhurried.setting = 'off' AND d.program_id = done.program_id AND d.board = done.board AND d.id = done.id
"""

# Some at a time: of a Valkey that is away for hours there are more than a statement deletes in its time.
CLEAR_BOARD: Final = """
DELETE FROM leaderboard_dirty
WHERE ctid = ANY(ARRAY(SELECT d.ctid FROM leaderboard_dirty d WHERE d.program_id = $1 AND d.board = $2 LIMIT $3))
RETURNING 1
"""

# A mark of the whole board stands for all its marks that were deleted while it was there. It is before all others: they
# count from 1. Its moment tells whether more was put under it since.
MARK_WHOLE: Final = """
INSERT INTO leaderboard_dirty (program_id, board, id, period, part, buckets, members, marked_at)
VALUES ($1, $2, 0, '', '', '{}', '{}', clock_timestamp())
ON CONFLICT (program_id, board, id) DO UPDATE SET marked_at = excluded.marked_at
"""
CLEAR_MARKED: Final = """
DELETE FROM leaderboard_dirty
WHERE ctid = ANY(ARRAY(
    SELECT d.ctid FROM leaderboard_dirty d WHERE d.program_id = $1 AND d.board = $2 AND d.id > 0 ORDER BY d.id LIMIT $3
))
RETURNING 1
"""
WHOLE: Final = "SELECT marked_at FROM leaderboard_dirty WHERE program_id = $1 AND board = $2 AND id = 0"
CLEAR_WHOLE: Final = "DELETE FROM leaderboard_dirty WHERE program_id = $1 AND board = $2 AND id = 0 AND marked_at = $3"

# How many marks a board has, counted up to so many, and whether one is of the whole board.
MARKS_UP_TO: Final = """
SELECT count(*) AS marks, coalesce(bool_or(oldest.id = 0), false) AS whole FROM (
    SELECT d.id FROM leaderboard_dirty d WHERE d.program_id = $1 AND d.board = $2 ORDER BY d.id LIMIT $3
) oldest
"""

_COUNTED: Final = f"""s.program_id = $1 AND s.board = $2 AND s.shown AND s.period <> ALL ($4::text[])
  AND s.definition = {_ruling("$1", "$2", "s.period", "$3", "$5::timestamptz")}"""

# A board in pages, in the order of the key, in all periods that are not frozen. Members are looked up after the page is cut: a
# planner that may join first reads both tables whole for every page. Who is on no board any more has no kind.
SCORES_PAGE: Final = f"""
SELECT s.bucket, s.member_id, s.period, s.part, s.score, s.achieved_at, m.kind, m.external_id
FROM (
    SELECT s.bucket, s.member_id, s.period, s.part, s.score, s.achieved_at FROM leaderboard_score s
    WHERE {_COUNTED} AND (s.bucket, s.member_id, s.period) > ($6, $7, $8)
    ORDER BY s.bucket, s.member_id, s.period LIMIT $9
) s
LEFT JOIN LATERAL (
    SELECT m.kind, m.external_id FROM member m
    WHERE m.program_id = $1 AND m.bucket = s.bucket AND m.member_id = s.member_id AND m.merged_into IS NULL
      AND m.erased_at IS NULL
    LIMIT 1
) m ON true
ORDER BY s.bucket, s.member_id, s.period
"""

# The same of everybody in one bucket.
SCORES_OF_BUCKET: Final = f"""
SELECT s.bucket, s.member_id, s.period, s.part, s.score, s.achieved_at, m.kind, m.external_id
FROM leaderboard_score s
JOIN member m
    ON m.program_id = s.program_id AND m.bucket = s.bucket AND m.member_id = s.member_id AND m.merged_into IS NULL
   AND m.erased_at IS NULL
WHERE {_COUNTED} AND s.bucket = $6
"""

MARKED_MEMBERS: Final = """
SELECT marked.member_id, d.period, d.part
FROM leaderboard_dirty d, unnest(d.buckets, d.members) AS marked (bucket, member_id)
WHERE d.program_id = $1 AND marked.bucket = $2 AND d.board = $3
"""

# Of those members, the ones that have neither a score that is shown nor a mark.
STRANGERS: Final = f"""
SELECT asked.member_id
FROM unnest($5::smallint[], $6::uuid[]) AS asked (bucket, member_id)
WHERE NOT EXISTS (
    SELECT FROM leaderboard_dirty d
    WHERE d.program_id = $1 AND d.board = $2 AND d.period = $3 AND d.part = $4 AND asked.member_id = ANY (d.members)
) AND NOT EXISTS (
    SELECT FROM leaderboard_score s JOIN member m
        ON m.program_id = s.program_id AND m.bucket = s.bucket AND m.member_id = s.member_id
       AND m.merged_into IS NULL AND m.erased_at IS NULL
    WHERE s.program_id = $1 AND s.bucket = asked.bucket AND s.member_id = asked.member_id AND s.board = $2
      AND s.period = $3 AND s.part = $4 AND s.shown
      AND s.definition = {_ruling("$1", "$2", "$3", "$7", "$8::timestamptz")}
)
"""

FROZEN: Final = """
SELECT period FROM leaderboard_period
WHERE program_id = $1 AND board = $2 AND closed_at IS NOT NULL AND ($3 OR cleared_at IS NULL)
"""

# The frozen result of a period, if it has one.
FROZEN_PERIOD: Final = """
SELECT p.starts_at, p.ends_at, p.closes_at, p.closed_at,
       (SELECT count(*) FROM leaderboard_result r
        WHERE r.program_id = $1 AND r.board = $2 AND r.period = $3 AND r.part = $4) AS total
FROM leaderboard_period p
WHERE p.program_id = $1 AND p.board = $2 AND p.period = $3 AND p.closed_at IS NOT NULL
"""

# Whether anybody scored in a period that is not frozen, or its closing is still to come.
HAS_SCORES: Final = """
SELECT EXISTS (SELECT FROM leaderboard_score WHERE program_id = $1 AND board = $2 AND period = $3)
    OR EXISTS (SELECT FROM leaderboard_period WHERE program_id = $1 AND board = $2 AND period = $3) AS scored
"""

PART_OF: Final = """
SELECT part FROM leaderboard_score
WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND board = $4 AND period = $5
"""

RESULT_PART_OF: Final = """
SELECT part FROM leaderboard_result
WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND board = $4 AND period = $5 LIMIT 1
"""

_RESULT: Final = """
SELECT r.position, r.rank, r.member_id, r.score, m.kind, m.external_id
FROM leaderboard_result r
LEFT JOIN member m
    ON m.program_id = r.program_id AND m.bucket = r.bucket AND m.member_id = r.member_id AND m.erased_at IS NULL
WHERE r.program_id = $1 AND r.board = $2 AND r.period = $3 AND r.part = $4
"""

RESULT_PAGE: Final = _RESULT + "AND r.position > $5 AND r.position <= $6 ORDER BY r.position"
RESULT_MEMBERS: Final = (
    _RESULT + "AND r.bucket = ANY ($5::smallint[]) AND r.member_id = ANY ($6::uuid[]) ORDER BY r.position"
)

# The last place of those before a rank, and the place right before a position.
RESULT_BETTER: Final = _RESULT + "AND r.position = $5"

ATTRIBUTE_OF: Final = """
SELECT m.member_id, m.attributes ->> $4 AS value
FROM unnest($2::smallint[], $3::uuid[]) AS asked (bucket, member_id)
JOIN member m ON m.program_id = $1 AND m.bucket = asked.bucket AND m.member_id = asked.member_id
WHERE m.erased_at IS NULL
"""

# A sandbox has a clock of its own.
PROGRAM_NOW: Final = (
    "SELECT clock_timestamp() + clock_offset AS now, clock_offset AS ahead, revision FROM program WHERE id = $1"
)
