"""Renders a document for people: Markdown with tables, and a Mermaid flowchart of each rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rewards.domain.program.flowchart import flowchart, told_action, waiting
from rewards.domain.program.markdown import code, say, table, titled
from rewards.domain.program.models import Document
from rewards.domain.program.models.events import Attribute, Property
from rewards.domain.program.models.header import Expires
from rewards.domain.program.models.rules import Rule
from rewards.domain.program.telling.badges import badges
from rewards.domain.program.telling.leaderboards import leaderboards
from rewards.domain.program.telling.quests import quests
from rewards.domain.program.telling.streaks import streaks
from rewards.domain.program.telling.tiers import tiers

_NO_STAGE: Final = "Any stage"
_ROUNDED: Final = {"none": "", "month_end": ", at the end of the month", "year_end": ", at the end of the year"}


def render(document: Document) -> str:
    """The whole document as Markdown, in the program's own locale."""
    locale = document.program.locale
    header = document.program
    lines = [f"# {say(header.name, locale) or header.key}", ""]
    if header.description:
        lines += [say(header.description, locale), ""]
    lines += [
        f"Program `{header.key}`, time zone {header.timezone}, money in {header.money}.",
        f"Events count up to {header.late_window} late.",
        "",
    ]
    for section in _SECTIONS:
        lines += section(document, locale)
    return "\n".join(lines).rstrip() + "\n"


def _currencies(document: Document, locale: str) -> list[str]:
    rows = [
        (
            say(each.name, locale) or key,
            code(key),
            "yes" if each.spendable else "no",
            _expiry(each.expires),
            each.hold or "at once",
            each.clawback.replace("_", " "),
            each.worth or "",
        )
        for key, each in document.currencies.items()
    ]
    head = ("currency", "key", "can be spent", "expires", "available", "taken back", "worth (minor units)")
    return titled("Currencies", table(head, rows))


def _expiry(expires: Expires | str) -> str:
    if isinstance(expires, str):
        return "never"
    if expires.on is not None:
        return f"every year on {expires.on}"
    if expires.inactive is not None:
        return f"after {expires.inactive} without activity"
    return f"after {expires.after}{_ROUNDED[expires.round]}"


def _rules(document: Document, locale: str) -> list[str]:
    if not document.rules:
        return []
    lines = ["## Rules", ""]
    stages: dict[str, dict[str, list[Rule]]] = {}
    for rule in document.rules:
        stages.setdefault(rule.stage or _NO_STAGE, {}).setdefault(rule.intent or "", []).append(rule)
    for stage, intents in stages.items():
        lines += [f"### {stage[:1].upper()}{stage[1:]}", ""]
        for intent, rules in intents.items():
            if intent:
                lines += [f"*{intent}*", ""]
            for rule in rules:
                lines += _rule(rule, locale)
    return lines


def _rule(rule: Rule, locale: str) -> list[str]:
    title = say(rule.name, locale) or rule.key.replace("_", " ")
    lines = [f"#### {title}", ""]
    if rule.description:
        lines += [say(rule.description, locale), ""]
    rows = [("happens on", ", ".join(map(code, rule.on)))]
    if rule.when:
        rows.append(("if", code(rule.when)))
    if waits := waiting(rule):
        rows.append(("waits", waits))
    if rule.still:
        rows.append(("if still", code(rule.still)))
    rows.append(("then", "; ".join(map(told_action, rule.then)) or "nothing"))
    if rule.otherwise:
        rows.append(("otherwise", "; ".join(map(told_action, rule.otherwise))))
    rows += [(name, text) for name, text in rule_terms(rule)]
    return [*lines, *table((f"`{rule.key}`", ""), rows), "```mermaid", flowchart(rule), "```", ""]


def rule_terms(rule: Rule) -> list[tuple[str, str]]:
    """What bounds a rule, in words."""
    terms = [("at most", f"{limit.times} × per {limit.per}") for limit in rule.limit]
    if rule.cooldown:
        terms.append(("not again for", rule.cooldown))
    if rule.budget:
        budget = rule.budget
        unit = "money" if budget.money else "points" if budget.points else "times"
        terms.append(("budget", f"{budget.money or budget.points or budget.times} {unit} per {budget.per}"))
    if rule.starts:
        terms.append(("from", rule.starts))
    if rule.ends:
        terms.append(("until", rule.ends))
    if rule.exclusive:
        terms.append(("only one of", rule.exclusive))
    if rule.priority:
        terms.append(("priority", str(rule.priority)))
    return terms


def _events(document: Document, locale: str) -> list[str]:
    rows = [
        (
            code(key),
            ", ".join(each.aka),
            "yes" if each.client else "no",
            ", ".join(
                f"{name}{'' if name in each.required else '?'}: {_type(spec)}" for name, spec in each.properties.items()
            ),
            say(each.description, locale),
        )
        for key, each in document.events.items()
    ]
    events = table(("event", "also called", "from browsers", "carries", "about"), rows)
    groups = table(
        ("group", "events"), [(code(key), ", ".join(map(code, each))) for key, each in document.groups.items()]
    )
    return titled("Events", [*events, *groups])


def _type(spec: str | Property) -> str:
    if isinstance(spec, str):
        return spec
    if spec.enum is not None:
        return " / ".join(map(str, spec.enum))
    name = spec.use or (spec.type if isinstance(spec.type, str) else "any")
    return f"{name} (personal)" if spec.pii else str(name)


def _attributes(document: Document, locale: str) -> list[str]:
    rows = [
        (
            code(key),
            _type(each),
            (each.purpose or "") if isinstance(each, Attribute) else "",
            "yes" if isinstance(each, Attribute) and each.pii else "no",
            say(each.description, locale) if isinstance(each, Attribute) else "",
        )
        for key, each in document.attributes.items()
    ]
    return titled("Attributes", table(("attribute", "type", "purpose", "personal", "about"), rows))


def _metrics(document: Document, locale: str) -> list[str]:
    rows = [
        (
            code(key),
            f"{each.kind} of {', '.join(each.events)}",
            code(each.value),
            code(each.where),
            code(each.by),
            each.over + (", and the one before" if each.previous else ""),
            say(each.description, locale),
        )
        for key, each in document.metrics.items()
    ]
    return titled("Metrics", table(("metric", "counts", "value", "where", "by", "over", "about"), rows))


def _segments(document: Document, locale: str) -> list[str]:
    rows = [
        (
            say(each.name, locale) or key,
            code(key),
            code(each.when) if each.when else f"top {each.top} by {code(each.of)}",
            say(each.description, locale),
        )
        for key, each in document.segments.items()
    ]
    return titled("Segments", table(("segment", "key", "members", "about"), rows))


def _tests(document: Document, _: str) -> list[str]:
    if not document.tests:
        return []
    return ["## What is tested", "", *[f"- {test.name}" for test in document.tests], ""]


_SECTIONS: Final[tuple[Callable[[Document, str], list[str]], ...]] = (
    _currencies,
    _rules,
    _events,
    _attributes,
    _metrics,
    _segments,
    badges,
    quests,
    streaks,
    leaderboards,
    tiers,
    _tests,
)
