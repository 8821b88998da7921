"""Facts made ready for evaluation: one snapshot and one activation per event, of only what its expressions name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rewards.domain.program.compiled import Facts
from rewards.domain.program.expressions.fields import Field, Kind
from rewards.domain.program.expressions.scope import Engine


@dataclass(frozen=True, slots=True)
class Needs:
    """The fields that an expression reads, and those whose presence it asks for."""

    reads: Mapping[str, Field] = field(default_factory=dict)
    asks: Mapping[str, Field] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Both, in the order written."""
        return tuple({**self.reads, **self.asks})


class Plan:
    """What to take from the facts for a set of expressions."""

    __slots__ = ("_engine", "_event", "_present", "_read", "lasting")

    def __init__(self, engine: Engine, needs: Iterable[Needs]) -> None:
        reads: dict[str, Field] = {}
        asks: dict[str, Field] = {}
        for each in needs:
            reads |= each.reads
            asks |= each.asks
        self._engine = engine
        self._event = [(each.variable, each.name[6:]) for each in reads.values() if _is_plain_property(each)]
        self._read = [(each.variable, each.read) for each in reads.values() if not _is_plain_property(each)]
        self._present = [(each.presence, each.read) for each in asks.values()]
        self.lasting = all(name.startswith(("event.", "context.")) or name == "at" for name in {**reads, **asks})

    def snapshot(self, facts: Facts) -> dict[str, Any]:
        """The values as they are now. Absent fields stay out, so that reading one is an error, not a value."""
        event = facts.event
        values: dict[str, Any] = {}
        for name, key in self._event:
            value = event.get(key)
            if value is not None:
                values[name] = value
        for name, read in self._read:
            value = read(facts)
            if value is not None:
                values[name] = value
        for name, read in self._present:
            values[name] = read(facts) is not None
        return values

    def activate(self, values: dict[str, Any]) -> Any:
        """The engine's view of a snapshot."""
        return self._engine.activation(values)


def _is_plain_property(field: Field) -> bool:
    """Whether the event's own value is what the engine takes."""
    return field.name.startswith("event.") and field.kind in {Kind.NUMBER, Kind.TEXT, Kind.FLAG}


class BoundFacts:
    """A snapshot by variable, and its activation, made when the first expression asks."""

    __slots__ = ("_activation", "_plan", "trigger", "values")

    def __init__(self, trigger: str, values: dict[str, Any], plan: Plan) -> None:
        self.trigger = trigger
        self.values = values
        self._plan = plan
        self._activation: Any = None

    @property
    def lasting(self) -> bool:
        """Whether nothing of it is the member's."""
        return self._plan.lasting

    @property
    def activation(self) -> Any:
        """One for all expressions of the event."""
        if self._activation is None:
            self._activation = self._plan.activate(self.values)
        return self._activation


Bind = Callable[[str, Facts], BoundFacts]


class Plans:
    """Collects what each trigger can reach, then binds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._needs: dict[str, list[Needs]] = {}

    def add(self, triggers: Iterable[str], needs: Needs) -> None:
        """`needs` can be reached from each of `triggers`."""
        for trigger in triggers:
            self._needs.setdefault(trigger, []).append(needs)

    def names(self) -> set[str]:
        """Every field that anything reads or asks for."""
        return {name for needs in self._needs.values() for each in needs for name in each.names}

    def binder(self) -> Bind:
        """Binds the facts of one event of a type; a type that nothing reaches binds nothing."""
        plans = {trigger: Plan(self._engine, needs) for trigger, needs in self._needs.items()}
        nothing = Plan(self._engine, ())

        def bind(trigger: str, facts: Facts) -> BoundFacts:
            plan = plans.get(trigger, nothing)
            return BoundFacts(trigger, plan.snapshot(facts), plan)

        return bind
