"""From a document to a program ready to decide. Checking and compiling are one: what compiles is what was checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from zoneinfo import ZoneInfo

from rewards.domain.errors import InvalidInput
from rewards.domain.program.binding import Plans
from rewards.domain.program.compiled import (
    Bound,
    Facts,
    MatureAction,
    Metric,
    Program,
    ReverseAction,
    Rule,
    SetAction,
    SpendAction,
    Unknown,
)
from rewards.domain.program.compiling.badges import build_badges
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.currencies import build_currencies
from rewards.domain.program.compiling.events import build_catalogue
from rewards.domain.program.compiling.leaderboards import build_boards
from rewards.domain.program.compiling.metrics import build_metrics
from rewards.domain.program.compiling.quests import QuestBuilder
from rewards.domain.program.compiling.reach import may_loop, reaching
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.compiling.rules import RuleBuilder
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.compiling.segments import MEMBER, build_segments
from rewards.domain.program.compiling.streaks import StreakBuilder
from rewards.domain.program.compiling.tiers import build_tiers
from rewards.domain.program.durations import parse_duration
from rewards.domain.program.models.document import Document
from rewards.domain.program.models.events import Attribute as WrittenAttribute
from rewards.domain.program.problems import Problems
from rewards.domain.program.streak import streaks_by_event

MECHANICS: Final = ("badges", "leaderboards", "tiers", "streaks", "quests")
"""The sections whose mechanics follow events; each is called like its section."""


class InvalidProgram(InvalidInput):
    """The document has mistakes; `details["errors"]` lists all of them."""

    code = "invalid-program"


def compile_program(document: Document, *, version: int, paused: frozenset[str] = frozenset()) -> Program:
    """A program that decides as `document` says. `paused` rules stay, and do not fire. Raises `InvalidProgram`."""
    problems = Problems()
    program = build_program(Context(document, problems), version=version, paused=paused)
    if program is None:
        errors = [problem.as_json() for problem in problems.errors]
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise InvalidProgram(f"{problems.errors[0]}{more}", errors=errors)
    return program


def build_program(context: Context, *, version: int, paused: frozenset[str] = frozenset()) -> Program | None:
    """The program, or None with what is wrong in `context.problems`."""
    document, header = context.document, context.document.program
    zone = ZoneInfo(header.timezone)
    currencies = build_currencies(context)
    catalogue = build_catalogue(context)
    scopes = Scopes(catalogue, zone)
    inputs = Plans(scopes.inputs_engine)
    metrics = build_metrics(context, catalogue, scopes, inputs)
    plans = Plans(scopes.engine)
    segments = build_segments(context, scopes, plans, metrics)
    rewards = RewardBuilder(context, catalogue, scopes, plans, metrics)
    badges = build_badges(context, catalogue, metrics, rewards)
    boards = build_boards(context, zone, metrics, rewards)
    tiers = build_tiers(context, metrics, rewards)
    streaks = StreakBuilder(context, catalogue, scopes, inputs, rewards).build_all()
    quests = QuestBuilder(context, catalogue, scopes, inputs, plans, metrics, rewards).build()
    builder = RuleBuilder(context, catalogue, scopes, plans, metrics, zone)
    rules = _build_rules(context, builder)
    _purposes(context, inputs.names() | plans.names(), rules.values())
    if context.problems.errors:
        return None
    bind = plans.binder()

    def bind_member(facts: Facts) -> Bound:
        return bind(MEMBER, facts)

    return Program(
        key=header.key,
        version=version,
        zone=zone,
        locale=header.locale,
        money=header.money,
        late_window=parse_duration(header.late_window),
        currencies=currencies,
        events=catalogue.events,
        names=catalogue.names,
        unknown=Unknown(header.unknown_events),
        invalid=Unknown(header.invalid_events),
        attributes=catalogue.attributes,
        metrics=metrics,
        metrics_by_event=_metrics_by_event(metrics.values()),
        segments=segments,
        rules=rules,
        rules_by_event=_rules_by_event(rules.values()),
        bind_inputs=inputs.binder(),
        bind=bind,
        bind_member=bind_member,
        paused=paused,
        tiers=tiers,
        badges=badges,
        quests=quests,
        boards=boards,
        streaks=streaks,
        streaks_by_event=streaks_by_event(streaks.values()),
        mechanics=_mechanics(document),
        # Clawback may reach any open lot, so a rule that reverses needs them all, as one that spends does.
        needs_lots=reaching(rules.values(), (SpendAction, ReverseAction), catalogue.events),
        needs_references=reaching(rules.values(), (ReverseAction, MatureAction), catalogue.events),
    )


def _build_rules(context: Context, builder: RuleBuilder) -> dict[str, Rule]:
    """The rules that are in order, in document order."""
    rules: dict[str, Rule] = {}
    for position, written in enumerate(context.document.rules):
        if written.key in rules:
            context.problems.error(f"rules.{written.key}", "duplicate-key", f"two rules are called {written.key}")
        rule = builder.build(position, written)
        if rule is not None:
            rules[written.key] = rule
    for key in may_loop(rules.values()):
        context.problems.warn(f"rules.{key}", "may-loop", "the events it raises lead back to it; that stops at depth 5")
    return rules


def _mechanics(document: Document) -> tuple[str, ...]:
    """The names of the mechanics that the document uses."""
    return tuple(name for name in MECHANICS if getattr(document, name))


def _purposes(context: Context, names: set[str], rules: Iterable[Rule]) -> None:
    """What is kept about people needs a reason: remarks on attributes in use, or personal, that state none."""
    actions = [action for rule in rules for action in (*rule.then, *rule.otherwise)]
    used = {name.removeprefix("member.") for name in names if name.startswith("member.")}
    used |= {action.attribute for action in actions if isinstance(action, SetAction)}
    for key, spec in context.document.attributes.items():
        purpose = spec.purpose if isinstance(spec, WrittenAttribute) else None
        personal = isinstance(spec, WrittenAttribute) and spec.pii
        if purpose is None and (key in used or personal):
            what = "used" if key in used else "personal"
            context.problems.warn(f"attributes.{key}", "no-purpose", f"{key} is {what}, but states no purpose")


def _metrics_by_event(metrics: Iterable[Metric]) -> Mapping[str, tuple[Metric, ...]]:
    found: dict[str, tuple[Metric, ...]] = {}
    for metric in metrics:
        for event in metric.events:
            found[event] = (*found.get(event, ()), metric)
    return found


def _rules_by_event(rules: Iterable[Rule]) -> Mapping[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        for trigger in rule.triggers:
            found.setdefault(trigger, []).append(rule)
    return {
        trigger: tuple(sorted(each, key=lambda rule: (-rule.priority, rule.position)))
        for trigger, each in found.items()
    }
