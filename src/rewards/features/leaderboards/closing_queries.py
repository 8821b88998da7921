"""The SQL of closing periods. `$1` is the program; moments are the program's own (the database's clock and its offset)."""

from __future__ import annotations

from typing import Final

REVISION: Final = "SELECT revision FROM program WHERE id = $1"

NEW_PERIODS: Final = """
WITH RECURSIVE found AS (
    (SELECT s.board, s.period FROM leaderboard_score s WHERE s.program_id = $1 ORDER BY s.board, s.period LIMIT 1)
    UNION ALL
    SELECT n.board, n.period
    FROM found f
    CROSS JOIN LATERAL (
        SELECT s.board, s.period FROM leaderboard_score s
        WHERE s.program_id = $1 AND (s.board, s.period) > (f.board, f.period)
        ORDER BY s.board, s.period LIMIT 1
    ) n
)
SELECT f.board, f.period
FROM found f
WHERE NOT EXISTS (
    SELECT FROM leaderboard_period p WHERE p.program_id = $1 AND p.board = f.board AND p.period = f.period
)
"""
"""Periods in which somebody scored and that are not known yet. Jumps from one to the next along the index."""

ADD_PERIODS: Final = """
INSERT INTO leaderboard_period (program_id, board, period, definition, starts_at, ends_at, closes_at)
SELECT $1, n.board, n.period, n.definition, n.starts_at, n.ends_at, n.closes_at
FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[])
    AS n (board, period, definition, starts_at, ends_at, closes_at)
ON CONFLICT DO NOTHING
"""

MOVE_CLOSINGS: Final = """
UPDATE leaderboard_period p SET closes_at = p.ends_at + make_interval(secs => n.grace_seconds)
FROM unnest($2::text[], $3::float8[], $4::timestamptz[]) AS n (board, grace_seconds, sealed_until)
WHERE p.program_id = $1 AND p.board = n.board AND p.closed_at IS NULL
  AND p.closes_at <> p.ends_at + make_interval(secs => n.grace_seconds)
  AND (n.sealed_until IS NULL OR p.ends_at > n.sealed_until)
  AND EXISTS (SELECT FROM program o WHERE o.id = $1 AND o.revision = $5)
"""
"""A new version may give late events more or less time; what is sealed closes when it was to."""

LAST_COUNTED: Final = """
SELECT definition FROM leaderboard_score
WHERE program_id = $1 AND board = $2 AND period = $3
ORDER BY updated_at DESC LIMIT 1
"""
"""What a sealed period counted that no worker had heard of before: nothing of it was written since it was sealed."""

DUE_PERIODS: Final = """
SELECT p.board, p.period
FROM leaderboard_period p JOIN program o ON o.id = p.program_id
WHERE p.program_id = $1 AND p.closed_at IS NULL AND p.closes_at <= clock_timestamp() + o.clock_offset
  AND p.board = ANY($2::text[])
ORDER BY p.closes_at, p.board
"""

LOCK_PERIOD: Final = """
SELECT p.definition, p.ends_at, p.closes_at, clock_timestamp() + o.clock_offset AS now
FROM leaderboard_period p JOIN program o ON o.id = p.program_id
WHERE p.program_id = $1 AND p.board = $2 AND p.period = $3 AND p.closed_at IS NULL AND o.revision = $4
  AND p.closes_at <= clock_timestamp() + o.clock_offset
FOR UPDATE OF p
"""
"""Whoever comes second waits here and then finds it closed. Nothing is found either when a newer version is published."""

FREEZE_SECONDS: Final = 600.0
PATIENCE: Final = f"SELECT set_config('statement_timeout', '{FREEZE_SECONDS:.0f}s', true)"
"""For this transaction: a million scores take longer than other statements may."""

FREEZE: Final = """
WITH frozen AS (
    INSERT INTO leaderboard_result
        (program_id, board, period, part, position, rank, bucket, member_id, score, achieved_at)
    SELECT $1, s.board, s.period, s.part,
           row_number() OVER (PARTITION BY s.part ORDER BY $4::float8 * s.score, s.achieved_at, s.member_id),
           rank() OVER (PARTITION BY s.part ORDER BY $4::float8 * s.score, s.earlier, s.tie),
           s.bucket, s.member_id, s.score, s.achieved_at
    FROM (
        SELECT s.*, CASE WHEN $5 THEN s.achieved_at END AS earlier, CASE WHEN $5 THEN s.member_id END AS tie
        FROM leaderboard_score s
        WHERE s.program_id = $1 AND s.board = $2 AND s.period = $3 AND s.shown AND s.definition = $7
          AND NOT EXISTS (
              SELECT FROM leaderboard_removal r
              WHERE r.program_id = $1 AND r.bucket = s.bucket AND r.member_id = s.member_id AND r.board = $2
          )
    ) s
    RETURNING 1
)
UPDATE leaderboard_period SET closed_at = $6, members = (SELECT count(*) FROM frozen)
WHERE program_id = $1 AND board = $2 AND period = $3
RETURNING members
"""
"""`$4` is 1 where the lowest comes first, else -1; `$5` whether ties go to whoever was earlier; `$7` what is counted.

Of a sealed period nothing is written any more, so removals are asked for themselves.
"""

STILL_PUBLISHED: Final = "SELECT FROM program WHERE id = $1 AND revision = $2 FOR SHARE"
"""Whether the version that is gone by is published still; until this transaction ends, no other is published."""

ARRANGE_PRIZES: Final = """
INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)
SELECT $1, r.bucket, r.member_id,
       md5(concat_ws(chr(31), 'leaderboard prize', r.board, r.period, r.part, z.number, r.member_id))::uuid,
       $8, 'prize',
       jsonb_build_object('board', r.board, 'period', r.period, 'part', r.part, 'prize', z.number,
                          'rank', r.rank, 'score', r.score)
FROM (
    SELECT part, max(position) AS members FROM leaderboard_result
    WHERE program_id = $1 AND board = $2 AND period = $3 GROUP BY part
) n
CROSS JOIN unnest($4::int[], $5::bigint[], $6::bigint[], $7::numeric[]) AS z (number, first, last, percent)
JOIN leaderboard_result r
  ON r.program_id = $1 AND r.board = $2 AND r.period = $3 AND r.part = n.part AND r.position >= z.first
 AND r.rank BETWEEN z.first AND coalesce(z.last, ceil(n.members * z.percent / 100))
ON CONFLICT DO NOTHING
"""
"""One command per member and prize, each with a key of its own."""

CLEARABLE: Final = """
SELECT p.board, p.period
FROM leaderboard_period p JOIN program o ON o.id = p.program_id
WHERE p.program_id = $1 AND p.cleared_at IS NULL
  AND p.closed_at <= clock_timestamp() + o.clock_offset - make_interval(secs => $2)
LIMIT 10
"""

CLEAR_SCORES: Final = """
DELETE FROM leaderboard_score s
USING (
    SELECT c.ctid FROM leaderboard_score c
    WHERE c.program_id = $1 AND c.board = $2 AND c.period = $3 LIMIT $4
    FOR UPDATE SKIP LOCKED
) old
WHERE s.ctid = old.ctid
RETURNING 1
"""

CLEARED: Final = """
UPDATE leaderboard_period p SET cleared_at = clock_timestamp()
WHERE p.program_id = $1 AND p.board = $2 AND p.period = $3
  AND NOT EXISTS (
      SELECT FROM leaderboard_score s WHERE s.program_id = $1 AND s.board = $2 AND s.period = $3
  )
"""
"""A score that somebody held has stayed: then it is tried again."""

CHANGED_PERIODS: Final = """
SELECT p.board, p.period
FROM leaderboard_period p
JOIN program o ON o.id = p.program_id
JOIN unnest($2::text[], $3::text[], $4::timestamptz[]) AS n (board, definition, sealed_until)
  ON n.board = p.board AND n.definition <> p.definition
WHERE p.program_id = $1 AND p.closed_at IS NULL
  AND (p.ends_at IS NULL OR p.ends_at > coalesce(n.sealed_until, clock_timestamp() + o.clock_offset))
"""
"""Periods that went on when their board began to count something else."""

DROP_OUTDATED: Final = """
WITH outdated AS (
    DELETE FROM leaderboard_score s
    USING (
        SELECT c.ctid FROM leaderboard_score c
        WHERE c.program_id = $1 AND c.board = $2 AND c.period = $3 AND c.definition <> $4 LIMIT $5
        FOR UPDATE SKIP LOCKED
    ) old
    WHERE s.ctid = old.ctid
    RETURNING s.bucket, s.member_id, s.part
)
INSERT INTO leaderboard_dirty (program_id, board, period, part, buckets, members, marked_at)
SELECT $1, $2, $3, part, array_agg(bucket), array_agg(member_id), clock_timestamp() FROM outdated GROUP BY part
RETURNING 1
"""

REDEFINE: Final = """
UPDATE leaderboard_period p SET definition = $4, ends_at = $5, closes_at = $6
WHERE p.program_id = $1 AND p.board = $2 AND p.period = $3 AND p.closed_at IS NULL
  AND NOT EXISTS (
      SELECT FROM leaderboard_score s
      WHERE s.program_id = $1 AND s.board = $2 AND s.period = $3 AND s.definition <> $4
  )
"""

FORGET_PERIOD: Final = """
DELETE FROM leaderboard_period p
WHERE p.program_id = $1 AND p.board = $2 AND p.period = $3 AND p.closed_at IS NULL
  AND NOT EXISTS (
      SELECT FROM leaderboard_score s WHERE s.program_id = $1 AND s.board = $2 AND s.period = $3
  )
"""
"""The board has no period of that name any more."""
