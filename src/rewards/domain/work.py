"""The bench on which one command is decided: the member's draft, and everything that the outcome will hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.effects import EFFECTS_MAX, Effect
from rewards.domain.errors import Refusal
from rewards.domain.ids import Ids
from rewards.domain.ledger.accounts import Account, Kind, Origin, Transaction
from rewards.domain.ledger.reverse import Original
from rewards.domain.ledger.wallet import Draft, Unloaded
from rewards.domain.outcome import Achievement, EventRecord, Leg, Outcome, Reservation, Status
from rewards.domain.program.compiled import Cause, Program
from rewards.domain.state import MemberState

if TYPE_CHECKING:
    from rewards.domain.play.metrics import Stored


@dataclass(frozen=True, slots=True)
class Earning:
    """Points that were earned by `at`, or with a negative `amount` taken back of what was earned then.

    `order` breaks ties between earnings of one moment.
    """

    currency: str
    amount: int
    at: datetime
    order: str


class NotFound(Refusal):
    """The member has no such hold or transaction."""

    code = "not-found"


@dataclass(slots=True, init=False)
class Work:
    """Mutable while one command is decided, then turned into an `Outcome`; the member's state itself is never changed.

    `metrics`, `limits` and `attributes` are copies once written to (copy on first write), so a refusal costs nothing.
    """

    program: Program
    state: MemberState
    now: datetime
    ids: Ids
    counters: Mapping[str, int]
    actor: str
    id: UUID
    draft: Draft
    zone: ZoneInfo
    metrics: dict[str, Any]
    limits: dict[str, Any]
    attributes: dict[str, Any]
    segments: tuple[str, ...]
    play: dict[str, dict[str, Any]]
    play_terms: int | None
    """The program's; None where what was taken over has to be brought into line with it by the next command."""
    cause: UUID
    """The event that ledger entries name: this command, or the earlier event whose rule was waiting."""
    effects: list[Effect]
    effects_before: int
    """How many of them came before what is being decided: what time did first takes no room from an event's own."""
    trace: list[dict[str, Any]]
    contributions: list[Any]
    counted: list[tuple[str, Stored]]
    """What this command has added to metrics, by metric id."""
    reservations: list[Reservation]
    reversed: dict[UUID, int]
    legs: list[Leg]
    emitted: list[tuple[str, dict[str, Any]]]
    """Internal events (type, properties) that are still to be decided."""
    earnings: list[Earning]
    """What was earned or taken back and the mechanics have not been told yet."""
    withdrawn: dict[UUID, tuple[UUID, ...]]
    """Events from whose earnings something was taken back (these transactions), and nobody has looked at them yet."""
    taken_back: dict[UUID, UUID]
    """Events that count no longer since this command, each with the member who sent it."""
    achievements: dict[tuple[str, str, int, int], Achievement]
    """What was achieved or lost, by kind, key, level and instance."""
    silent: bool
    """What is achieved is no news to the member."""
    unrewarded: bool
    """What is achieved is not rewarded."""
    locale: str | None
    timezone: str | None
    merged_into: UUID | None
    absorbed: tuple[UUID, ...]

    def __init__(
        self, program: Program, state: MemberState, *, now: datetime, ids: Ids, counters: Mapping[str, int], actor: str
    ) -> None:
        if state.last_now is not None and state.last_now > now:
            now = state.last_now
        self.program = program
        self.state = state
        self.now = now
        self.ids = ids
        self.counters = counters
        self.actor = actor
        self.id = self.cause = ids.next()
        self.draft = Draft(
            state.wallet,
            now=now,
            seq=state.seq,
            next_id=ids.next,
            lot_id=partial(ids.lot, state.id),
        )
        self.zone = ZoneInfo(state.timezone) if state.timezone else program.zone
        self.metrics = state.metrics
        self.limits = state.limits
        self.attributes = state.attributes
        self.segments = state.segments
        self.play = state.play
        self.play_terms = program.play_terms
        self.locale = state.locale
        self.timezone = state.timezone
        self.absorbed = state.absorbed
        self.merged_into = None
        self.effects_before = 0
        self.silent = self.unrewarded = False
        self.effects, self.trace, self.contributions, self.counted = [], [], [], []
        self.reservations, self.legs, self.emitted, self.earnings = [], [], [], []
        self.reversed, self.withdrawn, self.taken_back, self.achievements = {}, {}, {}, {}

    def set_metric(self, metric_id: str, value: Any) -> None:
        """`None` forgets it."""
        if self.metrics is self.state.metrics:
            self.metrics = dict(self.metrics)
        if value is None:
            self.metrics.pop(metric_id, None)
        else:
            self.metrics[metric_id] = value

    def set_limit(self, rule: str, value: Any) -> None:
        if self.limits is self.state.limits:
            self.limits = dict(self.limits)
        self.limits[rule] = value

    def set_play(self, mechanic: str, key: str, value: Any) -> None:
        """What a mechanic remembers under a key; `None` forgets it. Nothing that was handed out before is changed."""
        mine = dict(self.play.get(mechanic, ()))
        if value is None:
            mine.pop(key, None)
        else:
            mine[key] = value
        self.play = {**self.play, mechanic: mine}
        if not mine:
            del self.play[mechanic]

    def set_attribute(self, key: str, value: Any) -> None:
        """`None` removes the attribute."""
        if self.attributes is self.state.attributes:
            self.attributes = dict(self.attributes)
        if value is None:
            self.attributes.pop(key, None)
        else:
            self.attributes[key] = value

    def used(self, counter: str) -> int:
        """What of a shared counter is used, this command's own reservations included."""
        stored = self.counters.get(counter)
        if stored is None:
            raise Unloaded(counter=counter)
        return stored + sum(claim.amount for claim in self.reservations if claim.key == counter)

    def carrying(self, reference: str) -> list[Original]:
        """The transactions of the member that carry `reference`, oldest first; those of this very command do not count."""
        loaded = self.state.references.get(reference)
        if loaded is None:
            raise Unloaded(reference=reference)
        return [self.original(identifier) for identifier in loaded]

    def original(self, identifier: UUID) -> Original:
        """A transaction as it stands now, with what has been taken back of it. Raises `Unloaded`, `NotFound`."""
        found = self.state.originals.get(identifier)
        if found is None:
            if identifier in self.state.absent:
                raise NotFound("the member has no such transaction", transaction=str(identifier))
            raise Unloaded(transaction=identifier)
        taken = self.reversed.get(identifier)
        return found if taken is None else replace(found, reversed_so_far=taken)

    def origin(
        self, source: str, *, reference: str | None = None, reason: str | None = None, note: str | None = None
    ) -> Origin:
        return Origin(source, self.actor, reason, reference, note, self.cause)

    def ledger_effect(self, transaction: Transaction, *, name: str, cause: Cause | None = None, **more: Any) -> Effect:
        """Records what a transaction did for the member, and returns the effect."""
        effect: Effect = {"type": name, "currency": transaction.currency, "amount": transaction.amount}
        if cause is not None:
            effect[cause.kind] = cause.key
        effect["transaction"] = str(transaction.id)
        effect.update(more)
        self.effects.append(effect)
        return effect

    def note_earning(self, transaction: Transaction) -> None:
        """Points were earned, for whatever mechanics go by that."""
        if self.program.mechanics:
            at, order = transaction.effective_at, transaction.id.hex
            self.earnings.append(Earning(transaction.currency, transaction.amount, at, order))

    def note_taken_back(self, original: Original, amount: int) -> None:
        """Part of a transaction was taken back; an opening balance never counted as earned."""
        if original.kind is not Kind.EARN or not amount:
            return
        if original.event is not None:
            self.withdrawn[original.event] = (*self.withdrawn.get(original.event, ()), original.transaction)
        if self.program.mechanics:
            order = original.transaction.hex
            self.earnings.append(Earning(original.currency, -amount, original.effective_at, order))

    def achieve(self, achievement: Achievement) -> None:
        """Keeps what the member has achieved, or with `revoked_at` lost again; the last word on it in a command holds."""
        if self.silent:
            achievement = replace(achievement, announced=False)
        key = (achievement.kind, achievement.key, achievement.level, achievement.instance)
        self.achievements[key] = achievement

    def room(self) -> int:
        """How many effects what is being decided may still have."""
        return EFFECTS_MAX - (len(self.effects) - self.effects_before)

    def savepoint(self) -> tuple[Any, ...]:
        """A point to return to when one action of a rule is refused and takes the others with it."""
        return (
            self.draft.savepoint(),
            len(self.effects),
            len(self.reservations),
            len(self.emitted),
            dict(self.reversed),
            self.attributes if self.attributes is self.state.attributes else dict(self.attributes),
            self.play,
            list(self.earnings),
            dict(self.achievements) if self.achievements else {},
            dict(self.withdrawn) if self.withdrawn else {},
            len(self.contributions),
            len(self.legs),
        )

    def rollback(self, point: tuple[Any, ...]) -> None:
        draft, effects, reservations, emitted, self.reversed, self.attributes, self.play, *noted = point
        self.earnings, self.achievements, self.withdrawn, contributions, legs = noted
        self.draft.rollback(draft)
        del self.contributions[contributions:]
        del self.legs[legs:]
        del self.effects[effects:]
        del self.reservations[reservations:]
        del self.emitted[emitted:]

    def finish(
        self, status: Status, *, event: EventRecord | None = None, answer: dict[str, Any] | None = None
    ) -> Outcome:
        """The outcome, and the member's next state."""
        draft = self.draft
        old = self.state
        # By place: naming two dozen arguments would take longer than all that they are for.
        state = MemberState(
            old.id,
            old.bucket,
            old.kind,
            old.external_id,
            self.attributes,
            self.locale,
            self.timezone,
            self.metrics,
            self.limits,
            self.segments,
            self.play,
            draft.seq,
            self.now,
            merged_into=self.merged_into or old.merged_into,
            absorbed=self.absorbed,
            erased_at=old.erased_at,
            wallet=draft.commit(),
            play_terms=self.play_terms,
        )
        return Outcome(
            status,
            self.id,
            self.now,
            state,
            self.effects,
            self.trace,
            draft.transactions,
            draft.accounts,
            draft.lots,
            draft.holds,
            self._reversed_here() if self.reversed else {},
            self.reservations,
            event,
            self.legs,
            list(self.achievements.values()),
            taken_back=self.taken_back,
            answer=answer or {},
        )

    def _reversed_here(self) -> dict[UUID, int]:
        originals = self.state.originals
        return {key: total - originals[key].reversed_elsewhere for key, total in self.reversed.items()}


def balances(state: MemberState, program: Program) -> dict[str, dict[str, int]]:
    """The four buckets of every currency of the program, zero where the member has none yet."""
    accounts = state.wallet.accounts
    shown = {}
    for currency in program.currencies:
        of = accounts.get(currency, _NOTHING)
        shown[currency] = {"available": of.available, "pending": of.pending, "held": of.held, "debt": of.debt}
    return shown


_NOTHING = Account("")

REVERSIBLE = frozenset({Kind.EARN, Kind.IMPORT, Kind.SPEND, Kind.CAPTURE})
"""The kinds that a caller can take back; the others are consequences and follow by themselves."""
