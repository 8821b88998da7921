"""Diff, documentation and the schema for editors, and that the seeds hold what they promise."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.domain.program.test_check import Change, changed, put

from rewards.domain.commands import MemberRef
from rewards.domain.program.check import check_bytes
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import MetricKind
from rewards.domain.program.diff import BY_NUMBER, diff
from rewards.domain.program.docs import render
from rewards.domain.program.models import Document
from rewards.domain.program.models.actions import ACTIONS
from rewards.domain.program.read import read_document
from rewards.domain.program.schema import document_schema
from rewards.domain.program.testing import run_tests

SEEDS = sorted((Path(__file__).parents[3] / "seeds").glob("*.yaml"))


def document(*changes: Change) -> Document:
    return Document.model_validate(changed(*changes))


def without(section: str, key: str) -> Change:
    return lambda data: data[section].pop(key)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("rules.share_points.on", ["product_shared"]), []),
        (put("program.money", "USD"), ["~ program.shop\n    money: EUR → USD"]),
        (put("rules.audio_interest.limit.times", 2), ["~ rules.audio_interest\n    limit.0.times: 1 → 2"]),
        (put("attributes.new", "string"), ["+ attributes.new"]),
        (without("attributes", "vip"), ["- attributes.vip"]),
        (
            put("metrics.orders.over", "7d"),
            ["~ metrics.orders  (counts from zero, since it counts something else)\n    over: lifetime → 7d"],
        ),
        (put("metrics.orders.name", "Orders"), ["~ metrics.orders\n    name: nothing → Orders"]),
        (
            lambda data: data["rules"].insert(0, data["rules"].pop(1)),
            ["↕ rules.keen_on_a_product", "↕ rules.audio_interest"],
        ),
        (
            put("tests.0.name", "other"),
            ["+ tests.other", "- tests.half a minute of attention earns five points, once a day"],
        ),
    ],
)
def test_diff(change: Change, told: list[str]) -> None:
    assert [str(each) for each in diff(document(), document(change))] == told


@pytest.mark.parametrize(
    ("levels", "note"),
    [
        ([1, 10, 50, 100], None),
        ([1, 10, {"at": 50, "name": "Voice"}], None),
        ([1], BY_NUMBER),
        ([1, 5, 10, 50], None),  # what was paid stays paid, by threshold
        ([1, 11, 50], BY_NUMBER),
    ],
)
def test_diff_says_that_levels_pass_to_the_next_in_number(levels: list[Any], note: str | None) -> None:
    [found] = diff(document(), document(put("badges.reviewer.levels", levels)))
    assert found.note == note


def test_docs_show_each_rule_with_its_gates_rewards_and_fallback() -> None:
    text = render(document(put("rules.feedback_thanks.when", 'event.score >= 4 && context.page != "<a|b>"')))
    assert "### Awareness" in text
    assert "*campaign*" in text
    assert '| if | `event.score >= 4 && context.page != "<a\\|b>"` |' in text
    chart = text.split("#### feedback thanks")[1].split("```")[1]
    assert chart.strip().splitlines() == [
        "mermaid",
        "flowchart TD",
        '    trigger(["feedback_given"])',
        '    condition{"event.score #62;= 4 #38;#38; context.page != #34;#60;a|b#62;#34;"}',
        "    trigger --> condition",
        '    otherwise_0["earn 5 points"]',
        "    condition -->|no| otherwise_0",
        '    limit{"fewer than 1 per 30d?"}',
        "    condition -->|yes| limit",
        '    limit -->|no| limit_no(["nothing"])',
        '    then_0["earn 10 points"]',
        "    limit -->|yes| then_0",
    ]


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (put("program.name", "x"), True),
        (put("rules.share_points.limit", [{"times": 1, "per": "day"}]), True),
        (put("segments.loyal", {"top": "3%", "of": "orders"}), True),
        (put("rules.share_points.limt", {}), False),
        (put("rules.share_points.then", {}), False),
        (put("program.money", "euro"), False),
    ],
)
def test_schema_for_editors(change: Change, valid: bool) -> None:
    assert Draft202012Validator(document_schema()).is_valid(changed(change)) is valid


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.stem)
def test_seed(seed: Path) -> None:
    report = check_bytes(seed.read_bytes())
    assert report.errors == ()
    assert report.warnings == ()
    assert report.document is not None
    results = run_tests(report.document, compile_program(report.document, version=1))
    assert len(results) >= 9
    assert [(result.name, result.failures) for result in results if not result.passed] == []
    assert Draft202012Validator(document_schema()).is_valid(read_document(seed.read_bytes()).data)
    assert render(report.document).count("```mermaid") == len(report.document.rules)


def test_the_seeds_show_everything_there_is() -> None:
    documents = [document for seed in SEEDS if (document := check_bytes(seed.read_bytes()).document) is not None]
    rules = [rule for each in documents for rule in each.rules]
    assert {metric.kind for each in documents for metric in each.metrics.values()} == set(MetricKind)
    assert {action.kind for rule in rules for action in (*rule.then, *rule.otherwise)} == set(ACTIONS)
    for name in (
        "limit",
        "cooldown",
        "budget",
        "priority",
        "exclusive",
        "starts",
        "ends",
        "otherwise",
        "when",
        "stage",
    ):
        assert any(getattr(rule, name) for rule in rules), name


@pytest.mark.parametrize(
    ("expected", "failure"),
    [
        ({"balances": {"points": 6}}, "ada: expected 6 points available, found 5"),
        ({"balances": {"points": {"debt": 1}}}, "ada: expected 1 points debt, found 0"),
        ({"exactly": []}, "ada: expected exactly: nothing; got: earn (currency points, amount 5, rule audio_interest)"),
        (
            {"effects": [{"earn": {"amount": 6}}]},
            "ada: expected earn (amount 6), in this order, among: earn (currency points, amount 5, rule audio_interest)",
        ),
        ({"none": ["earn"]}, "ada: expected no earn, got earn (currency points, amount 5, rule audio_interest)"),
        ({"segments": ["loyal"]}, "ada: expected the segments loyal, is in none"),
        ({"attributes": {"vip": True}}, "ada: expected the attribute vip to be True, is None"),
        ({"statuses": ["processed"]}, "ada: expected the statuses processed, got processed, processed"),
    ],
)
def test_a_failing_test_says_what_came_instead(expected: dict[str, object], failure: str) -> None:
    changed_document = document(put("tests.0.expect", {"ada": expected}))
    result = run_tests(changed_document, compile_program(changed_document, version=1))[0]
    assert result.failures == (failure,)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("ada", "user:ada"),
        ("user:ada", "ada"),
        ("user:ada", "user:ada"),
        ("anon:ada", "anon:ada"),
        ("user:anon:x", "user:anon:x"),
    ],
)
def test_a_document_names_members_as_the_service_does(sent: str, expected: str) -> None:
    earned = {"balances": {"points": 5}, "statuses": ["processed", "processed"]}
    other = {"balances": {"points": 0}, "statuses": []}
    changed_document = document(
        put("tests.0.given.0.member", sent),
        put("tests.0.given.1.member", expected),
        put("tests.0.expect", {expected: earned, "group:ada": other, "anon:x": other}),
    )
    result = run_tests(changed_document, compile_program(changed_document, version=1))[0]
    assert result.failures == ()
    assert {member: len(effects) for member, effects in result.effects.items()} == {
        str(MemberRef.parse(expected)): 1,
        "group:ada": 0,
        "anon:x": 0,
    }


@pytest.mark.parametrize("name", ["anon:", "user:"])
def test_a_test_of_nobody_fails_and_says_so(name: str) -> None:
    for change in (put("tests.0.given.0.member", name), put("tests.0.expect", {name: {}})):
        changed_document = document(change)
        first, *others = run_tests(changed_document, compile_program(changed_document, version=1))
        assert first.failures == (f"{name}: a member id has 1 to 200 characters",)
        assert all(other.passed for other in others)
