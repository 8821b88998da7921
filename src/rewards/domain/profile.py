"""Commands about who the member is, and what silence or a job over all members makes of it."""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.commands import Due, SetProfile, SetSegments
from rewards.domain.errors import InvalidInput, SchemaViolation
from rewards.domain.outcome import EventRecord, Outcome, Status
from rewards.domain.periods import iana_zone
from rewards.domain.play import mechanics
from rewards.domain.play.deciding import announce_segments, follow_emitted, place_in_segments
from rewards.domain.recorded import TIME_PASSED
from rewards.domain.work import Work, balances

_LANGUAGE_TAG: Final = re.compile(
    r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3})){0,4}"
)
"""Language, script, region and variants of BCP 47 (RFC 5646); no extensions."""


def decide_profile(work: Work, command: SetProfile) -> Outcome:
    """All mistakes are reported at once; nothing is changed then."""
    errors: list[dict[str, Any]] = []
    for key, value in command.attributes.items():
        attribute = work.program.attributes.get(key)
        if attribute is None:
            if value is None and key in work.attributes:
                work.set_attribute(key, None)  # what an earlier version declared can always be removed
            elif not command.drop_unknown:
                known = ", ".join(sorted(work.program.attributes)) or "none"
                errors.append(
                    {"path": f"attributes.{key}", "message": "not a declared attribute", "expected": f"one of: {known}"}
                )
            continue
        try:
            work.set_attribute(key, None if value is None else attribute.accept(value))
        except SchemaViolation as violation:
            if not command.drop_unknown:
                errors.append({"path": f"attributes.{key}", "message": violation.message})
    before = work.zone
    wrong = [mistake for mistake in (_set_locale(work, command), _set_timezone(work, command)) if mistake]
    if not command.drop_unknown:
        errors.extend(wrong)
    if errors:
        raise SchemaViolation("the profile does not fit the program", errors=errors)
    if work.zone.key != before.key:
        mechanics.moved(work)
    place_in_segments(work)
    return finish_profile(work)


def _set_locale(work: Work, command: SetProfile) -> dict[str, Any] | None:
    """What is wrong with the locale, if something is."""
    if "locale" in command.clear:
        work.locale = None
    elif command.locale is not None:
        if not _LANGUAGE_TAG.fullmatch(command.locale):
            return {
                "path": "locale",
                "message": f"{command.locale!r} is no language tag",
                "expected": "a BCP 47 tag like de or pt-BR",
            }
        work.locale = command.locale
    return None


def _set_timezone(work: Work, command: SetProfile) -> dict[str, Any] | None:
    """What is wrong with the time zone, if something is."""
    if "timezone" in command.clear:
        work.timezone, work.zone = None, work.program.zone
    elif command.timezone is not None:
        try:
            work.zone = zone(command.timezone)
        except InvalidInput as unknown:
            return {"message": unknown.message, **unknown.details}
        work.timezone = command.timezone
    return None


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises `InvalidInput`."""
    try:
        return iana_zone(name)
    except ValueError as unknown:
        raise InvalidInput(
            f"{name!r} is no time zone", path="timezone", expected="an IANA name like Europe/Berlin"
        ) from unknown


def finish_profile(work: Work) -> Outcome:
    follow_emitted(work, work.now)
    outcome = work.finish(Status.PROCESSED)
    outcome.answer = {
        "attributes": work.attributes,
        "locale": work.locale,
        "timezone": work.timezone,
        "segments": list(work.segments),
        "effects": outcome.effects,
        "balances": balances(outcome.state, work.program),
    }
    return outcome


def decide_due(work: Work, _: Due) -> Outcome:
    """Maturity and expiry are posted, and the passing of time is heard, for every command; here nothing follows it.

    What it did is kept like an event, with its trace, so that it can be explained.
    """
    place_in_segments(work)
    outcome = finish_profile(work)
    if outcome.effects or outcome.trace:
        name = f"{TIME_PASSED}:{outcome.id}"
        outcome.event = EventRecord(TIME_PASSED, name, work.now, {}, {}, work.contributions)
    return outcome


def decide_segments(work: Work, command: SetSegments) -> Outcome:
    """Segments by rank come from a job over all members; whoever is in already does not enter again."""
    ranked = {segment.key for segment in work.program.segments if segment.when is None}
    entered = tuple(key for key in command.entered if key in ranked and key not in work.segments)
    left = tuple(key for key in command.left if key in ranked and key in work.segments)
    work.segments = tuple(key for key in (*work.segments, *entered) if key not in left)
    announce_segments(work, entered, left)
    return finish_profile(work)
