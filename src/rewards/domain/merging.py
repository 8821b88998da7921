"""Merging one member into another, in two commands: the first packs everything up, the second takes it over.

Between the two the points are in `transit`. Events sent to the first member meanwhile are already decided for the second.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.commands import MergeIn, MergeOut
from rewards.domain.errors import InvalidInput, Refusal
from rewards.domain.ledger.accounts import Origin
from rewards.domain.ledger.transfer import Moved, Parcel, receive, send_all
from rewards.domain.outcome import Leg, Outcome, Status
from rewards.domain.play import backfilling, groups, mechanics, timers
from rewards.domain.play.deciding import place_in_segments
from rewards.domain.play.limits import in_spans
from rewards.domain.play.limits import merge as merge_limits
from rewards.domain.play.metrics import merge as merge_metric
from rewards.domain.play.questing import shares
from rewards.domain.play.recounting import FILLED_IN
from rewards.domain.profile import finish_profile
from rewards.domain.state import ABSORBED_MAX
from rewards.domain.work import Work

SOURCE: Final = "merge"


class MergedElsewhere(Refusal):
    """The member was merged into another one before; a merge is never undone or redirected."""

    code = "merged-elsewhere"


def decide_merge_out(work: Work, command: MergeOut) -> Outcome:
    state = work.state
    if command.into_id == state.id:
        raise InvalidInput("a member cannot be merged into itself", path="member", expected="two different members")
    if state.merged_into is not None:
        if state.merged_into != command.into_id:
            raise MergedElsewhere("the member was merged into another one before")
        return _merged(work)
    origin = Origin(source=SOURCE, actor=work.actor)
    parcels = [
        send_all(work.draft, currency, origin, currencies=work.program.currencies, zone=work.program.zone)
        for currency in work.draft.currencies()
    ]
    payload = {
        "origin": str(state.id),
        "attributes": dict(work.attributes),
        "locale": work.locale,
        "timezone": work.timezone,
        "metrics": work.metrics,
        "limits": work.limits,
        "segments": list(work.segments),
        "play": work.play,
        "absorbed": [str(member) for member in work.absorbed],
        "parcels": [_packed(parcel) for parcel in parcels],
    }
    leg = len(work.legs) + 1  # what was waiting may have left some
    work.legs.append(Leg(leg, command.into_id, command.into.kind, command.into.external_id, "merge_in", payload))
    work.merged_into = command.into_id
    work.metrics, work.limits, work.segments, work.play, work.absorbed = {}, {}, (), {}, ()
    return _merged(work)


def _merged(work: Work) -> Outcome:
    outcome = work.finish(Status.PROCESSED)
    outcome.answer = {"merged": True}
    return outcome


def decide_merge_in(work: Work, command: MergeIn) -> Outcome:
    """What the known member has said of itself wins; what only the other one has is taken over."""
    parcel = command.parcel
    for key, value in parcel["attributes"].items():
        if key not in work.attributes:
            work.set_attribute(key, value)
    work.locale = work.locale or parcel["locale"]
    if work.timezone is None and parcel["timezone"] is not None:
        work.timezone, work.zone = parcel["timezone"], ZoneInfo(parcel["timezone"])
        mechanics.moved(work)
    late_seconds = int(work.program.late_window.total_seconds())
    known = {metric.id: metric for metric in work.program.metrics.values()}
    for metric_id, other in parcel["metrics"].items():
        if metric_id in known:
            mine = work.metrics.get(metric_id)
            work.set_metric(metric_id, merge_metric(known[metric_id], mine, other, late_seconds=late_seconds))
    for key, theirs in parcel["limits"].items():
        both, rule = (work.limits.get(key), theirs), work.program.rules.get(key)
        if rule is not None:  # either may have fired under a version with other spans
            both = (in_spans(rule.limit, rule.cooldown, both[0]), in_spans(rule.limit, rule.cooldown, both[1]))
        work.set_limit(key, merge_limits(*both))
    work.play_terms = None  # what comes may be of another version
    timers.take_over(work, parcel.get("play", {}))
    gone = [UUID(member) for member in (parcel["origin"], *parcel["absorbed"])]
    backfilling.merge(work, parcel.get("play", {}).get(FILLED_IN, {}), gone)
    groups.merge(work, parcel.get("play", {}).get(groups.NAME, {}))
    shares.merge(work, parcel.get("play", {}).get(shares.NAME, {}))
    work.absorbed = tuple(dict.fromkeys((*gone, *work.absorbed)))[:ABSORBED_MAX]
    mechanics.merge(work, parcel.get("play", {}))
    mechanics.reassess(work, work.now)
    # Who was in a segment under either name does not enter it again.
    work.segments = tuple(dict.fromkeys((*work.segments, *parcel["segments"])))
    origin = Origin(source=SOURCE, actor=work.actor)
    for packed in parcel["parcels"]:
        receive(work.draft, _unpacked(packed), origin)
    place_in_segments(work)
    return finish_profile(work)


def _packed(parcel: Parcel) -> dict[str, Any]:
    return {
        "currency": parcel.currency,
        "debt": parcel.debt,
        "last_activity_at": _text(parcel.last_activity_at),
        "lots": [
            {
                **asdict(moved),
                "lot": str(moved.lot),
                "opened_at": _text(moved.opened_at),
                "matures_at": _text(moved.matures_at),
                "expires_at": _text(moved.expires_at),
            }
            for moved in parcel.lots
        ],
    }


def _unpacked(packed: dict[str, Any]) -> Parcel:
    return Parcel(
        currency=packed["currency"],
        debt=packed["debt"],
        last_activity_at=_moment(packed["last_activity_at"]),
        lots=tuple(
            Moved(
                lot=UUID(moved["lot"]),
                rule=moved["rule"],
                amount=moved["amount"],
                opened_at=datetime.fromisoformat(moved["opened_at"]),
                matures_at=_moment(moved["matures_at"]),
                expires_at=_moment(moved["expires_at"]),
                waits=moved["waits"],
            )
            for moved in packed["lots"]
        ),
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
