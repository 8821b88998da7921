"""Team quests whose rewards and losses arrive in any order: what a member has in the end is the group's last word."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play.teams_world import START, Club
from tests.properties import explored

from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.group_commands import LoseWithTeam, RewardWithTeam
from rewards.domain.periods import epoch_micros
from rewards.domain.play.questing import keeping, shares, word
from rewards.domain.play.questing.sending import LOSE, REWARD, name_of
from rewards.domain.replay import replay_id

LATE: Final = 61
NAMES: Final = ("ada", "ben", "cid")
WORTH: Final = {0: 100, 1: 5, 2: 0}
"""What `far` gives for the completion (0) and for each step."""


def last_word(club: Club) -> dict[str, int]:
    """Whom the group has rewarded and not taken it from since, read from all that it sent, in the order in which it did."""
    rewarded: dict[tuple[str, int, int], set[Any]] = {}
    for leg, _ in club.held:
        place = leg.payload["group"], leg.payload["instance"], leg.payload["step"]
        if leg.name == LOSE:
            rewarded[place] = set()  # of all, whoever this leg goes to
        else:
            rewarded.setdefault(place, set()).add(leg.member)
    return {
        name: sum(WORTH[step] for (_, _, step), who in rewarded.items() if club.member(name).state.id in who)
        for name in NAMES
    }


_WALK = st.tuples(st.sampled_from(NAMES), st.integers(0, 60), st.integers(2, 9))
_READ = st.tuples(st.sampled_from(NAMES), st.integers(0, 60), st.none())
_HAPPENINGS = st.lists(st.one_of(_WALK, _WALK, _READ, st.integers(0, 20)), min_size=6, max_size=24)
"""Who does what at which hour: walks so many km, or reads; or the how many-th walk is taken back."""


def played(happenings: list[Any]) -> Club:
    """All that happened, in any order within the late window; what the group then sends to its members is held back."""
    club = Club("far")
    for name in NAMES:
        club.join(name, "red")
    club.hold_back(REWARD, LOSE)
    walked: list[tuple[str, str]] = []
    for number, happening in enumerate(happenings):
        if isinstance(happening, tuple):
            name, hour, km = happening
            if km is None:
                club.happen(name, "read", hour, arrives=LATE)
                continue
            club.happen(name, "walked", hour, arrives=LATE, km=km, order=f"o{number}")
            walked.append((name, f"o{number}"))
        elif walked:
            name, order = walked.pop(happening % len(walked))
            club.happen(name, "refunded", LATE, order=order)
    return club


@explored(given(happenings=_HAPPENINGS, data=st.data()), few=30, at_length=200)
def test_in_any_order_and_twice(happenings: list[Any], data: st.DataObject) -> None:
    club = played(happenings)
    again = data.draw(st.lists(st.sampled_from(club.held), max_size=5)) if club.held else []
    for leg, at in data.draw(st.permutations([*club.held, *again])):
        club.deliver(leg, at)
    assert dict(zip(NAMES, club.points(*NAMES), strict=True)) == last_word(club)


def said(turns: str) -> list[RewardWithTeam | LoseWithTeam]:
    """`R3 L2`: that the first completion is rewarded, in turn 3, and that it is lost, in turn 2."""
    group = replay_id(MemberRef("group", "red"))
    kinds: dict[str, type[RewardWithTeam | LoseWithTeam]] = {"R": RewardWithTeam, "L": LoseWithTeam}
    return [kinds[each[0]]("far", group, 1, 0, epoch_micros(START), int(each[1:])) for each in turns.split()]


@pytest.mark.parametrize(
    ("arriving", "points", "remembered"),
    [
        ("R1", 100, [1, 1]),
        ("R1 R1", 100, [1, 1]),
        ("R1 L2", 0, [1, 0, [[0, 2]]]),
        ("L2 R1", 0, [0, 0, [[0, 2]]]),
        ("L2 R1 L2 R1", 0, [0, 0, [[0, 2]]]),
        ("R1 L2 R3", 100, [1, 1, [[0, 3]]]),
        ("R1 R3 L2", 100, [1, 1, [[0, 3]]]),
        ("L2 R3 R1", 100, [1, 1, [[0, 3]]]),
        ("R3 L2 R1", 100, [1, 1, [[0, 3]]]),
        ("L4 R3 L2 R1", 0, [0, 0, [[0, 4]]]),
        ("R0 L0", 0, [1, 0]),
        ("R0 R0", 100, [1, 1]),
        ("R1 L0 R1", 100, [1, 1]),  # sent without a turn: it holds when it comes
        ("R0 L2 R1", 0, [1, 0, [[0, 2]]]),
    ],
)
def test_the_highest_turn_that_was_heard_holds(arriving: str, points: int, remembered: list[Any]) -> None:
    club = Club("far")
    for command in said(arriving):
        club.ask("ada", command)
    assert club.points("ada") == [points]
    [kept] = club.member("ada").state.play[shares.NAME]["far"]
    assert kept[1:] == [1, *remembered]


@pytest.mark.parametrize("last", ["R1", "R1 L2", "R1 L2 R3", "R1 L2 R3 L4"])
@explored(given(data=st.data()), few=15, at_length=60)
def test_two_who_become_one_have_what_the_group_said_last(last: str, data: st.DataObject) -> None:
    """What was sent to either arrives in any order, some before they become one and some after."""
    club = Club("far")
    ref = MemberRef.parse("ada")
    legs = [(name, command) for name in ("ada", "anon:a") for command in said(last)]
    arriving: list[Any] = data.draw(st.permutations([*legs, ("anon:a", MergeOut(ref, replay_id(ref)))]))
    for name, command in arriving:
        club.member("ada")
        club.ask(name, command)
    merged = arriving.index(next(each for each in arriving if type(each[1]) is MergeOut))
    twice = all(any(name == each[0] for each in arriving[:merged]) for name in ("ada", "anon:a"))
    [points] = club.points("ada")
    assert points in ({0} if last[-2] == "L" else {100, 200} if twice else {100})


def test_what_is_remembered_is_bounded() -> None:
    club = Club("far")
    group = replay_id(MemberRef("group", "red"))
    for number in range(1, shares.REMEMBERED_MAX + 10):
        club.ask("ada", LoseWithTeam("far", group, number, 0, epoch_micros(START), 2 * number))
    kept = club.member("ada").state.play[shares.NAME]["far"]
    assert [each[1] for each in kept] == list(range(10, shares.REMEMBERED_MAX + 10))


def test_who_was_rewarded_is_remembered_while_it_can_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "REWARDED_MAX", 2)
    club = Club("far")
    for name in NAMES:
        club.join(name, "red")
    club.happen("ada", "walked", 1, km=10, order="o1")
    group = club.member("group:red").state
    names = [name_of(club.member(name).state.id) for name in NAMES]
    assert group.play[word.REWARDED] == {"far": [[1, 1, names[:1]]]}
    club.happen("ben", "read", 2)
    club.happen("ben", "read", 3)
    assert club.member("group:red").state.play[word.REWARDED] == {"far": [[1, 0, names[:2]]]}, (
        "the newest, as many as go"
    )
    club.happen("ada", "refunded", 4, order="o1")
    assert club.points(*NAMES) == [0, 0, 0]
    after = club.member("group:red").state.play
    assert (word.REWARDED in after, after[word.TURNS]) == (False, {word.LOSSES: 2}), "the completion, and ada's step"


SETTLING: Final = """
rewards: 1
program: {key: club, timezone: UTC, late_window: 72h}
currencies: {points: {clawback: allow_debt}, paid: {clawback: allow_debt}}
events:
  walked: {properties: {km: number, order: string}}
  refunded: {properties: {order: string}, required: [order]}
rules:
  - {key: paid, on: walked, when: has(event.order), then: [{earn: {currency: paid, amount: 1, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
quests:
  long: {team: true, revocable: REVOCABLE, steps: [{event: walked, COUNTED}], rewards: [{earn: {currency: points, amount: 1}}]}
"""


@pytest.mark.parametrize("revocable", ["true", "false"])
@pytest.mark.parametrize(
    "counted", ["target: 6", "sum: event.km, target: 20", "distinct: event.km, target: 6", "max: event.km, target: 9"]
)
@pytest.mark.parametrize(
    ("mine", "back", "rewarded"),
    [
        ([1], [], True),
        ([1], [0], False),
        ([1, 2], [0], True),
        ([1, 2], [1, 0], False),
        ([2, 2], [1], True),  # the second changed nothing that is distinct, or largest; the first still has
        ([2, 2], [1, 0], False),
    ],
)
def test_what_has_settled_and_is_taken_back_rewards_nobody(
    monkeypatch: pytest.MonkeyPatch, revocable: str, counted: str, mine: list[int], back: list[int], rewarded: bool
) -> None:
    monkeypatch.setattr(keeping, "TAIL_MAX", 1)
    monkeypatch.setattr(keeping, "TAIL_MIN", 1)
    club = Club(document=SETTLING.replace("COUNTED", counted).replace("REVOCABLE", revocable))
    for name in ("ada", "ben"):
        club.join(name, "red")
    for number, km in enumerate(mine):
        club.happen("ada", "walked", 0, km=km, order=f"o{number}")
    for km in (3, 4):
        club.happen("ben", "walked", 1, km=km)
    _, base, _, tail, *_ = club.member("group:red").state.play["quests"]["long"]
    assert (len(base[3][4]), len(tail)) == (2, 1), "ada's have settled, and the first of ben's"
    for number in back:
        club.happen("ada", "refunded", 2, order=f"o{number}")
    for km in (5, 6, 7, 8, 9):
        club.happen("ben", "walked", 3, km=km)
    assert club.points("ada", "ben") == [int(rewarded), 1]


def test_contributors_that_were_written_down_uncounted_are_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TAIL_MAX", 1)
    monkeypatch.setattr(keeping, "TAIL_MIN", 1)
    club = Club(document=SETTLING.replace("COUNTED", "target: 4").replace("REVOCABLE", "false"))
    for name in ("ada", "ben"):
        club.join(name, "red")
    for number, name in enumerate(("ada", "ben", "ben")):
        club.happen(name, "walked", number, order=f"o{number}")
    state = club.member("group:red").state
    for standing in state.play["quests"]["long"][1:3]:
        standing[3][4] = [name for name, _ in standing[3][4]]
    club.happen("ada", "refunded", 4, order="o0")
    for hour in (5, 6):
        club.happen("ben", "walked", hour)
    assert club.points("ada", "ben") == [1, 1], "how many were ada's is not known, so it is not known that none is left"
