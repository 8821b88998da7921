"""Commands about who the member is, and what silence or a job over all members makes of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from rewards.domain.commands import Due, SetProfile, SetSegments
from rewards.domain.errors import InvalidInput, SchemaViolation
from rewards.domain.outcome import Outcome, Status
from rewards.domain.play.deciding import announce_segments, follow_emitted, place_in_segments
from rewards.domain.work import Work, balances


def decide_profile(work: Work, command: SetProfile) -> Outcome:
    """All mistakes are reported at once; nothing is changed then."""
    errors = []
    for key, value in command.attributes.items():
        attribute = work.program.attributes.get(key)
        if attribute is None:
            if not command.drop_unknown:
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
    if errors:
        raise SchemaViolation("the attributes do not fit the program", errors=errors)
    if command.locale is not None:
        work.locale = command.locale
    if command.timezone is not None:
        work.timezone = command.timezone
        work.zone = zone(command.timezone)
    place_in_segments(work)
    return finish_profile(work)


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises `InvalidInput`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as unknown:
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
    """Maturity and expiry are posted for every command; here silence is heard as well."""
    place_in_segments(work)
    return finish_profile(work)


def decide_segments(work: Work, command: SetSegments) -> Outcome:
    """Segments by rank come from a job over all members; whoever is in already does not enter again."""
    ranked = {segment.key for segment in work.program.segments if segment.when is None}
    entered = tuple(key for key in command.entered if key in ranked and key not in work.segments)
    left = tuple(key for key in command.left if key in work.segments)
    work.segments = tuple(key for key in (*work.segments, *entered) if key not in left)
    announce_segments(work, entered, left)
    return finish_profile(work)
