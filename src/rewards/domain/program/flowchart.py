"""A Mermaid flowchart of one rule: trigger, conditions and bounds, rewards, and the fallback."""

from __future__ import annotations

from rewards.domain.program.models.actions import (
    Action,
    BeginQuest,
    Earn,
    Emit,
    GiveBadge,
    GiveFreezes,
    Mature,
    Reverse,
    Score,
    Set,
    Spend,
)
from rewards.domain.program.models.rules import Rule

LABEL_MAX = 120


def flowchart(rule: Rule) -> str:
    """`flowchart TD` source. Text is quoted and escaped, so that no expression breaks the diagram."""
    lines = ["flowchart TD", f"    trigger([{_label(' or '.join(rule.on))}])"]
    last, arrow = "trigger", "-->"
    for name, question in _gates(rule):
        lines += [f"    {name}{{{_label(question)}}}", f"    {last} {arrow} {name}"]
        if name == "condition" and rule.otherwise:
            lines += _chain("otherwise", rule.otherwise, "condition", "-->|no|")
        else:
            lines += [f"    {name} -->|no| {name}_no([{_label('nothing')}])"]
        last, arrow = name, "-->|yes|"
    if not rule.then:
        lines += [f"    nothing([{_label('nothing')}])", f"    {last} {arrow} nothing"]
    lines += _chain("then", rule.then, last, arrow)
    return "\n".join(lines)


def _gates(rule: Rule) -> list[tuple[str, str]]:
    gates = []
    if rule.starts or rule.ends:
        gates.append(
            ("schedule", " ".join(filter(None, [_dated("from", rule.starts), _dated("until", rule.ends)])) + "?")
        )
    if rule.when:
        gates.append(("condition", rule.when))
    if waits := waiting(rule):
        gates.append(("wait", f"{waits}, then {rule.still or rule.when or 'on'}?"))
    if rule.exclusive:
        gates.append(("exclusive", f"first of {rule.exclusive}?"))
    if rule.limit:
        gates.append(("limit", " and ".join(f"fewer than {each.times} per {each.per}" for each in rule.limit) + "?"))
    if rule.cooldown:
        gates.append(("cooldown", f"none within {rule.cooldown}?"))
    if rule.budget:
        budget = rule.budget
        unit = "money" if budget.money else "points" if budget.points else "times"
        total = budget.money or budget.points or budget.times
        gates.append(("budget", f"budget of {total} {unit} per {budget.per} left?"))
    return gates


def waiting(rule: Rule) -> str | None:
    """What a rule waits for, in words; None for one that does not wait."""
    unless = f", unless {' or '.join(rule.unless)}" if rule.unless else ""
    if rule.delay:
        return f"wait {rule.delay}{unless}"
    if rule.quiet:
        same = f" of the same {rule.quiet.match}" if rule.quiet.match else ""
        return f"{rule.quiet.length} without {' or '.join(rule.quiet.of or rule.on)}{same}{unless}"
    return None


def _dated(word: str, moment: str | None) -> str | None:
    return f"{word} {moment}" if moment else None


def _chain(prefix: str, actions: list[Action], last: str, arrow: str) -> list[str]:
    lines = []
    for position, action in enumerate(actions):
        node = f"{prefix}_{position}"
        lines += [f"    {node}[{_label(told_action(action))}]", f"    {last} {arrow} {node}"]
        last, arrow = node, "-->"
    return lines


def told_action(action: Action) -> str:
    """One action in words."""
    content = action.content
    if isinstance(content, Earn | Spend):
        rate = "" if content.rate == 1 else f" × {content.rate}"
        hold = f", on hold {content.hold.replace('_', ' ')}" if isinstance(content, Earn) and content.hold else ""
        return f"{action.kind} {content.amount}{rate} {content.currency}{hold}"
    if isinstance(content, Reverse):
        return f"take back what was paid for {content.reference}"
    if isinstance(content, Mature):
        return f"make available what is pending for {content.reference}"
    if isinstance(content, Set):
        return f"set {content.attribute} to {content.value}"
    if isinstance(content, GiveBadge):
        return f"give the badge {content.key}" + (f" up to level {content.level}" if content.level > 1 else "")
    if isinstance(content, Score):
        return f"score {content.value} on {content.leaderboard}"
    return _told_otherwise(action)


def _told_otherwise(action: Action) -> str:
    content = action.content
    if isinstance(content, GiveFreezes):
        return f"give {content.freezes} freezes of the streak {content.key}"
    if isinstance(content, BeginQuest):
        return f"begin the quest {content.key}"
    return f"raise {content.type}" if isinstance(content, Emit) else action.kind


def _label(text: str) -> str:
    """A quoted label; Mermaid reads `#…;` as entities and HTML as markup, so both are written as entities."""
    text = " ".join(text.split())
    if len(text) > LABEL_MAX:
        text = text[: LABEL_MAX - 1] + "…"
    for sign, entity in (("#", "#35;"), ("&", "#38;"), ('"', "#34;"), ("<", "#60;"), (">", "#62;"), ("`", "#96;")):
        text = text.replace(sign, entity)
    return f'"{text}"'
