"""The SQL of backfills: which are there, how far they are, and the next members."""

from typing import Final

PREFIX: Final = "backfill:"
"""What the names of these jobs in `job_state` begin with; the id follows."""

VERSIONS: Final = """
SELECT v.number, v.document, v.created_at, now() AS now FROM program_version v
WHERE v.program_id = $1 AND v.published_at IS NOT NULL
ORDER BY v.number DESC
"""
"""Those that have decided at some time, the newest first."""

REVISION: Final = "SELECT revision FROM program WHERE id = $1"

COUNT_MEMBERS: Final = "SELECT count(*) AS count FROM member WHERE program_id = $1 AND erased_at IS NULL"

MEMBERS_PAGE: Final = """
SELECT m.bucket, m.member_id
FROM member m
WHERE m.program_id = $1 AND (m.bucket, m.member_id) > ($2, $3) AND m.erased_at IS NULL
ORDER BY m.bucket, m.member_id LIMIT $4
"""
"""Merged ones too: the one that they became may have been done before, and without them."""

START: Final = """
INSERT INTO job_state (program_id, job, state, updated_at) VALUES ($1, $2, $3, now())
ON CONFLICT (program_id, job) DO NOTHING
"""

READ: Final = "SELECT job, state FROM job_state WHERE program_id = $1 AND job = $2"

LIST: Final = """
SELECT job, state FROM job_state
WHERE program_id = $1 AND job LIKE 'backfill:%'
ORDER BY state ->> 'started_at' DESC, job LIMIT $2
"""

RUNNING: Final = """
SELECT program_id, job, state FROM job_state
WHERE job LIKE 'backfill:%' AND state ->> 'state' = 'running' AND ($1::int IS NULL OR program_id = $1)
"""

MOVE_ON: Final = """
UPDATE job_state SET state = $4, updated_at = now()
WHERE program_id = $1 AND job = $2 AND state ->> 'state' = 'running' AND state -> 'cursor' = $3::jsonb
"""
"""Only from where it was: of two workers at the same page one counts it."""

CANCEL: Final = """
UPDATE job_state
SET state = state || jsonb_build_object('state', 'cancelled', 'finished_at', now()),
    updated_at = now()
WHERE program_id = $1 AND job = $2 AND state ->> 'state' = 'running'
RETURNING job
"""
