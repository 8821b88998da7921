"""The rewards of badges, quests, streaks, tiers and boards: actions that may read the member, and no event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewards.domain.program.binding import Plans
from rewards.domain.program.compiled import Action, Metric
from rewards.domain.program.compiling.actions import ActionBuilder
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.compiling.segments import MEMBER, splits_out_of_reach
from rewards.domain.program.models.actions import Action as WrittenAction


class RewardBuilder:
    """Builds rewards; what they read is bound together with what segments read."""

    def __init__(
        self, context: Context, catalogue: Catalogue, scopes: Scopes, plans: Plans, metrics: Mapping[str, Metric]
    ) -> None:
        self._context = context
        self._catalogue = catalogue
        self._scopes = scopes
        self._plans = plans
        self._metrics = metrics

    def build(self, rewards: Sequence[WrittenAction], path: str) -> tuple[Action, ...]:
        """Those that are in order; what is wrong is reported under `path`."""
        scope = self._scopes.segment()
        actions = ActionBuilder(self._context, self._catalogue, scope, splits_out_of_reach(self._metrics, ()))
        built = [actions.build(each, f"{path}.{position}") for position, each in enumerate(rewards)]
        for needs in actions.needs:
            self._plans.add((MEMBER,), needs)
        return tuple(action for action in built if action is not None)
