"""What a rule does: one action per entry of `then`, such as `{earn: {currency: points, amount: 5}}`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from rewards.domain.program.models.base import DurationText, Expression, Key, Part, PropertyName
from rewards.domain.program.models.header import Expires

AMOUNT_MAX: Final = 2**53 - 1
BADGE_LEVELS_MAX: Final = 50
Whole = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Rate = Annotated[int | float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Rounded = Literal["down", "up", "half_up", "half_even"]
Literals = bool | int | float


class Bindable(Part):
    """`as` names the result, so that later actions of the rule can use it."""

    bind: Key | None = Field(None, alias="as")


class Earn(Bindable):
    """Pays `amount` times `rate`. `hold` keeps it pending so long, or `until_matured` by its reference."""

    currency: Key
    amount: Whole | Expression
    rate: Rate = 1
    round: Rounded = "down"
    reference: Expression | None = None
    hold: Literal["until_matured"] | DurationText | None = Field(None, union_mode="left_to_right")
    expires: Expires | Literal["never"] | None = None

    @model_validator(mode="after")
    def _can_be_named(self) -> Earn:
        if self.hold == "until_matured" and self.reference is None:
            raise ValueError("hold: until_matured needs a reference for mature to name")
        return self


class Spend(Bindable):
    """Takes `amount` times `rate` from what the member can spend."""

    currency: Key
    amount: Whole | Expression
    rate: Rate = 1
    round: Rounded = "down"
    reference: Expression | None = None


class Reverse(Bindable):
    """Takes back what was paid under the reference."""

    reference: Expression


class Mature(Bindable):
    """Makes what is pending under the reference available."""

    reference: Expression


class Set(Bindable):
    """Sets an attribute of the member to a literal or to what an expression gives."""

    attribute: Key
    value: Literals | Expression


class Emit(Bindable):
    """Raises another declared event for the same member."""

    type: Key
    properties: dict[PropertyName, Literals | Expression] = Field(default_factory=dict)


class GiveBadge(Bindable):
    """Gives a badge up to `level`, by default its first."""

    key: Key
    level: Annotated[int, Field(ge=1, le=BADGE_LEVELS_MAX)] = 1


class Score(Bindable):
    """Adds `value` to the member's score on a leaderboard, as its operator says."""

    leaderboard: Key
    value: int | float | Expression


class GiveFreezes(Bindable):
    """Gives freezes of a streak, as many as there is room for."""

    key: Key
    freezes: Annotated[int, Field(ge=1, le=100)]


class BeginQuest(Bindable):
    """Begins a quest for the member, as joining it would; nothing happens where it cannot begin."""

    key: Key


ACTIONS: Final[dict[str, type[Bindable]]] = {
    "earn": Earn,
    "spend": Spend,
    "reverse": Reverse,
    "mature": Mature,
    "set": Set,
    "event": Emit,
    "badge": GiveBadge,
    "quest": BeginQuest,
    "score": Score,
    "streak": GiveFreezes,
}


class Action(Part):
    """Exactly one of the actions."""

    earn: Earn | None = None
    spend: Spend | None = None
    reverse: Reverse | None = None
    mature: Mature | None = None
    set: Set | None = None
    event: Emit | None = None
    badge: GiveBadge | None = None
    quest: BeginQuest | None = None
    score: Score | None = None
    streak: GiveFreezes | None = None

    @model_validator(mode="after")
    def _one(self) -> Action:
        if sum(getattr(self, name) is not None for name in ACTIONS) != 1:
            raise ValueError(f"an action is exactly one of {', '.join(ACTIONS)}")
        return self

    @property
    def kind(self) -> str:
        """The name of the action that is set."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    @property
    def content(self) -> Bindable:
        """The action that is set."""
        found = getattr(self, self.kind)
        assert isinstance(found, Bindable)
        return found
