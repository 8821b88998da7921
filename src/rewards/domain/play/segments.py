"""Segments: conditions over a member that hold or do not, decided anew whenever something they read may have changed."""

from __future__ import annotations

from rewards.domain.play.facts import MemberFacts
from rewards.domain.work import Work


def reassess(work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decides every conditional segment as of `work.now`; returns (entered, left) and updates `work.segments`.

    A condition that cannot be decided for want of a field leaves the member outside. `top` segments are the job's to set.
    """
    program = work.program
    before = work.segments
    if not program.segments:
        work.segments = ()  # a version before this one had some
        return (), before
    bound = program.bind_member(MemberFacts(work, at=work.now))
    now_in = tuple(
        segment.key
        for segment in program.segments
        if (segment.key in before if segment.when is None else segment.when.test(bound) is True)
    )
    if now_in == before:
        return (), ()
    work.segments = now_in
    return (
        tuple(key for key in now_in if key not in before),
        tuple(key for key in before if key not in now_in),
    )
