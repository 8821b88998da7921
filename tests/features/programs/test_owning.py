"""Owning a program over HTTP: from a draft to a version that decides, and back."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import text
from tests.features.bank import Bank
from tests.service import Live, another

from rewards.domain.program import check_bytes

TEMPLATE: Final = """\
# Points for play.
rewards: 1
program: {key: KEY, timezone: UTC}
currencies:
  coins: {name: Coins}
events:
  played: {properties: {minutes: integer}}
rules:
  - key: play
    on: played
    then: [{earn: {currency: coins, amount: AMOUNT}}]
tests:
  - name: playing pays
    given: [{at: "2026-11-21T10:00:00Z", member: ada, type: played}]
    expect: {ada: {balances: {coins: EXPECTED}}}
"""
YAML: Final = {"Content-Type": "application/yaml"}


def document(key: str, amount: int, expected: int | None = None) -> str:
    """A program whose own test expects what it pays, or something else."""
    written = TEMPLATE.replace("KEY", key).replace("AMOUNT", str(amount))
    return written.replace("EXPECTED", str(amount if expected is None else expected))


@pytest.fixture
async def games(bank: Bank) -> AsyncIterator[Live]:
    """A program that pays one coin, as version 1."""
    async with another(bank.live, document("games", 1)) as running:
        yield running


async def post(games: Live, path: str, body: Any = None, **more: Any) -> httpx.Response:
    if isinstance(body, str):
        return await games.client.post(f"/v1/programs{path}", content=body, headers=YAML, **more)
    return await games.client.post(f"/v1/programs{path}", json=body, **more)


async def draft(games: Live, source: str, note: str | None = None) -> dict[str, Any]:
    answer = await post(games, "/versions", source, params={"note": note} if note else None)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def audit(games: Live) -> list[tuple[str, str, Any]]:
    async with games.service.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT action, target, details FROM audit WHERE program_id = :program ORDER BY recorded_at, id"),
            {"program": games.program_id},
        )
        rows = [(row.action, row.target, row.details) for row in found if not row.action.startswith("key.")]
    return [(action, target, json.loads(of) if isinstance(of, str) else of) for action, target, of in rows]


async def coins(games: Live, member: str) -> int:
    await games.event(type="played", member=member, properties={})
    return await games.balance(member, "coins")


async def test_a_document_may_come_compressed(games: Live) -> None:
    body = gzip.compress(document("games", 3).encode())
    headers = {**YAML, "Content-Encoding": "gzip"}
    checked = await games.client.post("/v1/programs/check", content=body, headers=headers)
    assert (checked.status_code, checked.json()["ok"]) == (200, True)
    bomb = gzip.compress(b"#" * 20_000_000)
    assert (await games.client.post("/v1/programs/check", content=bomb, headers=headers)).status_code == 413


async def test_a_draft_is_published_decides_and_is_rolled_back(games: Live) -> None:
    key = games.program_key
    assert await coins(games, "before") == 1
    made = await draft(games, document(key, 7), note="Seven for the holidays")
    assert made["version"] | {"created_at": "", "author": ""} == {
        "number": 2,
        "status": "draft",
        "author": "",
        "note": "Seven for the holidays",
        "created_at": "",
        "published_at": None,
    }
    assert made["version"]["author"].startswith("key:")
    assert made["report"]["ok"]
    assert await coins(games, "drafted") == 1, "a draft decides nothing"

    published = await post(games, "/versions/2/publish")
    assert (published.status_code, published.json()["status"], published.json()["replaced"]) == (200, "published", 1)
    assert [(each["section"], each["key"], each["kind"]) for each in published.json()["changes"]] == [
        ("program", key, "changed"),  # the first version was written for another key
        ("rules", "play", "changed"),
        ("tests", "playing pays", "changed"),
    ]
    assert await coins(games, "published") == 7
    again = await post(games, "/versions/2/publish")
    assert (again.status_code, again.json()["replaced"], again.json()["changes"]) == (200, 2, []), "changes nothing"

    await draft(games, document(key, 9))
    await post(games, "/versions/3/publish")
    back = await post(games, "/rollback", {"published": 3})
    assert (back.status_code, back.json()["number"], back.json()["replaced"]) == (200, 2, 3)
    (field,) = back.json()["changes"][0]["fields"]
    assert field == {"path": "then.0.earn.amount", "before": 9, "after": 7}
    again = await post(games, "/rollback", {"published": 3})
    assert (again.status_code, again.json()["code"]) == (409, "published-meanwhile")
    assert await coins(games, "rolled back") == 7

    versions = (await games.client.get("/v1/programs/versions")).json()["items"]
    assert [(each["number"], each["status"]) for each in versions] == [
        (3, "superseded"),
        (2, "published"),
        (1, "superseded"),
    ]
    assert await audit(games) == [
        ("program.published", "version:2", {"before": 1}),
        ("program.published", "version:3", {"before": 2}),
        ("program.rolled_back", "version:2", {"before": 3}),
    ]


async def test_the_first_version_cannot_be_rolled_back(games: Live) -> None:
    answer = await post(games, "/rollback", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing-to-roll-back-to")


@pytest.mark.parametrize(
    ("wrong", "code", "path"),
    [
        (lambda key: document(key, 5).replace("on: played", "on: playd"), "unknown-event", "rules.play.on"),
        (lambda key: document(key, 5, expected=6), "test-failed", "tests.0"),
        (lambda _: document("others", 5), "other-program", "program.key"),
    ],
    ids=["a mistake", "a test that fails", "another program's document"],
)
async def test_what_is_wrong_is_not_published(games: Live, wrong: Any, code: str, path: str) -> None:
    made = await draft(games, wrong(games.program_key))
    number = made["version"]["number"]
    answer = await post(games, f"/versions/{number}/publish")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "invalid-program")
    assert (path, code) in [(each["path"], each["code"]) for each in body["errors"]]
    assert await coins(games, "ada") == 1
    assert await audit(games) == []


async def test_the_same_document_is_the_same_version(games: Live) -> None:
    numbers = [(await draft(games, document(games.program_key, 5)))["version"]["number"] for _ in range(2)]
    assert numbers == [2, 2]


async def test_a_version_reads_as_it_was_written_or_as_json(games: Live) -> None:
    source = document(games.program_key, 5)
    await draft(games, source)
    as_yaml = await games.client.get("/v1/programs/versions/2", headers={"Accept": "application/yaml"})
    assert (as_yaml.headers["content-type"].split(";")[0], as_yaml.text) == ("application/yaml", source)
    as_json = await games.client.get("/v1/programs/versions/2")
    assert as_json.json() == check_bytes(source.encode()).data
    assert (await games.client.get("/v1/programs/versions/99")).status_code == 404


async def test_json_is_a_document_too(games: Live) -> None:
    data = check_bytes(document(games.program_key, 5).encode()).data
    answer = await post(games, "/versions", data)
    assert (answer.status_code, answer.json()["version"]["number"]) == (201, 2)
    assert (await post(games, "/versions/2/publish")).status_code == 200
    assert await coins(games, "ada") == 5


async def test_versions_come_in_pages(games: Live) -> None:
    for amount in (2, 3, 4):
        await draft(games, document(games.program_key, amount))
    seen, cursor = [], None
    for _ in range(4):
        parameters = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = (await games.client.get("/v1/programs/versions", params=parameters)).json()
        seen += [each["number"] for each in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == ([4, 3, 2, 1], None)


async def test_comparing_documenting_and_the_schema(games: Live) -> None:
    await draft(games, document(games.program_key, 5).replace("key: play\n", "key: play\n    stage: fun\n"))
    changes = (await games.client.get("/v1/programs/diff")).json()
    assert (changes["before"], changes["after"]) == (1, 2)
    fields = {each["path"] for change in changes["changes"] for each in change["fields"]}
    assert "stage" in fields
    assert (await games.client.get("/v1/programs/diff", params={"from": 2, "to": 2})).json()["changes"] == []
    docs = await games.client.get("/v1/programs/docs", params={"version": 2})
    assert docs.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "flowchart" in docs.text
    schema = await games.client.get("/v1/programs/schema", headers={"Authorization": ""})
    assert schema.json()["title"] == "Rewards program"


async def test_a_rule_is_paused_and_resumed(games: Live) -> None:
    paused = await post(games, "/rules/play/pause", {"reason": "too generous"})
    (rule,) = paused.json()["rules"]
    assert (rule["rule"], rule["paused"], rule["reason"]) == ("play", True, "too generous")
    assert await coins(games, "paused") == 0
    resumed = await post(games, "/rules/play/resume")
    assert resumed.json()["rules"][0]["paused"] is False
    assert await coins(games, "resumed") == 1
    assert await audit(games) == [
        ("rule.paused", "rule:play", {"reason": "too generous"}),
        ("rule.resumed", "rule:play", {}),
    ]
    unknown = await post(games, "/rules/plya/pause", {})
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "the published program has no rule 'plya'; did you mean play?",
    )


async def test_the_program_of_the_key_is_listed(games: Live) -> None:
    await post(games, "/rules/play/pause", {})
    assert (await games.client.get("/v1/programs")).json() == {
        "programs": [
            {
                "key": games.program_key,
                "name": None,
                "kind": "live",
                "version": 1,
                "currencies": ["coins"],
                "event_types": 1,
                "rules": 1,
                "paused_rules": 1,
            }
        ]
    }


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("name: Games", "Games"),
        ("name: {de: Spiele, en: Games}, locale: en", "Games"),
        ("name: {de: Spiele, en: Games}", "Games"),
        ("name: {de: Spiele, fr: Jeux}", "Spiele"),
    ],
)
async def test_a_program_is_listed_by_a_name_in_its_own_language(games: Live, header: str, name: str) -> None:
    key = games.program_key
    source = document(key, 2).replace(f"{{key: {key}", f"{{key: {key}, {header}")
    made = await draft(games, source)
    answer = await post(games, f"/versions/{made['version']['number']}/publish")
    assert answer.status_code == 200, answer.text
    (shown,) = (await games.client.get("/v1/programs")).json()["programs"]
    assert (shown["name"], shown["version"]) == (name, 2)


async def test_a_version_that_no_longer_reads_keeps_nobody_from_publishing(games: Live) -> None:
    await draft(games, document(games.program_key, 5))
    async with games.service.engine.begin() as connection:
        await connection.execute(
            text("UPDATE program_version SET document = '{}' WHERE program_id = :program AND number = 1"),
            {"program": games.program_id},
        )
    published = await post(games, "/versions/2/publish")
    assert (published.status_code, published.json()["replaced"], published.json()["changes"]) == (200, 1, None)


async def test_a_document_runs_its_own_tests(games: Live) -> None:
    right = (await post(games, "/test", document("games", 5))).json()
    assert (right["ok"], [each["passed"] for each in right["tests"]]) == (True, [True])
    wrong = (await post(games, "/test", document("games", 5, expected=6))).json()
    assert wrong["ok"] is False
    assert wrong["tests"][0]["failures"] == ["ada: expected 6 coins available, found 5"]


BOMB: Final = "rewards: 1\nx0: &x0 [a, a, a, a, a, a, a, a, a, a]\n" + "".join(
    f"x{number}: &x{number} [{', '.join([f'*x{number - 1}'] * 10)}]\n" for number in range(1, 12)
)
LOOPS: Final = ".map(x, event.items)".join(["event.items"] * 12)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        pytest.param("", "type", id="empty"),
        pytest.param("just a sentence", "type", id="text"),
        pytest.param("{", "syntax", id="half"),
        pytest.param('{"rewards": 1, "rewards": 2}', "duplicate-key", id="twice"),
        pytest.param(BOMB, None, id="alias bomb"),
        pytest.param(
            document("games", 1).replace("on: played\n", f'on: played\n    when: "{"(" * 5000}true{")" * 5000}"\n'),
            None,
            id="a deep condition",
        ),
        pytest.param(
            document("games", 1).replace(
                "on: played\n",
                "on: played\n    when: '" + "[1,2,3].all(a, " * 40 + "true" + ")" * 40 + "'\n",
            ),
            None,
            id="a condition that multiplies",
        ),
    ],
)
async def test_hostile_documents_get_an_answer(games: Live, source: str, code: str | None) -> None:
    for path in ("/check", "/test"):
        answer = await post(games, path, source)
        body = answer.json()
        assert (answer.status_code, body["ok"]) == (200, False)
        assert code is None or code in {each["code"] for each in body["errors"]}, body
    stored = await post(games, "/versions", source)
    assert stored.status_code in {201, 422}


async def test_ten_megabytes_are_too_much(games: Live) -> None:
    answer = await post(games, "/check", "#" + " " * 10_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


async def test_only_owners_may(games: Live) -> None:
    for key, status in ((games.public_key, 403), ("rk_nothing", 401)):
        headers = {"Authorization": f"Bearer {key}"}
        assert (await games.client.get("/v1/programs/versions", headers=headers)).status_code == status
