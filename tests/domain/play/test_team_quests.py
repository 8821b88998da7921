"""Team quests: who counts for a group, what the group reaches, and who is rewarded for it, once each."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.domain.play.teams_world import DOCUMENT, START, Club, compiled
from tests.properties import explored

from rewards.domain.commands import Command, Event, JoinQuest, MemberRef, MergeOut
from rewards.domain.errors import RewardsError
from rewards.domain.group_commands import JoinGroup, LeaveGroup, LoseWithTeam, RewardWithTeam, TakeContributionBack
from rewards.domain.memory import Members
from rewards.domain.outcome import Leg
from rewards.domain.play.questing import sending, shares, teams
from rewards.domain.play.questing.reading import State, progress_of
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.testing import run_tests
from rewards.domain.replay import replay_id


def test_who_contributed_is_rewarded_when_the_group_is_done() -> None:
    club = Club("far")
    for name in ("ada", "ben", "cid", "idle"):
        club.join(name, "red")
    club.happen("ada", "walked", 0, km=4)
    club.happen("ben", "walked", 1, km=6)
    club.happen("cid", "read", 2)
    club.happen("cid", "read", 3)
    club.happen("idle", "walked", 4, km=-3)
    club.happen("stranger", "walked", 5, km=30)
    assert club.told("group:red") == ["quest_step far 1 1", "quest_step far 2 1", "quest far 1"]
    assert club.told("ada") == ["quest_step far 1 1", "quest_step far 2 1", "quest far 1"]
    assert club.told("cid") == ["quest_step far 2 1", "quest far 1"]
    assert club.points("ada", "ben", "cid", "idle", "stranger", "group:red") == [105, 105, 100, 0, 0, 0]
    assert "no_group" in club.traced("stranger")
    rewarded = [outcome for heard, _, outcome in club.outcomes if heard == "ada" and outcome.achievements]
    assert [(each.kind, each.key, each.level, each.instance) for one in rewarded for each in one.achievements] == [
        ("quest_step", "far", 1, 1),
        ("quest_step", "far", 2, 1),
        ("quest", "far", 0, 1),
    ]
    red = sending.name_of(club.member("group:red").state.id)
    carried = [made.origin.reference for one in rewarded for made in one.transactions]
    assert carried == [f"quest:far:{red}:1:1", f"quest:far:{red}:1"]


def test_events_that_follow_a_completion_follow_for_each() -> None:
    club = Club("far")
    club.join("ada", "red")
    club.happen("ada", "walked", km=10)
    club.happen("ada", "read")
    club.happen("ada", "read")
    done = club.members.program.metrics["done"].id
    assert done in club.member("ada").state.metrics
    assert done not in club.member("group:red").state.metrics


def test_each_group_counts_for_itself_and_a_member_is_rewarded_with_each() -> None:
    club = Club("stays")
    club.join("ada", "red", "blue")
    club.join("ben", "blue")
    club.happen("ada", "walked")
    club.happen("ben", "walked")  # blue is done, red is not
    assert club.points("ada", "ben") == [1, 1]
    club.happen("ada", "walked", 1)
    assert club.points("ada", "ben") == [2, 1]
    assert club.told("ada") == ["quest_step stays 1 1", "quest stays 1", "quest_step stays 1 2", "quest stays 2"]


def test_a_reward_that_comes_again_is_given_once() -> None:
    club = Club("stays")
    club.join("ada", "red")
    club.happen("ada", "walked")
    club.happen("ada", "walked")
    group = club.member("group:red")
    [leg] = [
        leg
        for heard, _, outcome in club.outcomes
        if heard == "group:red"
        for leg in outcome.legs
        if leg.payload["step"] == 0
    ]
    assert (leg.member, leg.name) == (club.member("ada").state.id, sending.REWARD)
    again = club.ask("ada", sending.command_of(leg.name, leg.payload), 1)
    assert (again.effects, club.points("ada")) == ([], [1])
    assert group.state.wallet.accounts == {}


def test_what_is_taken_back_is_taken_back_from_the_group_and_from_all() -> None:
    club = Club()
    for name in ("ada", "ben"):
        club.join(name, "red")
    club.happen("ada", "walked", km=5, order="o1")
    club.happen("ben", "walked", km=5, order="o2")
    club.happen("ben", "read", 1)
    club.happen("ben", "read", 1)
    assert club.points("ada", "ben") == [5 + 100 + 1, 5 + 100 + 1 + 1000]
    club.happen("ada", "refunded", 2, order="o1")
    assert club.told("ada")[-2:] == ["quest_revoked far 1", "quest_step_revoked far 1 1"]
    assert club.points("ada", "ben") == [1, 1 + 1000], "stays is not revocable, and what it unlocked neither"
    club.happen("ben", "walked", 3, km=5)
    assert club.told("ben")[-2:] == ["quest_step far 1 1", "quest far 1"]
    assert club.points("ada", "ben") == [1, 5 + 100 + 1 + 1000]


def test_what_is_taken_back_before_it_comes_never_counts() -> None:
    club = Club("stays")
    club.join("ada", "red")
    sent: list[Leg] = []
    kept, club.members._follow = club.members._follow, lambda leg, *_: sent.append(leg)  # type: ignore[method-assign]
    club.happen("ada", "walked")
    club.happen("ada", "walked")
    club.members._follow = kept  # type: ignore[method-assign]
    first, second = (sending.command_of(leg.name, leg.payload) for leg in sent)
    parts = sent[0].payload["parts"]
    gone = TakeContributionBack(first.quest, first.definition, first.micros, first.event, parts)  # type: ignore[union-attr]
    for command in (gone, first, second):
        club.ask("group:red", command)
    assert club.traced("group:red") == ["not_counted", "taken_back", "started"]
    assert club.told("group:red") == []


@pytest.mark.parametrize(
    ("asked", "name", "code"),
    [
        ([JoinGroup(str(number), UUID(int=number)) for number in range(6)], "ada", "too-many-groups"),
        ([JoinGroup("red", UUID(int=1))], "group:blue", "group-in-group"),
        ([LeaveGroup("red")], "ada", "not-in-group"),
        ([JoinQuest("called")], "ada", "team-quest"),
    ],
    ids=["many", "nested", "strange", "single"],
)
def test_refusals(asked: list[Command], name: str, code: str) -> None:
    club = Club()
    for command in asked[:-1]:
        club.ask(name, command)
    before = club.member(name).state.play
    with pytest.raises(RewardsError) as refused:
        club.ask(name, asked[-1])
    assert refused.value.code == code
    assert club.member(name).state.play == before


def test_joining_twice_is_one_membership_and_leaving_ends_it() -> None:
    club = Club("stays")
    club.join("ada", "red", "red", "blue")
    assert club.ask("ada", LeaveGroup("red")).answer == {"groups": ["group:blue"]}
    club.happen("ada", "walked")
    assert [len(club.told(group)) + len(club.traced(group)) for group in ("group:red", "group:blue")] == [0, 1]


def test_a_group_joins_a_quest_for_its_members() -> None:
    club = Club("called")
    club.join("ada", "red")
    club.happen("ada", "read")
    club.ask("group:red", JoinQuest("called"))
    club.happen("ada", "read")
    assert club.traced("group:red") == ["not_joined", "counted"]


def test_merged_members_keep_both_memberships_and_are_rewarded_once() -> None:
    club = Club("stays")
    club.join("anon:a", "red", "green")
    club.join("ada", "red", "blue")
    club.happen("anon:a", "walked")
    ref = MemberRef.parse("ada")
    club.ask("anon:a", MergeOut(ref, replay_id(ref)))
    club.happen("ada", "walked")
    assert list(club.member("ada").state.play["groups"]) == ["red", "blue", "green"]
    told = ["quest_step stays 1 1", "quest stays 1", "quest_step stays 1 2", "quest stays 2"]
    assert club.told("ada") == told, "red and green are done, each told once though two hands did it; blue is not"


@pytest.mark.parametrize(("lost", "kept"), [("red", "blue"), ("blue", "red")])
def test_of_two_who_became_one_a_group_that_loses_its_completion_takes_back_its_own_alone(lost: str, kept: str) -> None:
    club = Club("far")
    for name, group in (("anon:a", "red"), ("ada", "blue")):
        club.join(name, group)
        club.happen(name, "walked", km=10, order=group)
        club.happen(name, "read", 1)
        club.happen(name, "read", 1)
    ref = MemberRef.parse("ada")
    club.ask("anon:a", MergeOut(ref, replay_id(ref)), 2)
    assert club.points("ada") == [2 * 105]
    club.happen("ada", "refunded", 3, order=lost)
    assert club.told(f"group:{lost}")[-2:] == ["quest_revoked far 1", "quest_step_revoked far 1 1"]
    assert club.points("ada") == [105]
    assert club.told(f"group:{kept}")[-1] == "quest far 1"
    club.happen("ada", "refunded", 4, order=kept)
    assert club.points("ada") == [0]


def test_what_two_who_became_one_were_both_rewarded_for_is_taken_back_from_both() -> None:
    club = Club("far")
    for name in ("anon:a", "ada"):
        club.join(name, "red")
        club.happen(name, "walked", km=5, order=name.removeprefix("anon:"))
        club.happen(name, "read", 1)
    ref = MemberRef.parse("ada")
    club.ask("anon:a", MergeOut(ref, replay_id(ref)), 2)
    assert club.points("ada") == [2 * 105]
    club.happen("ada", "refunded", 3, order="a")
    assert club.points("ada") == [0]


@pytest.mark.parametrize("idle", [False, True])
def test_a_quest_that_was_gone_and_is_back_is_rewarded_anew(*, idle: bool) -> None:
    """As one of a single member is; also to whom nothing happened while it was gone."""
    club = Club("far")
    for name in ("ada", "ben"):
        club.join(name, "red")

    def complete(name: str, hour: float) -> None:
        club.happen(name, "walked", hour, km=10, order=f"{hour}")
        for _ in range(2):
            club.happen(name, "read", hour)

    complete("ada", 0)
    club.happen("ben", "walked", 25, km=10)  # a step of the next one
    assert club.points("ada", "ben") == [105, 5]
    club.members.program = compiled("stays")
    club.happen("ben" if idle else "ada", "walked", 26, km=1)
    club.members.program = compiled("far")
    complete("ada", 27)
    assert club.points("ada", "ben") == [210, 5]
    club.happen("ada", "refunded", 28, order="27")
    assert club.points("ada", "ben") == [105, 5], "what was rewarded before it was gone stays"
    club.happen("ben", "walked", 29, km=10)
    assert club.points("ada", "ben") == [210, 110], "both contributed to what is completed now"


HEARD = st.lists(
    st.tuples(st.sampled_from(["red", "blue"]), st.integers(1, 4), st.booleans(), st.integers(1, 5)), max_size=20
)


@explored(given(heard=HEARD), few=30, at_length=1000)
@example(
    heard=[("red", 1, False, 1), ("red", 2, True, 1), ("red", 1, True, 2), ("blue", 1, False, 1), ("blue", 2, True, 1)]
)
def test_a_members_own_numbers_name_one_completion_each(heard: list[tuple[str, int, bool, int]]) -> None:
    """Whatever is heard first, and however little of it is remembered."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shares, "REMEMBERED_MAX", 2)
        club = Club("far")
        named: dict[int, tuple[str, int]] = {}
        for group, number, is_reward, turn in heard:
            kind = RewardWithTeam if is_reward else LoseWithTeam
            group_id = replay_id(MemberRef("group", group))
            outcome = club.ask("ada", kind("far", group_id, number, 0, 0, 2 * turn - is_reward))
            for effect in outcome.effects:
                if effect["type"] == "quest":
                    own = effect["instance"]
                    assert named.setdefault(own, (group, number)) == (group, number)


def test_more_contributors_than_are_kept_count_and_are_not_rewarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "CONTRIBUTORS_MAX", 2)
    club = Club("far")
    for name in ("ada", "ben", "cid"):
        club.join(name, "red")
        club.happen(name, "walked", km=3)
    club.happen("ada", "walked", km=1)
    assert club.traced("group:red") == ["started", "counted", "too_many_contributors", "step"]
    assert club.points("ada", "ben", "cid") == [5, 5, 0]


def test_contributors_are_counted_by_quest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "CONTRIBUTORS_MAX", 3)
    club = Club("far", "stays")
    for name in ("ada", "ben"):  # ada to both quests, ben to one: there is no room for the fourth
        club.join(name, "red")
        club.happen(name, "walked", km=1)
    assert club.points("ada", "ben") == [1, 0]
    assert club.traced("group:red")[-2:] == ["counted", "too_many_contributors"]


def test_reading() -> None:
    club = Club()
    club.join("ada", "red")
    club.happen("ada", "walked")
    now = START + timedelta(hours=1)
    program = club.members.program
    groups = {"red": club.member("group:red").state}
    seen = {
        name: [
            (each.quest.key, each.group, each.state, each.steps[0].value)
            for each in progress_of(program, club.member(name).state, now=now, groups=of)
        ]
        for name, of in (("ada", groups), ("group:red", {}), ("stranger", {}))
    }
    standing = [
        ("called", "red", State.AVAILABLE, 0),
        ("far", "red", State.AVAILABLE, 0),
        ("later", "red", State.LOCKED, 0),
        ("stays", "red", State.ACTIVE, 1),
    ]
    assert seen["ada"] == seen["group:red"] == standing
    assert seen["stranger"] == [(key, None, State.LOCKED, 0) for key, *_ in standing]


@pytest.mark.parametrize(
    ("groups", "expected", "failures"),
    [
        ("[red]", "{balances: {points: 1}, effects: [{quest: {key: stays, instance: 1}}]}", 0),
        ("[red]", "{balances: {points: 2}}", 1),
        ("['group:red', blue]", "{balances: {points: 1}}", 0),
        ("[blue]", "{balances: {points: 0}, none: [quest]}", 0),
        ("[red, '']", "{balances: {points: 1}}", 1),
    ],
)
def test_documents_test_their_team_quests(groups: str, expected: str, failures: int) -> None:
    tests = f"""tests:
  - name: two of one team
    given:
      - {{at: "2026-11-20T10:00:00Z", member: ada, groups: [red], type: walked}}
      - {{at: "2026-11-20T11:00:00Z", member: ben, groups: {groups}, type: walked}}
    expect: {{ben: {expected}, "group:red": {{none: [earn]}}}}
"""
    report = check(read_document((DOCUMENT + tests).encode()))
    assert (report.document is None) == ("''" in groups), report.errors
    if report.document is not None:
        [result] = run_tests(report.document, compile_program(report.document, version=1))
        assert len(result.failures) == failures, result.failures


@pytest.mark.parametrize(
    ("quest", "path", "message"),
    [
        ("{team: true, steps: [{event: read}], requires: {quests: [solo]}}", "quests.new.requires.quests", "solo is a quest of"),
        ("{steps: [{event: read}], requires: {quests: [far]}}", "quests.new.requires.quests", "far is a team quest"),
        ("{team: 3, steps: [{event: read}]}", "quests.new.team", ""),
    ],
)  # fmt: skip
def test_mistakes(quest: str, path: str, message: str) -> None:
    text = f"{DOCUMENT}  solo: {{steps: [{{event: read}}]}}\n  new: {quest}\n"
    report = check(read_document(text.encode()))
    assert [(each.path, message in each.message) for each in report.errors] == [(path, True)], report.errors


@explored(
    given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(1, 4)), max_size=14)),
    few=15,
    at_length=60,
)
def test_a_team_is_a_member_with_many_hands(events: list[tuple[str, int, int]]) -> None:
    """Whatever the order of arrival, the group stands where one member would who had done all of it."""
    single = DOCUMENT.replace("    team: true\n", "")
    report = check(read_document(single.replace("team: true, ", "").encode()))
    assert report.document is not None
    alone = Members(compile_program(report.document, version=1))
    one = alone.member(UUID(int=1), MemberRef("user", "one"))
    club = Club("far")
    for name in "abc":
        club.join(name, "red")
    for number, (name, hour, km) in enumerate(events):
        kind = "walked" if km > 1 else "read"
        club.happen(name, kind, hour, arrives=41, km=km)
        event = Event(f"e{number}", kind, START + timedelta(hours=hour), {"km": km} if km > 1 else {})
        alone.decide(one, event, START + timedelta(hours=41))
    now = START + timedelta(hours=41)
    stand = [
        [(each.completed, each.state, [step.value for step in each.steps]) for each in told if each.quest.key == "far"]
        for told in (
            progress_of(club.members.program, club.member("group:red").state, now=now),
            progress_of(alone.program, one.state, now=now),
        )
    ]
    assert stand[0] == stand[1]
    completed = stand[0][0][0]
    assert sum("quest far" in each for name in "abc" for each in club.told(name)) >= completed
