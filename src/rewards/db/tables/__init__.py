"""All tables, one file per aggregate, on one `metadata`.

Member tables lead their primary key with `(program_id, bucket, member_id, …)`, so that a batch touches one range of each
index and a sharded PostgreSQL can distribute by `bucket`. History tables are partitioned by month of their time-ordered id.
"""

from rewards.db.tables.base import PARTITIONED, metadata
from rewards.db.tables.events import answer, dead_letter, dedup, due, event, outbox, taken_back_event
from rewards.db.tables.leaderboards import (
    leaderboard_dirty,
    leaderboard_period,
    leaderboard_removal,
    leaderboard_result,
    leaderboard_score,
)
from rewards.db.tables.ledger import account, hold, lot, posting, reversal, transaction, transaction_note
from rewards.db.tables.members import member
from rewards.db.tables.news import member_news
from rewards.db.tables.operations import audit, import_run, job_state
from rewards.db.tables.programs import api_key, counter, program, program_version, rule_pause
from rewards.db.tables.progress import achievement
from rewards.db.tables.tokens import ended_member_token, member_token_epoch

__all__ = [
    "PARTITIONED",
    "account",
    "achievement",
    "answer",
    "api_key",
    "audit",
    "counter",
    "dead_letter",
    "dedup",
    "due",
    "ended_member_token",
    "event",
    "hold",
    "import_run",
    "job_state",
    "leaderboard_dirty",
    "leaderboard_period",
    "leaderboard_removal",
    "leaderboard_result",
    "leaderboard_score",
    "lot",
    "member",
    "member_news",
    "member_token_epoch",
    "metadata",
    "outbox",
    "posting",
    "program",
    "program_version",
    "reversal",
    "rule_pause",
    "taken_back_event",
    "transaction",
    "transaction_note",
]
