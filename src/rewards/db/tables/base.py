"""The metadata, and the column sets that every aggregate shares."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, SmallInteger, Uuid
from sqlalchemy.dialects.postgresql import JSON, JSONB

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

PARTITIONED: Final = ("event", "answer", "outbox", "transaction", "transaction_note", "posting")
"""Tables partitioned by month of the time inside their UUIDv8 (`id`, for postings `transaction_id`)."""

INSERT_ONLY: Final = ("transaction", "posting", "event", "audit")
"""History: the service's role may insert and read, never change."""


def member_key() -> list[Column[Any]]:
    """The leading primary key columns of every member table."""
    return [
        Column("program_id", Integer, primary_key=True),
        Column("bucket", SmallInteger, primary_key=True),
        Column("member_id", Uuid, primary_key=True),
    ]


def amount(name: str) -> Column[int]:
    """An amount in the smallest unit of its currency, zero unless said otherwise."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def moment(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def document(name: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, JSONB, nullable=nullable)


def record(name: str, *, nullable: bool = True) -> Column[Any]:
    """A JSON document that is only ever read whole: kept as written, which costs half of what taking it apart does."""
    return Column(name, JSON, nullable=nullable)
