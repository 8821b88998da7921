"""A program ready to decide: what `apply` reads. Made from a document by `rewards.domain.program.compile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from rewards.domain.periods import Span
from rewards.domain.program.currency import Currency, OwnExpiry
from rewards.domain.program.quest import BeginQuest, QuestBook
from rewards.domain.program.terms import play_terms_of


class Facts(Protocol):
    """What a condition may ask, one snapshot. Implemented by `apply`; bound once per event for all of its conditions.

    `event`, `context` and `member` are plain JSON values after coercion by schema (`member` holds the declared attributes
    plus `id`, `kind`, `locale`, `timezone`, `segments`, `badges`). A field that is absent is missing, not null and not false.
    """

    @property
    def event(self) -> Mapping[str, Any]: ...
    @property
    def context(self) -> Mapping[str, Any]: ...
    @property
    def member(self) -> Mapping[str, Any]: ...
    @property
    def at(self) -> datetime: ...
    def metric(self, key: str) -> Any: ...
    def balance(self, currency: str) -> int: ...


class Bound(Protocol):
    """Facts bound for evaluation."""

    @property
    def lasting(self) -> bool:
        """Whether it is the same for as long as the event is decided: nothing of it is the member's."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A condition could not be decided because a field is absent, or holds what the operation cannot take."""

    field: str
    why: str = "missing"


class Condition(Protocol):
    """A checked CEL expression of type bool."""

    @property
    def source(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    def test(self, bound: Bound) -> bool | Missing: ...
    def seen(self, bound: Bound) -> dict[str, Any]:
        """The values of `fields` that the condition saw, for the trace; absent fields are left out."""
        ...


class Value(Protocol):
    """An expression over the same facts that gives a plain value (str, int, float, bool, list) or `Missing`."""

    @property
    def source(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    def read(self, bound: Bound) -> Any: ...


class Amount(Protocol):
    """An expression evaluated in decimal arithmetic, never in binary floating point."""

    @property
    def source(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    def compute(self, bound: Bound) -> Decimal | Missing: ...


@dataclass(frozen=True, slots=True)
class EventType:
    """`accept(properties)` coerces and validates; it returns the kept properties or raises `SchemaViolation` with paths.
    All but those of `kept` are dropped; none are where it is None."""

    key: str
    client: bool
    accept: Callable[[Mapping[str, Any]], dict[str, Any]]
    pii: frozenset[str] = frozenset()
    kept: frozenset[str] | None = None


class Unknown(StrEnum):
    """What becomes of an event of an undeclared type (or one that violates its schema, where declared so)."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Attribute:
    """`accept(value)` coerces and validates one value or raises `SchemaViolation`."""

    key: str
    purpose: str | None
    pii: bool
    accept: Callable[[Any], Any]


SUM_SCALE: Final = 1_000_000
"""Sums are counted in millionths, so that their order never matters."""


class MetricKind(StrEnum):
    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    LAST = "last"
    DISTINCT = "distinct"
    FAVORITE = "favorite"
    SCORE = "score"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is counted about a member. `id` is the hash of the definition and its key in the member's state.

    `value` gives what is summed, compared or collected (None for `count`); `by` splits the metric by a value of the event
    (a product, say). `previous` exposes the window before as `metrics.<key>.previous`-style field `<key>_previous`.
    """

    key: str
    id: str
    kind: MetricKind
    events: frozenset[str]
    where: Condition | None
    value: Value | None
    by: Value | None
    over: Span
    previous: bool
    half_life: timedelta | None


@dataclass(frozen=True, slots=True)
class Segment:
    """Either `when` holds for the member, or the member is in the top `top` (0 < top <= 1) by metric `of` (set by a job).

    `metrics` are the metrics that the condition reads, transitively: when they change by silence, the segment is decided anew.
    """

    key: str
    when: Condition | None
    top: Decimal | None
    of: str | None
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `times` firings per `per`, by member and rule."""

    times: int
    per: Span


class BudgetUnit(StrEnum):
    MONEY = "money"  # minor units of the program's money
    POINTS = "points"  # units of one currency
    TIMES = "times"  # firings over all members


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap over all members and per calendar period of the program's zone (or the rule's lifetime), never overspent."""

    unit: BudgetUnit
    total: int
    per: Span
    currency: str | None = None


class Rounding(StrEnum):
    DOWN = "down"
    UP = "up"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


@dataclass(frozen=True, slots=True)
class EarnAction:
    """`hold` overrides the currency's; `until_matured` keeps the points pending until a `mature` action names the reference.

    `always`: what a constant `amount` comes to at `rate`, rounded; None where it must be computed each time.
    """

    currency: str
    amount: Amount
    rate: Decimal
    round: Rounding
    reference: Value | None
    hold: timedelta | None
    until_matured: bool
    expires: OwnExpiry
    bind: str | None = None
    always: int | None = None


@dataclass(frozen=True, slots=True)
class SpendAction:
    currency: str
    amount: Amount
    rate: Decimal
    round: Rounding
    reference: Value | None
    bind: str | None = None
    always: int | None = None


@dataclass(frozen=True, slots=True)
class ReverseAction:
    """Takes back every transaction of the member that carries the reference."""

    reference: Value
    bind: str | None = None


@dataclass(frozen=True, slots=True)
class MatureAction:
    """Makes the pending points that carry the reference available now."""

    reference: Value
    bind: str | None = None


@dataclass(frozen=True, slots=True)
class SetAction:
    attribute: str
    value: Value
    bind: str | None = None


@dataclass(frozen=True, slots=True)
class EmitAction:
    """Raises another event for the same member, decided in the same command (breadth-first, bounded)."""

    type: str
    properties: Mapping[str, Value]
    bind: str | None = None


if TYPE_CHECKING:
    from rewards.domain.program.badge import BadgeAction, Badges
    from rewards.domain.program.board import Boards, ScoreAction
    from rewards.domain.program.streak import FreezesAction, Streak
    from rewards.domain.program.tier import Ladder

    PlayAction: TypeAlias = BadgeAction | BeginQuest | ScoreAction | FreezesAction

Action: TypeAlias = "EarnAction | SpendAction | ReverseAction | MatureAction | SetAction | EmitAction | PlayAction"


@dataclass(frozen=True, slots=True)
class Cause:
    """What of the document did something: a rule, a badge, a quest. `source` is how ledger entries name it (`rule:welcome`)."""

    kind: str
    key: str
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", f"{self.kind}:{self.key}")


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a rule waits once it is triggered, and what ends that.

    `of` starts the time anew (silence), `unless` calls it off; with `match` only where the event carries the same value of
    that property. `still` must hold when the time is over. `properties` and `context` name what of the triggering event is
    needed then.
    """

    length: timedelta
    of: frozenset[str]
    match: str | None
    unless: frozenset[str]
    still: Condition | None
    properties: tuple[str, ...]
    context: tuple[str, ...]
    length_micros: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length_micros", self.length // timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Rule:
    """`position` is the order in the document. Rules of one trigger come sorted by (-priority, position)."""

    key: str
    position: int
    triggers: frozenset[str]
    when: Condition | None
    limit: tuple[Limit, ...]
    cooldown: timedelta | None
    budget: Budget | None
    priority: int
    exclusive: str | None
    starts: datetime | None
    ends: datetime | None
    then: tuple[Action, ...]
    otherwise: tuple[Action, ...]
    wait: Wait | None = None
    stage: str | None = None
    intent: str | None = None
    cause: Cause = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", Cause("rule", self.key))


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled version. `rules` and `metrics` are indexed by event type, groups and names already resolved.

    `bind_inputs(trigger, facts)` prepares what the `where`, `value` and `by` of metrics may read: event, context and member,
    but no metrics, balances or segments, since it happens before the event counts. `bind(trigger, facts)` prepares the facts
    for every rule condition, value and amount that an event of that type can reach, binding only the fields they name;
    `bind_member(facts)` does so for segment conditions (no event, no context).
    """

    key: str
    version: int
    zone: ZoneInfo
    locale: str
    money: str
    late_window: timedelta
    currencies: Mapping[str, Currency]
    events: Mapping[str, EventType]
    names: Mapping[str, str]
    unknown: Unknown
    invalid: Unknown
    attributes: Mapping[str, Attribute]
    metrics: Mapping[str, Metric]
    metrics_by_event: Mapping[str, tuple[Metric, ...]]
    segments: tuple[Segment, ...]
    rules: Mapping[str, Rule]
    rules_by_event: Mapping[str, tuple[Rule, ...]]
    bind_inputs: Callable[[str, Facts], Bound]
    bind: Callable[[str, Facts], Bound]
    bind_member: Callable[[Facts], Bound]
    paused: frozenset[str] = frozenset()
    badges: Badges | None = None
    quests: QuestBook = field(default_factory=QuestBook)
    boards: Boards | None = None
    tiers: Ladder | None = None
    streaks: Mapping[str, Streak] = field(default_factory=dict)
    streaks_by_event: Mapping[str, tuple[Streak, ...]] = field(default_factory=dict)
    mechanics: tuple[str, ...] = ()
    """The names of the mechanics that the document uses, see `rewards.domain.play.mechanics`."""
    needs_lots: frozenset[str] = field(default_factory=frozenset)
    """Event types whose rules may spend, so that all open lots must be loaded."""
    needs_references: frozenset[str] = field(default_factory=frozenset)
    """Event types whose rules may reverse or mature by reference."""
    silent_metrics: tuple[str, ...] = field(init=False)
    """Metrics that segments read: silence alone can change what a segment says."""
    late_seconds: int = field(init=False)
    """`late_window` in seconds."""
    waiting_for: Mapping[str, tuple[Rule, ...]] = field(init=False)
    """By event type: the rules whose waiting it starts anew or calls off."""
    keeps_time: bool = field(init=False)
    """Whether time alone can do something: segments left by silence, rules that wait, a mechanic."""
    play_terms: int = field(init=False)
    """See `rewards.domain.program.terms`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "late_seconds", int(self.late_window.total_seconds()))
        read = {metric: None for segment in self.segments if segment.when is not None for metric in segment.metrics}
        object.__setattr__(self, "silent_metrics", tuple(read))
        waiting: dict[str, list[Rule]] = {}
        for rule in self.rules.values():
            for event in sorted(rule.wait.of | rule.wait.unless) if rule.wait is not None else ():
                waiting.setdefault(event, []).append(rule)
        object.__setattr__(self, "waiting_for", {event: tuple(rules) for event, rules in waiting.items()})
        timed = any(rule.wait is not None for rule in self.rules.values())
        object.__setattr__(self, "keeps_time", bool(read or self.mechanics) or timed)
        object.__setattr__(self, "play_terms", play_terms_of(self))

    def event_type(self, name: str) -> EventType | None:
        """The declared type for a key or an SDK's name of it (`aka`)."""
        key = self.names.get(name)
        return self.events.get(key) if key is not None else None
