"""Who may send, who a call is about, what makes it happen once, and how members become one."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.features.segment.conftest import PROGRAM, Sender, track
from tests.service import live, service_settings

from rewards.db.transact import transaction
from rewards.features.keys.issuing import KeyRequest, create_key


@pytest.mark.parametrize(
    ("auth", "headers", "body", "status"),
    [
        (("SECRET", ""), {}, {}, 200),
        (("SECRET", "any password"), {}, {}, 200),
        (None, {"Authorization": "Bearer SECRET"}, {}, 200),
        (None, {}, {"writeKey": "SECRET"}, 200),
        (("SECRET", ""), {}, {"writeKey": "SECRET"}, 200),
        (("SECRET", ""), {}, {"writeKey": 5}, 200),
        (("not a key", ""), {}, {"writeKey": "SECRET"}, 200),
        (None, {"Authorization": "Basic ÿ"}, {"writeKey": "SECRET"}, 200),
        (None, {"Authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.x"}, {"writeKey": "SECRET"}, 200),
        (("PUBLIC", ""), {}, {}, 200),
        (None, {"Content-Type": "text/plain"}, {"writeKey": "PUBLIC"}, 200),
        (None, {"Origin": "https://elsewhere.example"}, {"writeKey": "PUBLIC"}, 403),
        (("READER", ""), {}, {}, 403),
        (None, {}, {"writeKey": "READER"}, 403),
        (None, {}, {}, 401),
        (None, {}, {"writeKey": ""}, 401),
        (None, {}, {"writeKey": {}}, 401),
        (None, {}, {"writeKey": "SECREt"}, 401),
        (("rk_" + "A" * 43, ""), {}, {}, 401),
        (None, {"Authorization": "Basic ÿ"}, {}, 401),
        (None, {"Authorization": "nonsense"}, {}, 401),
    ],
)
@pytest.mark.parametrize("path", ["batch", "track"])
async def test_the_key_may_be_in_the_headers_or_in_the_body(
    segment: Sender,
    reader_key: str,
    path: str,
    auth: tuple[str, str] | None,
    headers: dict[str, str],
    body: dict[str, Any],
    status: int,
) -> None:
    keys = {"SECRET": segment.live.server_key, "PUBLIC": segment.live.public_key, "READER": reader_key}

    def known(value: Any) -> Any:
        for name, key in keys.items():
            value = value.replace(name, key) if isinstance(value, str) else value
        return value

    call = track("key", "key")
    sent = {**({"batch": [call]} if path == "batch" else call), **{name: known(value) for name, value in body.items()}}
    answer = await segment.post(
        path,
        sent,
        auth=(known(auth[0]), auth[1]) if auth else None,
        headers={name: known(value).encode("latin-1") for name, value in headers.items()},
    )
    assert answer.status_code == status, answer.text
    if status == 401:
        assert "Basic" in answer.headers["WWW-Authenticate"]


@pytest.fixture(scope="session")
async def reader_key(segment: Sender) -> str:
    service = segment.live.service
    token, _ = await create_key(
        service.engine,
        service.secret_key,
        program_id=segment.live.program_id,
        request=KeyRequest("reader", scopes=["read"]),
        actor="tests",
    )
    return token


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (track("p1", "public"), "processed"),
        ({"type": "page", "name": "Offers", "anonymousId": "public", "messageId": "p2"}, "processed"),
        (track("p3", "public", event="Order Completed", properties={"order_id": "o", "total": 5}), "refused"),
        ({"type": "identify", "userId": "public", "traits": {"vip": True}, "messageId": "p4"}, "refused"),
        ({"type": "identify", "userId": "public", "anonymousId": "other", "messageId": "p5"}, "refused"),
        ({"type": "alias", "userId": "public", "previousId": "other", "messageId": "p6"}, "refused"),
        ({"type": "group", "userId": "public", "groupId": "g1", "messageId": "p7"}, "refused"),
    ],
)
async def test_a_public_key_sends_events_of_browsers_only(segment: Sender, call: dict[str, Any], outcome: str) -> None:
    assert await segment.batch(call, track(call["messageId"], "bystander"), key=segment.live.public_key) == {
        outcome: 1 + (outcome == "processed"),
        **({"processed": 1} if outcome == "refused" else {}),
    }
    assert (await segment.member("bystander")).attributes == {}


async def test_a_browser_cannot_use_up_a_message_id_of_the_server(segment: Sender) -> None:
    order = track("guessed", "shopper", event="Order Completed", properties={"order_id": "o", "total": 5})
    assert await segment.batch(track("guessed", "shopper"), key=segment.live.public_key) == {"processed": 1}
    assert await segment.batch(order) == {"processed": 1}
    assert await segment.batch(track("guessed", "shopper"), key=segment.live.public_key) == {"duplicate": 1}
    assert await segment.batch(order) == {"duplicate": 1}
    assert [event.sent_by for event in await segment.events("shopper")] == ["public", "server"]


@pytest.mark.parametrize(
    ("first", "second", "outcome", "points"),
    [
        (track("m", "USER"), track("m", "USER"), "duplicate", 5),
        (track("m", "USER", timestamp="2020-01-01T00:00:00Z"), track("m", "USER", timestamp=1577836800), "duplicate", 0),
        (track("m", "USER"), track("m", "USER", sentAt="2001-01-01T00:00:00Z"), "duplicate", 5),
        (track("m", "USER"), track("m", "USER", context={"locale": "de"}), "duplicate", 5),
        (track("m", "USER"), track("m", "USER", properties={"category": "video"}), "refused", 5),
        (track("m", "USER"), track("m", "USER", event="product_viewed"), "refused", 5),
        (track("m", "USER"), track("n", "USER"), "processed", 10),
        (track("m" * 101 + "a", "USER"), track("m" * 101 + "a", "USER"), "duplicate", 5),
        (track("m" * 101 + "a", "USER"), track("m" * 101 + "b", "USER"), "processed", 10),
        (track("m", "USER"), track("m", None, anonymousId="USER"), "processed", 5),
        # Without a messageId a call is known again by its content and its time; without a time by nothing.
        (track(None, "USER"), track(None, "USER"), "processed", 10),
        (track("", "USER"), track("", "USER"), "processed", 10),
        (track(None, "USER", timestamp="NOW"), track(None, "USER", timestamp="NOW"), "duplicate", 5),
        (track(None, "USER", sentAt="NOW"), track(None, "USER", sentAt="NOW"), "duplicate", 5),
        (track(None, "USER", sentAt="NOW"), track(None, "USER", sentAt="2001-01-01T00:00:00Z"), "processed", 10),
    ],
)  # fmt: skip
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_a_call_happens_once(
    segment: Sender,
    request: pytest.FixtureRequest,
    first: dict[str, Any],
    second: dict[str, Any],
    outcome: str,
    points: int,
    together: bool,
) -> None:
    user = f"once-{request.node.callspec.id}"
    late = points == 0
    words = {"USER": user, "NOW": segment.started.isoformat()}
    first, second = ({key: words.get(value, value) if isinstance(value, str) else value for key, value in call.items()}
                     for call in (first, second))  # fmt: skip
    if together:
        outcomes = await segment.batch(first, second)
    else:
        outcomes = await segment.batch(first) + await segment.batch(second)
    outcomes.subtract(["too_late" if late else "processed"])
    assert +outcomes == {outcome: 1}
    assert await segment.live.balance(user) == points


async def test_an_event_is_the_same_whatever_it_came_through(segment: Sender) -> None:
    await segment.batch(track("both-ways", "both-ways", properties={"category": "audio"}))
    event = {"id": "both-ways", "type": "Product Viewed", "member": "both-ways", "properties": {"category": "audio"}}
    answer = await segment.live.client.post("/v1/events", json=event)
    assert answer.json()["status"] == "duplicate"
    assert await segment.live.balance("both-ways") == 5


@pytest.mark.parametrize(
    ("calls", "attributes", "locale", "timezone"),
    [
        ([{"traits": {"plan": "pro", "vip": True}}], {"plan": "pro", "vip": True}, None, None),
        ([{"traits": {"plan": "pro", "email": "a@example.com", "address": {"city": "x"}}}], {"plan": "pro"}, None, None),
        ([{"traits": {"plan": 5, "vip": True}}], {"vip": True}, None, None),
        ([{"traits": {"plan": "pro"}}, {"traits": {"vip": False}}], {"plan": "pro", "vip": False}, None, None),
        ([{"traits": {"plan": "pro"}}, {"traits": {"plan": None}}], {}, None, None),
        ([{"traits": None}], {}, None, None),
        ([{"context": {"locale": "de_AT", "timezone": "Europe/Vienna"}}], {}, "de-AT", "Europe/Vienna"),
        ([{"context": {"locale": "not a locale", "timezone": "Mars/Olympus"}}], {}, None, None),
        ([{"context": {"locale": 5, "timezone": "../../etc/passwd"}}], {}, None, None),
    ],
)  # fmt: skip
async def test_identify_sets_what_the_program_declares(
    segment: Sender,
    request: pytest.FixtureRequest,
    calls: list[dict[str, Any]],
    attributes: dict[str, Any],
    locale: str | None,
    timezone: str | None,
) -> None:
    user = f"identify-{request.node.callspec.id}"
    sent = [{"type": "identify", "userId": user, "messageId": f"i{n}", **call} for n, call in enumerate(calls)]
    assert await segment.batch(*sent) == {"processed": len(calls)}
    assert await segment.batch(*sent) == {"duplicate": len(calls)}
    member = await segment.member(user)
    assert (member.attributes, member.locale, member.timezone) == (attributes, locale, timezone)


def anonymous(message_id: str, name: str) -> dict[str, Any]:
    return track(message_id, None, anonymousId=name)


def alias(message_id: str, previous: str, user: str) -> dict[str, Any]:
    return {"type": "alias", "previousId": previous, "userId": user, "messageId": message_id}


def identify(message_id: str, name: str | None, user: str, **more: Any) -> dict[str, Any]:
    return {"type": "identify", "anonymousId": name, "userId": user, "messageId": message_id, **more}


@pytest.mark.parametrize(
    ("calls", "balances"),
    [
        ([anonymous("1", "a"), alias("2", "a", "u")], {"u": 5, "anon:a": 0}),
        ([anonymous("1", "a"), track("2", "u"), alias("3", "a", "u")], {"u": 10, "anon:a": 0}),
        ([anonymous("1", "a"), alias("2", "a", "u"), anonymous("3", "a")], {"u": 10, "anon:a": 0}),
        ([alias("1", "a", "u"), anonymous("2", "a")], {"u": 5, "anon:a": 0}),
        ([anonymous("1", "a"), alias("2", "a", "u"), alias("2", "a", "u")], {"u": 5}),
        ([anonymous("1", "a"), alias("2", "a", "u"), alias("3", "a", "u")], {"u": 5}),
        ([anonymous("1", "a"), alias("2", "a", "u"), alias("3", "a", "v")], {"u": 5, "v": 0}),
        ([track("1", "u"), alias("2", "u", "v")], {"u": 0, "v": 5}),
        ([track("1", "u"), anonymous("2", "u"), alias("3", "u", "v")], {"u": 5, "v": 5, "anon:u": 0}),
        ([track("1", "u"), alias("2", "u", "v"), alias("3", "v", "u"), track("4", "u")], {"v": 10, "u": 0}),
        ([anonymous("1", "a"), alias("2", "a", "u"), track("3", "u"), alias("4", "u", "v")], {"v": 10, "u": 0}),
        ([track("1", "u"), alias("2", "u", "v"), anonymous("3", "a"), alias("4", "a", "u")], {"v": 10, "u": 0}),
        ([anonymous("1", "a"), identify("2", "a", "u"), track("3", "u")], {"u": 10, "anon:a": 0}),
        ([anonymous("1", "a"), identify("2", "a", "u"), anonymous("3", "a")], {"u": 10, "anon:a": 0}),
        ([anonymous("1", "a"), identify("2", "a", "u"), identify("3", "a", "u")], {"u": 5}),
        ([anonymous("1", "a"), identify("2", "a", "u"), identify("3", "a", "v"), track("4", "v")], {"u": 5, "v": 5}),
        ([identify("1", "a", "u"), anonymous("2", "a")], {"u": 0, "anon:a": 5}),
        ([anonymous("1", "a"), identify("2", None, "u")], {"u": 0, "anon:a": 5}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_members_become_one(
    segment: Sender,
    request: pytest.FixtureRequest,
    calls: list[dict[str, Any]],
    balances: dict[str, int],
    together: bool,
) -> None:
    prefix = f"merge-{request.node.callspec.id}-"
    names = ("userId", "anonymousId", "previousId")
    calls = [
        {key: prefix + value if key in names and value is not None else value for key, value in call.items()}
        for call in calls
    ]
    for part in [calls] if together else [[call] for call in calls]:
        await segment.batch(*part)
        await segment.live.worker.run_due()
    found = {}
    for name in balances:
        kind, colon, rest = name.rpartition(":")
        found[name] = await segment.live.balance(f"{kind}{colon}{prefix}{rest}")
    assert found == balances


@pytest.mark.parametrize(
    ("calls", "outcomes"),
    [
        ([alias("1", "same", "same")], {"processed": 1}),  # an anonymous id and a user's may be the same text
        ([track("1", "one"), alias("2", "one", "one")], {"processed": 1, "invalid": 1}),
        ([anonymous("1", "x"), alias("2", "x", "y"), alias("3", "x", "z")], {"processed": 2, "refused": 1}),
        ([anonymous("1", "x"), identify("2", "x", "y")], {"processed": 3}),
        ([track("1", "x"), alias("2", "x", "y"), alias("3", "y", "x")], {"processed": 2, "invalid": 1}),
    ],
)
async def test_a_merge_has_its_outcome(
    segment: Sender, request: pytest.FixtureRequest, calls: list[dict[str, Any]], outcomes: dict[str, int]
) -> None:
    prefix = f"merged-{request.node.callspec.id}-"
    names = ("userId", "anonymousId", "previousId")
    calls = [
        {key: prefix + value if key in names and value is not None else value for key, value in call.items()}
        for call in calls
    ]
    assert await segment.batch(*calls) == outcomes


async def test_nothing_is_merged_into_a_member_that_was_erased(segment: Sender) -> None:
    await segment.batch(track("1", "erased"), anonymous("2", "stays"))
    erase = text("UPDATE member SET erased_at = now(), external_id = NULL WHERE external_id = 'erased'")
    async with segment.live.service.engine.begin() as connection:
        await connection.execute(erase)
    calls = (alias("3", "stays", "erased"), identify("4", "stays", "erased"), track("5", "erased"))
    assert await segment.batch(*calls) == {"refused": 3}
    assert await segment.live.balance("anon:stays") == 5


async def test_what_is_known_of_both_is_kept(segment: Sender) -> None:
    await segment.batch(
        identify("k1", None, "known", traits={"plan": "pro"}),
        {"type": "identify", "anonymousId": "known", "traits": {"plan": "free", "vip": True}, "messageId": "k2"},
        identify("k3", "known", "known"),
    )
    await segment.live.worker.run_due()
    assert (await segment.member("known")).attributes == {"plan": "pro", "vip": True}


async def test_the_log_tells_the_operator_and_nothing_of_the_member(segment: Sender) -> None:
    with capture_logs() as logs:
        await segment.batch(track("log-1", "log-user"), track("log-2", "log-user", event="secret " * 50), 5)
    [logged] = [entry for entry in logs if entry["event"] == "segment_calls_refused"]
    assert logged["outcomes"] == {"processed": 1, "invalid": 2}
    assert logged["first"] == [
        {"position": 1, "call": "track", "code": "invalid-input"},
        {"position": 2, "call": "unreadable", "code": "invalid-input"},
    ]
    assert "log-" not in str(logged)
    assert "secret" not in str(logged)


async def test_a_service_without_room_is_asked_again(migrated_url: str, redis_url: str) -> None:
    settings = service_settings(migrated_url, redis_url, lanes=1, lane_queue_max=2)
    async with live(settings, PROGRAM) as running:
        sender = Sender(running)
        assert await sender.batch(track("1", "room"), track("2", "room")) == {"processed": 2}
        answer = await sender.post("batch", {"batch": [track(str(number), "room") for number in range(3)]})
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1


async def test_what_the_database_could_not_do_is_sent_again_and_happens_once(migrated_url: str, redis_url: str) -> None:
    settings = service_settings(migrated_url, redis_url, lanes=2, lock_timeout_seconds=0.2)
    async with live(settings, PROGRAM) as running:
        sender = Sender(running)
        users = [f"busy-{number}" for number in range(10)]
        await sender.batch(*(track("first", user) for user in users))
        again = {"batch": [track("second", user) for user in users]}
        locked = text("SELECT 1 FROM member WHERE external_id = :user AND program_id = :program FOR UPDATE")
        async with transaction(running.service.engine) as connection:
            await connection.execute(locked, {"user": users[0], "program": running.program_id})
            answer: httpx.Response = await sender.post("batch", again)
        assert (answer.status_code, answer.json()["code"]) == (503, "database-busy")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await sender.post("batch", again)).status_code == 200
        assert [await running.balance(user) for user in users] == [10] * len(users)


async def test_a_batch_larger_than_the_lanes_is_taken_in_slices(migrated_url: str, redis_url: str) -> None:
    settings = service_settings(migrated_url, redis_url, lanes=1, lane_queue_max=300)
    async with live(settings, PROGRAM) as running:
        calls = [{"type": "track", "event": "Product Viewed", "userId": f"s{n % 7}", "messageId": str(n)} for n in range(2000)]  # fmt: skip
        assert await Sender(running).batch(*calls) == {"processed": 2000}
        assert sum([await running.balance(f"s{n}") for n in range(7)]) == 10_000


async def test_the_addresses_are_described(segment: Sender) -> None:
    paths = (await segment.live.client.get("/openapi.json")).json()["paths"]
    described = {path.rpartition("/")[2]: item["post"] for path, item in paths.items() if path.startswith("/segment/")}
    assert set(described) == {"track", "identify", "page", "screen", "group", "alias", "batch"}
    for operation in described.values():
        assert operation["security"] == [{"bearer": []}, {"basic": []}]
        assert "requestBody" in operation
        assert {"200", "400", "401", "403", "409", "429", "503"} <= set(operation["responses"])
