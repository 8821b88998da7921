"""Quests: what the member's events contribute to their steps, and what time does to attempts that are unfinished."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from rewards.domain.periods import epoch_micros, from_epoch_micros, rfc3339
from rewards.domain.play.actions import Firing, performs
from rewards.domain.play.cells import payload_of
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.groups import GROUP
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.metrics import Stored
from rewards.domain.play.questing.continuing import begun, continued
from rewards.domain.play.questing.counting import count, is_locked, why_never
from rewards.domain.play.questing.folding import STARTED
from rewards.domain.play.questing.following import completion_behind, joining
from rewards.domain.play.questing.gates import is_admitted
from rewards.domain.play.questing.joining import begin
from rewards.domain.play.questing.keeping import MECHANIC, as_defined, keep, kept_of
from rewards.domain.play.questing.merging import merge
from rewards.domain.play.questing.sending import contribute, name_of, send_back
from rewards.domain.play.questing.standing import BEGINS, COUNTS, Entry, Kept, ends_micros, untied
from rewards.domain.play.questing.undoing import undo
from rewards.domain.play.questing.word import REWARDED, end_numbers
from rewards.domain.program.compiled import Bound, Missing
from rewards.domain.program.quest import BeginQuest, Quest, Step
from rewards.domain.work import Work


class Quests(Mechanic):
    """Counts events for the quests that they advance, ends what was not finished in time, takes back what no longer counts."""

    name: ClassVar[str] = MECHANIC

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        concerned = work.program.quests.by_event.get(event_type)
        if not concerned:
            return
        bound = facts.inputs(event_type)
        for quest, steps in concerned:
            parts = _parts(steps, bound)
            if parts:
                work.trace.append({"quest": quest.key, "result": _count(work, quest, parts, facts.at)})

    def take_back(self, work: Work, key: str, stored: Stored) -> None:
        quest = work.program.quests.quests.get(key)
        if quest is None:
            return
        if quest.team and len(stored.contribution) > 2:
            send_back(work, quest, stored.order, epoch_micros(stored.occurred_at), stored.contribution)
        else:
            undo(work, quest, stored)

    def next_at(self, work: Work) -> datetime | None:
        first: int | None = None
        for plain in work.play.get(MECHANIC, {}).values():
            ends = ends_micros(plain)
            if ends is not None and (first is None or ends < first):
                first = ends
        return None if first is None else from_epoch_micros(first)

    def pass_to(self, work: Work, moment: datetime) -> None:
        """An attempt whose window has ended is forgotten; the next event begins another."""
        micros = epoch_micros(moment)
        for key, plain in work.play.get(MECHANIC, {}).items():
            ends = ends_micros(plain)
            if ends is not None and ends <= micros:
                quest = work.program.quests.quests[key]
                keep(work, quest, Kept.of(plain)._replace(told=ends))
                work.effects.append({"type": "quest_expired", "key": key})
                if not quest.team:
                    work.emitted.append(("quest.expired", {"quest": key}))
                work.trace.append({"quest": key, "result": "expired", "at": rfc3339(from_epoch_micros(ends))})

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        # Completions are numbered anew: what followed from one stays where that was.
        for key, plain in work.play.get(MECHANIC, {}).items():
            work.set_play(MECHANIC, key, [*plain[:3], list(untied(plain[3])), *plain[4:]])
        for key, plain in other.items():
            quest = work.program.quests.quests.get(key)
            if quest is not None:
                kept = Kept.of(plain)
                merge(work, quest, kept._replace(tail=untied(kept.tail)))

    def drop_removed(self, work: Work) -> None:
        """Quests that are gone, and the progress of those whose steps have changed; what was completed stays so."""
        for key, plain in work.play.get(MECHANIC, {}).items():
            quest = work.program.quests.quests.get(key)
            if quest is None:
                if work.state.kind == GROUP:
                    end_numbers(work, key, Kept.of(plain))
                for kept in (MECHANIC, REWARDED):
                    work.set_play(kept, key, None)
            elif plain[0] != quest.definition:
                keep(work, quest, as_defined(quest, Kept.of(plain)))


def _parts(steps: tuple[Step, ...], bound: Bound) -> tuple[tuple[int, Any], ...]:
    """What an event adds to which steps."""
    parts = []
    for step in steps:
        if not all(condition.test(bound) is True for condition in step.conditions):
            continue
        value = step.value.read(bound) if step.value is not None else None
        payload = None if isinstance(value, Missing) else payload_of(step.kind, value)
        if payload is not None:
            parts.append((step.number - 1, payload))
    return tuple(parts)


def _count(work: Work, quest: Quest, parts: tuple[tuple[int, Any], ...], at: datetime) -> str:
    """Adds a contribution, if it may ever matter; says for the trace what became of it."""
    micros = epoch_micros(at)
    if quest.team:
        return _contribute(work, quest, parts, at, micros)
    sort = BEGINS if is_admitted(work, quest, at) else COUNTS
    entry = Entry.made(micros, work.id, sort, parts)
    plain = work.play.get(MECHANIC, {}).get(quest.key)
    further = begun(work, quest, entry) if plain is None else continued(work, quest, plain, entry)
    contribution = [f"{MECHANIC}:{quest.key}", quest.definition, [list(part) for part in parts]]
    if further is not None:
        work.contributions.append(contribution)
        work.set_play(MECHANIC, quest.key, further)
        if plain is not None:
            return "counted"
        work.emitted.append(("quest.started", {"quest": quest.key}))
        return STARTED
    kept = kept_of(work, quest)
    never = why_never(quest, kept, micros)
    if never is not None:
        return never
    if is_locked(kept, sort, micros):
        return "locked"
    work.contributions.append(contribution)
    return count(work, quest, kept, entry)


def _contribute(work: Work, quest: Quest, parts: tuple[tuple[int, Any], ...], at: datetime, micros: int) -> str:
    """Sends a contribution to the member's groups, which alone know what it is worth."""
    sort = BEGINS if is_admitted(work, quest, at) else COUNTS
    groups = contribute(work, quest, parts, micros, sort)
    if not groups:
        return "no_group"
    name = name_of(work.state.id)  # who may be another member when it is taken back
    work.contributions.append(
        [f"{MECHANIC}:{quest.key}", quest.definition, [list(part) for part in parts], groups, name]
    )
    return "sent"


@performs(BeginQuest)
def _begin(firing: Firing, action: BeginQuest) -> None:
    work = firing.work
    quest = work.program.quests.quests[action.quest]
    at, entry = firing.occurred_at, None
    completion = completion_behind(firing, action)
    if completion is not None:
        entry = joining(work, completion)
        at = from_epoch_micros(entry.micros)
    if begin(work, quest, at, entry):
        work.effects.append({"type": "quest_started", "key": quest.key, firing.cause.kind: firing.cause.key})
    else:
        work.trace.append({"quest": quest.key, "result": "not_begun", firing.cause.kind: firing.cause.key})
