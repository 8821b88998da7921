"""One way to play besides rules: what a badge, a quest, a streak, a tier or a board does when something happens.

A mechanic keeps what it remembers of a member in `work.play[name]`, by the key of the badge, quest or streak, and changes it
with `work.set_play` alone. What it gives is a function of the member's unreversed events ordered by (occurred at, id),
whatever order they came in; so whoever needs more than a metric to tell keeps the contributions that may still be disordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from rewards.domain.play.facts import EventFacts
from rewards.domain.play.metrics import Stored
from rewards.domain.work import Earning, Work


class Mechanic:
    """One way to play. What it does not override does nothing."""

    name: ClassVar[str]

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        """An event was counted and its rules have run; metrics include it, and `facts.at` is when it occurred.

        What shall be taken back with the event is kept with it: `work.contributions.append([f"{name}:{key}", …])`.
        """

    def earned(self, work: Work, earning: Earning) -> None:
        """Points were earned, or taken back (a negative amount at the moment at which they had been earned)."""

    def reassess(self, work: Work, at: datetime) -> None:
        """Metrics changed otherwise than by an event at `at`: something was taken back, filled in or merged."""

    def take_back(self, work: Work, key: str, stored: Stored) -> None:
        """An event of the past no longer counts; this is what it had contributed to `key`. `reassess` follows."""

    def moved(self, work: Work) -> None:
        """The member's time zone is another one from now on."""

    def next_at(self, work: Work) -> datetime | None:  # noqa: ARG002 - read by those who override it
        """When time alone next does something here."""
        return None

    def pass_to(self, work: Work, moment: datetime) -> None:
        """Does what falls due at `moment`, which `next_at` named. Afterwards `next_at` names a later one."""

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        """Takes over what a member that becomes this one remembered, by key."""

    def drop_removed(self, work: Work) -> None:
        """Forgets what the program no longer has."""
