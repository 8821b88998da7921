"""What was paid for freezes is taken back together with them, or not at all."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.domain.play.streaks_world import World, program
from tests.properties import explored

from rewards.domain.commands import BuyFreezes, Cause, Earn, Event, GiveFreezes, Reverse, ReverseReference, Spend
from rewards.domain.ledger.reverse import AlreadyReversed, NotReversible

TERMS: Final = "freezes: {most: 4, price: {currency: points, amount: 50}}"
REFERENCE: Final = "streak:s:freezes"
MORE: Final = """
rules: [{key: regret, on: lost, then: [{reverse: {reference: '"streak:s:freezes"'}}]}]
"""
# 2 November 2026 is a Monday.
MONDAY: Final = datetime(2026, 11, 2, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


class Shop:
    """Somebody with 1,000 points who runs, buys freezes and has second thoughts; hours count from Monday's midnight."""

    def __init__(self, terms: str = TERMS) -> None:
        self.world = World(program(terms, more=MORE))
        self.world.do(Earn("points", 1000), MONDAY)
        self.world.run(MONDAY)

    def run(self, hour: int, *, arrives: int | None = None) -> None:
        self.world.run(MONDAY + hour * HOUR, arrives=None if arrives is None else MONDAY + arrives * HOUR)

    def buy(self, hour: int, count: int = 1) -> UUID:
        return UUID(self.world.do(BuyFreezes("s", count), MONDAY + hour * HOUR).answer["transactions"][0]["id"])

    def reverse(self, purchase: UUID, hour: int, amount: int | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.world.do(Reverse(purchase, amount), MONDAY + hour * HOUR).answer
        return answer

    def stands(self, hour: int) -> tuple[int, int, int]:
        """Length, freezes and points."""
        standing = self.world.standing(MONDAY + hour * HOUR)
        return standing.length, standing.freezes, self.world.points()


def test_unused_freezes_go_with_their_points() -> None:
    shop = Shop()
    purchase = shop.buy(1, 2)
    assert shop.stands(1) == (1, 2, 900)
    answer = shop.reverse(purchase, 2)
    assert [each["kind"] for each in answer["transactions"]] == ["refund"]
    assert answer["effects"] == [
        {"type": "streak_freezes", "key": "s", "taken_back": 2, "freezes": 0, "transaction": str(purchase)}
    ]
    assert {"streak": "s", "result": "freezes_taken_back", "freezes": 2} in shop.world.outcomes[-1].trace
    assert shop.stands(2) == (1, 0, 1000)
    with pytest.raises(AlreadyReversed):
        shop.reverse(purchase, 3)
    shop.world.until(MONDAY + 50 * HOUR)
    assert shop.stands(50) == (0, 0, 1000), "nothing bridges the Tuesday"


def test_used_freezes_stay_paid() -> None:
    shop = Shop()
    purchase = shop.buy(1)
    shop.world.until(MONDAY + 50 * HOUR)  # Tuesday was missed
    for wrong in (
        lambda: shop.reverse(purchase, 51),
        lambda: shop.world.do(ReverseReference(REFERENCE), MONDAY + 52 * HOUR),
    ):
        with pytest.raises(
            NotReversible, match="bought 1 freeze of s; of all that were bought none is unused"
        ) as refused:
            wrong()
        assert refused.value.details == {"transaction": str(purchase), "bought": 1, "unused": 0}
    assert shop.stands(52) == (1, 0, 950)


def test_two_of_which_one_is_used_stay_paid() -> None:
    shop = Shop()
    purchase = shop.buy(1, 2)
    with pytest.raises(NotReversible, match="bought 2 freezes of s; of all that were bought only 1 of them is unused"):
        shop.reverse(purchase, 50)


@pytest.mark.parametrize("amount", [1, 50, 99])
def test_a_part_of_the_price_is_not_taken_back(amount: int) -> None:
    shop = Shop()
    purchase = shop.buy(1, 2)
    with pytest.raises(NotReversible, match="as a whole only"):
        shop.reverse(purchase, 2, amount)
    assert shop.stands(2) == (1, 2, 900)
    shop.reverse(purchase, 3, 100)
    assert shop.stands(3) == (1, 0, 1000)


def test_what_was_given_is_used_before_what_was_bought() -> None:
    shop = Shop()
    purchase = shop.buy(1)
    shop.world.do(GiveFreezes("s"), MONDAY + 2 * HOUR)
    assert shop.stands(50) == (1, 1, 950)
    shop.reverse(purchase, 51)
    assert shop.stands(51) == (1, 0, 1000)


def test_a_freeze_that_a_late_event_spares_can_be_taken_back() -> None:
    shop = Shop()
    purchase = shop.buy(1)
    with pytest.raises(NotReversible):
        shop.reverse(purchase, 50)
    shop.run(30, arrives=51)  # Tuesday was kept after all
    shop.reverse(purchase, 52)
    assert shop.stands(52) == (2, 0, 1000)


def test_freezes_that_are_settled_can_be_taken_back() -> None:
    shop = Shop()
    purchase = shop.buy(1)
    for day in range(1, 9):
        shop.run(24 * day)
    shop.reverse(purchase, 200)
    assert shop.stands(200) == (9, 0, 1000)


def test_by_reference_all_that_can_be_is_taken_back() -> None:
    shop = Shop()
    used, unused = shop.buy(1), shop.buy(2, 2)
    shop.world.do(Spend("points", 30, Cause(reference=REFERENCE)), MONDAY + 3 * HOUR)
    answer = shop.world.do(ReverseReference(REFERENCE), MONDAY + 50 * HOUR).answer
    # Two of three are left, whichever these are; the first that asks has one of them, so the second lacks one.
    assert [each["amount"] for each in answer["transactions"]] == [50, 30]
    assert [(each["type"], each["transaction"]) for each in answer["effects"]] == [
        ("streak_freezes", str(used)),
        ("not_reversed", str(unused)),
    ]
    assert "only 1 of them is unused" in answer["effects"][-1]["why"]
    assert shop.stands(50) == (1, 1, 900)


def test_a_rule_that_takes_back_says_why_it_did_not() -> None:
    shop = Shop()
    shop.buy(1)
    shop.world.until(MONDAY + 50 * HOUR)
    outcome = shop.world.do(Event("l", "lost", MONDAY + 51 * HOUR, {"length": 1}), MONDAY + 51 * HOUR)
    [line] = [each for each in outcome.trace if each.get("rule") == "regret"]
    assert (line["result"], line["code"]) == ("refused", "not-reversible")
    assert shop.stands(51) == (1, 0, 950)


steps = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 60)),  # so many hours late
    st.tuples(st.just("buy"), st.integers(1, 2)),
    st.tuples(st.just("give"), st.integers(1, 2)),
    st.tuples(st.just("back"), st.integers(0, 9)),
)


def oracle(
    ran: set[int], bought: list[tuple[int, int]], gave: list[tuple[int, int]], today: int
) -> tuple[int, int, int]:
    """Day by day from Monday: the length, the freezes and how many of these were bought."""
    length = free = paid = 0
    for day in range(today + 1):
        paid += sum(count for when, count in bought if when == day)
        free += sum(count for when, count in gave if when == day)
        if day in ran:
            length += 1
        elif day < today and length:
            if free:
                free -= 1
            elif paid:
                paid -= 1
            else:
                length = 0
    return length, free + paid, paid


@explored(given(st.lists(st.tuples(steps, st.integers(1, 40)), max_size=25)), few=30, at_length=100)
@example([(("buy", 1), 1), (("back", 0), 40), (("run", 30), 1)])
def test_what_was_taken_back_was_never_bought(plan: list[tuple[tuple[str, int], int]]) -> None:
    shop = Shop("freezes: {most: 100, price: {currency: points, amount: 1}}")
    ran, hour = {0}, 0
    bought: list[tuple[int, int]] = []
    gave: list[tuple[int, int]] = []
    purchases: list[tuple[UUID, int]] = []
    for (step, number), wait in plan:
        hour += wait
        today = hour // 24
        if step == "run":
            shop.run(max(0, hour - number), arrives=hour)
            ran.add(max(0, hour - number) // 24)
        elif step == "buy":
            purchases.append((shop.buy(hour, number), number))
            bought += [(today, 1)] * number
        elif step == "give":
            shop.world.do(GiveFreezes("s", number), MONDAY + hour * HOUR)
            gave.append((today, number))
        elif purchases:
            purchase, count = purchases[number % len(purchases)]
            unused = oracle(ran, bought, gave, today)[2]
            if unused < count:
                with pytest.raises(NotReversible):
                    shop.reverse(purchase, hour)
            else:
                shop.reverse(purchase, hour)
                purchases.remove((purchase, count))
                del bought[len(bought) - count :]
        assert shop.stands(hour) == (*oracle(ran, bought, gave, today)[:2], 1000 - len(bought))
