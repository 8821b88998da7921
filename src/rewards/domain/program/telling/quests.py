"""Quests, told to people."""

from __future__ import annotations

from rewards.domain.program.flowchart import told_action
from rewards.domain.program.markdown import code, say, table, titled
from rewards.domain.program.models import Document
from rewards.domain.program.models.actions import Action
from rewards.domain.program.models.quests import Quest, QuestStep

_ORDERS = {"all": "all steps", "any": "any one step", "sequence": "one step after the other"}


def quests(document: Document, locale: str) -> list[str]:
    """A section with a part for each quest; nothing without any."""
    lines: list[str] = []
    for key, each in document.quests.items():
        lines += [f"### {say(each.name, locale) or key.replace('_', ' ')}", ""]
        if each.description:
            lines += [say(each.description, locale), ""]
        lines += table((code(key), ""), _terms(each))
        steps = [(at, _step(step, locale), _rewards(step.rewards)) for at, step in enumerate(each.steps, start=1)]
        lines += table(("step", "what", "gives"), steps)
    return titled("Quests", lines)


def _terms(each: Quest) -> list[tuple[str, str]]:
    rows = [("done with", _ORDERS[each.order]), ("begins", "when it is joined" if each.opt_in else "by itself")]
    if each.team:
        rows.append(("for", "groups; who contributed is rewarded"))
    if each.window != "lifetime":
        rows.append(("within", each.window))
    if each.repeat is not None:
        times = f", {each.repeat.times} times in all" if each.repeat.times is not None else ""
        rows.append(("again after", f"{each.repeat.after}{times}"))
    if each.requires is not None:
        first = [
            *(f"quest {code(key)}" for key in each.requires.quests),
            *(f"badge {code(key)}" for key in each.requires.badges),
        ]
        rows.append(("needs", ", ".join(first)))
    if each.when:
        rows.append(("only if", code(each.when)))
    rows += [(name, text) for name, text in (("from", each.starts), ("until", each.ends)) if text]
    if each.revocable:
        rows.append(("is lost", "when its events are taken back"))
    rows.append(("gives", _rewards(each.rewards) or "nothing"))
    return rows


def _step(step: QuestStep, locale: str) -> str:
    name = say(step.name, locale)
    if step.metric is not None:
        counted = f"{step.target} of {code(step.metric)}"
    else:
        events = ", ".join(map(code, step.event or ()))
        counted = (
            f"{step.target} × {events}"
            if step.value is None
            else f"{step.kind} of {code(step.value)} in {events}: {step.target}"
        )
    where = f" where {code(step.where)}" if step.where else ""
    return f"{name}: {counted}{where}" if name else f"{counted}{where}"


def _rewards(rewards: list[Action]) -> str:
    return "; ".join(map(told_action, rewards))
