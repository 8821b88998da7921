"""Refusals and mistakes as values with a code; HTTP owns the status (see `rewards.http.problems`)."""

from __future__ import annotations

from typing import Any, ClassVar


class RewardsError(Exception):
    """Something a caller can understand and act on. Nothing was changed.

    `code` is stable and becomes the problem type; `details` are plain JSON values that say what was found and what would be right.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Refusal(RewardsError):
    """A business refusal: the command was understood and denied. It is kept with the idempotency key and replayed."""

    code = "refused"


class InvalidInput(RewardsError):
    """The input is wrong whatever the state. `details["path"]` names the field, `details["expected"]` what would be right."""

    code = "invalid-input"
    item_id: str = ""
    """What an item of a batch that is wrong otherwise calls itself, for its sender to tell it by."""


class IdentityConflict(RewardsError):
    """The same id was used before with other content. Nothing was changed."""

    code = "id-reused"


class MemberErased(RewardsError):
    """The member was erased; events are refused until staff re-enrol the member."""

    code = "member-erased"


class SchemaViolation(InvalidInput):
    """A value does not fit its declared schema. `details["errors"]` lists every mistake with `path`, `message`."""

    code = "schema-violation"
