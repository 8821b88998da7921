"""`apply` alone: decoded events of members at hand, no database, one process."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from benchmarks.installation import PROGRAM
from benchmarks.traffic import event, member, name
from rewards.domain.apply import apply
from rewards.domain.commands import Event, MemberRef
from rewards.domain.ids import Ids, bucket_of, member_id, unix_ms
from rewards.domain.ledger.wallet import Wallet
from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.document import Document
from rewards.domain.state import MemberState
from rewards.http.server import keep_for_good

MEMBERS: Final = 2_000
BATCH: Final = 100
ROUNDS: Final = 30
BEGINNING: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
STEP: Final = timedelta(seconds=1)
_KEY: Final = bytes(32)


def program() -> Program:
    """The benchmark's program, compiled."""
    report = check_bytes(PROGRAM.read_bytes())
    assert report.ok, report.errors
    return compile_program(Document.model_validate(report.data), version=1, paused=frozenset())


def commands(count: int, *, first: int = 0) -> list[tuple[int, Event]]:
    """Who does what, from event number `first` on: the same traffic that the service is loaded with, decoded."""
    made = []
    for number in range(first, first + count):
        who = member(number, MEMBERS)
        sent = msgspec.json.decode(event(number, who=name(who), prefix=b"apply"))
        made.append((who, Event(sent["id"], sent["type"], properties=sent["properties"], context=sent["context"])))
    return made


def measure(*, events: int) -> float:
    """Events per second, in the median of `ROUNDS` rounds: the host takes the processor away now and then. Every member starts
    with some history, and with only its accounts at hand, as a batch loads it; as in a batch, too, events were decoded just before.
    """
    decided_by = program()
    states = [_new_member(number) for number in range(MEMBERS)]
    _decide(decided_by, states, commands(5 * MEMBERS), BEGINNING)
    keep_for_good()  # as every process of the service does once it has started
    now, spent = BEGINNING + timedelta(hours=6), [0.0] * ROUNDS
    for first in range(0, events, BATCH):
        todo = commands(BATCH, first=first)
        began = time.perf_counter()
        now = _decide(decided_by, states, todo, now)
        spent[first * ROUNDS // events] += time.perf_counter() - began
    return events / ROUNDS / statistics.median(spent)


def _decide(decided_by: Program, states: list[MemberState], todo: list[tuple[int, Event]], now: datetime) -> datetime:
    """One event a second; returns the moment of the last."""
    key = bytes(16)
    for who, command in todo:
        now += STEP
        state = states[who]
        ids = Ids(key, bucket=state.bucket, unix_ms=unix_ms(now), seq=state.seq)
        outcome = apply(decided_by, state, command, now=now, ids=ids, counters={})
        assert len(outcome.transactions) == 1, outcome.trace
        state = outcome.state
        state.wallet = Wallet(state.wallet.accounts, complete=False)
        states[who] = state
    return now


def _new_member(number: int) -> MemberState:
    ref = MemberRef("user", name(number).decode())
    identifier = member_id(_KEY, ref.kind, ref.external_id)
    return MemberState(id=identifier, bucket=bucket_of(identifier), kind=ref.kind, external_id=ref.external_id)
