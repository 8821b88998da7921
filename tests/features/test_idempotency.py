"""Every mutation happens once under its key: repeats, refusals, twins at the same time, and what is not kept."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import text
from tests.features.bank import DOCUMENT, Bank, problem
from tests.service import live, service_settings

from rewards.db.transact import transaction
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.service import database

MOST: Final = 2**53 - 1
TWINS: Final = 10
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ready:
    """A member with a hundred points, of which fifty are held."""

    member: str
    earned: str
    hold: str


@dataclass(frozen=True)
class Move:
    """A request that succeeds, another under the same key, and one that is refused."""

    path: str
    body: dict[str, Any]
    other: dict[str, Any]
    refused: dict[str, Any] | None = None
    method: str = "POST"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


MOVES: Final = [
    Move("/members/{member}/earn", {"currency": "points", "amount": 5}, {"currency": "points", "amount": 6},
         {"currency": "points", "amount": MOST}),
    Move("/members/{member}/spend", {"currency": "points", "amount": 5}, {"currency": "points", "amount": 6},
         {"currency": "points", "amount": 101}),
    Move("/members/{member}/holds", {"currency": "points", "amount": 5, "expires_in": "1h"},
         {"currency": "points", "amount": 5, "expires_in": "2h"},
         {"currency": "points", "amount": 101, "expires_in": "1h"}),
    Move("/members/{member}/reverse", {"reference": "o-1"}, {"reference": "o-1", "policy": "allow_debt"},
         {"reference": "never"}),
    Move("/holds/{hold}/capture", {"amount": 5}, {"amount": 6}, {"amount": 51}),
    Move("/holds/{hold}/release", {"amount": 5}, {}, {"amount": 51}),
    Move("/transactions/{earned}/reverse", {"amount": 5}, {"amount": 5, "policy": "allow_debt"}, {"amount": 101}),
    Move("/members/{member}", {"attributes": {"plan": "pro"}}, {"attributes": {"plan": "basic"}}, method="PATCH"),
]  # fmt: skip
REFUSED: Final = [move for move in MOVES if move.refused is not None]


@pytest.fixture(scope="module")
async def vault(migrated_url: str, redis_url: str) -> AsyncIterator[Bank]:
    """A service that soon gives up on a lock."""
    async with live(service_settings(migrated_url, redis_url, lock_timeout_seconds=0.2), DOCUMENT) as running:
        yield Bank(running)


@pytest.fixture
async def ready(vault: Bank) -> Ready:
    member = f"once-{next(_numbers)}"
    earned = await vault.earn(member, 100, reference="o-1")
    hold = await vault.hold(member, 50)
    return Ready(member, earned["transactions"][0]["id"], hold["id"])


async def do(
    bank: Bank, move: Move, ready: Ready, body: dict[str, Any], *, key: str | None, token: str | None = None
) -> httpx.Response:
    """With a request id of its own making, so that two answers can be the same to the byte."""
    path = move.path.format(member=ready.member, earned=ready.earned, hold=ready.hold)
    headers = {"X-Request-Id": "the-same-request", "Authorization": f"Bearer {token or bank.live.server_key}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    return await bank.live.client.request(move.method, f"/v1{path}", json=body, headers=headers)


async def seq(bank: Bank, ready: Ready) -> tuple[Any, ...]:
    """What tells whether anything happened to the member."""
    sql = "SELECT seq, state, attributes FROM member WHERE program_id = :program AND external_id = :name"
    async with bank.live.service.engine.connect() as connection:
        found = await connection.execute(text(sql), {"program": bank.live.program_id, "name": ready.member})
        return tuple(found.one())


def is_replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotency-replayed") == "true")


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_a_repetition_answers_the_same_to_the_byte(vault: Bank, ready: Ready, move: Move) -> None:
    first = await do(vault, move, ready, move.body, key="once")
    assert first.status_code == 200, first.text
    assert not is_replayed(first)
    after = await seq(vault, ready)
    await vault.earn(ready.member, 7)  # whatever has happened since
    later = await seq(vault, ready)
    for _ in range(2):
        again = await do(vault, move, ready, move.body, key="once")
        assert (again.status_code, again.content, is_replayed(again)) == (200, first.content, True)
    assert await seq(vault, ready) == later != after


@pytest.mark.parametrize("move", REFUSED, ids=str)
async def test_a_refusal_is_repeated_to_the_byte(vault: Bank, ready: Ready, move: Move) -> None:
    assert move.refused is not None
    first = await do(vault, move, ready, move.refused, key="refused")
    assert first.status_code in {402, 409}, first.text
    assert not is_replayed(first)
    before = await seq(vault, ready)
    again = await do(vault, move, ready, move.refused, key="refused")
    assert (again.status_code, again.content, is_replayed(again)) == (first.status_code, first.content, True)
    assert await seq(vault, ready) == before
    assert problem(await do(vault, move, ready, move.body, key="refused")) == (422, "id-reused")


async def forget_answers(migrated_url: str, redis_url: str, ready: Ready) -> None:
    """As when the month of what the member was answered has been dropped."""
    owner = database(service_settings(migrated_url, redis_url), application_name="tests", role=None)
    async with transaction(owner) as connection:
        sql = "DELETE FROM answer a USING member m WHERE m.external_id = :name AND a.member_id = m.member_id"
        await connection.execute(text(sql), {"name": ready.member})
    await owner.dispose()


@pytest.mark.parametrize("move", REFUSED, ids=str)
async def test_what_was_refused_says_so_when_its_answer_is_kept_no_longer(
    vault: Bank, ready: Ready, move: Move, migrated_url: str, redis_url: str
) -> None:
    assert move.refused is not None
    first = await do(vault, move, ready, move.refused, key="refused")
    done = await do(vault, move, ready, move.body, key="done")
    assert done.status_code == 200, done.text
    before = await seq(vault, ready)
    await forget_answers(migrated_url, redis_url, ready)
    again = await do(vault, move, ready, move.refused, key="refused")
    assert (problem(again), is_replayed(again)) == (problem(first), True)
    assert (again.json()["answer_expired"], "nothing was changed" in again.json()["detail"]) == (True, True)
    assert problem(await do(vault, move, ready, move.body, key="refused")) == (422, "id-reused")
    again = await do(vault, move, ready, move.body, key="done")
    assert (again.status_code, again.json(), is_replayed(again)) == (200, {"answer_expired": True}, True)
    assert await seq(vault, ready) == before


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_twins_at_the_same_time_happen_once(vault: Bank, ready: Ready, move: Move) -> None:
    answers = await asyncio.gather(*(do(vault, move, ready, move.body, key="twins") for _ in range(TWINS)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum(map(is_replayed, answers)) == TWINS - 1
    alone = await seq(vault, ready)
    await do(vault, move, ready, move.body, key="twins")
    assert await seq(vault, ready) == alone


@pytest.mark.parametrize("move", REFUSED, ids=str)
async def test_refused_twins_are_refused_alike(vault: Bank, ready: Ready, move: Move) -> None:
    assert move.refused is not None
    answers = await asyncio.gather(*(do(vault, move, ready, move.refused, key="twins") for _ in range(TWINS)))
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert sum(map(is_replayed, answers)) == TWINS - 1


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_another_body_under_the_key_changes_nothing(vault: Bank, ready: Ready, move: Move) -> None:
    await do(vault, move, ready, move.body, key="reused")
    before = await seq(vault, ready)
    refused = await do(vault, move, ready, move.other, key="reused")
    assert (problem(refused), "needs another key" in refused.json()["detail"]) == ((422, "id-reused"), True)
    racing = await asyncio.gather(*(do(vault, move, ready, body, key="reused") for body in [move.body, move.other] * 3))
    assert [answer.status_code for answer in racing] == [200, 422] * 3
    assert await seq(vault, ready) == before


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_one_key_serves_one_address(vault: Bank, ready: Ready, move: Move) -> None:
    other = next(each for each in MOVES if each is not move)
    await do(vault, move, ready, move.body, key="elsewhere")
    before = await seq(vault, ready)
    assert problem(await do(vault, other, ready, other.body, key="elsewhere")) == (422, "id-reused")
    assert await seq(vault, ready) == before


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_who_may_not_uses_up_no_key(vault: Bank, ready: Ready, move: Move) -> None:
    before = await seq(vault, ready)
    for token, expected in (("rk_" + "x" * 43, (401, "unauthorized")), (vault.live.public_key, (403, "forbidden"))):
        assert problem(await do(vault, move, ready, move.body, key="later", token=token)) == expected
    assert await seq(vault, ready) == before
    answer = await do(vault, move, ready, move.body, key="later")
    assert (answer.status_code, is_replayed(answer)) == (200, False)


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_what_was_wrong_uses_up_no_key(vault: Bank, ready: Ready, move: Move) -> None:
    wrong = await do(vault, move, ready, {**move.body, "surplus": 1}, key="corrected")
    assert problem(wrong) == (422, "invalid-input")
    answer = await do(vault, move, ready, move.body, key="corrected")
    assert (answer.status_code, is_replayed(answer)) == (200, False)


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_too_many_requests_use_up_no_key(vault: Bank, ready: Ready, move: Move) -> None:
    service = vault.live.service
    slow = KeyRequest("slow", scopes=("events", "ledger"), rate_per_second=1)
    token, _ = await create_key(
        service.engine, service.secret_key, program_id=vault.live.program_id, request=slow, actor="tests"
    )
    first = [await do(vault, move, ready, move.body, key=None, token=token) for _ in range(3)]
    assert first[-1].status_code == 429
    limited = await do(vault, move, ready, move.body, key="limited", token=token)
    assert problem(limited) == (429, "too-many-requests")
    assert int(limited.headers["retry-after"]) >= 1
    answer = await do(vault, move, ready, move.body, key="limited")
    assert (answer.status_code, is_replayed(answer)) == (200, False)


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_a_busy_database_uses_up_no_key(vault: Bank, ready: Ready, move: Move) -> None:
    """Somebody else holds the member; the service gives up, and what was not done then is done later."""
    lock = text("SELECT 1 FROM member WHERE program_id = :program AND external_id = :name FOR UPDATE")
    async with transaction(vault.live.service.engine) as other:
        await other.execute(lock, {"program": vault.live.program_id, "name": ready.member})
        busy = await do(vault, move, ready, move.body, key="busy")
    assert problem(busy) == (503, "database-busy")
    assert int(busy.headers["retry-after"]) >= 1
    answer = await do(vault, move, ready, move.body, key="busy")
    assert (answer.status_code, is_replayed(answer)) == (200, False)


async def test_an_event_is_decided_once_whoever_sends_it_first(vault: Bank) -> None:
    event = {"id": "raced", "type": "order_placed", "member": "racer", "properties": {"order_id": "o", "total": 9}}
    answers = await asyncio.gather(*(vault.live.client.post("/v1/events", json=event) for _ in range(TWINS)))
    bodies = [answer.json() for answer in answers]
    assert sorted(body["status"] for body in bodies) == ["duplicate"] * (TWINS - 1) + ["processed"]
    assert all(body["effects"] == bodies[0]["effects"] for body in bodies)
    assert await vault.buckets("racer") == (9, 0, 0, 0)


@pytest.mark.parametrize("key", ['"quoted"', "a b", "!~", "x" * 255, "01a200bf-a935-8f30-8000-00a53a57529e"])
async def test_keys_of_every_kind(vault: Bank, ready: Ready, key: str) -> None:
    answers = [await do(vault, MOVES[0], ready, MOVES[0].body, key=key) for _ in range(2)]
    assert [is_replayed(answer) for answer in answers] == [False, True]


async def test_a_key_belongs_to_one_member(vault: Bank) -> None:
    for member in ("twin-a", "twin-b", "anon:twin-a"):
        answer = await vault.post(f"/members/{member}/earn", key="shared", currency="points", amount=1)
        assert (answer.status_code, is_replayed(answer)) == (200, False)
    answer = await vault.post("/members/user:twin-a/earn", key="shared", currency="points", amount=1)
    assert is_replayed(answer)
