"""Leaderboards: what scores, in which period, and the rows that others see."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import explored

from rewards.domain.commands import Command, Event, MemberRef, MergeOut, ModerateBoard, OptOut, SetProfile
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import BoardNotice, Outcome
from rewards.domain.play import boards, standings
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.board import Tally
from rewards.domain.program.compiled import Program

DOCUMENT: Final = """
rewards: 1
program: {key: play, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {}, coins: {}}
attributes: {team: {type: string, purpose: test}, nick: {type: string, purpose: test}}
events:
  scored: {properties: {points: number, word: string}}
  ordered: {properties: {id: string, total: number}, required: [id, total]}
  refunded: {properties: {id: string}, required: [id]}
  bonus: {properties: {by: number}}
  doubled: {properties: {cost: integer}}
metrics:
  plays: {count: scored}
  total: {sum: scored, value: event.points, where: event.points != 13}
  words: {distinct: scored, value: event.word}
  orders: {count: ordered}
segments: {regulars: metrics.plays >= 2}
rules:
  - {key: pay, on: ordered, then: [{earn: {currency: points, amount: event.total, reference: event.id}}]}
  - {key: back, on: refunded, then: [{reverse: {reference: event.id}}]}
  - {key: extra, on: bonus, then: [{score: {leaderboard: given, value: event.by}}]}
  - {key: both, on: doubled, then: [{score: {leaderboard: given, value: 1}}, {spend: {currency: coins, amount: event.cost}}]}
leaderboards:
  weekly: {score: {metric: total}, period: {every: week}, ties: first}
  daily_plays: {score: {metric: plays}, period: {every: day}}
  best: {score: {metric: total, operator: best}, period: {every: month}}
  lowest: {score: {metric: total, operator: best}, order: ascending, period: {every: month}}
  latest: {score: {metric: total, operator: last}}
  spelled: {score: {metric: words}}
  earners: {score: {currency: points}, period: {every: week}}
  orders: {score: {metric: orders}}
  given: {score: {operator: sum}}
  evenings: {score: {metric: plays}, period: {cron: "0 18 * * *"}, grace: 1m}
  regulars: {score: {metric: plays}, by: {segment: regulars}}
  teams: {score: {metric: plays}, by: {attribute: team}}
"""
START: Final = datetime(2026, 11, 18, 10, tzinfo=UTC)  # a Wednesday, W47
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def compiled(text: str = DOCUMENT) -> Program:
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


PROGRAM: Final = compiled()


class World:
    """Members in memory, and the rows that their commands leave: what the database would hold."""

    def __init__(self, program: Program = PROGRAM) -> None:
        self.members = Members(program, heard=self._hear)
        self.rows: dict[tuple[str, str, str], tuple[str, float, datetime, bool]] = {}
        self.outcome: Outcome | None = None
        self.sent = 0

    def _hear(self, member: Member, _: Command, outcome: Outcome) -> None:
        self.outcome = outcome
        for row in outcome.scores:
            key = (member.state.external_id, row.board, row.period)
            if row.score is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = (row.part, row.score, row.achieved_at, row.shown)

    def member(self, name: str = "ada") -> Member:
        return self.members.member({"ada": ADA, "ben": BEN}[name], MemberRef("user", name))

    def tell(self, command: Command, at: datetime, name: str = "ada") -> Outcome:
        self.members.advance(at)
        return self.members.decide(self.member(name), command, at)

    def happen(
        self, kind: str, occurred: datetime, received: datetime | None = None, name: str = "ada", **properties: Any
    ) -> Outcome:
        self.sent += 1
        event = Event(f"e{self.sent}", kind, occurred_at=occurred, properties=properties)
        return self.tell(event, max(received or occurred, self.member(name).state.last_now or occurred), name)

    def score(self, board: str, period: str, name: str = "ada") -> float | None:
        row = self.rows.get((name, board, period))
        return row[1] if row is not None else None


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_each_board_scores_in_its_own_way() -> None:
    world = World()
    for hour, (points, word) in enumerate([(5, "a"), (13, "b"), (9, "a"), (2, "c")]):
        world.happen("scored", START + hours(hour), points=points, word=word)
    found = {
        board: {period: row[1] for (_, key, period), row in world.rows.items() if key == board}
        for _, board, _ in world.rows
    }
    assert found == {
        "weekly": {"2026-W47": 16},  # 13 does not count
        "daily_plays": {"2026-11-18": 4},
        "best": {"2026-11": 9},
        "lowest": {"2026-11": 2},
        "latest": {"all_time": 2},
        "spelled": {"all_time": 3},
        "evenings": {"2026-11-17T17:00Z": 4},
        "regulars": {"all_time": 4},
        "teams": {"all_time": 4},
    }


@pytest.mark.parametrize(
    ("after", "scored"),
    [
        (60, {"2026-11-18": 1}),
        (62, {}),
    ],
    ids=["within grace", "after grace"],
)
def test_a_late_event_counts_for_its_own_period(after: float, scored: dict[str, float]) -> None:
    """The day ends thirteen hours after the start, and its board closes 48 hours later."""
    text = DOCUMENT.replace("daily_plays: {", "daily_plays: {grace: 48h, ")
    world = World(compiled(text))
    world.happen("scored", START, START + hours(after), points=1)
    found = {period: row[1] for (_, board, period), row in world.rows.items() if board == "daily_plays"}
    assert found == scored
    if not scored:
        assert world.outcome is not None
        refused = [line for line in world.outcome.trace if line.get("leaderboard") == "daily_plays"]
        assert refused == [{"leaderboard": "daily_plays", "result": "board_closed", "period": "2026-11-18"}]


def test_points_are_scored_when_they_are_earned_and_taken_back_when_they_were() -> None:
    world = World()
    world.happen("ordered", START, id="o1", total=30)
    world.happen("ordered", START + hours(1), id="o2", total=12)
    assert world.score("earners", "2026-W47") == 42
    assert world.score("orders", "all_time") == 2
    world.happen("refunded", START + hours(2), id="o1")
    assert world.score("earners", "2026-W47") == 12
    assert world.score("orders", "all_time") == 1  # the order counts no longer
    world.happen("refunded", START + hours(3), id="o2")
    assert world.score("earners", "2026-W47") is None
    assert world.score("orders", "all_time") is None


def test_what_is_taken_back_after_the_close_changes_no_score() -> None:
    world = World()
    world.happen("ordered", START, id="o1", total=30)
    outcome = world.happen("refunded", START + timedelta(days=7), id="o1")
    assert world.score("earners", "2026-W47") == 30
    assert {"leaderboard": "earners", "result": "board_closed", "period": "2026-W47"} in outcome.trace


def test_rules_score() -> None:
    world = World()
    outcome = world.happen("bonus", START, by=2.5)
    assert outcome.effects == [{"type": "score", "leaderboard": "given", "value": 2.5, "rule": "extra"}]
    world.happen("bonus", START, by=-1)
    assert world.score("given", "all_time") == 1.5


def test_a_rule_that_is_refused_scores_nothing() -> None:
    world = World()
    outcome = world.happen("doubled", START, cost=5)
    assert outcome.effects == []
    assert world.score("given", "all_time") is None
    assert outcome.event is not None
    assert not [kept for kept in outcome.event.contributions if kept[0].startswith("leaderboards:")]


def test_a_part_follows_the_attribute() -> None:
    world = World()
    world.tell(SetProfile({"team": "red"}), START)
    world.happen("scored", START, points=1)
    assert world.rows["ada", "teams", "all_time"][::3] == ("red", True)
    outcome = world.tell(SetProfile({"team": "blue"}), START + hours(1))
    [row] = [each for each in outcome.scores if each.board == "teams"]
    assert (row.part, row.left_part, row.score, row.shown) == ("blue", "red", 1, True)
    outcome = world.tell(SetProfile({"team": None}), START + hours(2))
    [row] = [each for each in outcome.scores if each.board == "teams"]
    assert (row.part, row.left_part, row.shown) == ("", "blue", False)


@pytest.mark.parametrize(
    ("before", "command", "elsewhere"),
    [
        ({"team": "red"}, SetProfile({"team": "blue"}), True),
        ({"team": "red"}, SetProfile({"team": None}), True),
        ({}, SetProfile({"team": "blue"}), True),
        ({"team": "red"}, SetProfile({"team": "red"}), False),
        ({"team": "red"}, SetProfile({"nick": "Red"}), False),  # which splits no board
        ({"team": "red"}, SetProfile(locale="de"), False),
        ({"team": "red"}, OptOut(out=True), False),
        ({"team": "red"}, ModerateBoard("teams", "a bot"), False),
        ({"team": "red"}, MergeOut(MemberRef("user", "ben"), BEN), True),
    ],
)
@pytest.mark.parametrize("plays", [0, 1])
def test_who_is_elsewhere_is_said_with_a_score_and_without(
    before: dict[str, str], command: Command, *, elsewhere: bool, plays: int
) -> None:
    world = World()
    world.tell(SetProfile(before), START)
    for _ in range(plays):
        assert not world.happen("scored", START, points=1).elsewhere
    assert world.tell(command, START).elsewhere is elsewhere


def test_who_takes_over_the_attributes_of_a_merged_member_is_elsewhere() -> None:
    world = World()
    world.tell(SetProfile({"team": "red"}), START, "ben")
    world.tell(MergeOut(MemberRef("user", "ada"), ADA), START, "ben")
    assert world.outcome is not None
    assert (world.outcome.state.external_id, world.outcome.elsewhere) == ("ada", True)


def test_only_members_of_the_segment_are_shown() -> None:
    world = World()
    world.happen("scored", START, points=1)
    assert world.rows["ada", "regulars", "all_time"][3] is False
    world.happen("scored", START, points=1)
    assert world.rows["ada", "regulars", "all_time"][3] is True


@pytest.mark.parametrize(
    ("command", "undone", "hidden"),
    [
        (ModerateBoard("weekly", "a bot"), ModerateBoard("weekly"), {"weekly"}),
        (OptOut(out=True), OptOut(out=False), {"weekly", "daily_plays", "best"}),
    ],
    ids=["removed", "opted out"],
)
def test_who_is_off_a_board_scores_unseen(command: Command, undone: Command, hidden: set[str]) -> None:
    world = World()
    watched = {"weekly", "daily_plays", "best"}
    world.happen("scored", START, points=1)

    def unseen() -> set[str]:
        return {board for (_, board, _), row in world.rows.items() if not row[3]} & watched

    assert unseen() == set()
    world.tell(command, START)
    world.happen("scored", START, points=4)
    assert unseen() == hidden
    world.tell(undone, START)
    assert unseen() == set()
    assert world.score("weekly", "2026-W47") == 5


def test_merged_members_score_together_and_the_one_that_goes_is_gone() -> None:
    world = World()
    for name, points in (("ada", 3), ("ben", 4)):
        world.happen("scored", START, points=points, word="a", name=name)
    world.tell(ModerateBoard("best", "a bot"), START, "ben")
    world.tell(MergeOut(MemberRef("user", "ada"), ADA), START + hours(1), "ben")
    assert not [key for key in world.rows if key[0] == "ben"]
    found = {board: row[1] for (_, board, _), row in world.rows.items()}
    assert found["weekly"] == 7
    assert found["best"] == 4
    assert found["lowest"] == 3
    assert found["spelled"] == 1
    assert world.rows["ada", "best", "2026-11"][3] is False  # a cheater by another name
    assert world.outcome is not None
    assert world.outcome.board_notices == [BoardNotice("removed", "best", "a bot")]


@pytest.mark.parametrize(
    ("board", "period", "before", "after"),
    [
        ("weekly", "2026-W47", "{score: {metric: total}", "{score: {metric: total, operator: last}"),
        ("orders", "all_time", "{score: {metric: orders}}", "{score: {metric: plays}}"),
        ("teams", "all_time", ", by: {attribute: team}", ""),
        ("teams", "all_time", "by: {attribute: team}", "by: {attribute: nick}"),
        ("teams", "all_time", "by: {attribute: team}", "by: {segment: regulars}"),
        ("regulars", "all_time", ", by: {segment: regulars}", ""),
    ],
)
def test_a_changed_board_starts_anew(board: str, period: str, before: str, after: str) -> None:
    world = World()
    world.happen("scored", START, points=3)
    [line] = [each for each in DOCUMENT.splitlines() if each.startswith(f"  {board}: ") and before in each]
    world.members.program = compiled(DOCUMENT.replace(line, line.replace(before, after)))
    world.happen("scored", START + hours(1), points=1)
    assert world.score(board, period) == 1
    assert world.score("best", "2026-11") == 3


def test_a_board_that_comes_back_goes_on_for_whoever_did_something_meanwhile() -> None:
    """As by a rollback, after it was taken out by mistake."""
    world = World()
    for name in ("ada", "ben"):
        world.happen("scored", START, name=name, points=3)
    without = DOCUMENT.replace("  latest: {score: {metric: total, operator: last}}\n", "").replace(
        "  weekly: {score: {metric: total}, period: {every: week}, ties: first}\n", ""
    )
    world.members.program = compiled(without)
    world.happen("scored", START + hours(1), points=5)
    world.members.program = PROGRAM
    for name in ("ada", "ben"):
        world.happen("scored", START + hours(2), name=name, points=1)
    assert [world.score("weekly", "2026-W47", name) for name in ("ada", "ben")] == [4, 4]


@pytest.mark.parametrize(("points", "meanwhile"), [(5, 5), (13, None)], ids=["scored", "did something else"])
def test_a_definition_that_comes_back_goes_on_for_whoever_was_there_meanwhile(
    points: int, meanwhile: float | None
) -> None:
    world = World()
    for name in ("ada", "ben"):
        world.happen("scored", START, name=name, points=3)
    world.members.program = compiled(
        DOCUMENT.replace("weekly: {score: {metric: total}", "weekly: {score: {metric: total, operator: last}")
    )
    world.happen("scored", START + hours(1), points=points)
    assert world.score("weekly", "2026-W47") == meanwhile
    world.members.program = PROGRAM
    for name in ("ada", "ben"):
        world.happen("scored", START + hours(2), name=name, points=1)
    assert [world.score("weekly", "2026-W47", name) for name in ("ada", "ben")] == [4, 4]


def test_of_boards_that_are_gone_a_few_standings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "GONE_MAX", 3)
    world = World()
    world.happen("scored", START, points=3)
    before = {key for key in world.member().state.play["leaderboards"] if not key.startswith("!")}
    only = DOCUMENT[: DOCUMENT.index("  weekly:")] + "  orders: {score: {metric: orders}}\n"
    world.members.program = compiled(
        only.replace("  - {key: extra", "  # - {key: extra").replace("  - {key: both", "  # - {key: both")
    )
    world.happen("scored", START + hours(1), points=5)
    left = set(world.member().state.play["leaderboards"])
    assert left < before
    assert len(left - {"orders"}) == 3


Scored = tuple[int, int]
"""Points, and minutes after the start."""
EVENTS: Final = st.lists(
    st.tuples(st.integers(-9, 9) | st.integers(-1, 1), st.integers(0, 600)),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each[1],
)


@explored(given(events=EVENTS, data=st.data(), ascending=st.booleans()), few=40, at_length=100)
@pytest.mark.parametrize("tally", list(Tally))
def test_a_standing_is_that_of_the_events_that_stand(
    tally: Tally, events: list[Scored], data: st.DataObject, *, ascending: bool
) -> None:
    """In any order of arrival, with some taken back in between, and wherever it was cut in two and merged."""
    order = data.draw(st.permutations(range(len(events))))
    gone = set(data.draw(st.lists(st.sampled_from(range(len(events))), max_size=standings.NEWEST_MAX - 1, unique=True)))
    halves: list[Any] = [None, None]
    for index in order:
        points, minutes = events[index]
        half = data.draw(st.integers(0, 1))
        payload = standings.payload_of(tally, points)
        halves[half] = standings.put(tally, halves[half], payload, minutes, f"{index}", ascending=ascending)
    state = standings.merged(tally, *halves, ascending=ascending)
    for index in gone:
        points, minutes = events[index]
        state = standings.take(tally, state, standings.payload_of(tally, points), minutes, f"{index}")
    left = [event for index, event in enumerate(events) if index not in gone]
    found = None if state is None else standings.standing(tally, state)
    expected = told(tally, left, ascending=ascending)
    if found is None or expected is None:
        assert found == expected
        return
    assert found.score == expected[0]
    if tally is not Tally.LAST or len(events) <= standings.NEWEST_MAX:  # a longer run of one value is told below
        assert found.achieved_micros == expected[1]


@explored(
    given(points=st.lists(st.integers(0, 1), min_size=1, max_size=30), gone=st.integers(0, 3)), few=40, at_length=200
)
def test_a_last_score_was_reached_when_the_run_of_its_value_began(points: list[int], gone: int) -> None:
    state: Any = None
    for minutes, each in enumerate(points):
        state = standings.put(Tally.LAST, state, each, minutes, "", ascending=False)
    left = points[: len(points) - gone]
    for minutes in range(len(left), len(points)):
        state = standings.take(Tally.LAST, state, points[minutes], minutes, "")
    expected = told(Tally.LAST, [(each, minutes) for minutes, each in enumerate(left)], ascending=False)
    assert (None if state is None else tuple(standings.standing(Tally.LAST, state))) == expected
    assert state is None or len(state) <= standings.NEWEST_MAX + 2


def told(tally: Tally, events: list[Scored], *, ascending: bool) -> tuple[float, int] | None:
    """Slowly and plainly: as each event came, what the score was, and when it last became another."""
    scores: dict[Tally, Callable[[list[int]], int]] = {
        Tally.SUM: sum,
        Tally.DISTINCT: lambda points: len(set(points)),
        Tally.BEST: min if ascending else max,
        Tally.LAST: lambda points: points[-1],
    }
    reached: tuple[float, int] | None = None
    so_far: list[int] = []
    for points, minutes in sorted(events, key=lambda event: event[1]):
        so_far.append(points)
        score = scores[tally](so_far)
        if reached is None or score != reached[0]:
            reached = score, minutes
    return reached


def test_of_many_different_values_each_has_the_moment_at_which_it_was_seen_first() -> None:
    """Beyond so many, of each value only that one moment is kept."""
    many = standings.DETAILED_MAX + 1
    state: Any = None
    for minutes in range(many):
        for _ in range(2):
            state = standings.put(Tally.DISTINCT, state, minutes, minutes, "", ascending=False)
    again = standings.put(Tally.DISTINCT, state, 3, many, "", ascending=False)
    assert standings.standing(Tally.DISTINCT, again) == (many, many - 1)
    earlier = standings.put(Tally.DISTINCT, again, many - 1, 0, "", ascending=False)
    assert standings.standing(Tally.DISTINCT, earlier) == (many, many - 2)
    both = standings.merged(Tally.DISTINCT, state, earlier, ascending=False)
    assert standings.standing(Tally.DISTINCT, both) == (many, many - 2)
    assert max(map(len, both[1])) == 2


def test_a_count_of_different_values_that_was_kept_without_their_moments_goes_on() -> None:
    """Kept that way until November 2026: as far as anybody knows, all of them were first seen when the newest was."""
    state = standings.put(Tally.DISTINCT, [[7, 9], [2, 1], [40, 30, 20]], 7, 50, "", ascending=False)
    assert standings.standing(Tally.DISTINCT, state) == (2, 40)
    state = standings.take(Tally.DISTINCT, state, 9, 30, "")
    assert standings.standing(Tally.DISTINCT, state) == (1, 40)


@pytest.mark.parametrize(
    ("board", "period", "events", "reached"),
    [
        ("spelled", "all_time", [(0, 1, "a"), (1, 1, "b"), (2, 1, "a")], 1),
        ("spelled", "all_time", [(1, 1, "a"), (2, 1, "b"), (0, 1, "b")], 1),  # late: b was there before a
        ("spelled", "all_time", [(0, 1, "a"), (2, 1, "b"), (1, 1, "a")], 2),  # late, and nothing by it
        ("weekly", "2026-W47", [(0, 5, "a"), (1, 0, "a")], 0),
        ("weekly", "2026-W47", [(0, 0, "a"), (1, 0, "a")], 0),
        ("weekly", "2026-W47", [(1, 5, "a"), (2, 0, "a"), (0, 2, "a")], 1),
        ("best", "2026-11", [(0, 5, "a"), (1, 5, "a"), (2, 4, "a")], 0),
        ("lowest", "2026-11", [(0, 5, "a"), (1, 5, "a"), (2, 9, "a")], 0),
        ("latest", "all_time", [(0, 4, "a"), (1, 5, "a"), (2, 5, "a"), (3, 5, "a")], 1),
        ("latest", "all_time", [(0, 5, "a"), (2, 5, "a"), (1, 4, "a")], 2),  # late: it had been another in between
    ],
)
def test_a_score_was_reached_when_it_last_became_another(
    board: str, period: str, events: list[tuple[int, float, str]], reached: int
) -> None:
    world = World()
    for hour, points, word in events:
        world.happen("scored", START + hours(hour), points=points, word=word)
    assert world.rows["ada", board, period][2] == START + hours(reached)


def test_taking_back_what_did_not_move_a_score_does_not_move_its_moment() -> None:
    """Two orders of one shop; without the second of them the count of shops has been reached when it was before."""
    text = DOCUMENT.replace("orders: {count: ordered}", "orders: {distinct: ordered, value: event.total}")
    world = World(compiled(text))
    for hour, (order, total) in enumerate([("o1", 3), ("o2", 4), ("o3", 4), ("o4", 3)]):
        world.happen("ordered", START + hours(hour), id=order, total=total)
    row = "ada", "orders", "all_time"
    assert world.rows[row][1:3] == (2, START + hours(1))
    world.happen("refunded", START + hours(9), id="o4")
    assert world.rows[row][1:3] == (2, START + hours(1))
    world.happen("refunded", START + hours(9), id="o2")
    assert world.rows[row][1:3] == (2, START + hours(2))  # now the third is the first of its kind


@explored(given(data=st.data()), few=8, at_length=30)
def test_scores_are_those_of_the_events_whatever_the_order(data: st.DataObject) -> None:
    """Through `apply`, out of order within the grace, some orders refunded: each row is what the events that stand come to."""
    text = DOCUMENT.replace("weekly: {", "weekly: {grace: 3d, ").replace("earners: {", "earners: {grace: 3d, ")
    world = World(compiled(text))
    orders = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 60)), min_size=1, max_size=8))
    refunded = data.draw(st.sets(st.sampled_from(range(len(orders)))))
    late = START + hours(61)
    for index in data.draw(st.permutations(range(len(orders)))):
        total, hour = orders[index]
        world.happen("ordered", START + hours(hour), late, id=f"o{index}", total=total)
        world.happen("scored", START + hours(hour), late, points=total)
    for index in refunded:
        world.happen("refunded", late, id=f"o{index}")
    standing = [order for index, order in enumerate(orders) if index not in refunded]
    assert (world.score("earners", "2026-W47") or 0) == sum(total for total, _ in standing)
    assert (world.score("orders", "all_time") or 0) == len(standing)
    assert world.score("weekly", "2026-W47") == sum(total for total, _ in orders)
    last = max(range(len(orders)), key=lambda index: orders[index][1])
    hour = orders[last][1]
    assert world.score("latest", "all_time") in {total for total, when in orders if when == hour}
    assert world.rows["ada", "weekly", "2026-W47"][2] == START + hours(hour)


PRIZES: Final = """
rewards: 1
program: {key: play, timezone: UTC}
currencies: {points: {}}
events: {scored: {properties: {points: number}}}
metrics: {total: {sum: scored, value: event.points}}
leaderboards:
  daily:
    score: {metric: total}
    period: {every: day}
    ties: TIES
    grace: 2h
    prizes:
      - {ranks: [1, 1], then: [{earn: {currency: points, amount: 100}}]}
      - {ranks: [2, 3], then: [{earn: {currency: points, amount: 10}}]}
      - {percentile: 25, then: [{earn: {currency: points, amount: 1}}]}
"""


@pytest.mark.parametrize(
    ("ties", "scores", "paid"),
    [
        ("shared", [9, 7, 7, 5], [101, 10, 10, 0]),
        ("first", [9, 7, 7, 5], [101, 10, 10, 0]),
        ("shared", [7, 7, 7, 5], [101, 101, 101, 0]),  # all three are first, and among the best quarter
        ("first", [7, 7, 7, 5], [101, 10, 10, 0]),
        ("first", [1, 2, 3, 4], [0, 10, 10, 101]),
        ("shared", [0], [101]),  # of one member the best quarter is one
    ],
)
def test_a_closing_board_pays_by_rank(ties: str, scores: list[float], paid: list[int]) -> None:
    members = Members(compiled(PRIZES.replace("TIES", ties)))
    some = [
        members.member(UUID(int=(number + 1) << 100), MemberRef("user", f"m{number}")) for number in range(len(scores))
    ]
    for number, (member, points) in enumerate(zip(some, scores, strict=True)):
        event = Event(f"e{number}", "scored", START + hours(number / 60), {"points": points})
        members.decide(member, event, START + hours(1))
    closes = datetime(2026, 11, 19, 2, tzinfo=UTC)
    members.advance(closes - timedelta(seconds=1))
    assert [each.state.wallet.accounts for each in some] == [{}] * len(some)
    members.advance(closes)
    accounts = [each.state.wallet.accounts.get("points") for each in some]
    assert [account.available if account is not None else 0 for account in accounts] == paid
