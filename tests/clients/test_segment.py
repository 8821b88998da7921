"""Segment's own clients, with nothing changed but their host."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from segment.analytics.client import Client
from sqlalchemy import text
from tests.clients.conftest import Served

from rewards.db.transact import transaction

SCRIPT: Final = Path(__file__).parent / "segment.mjs"
CONTEXT: Final = {
    "device": {"type": "ios"},
    "location": {"city": "Berlin"},
    "locale": "de-DE",
    "timezone": "Europe/Berlin",
}
POINTS: Final = 5 + 1 + 2 + 7 + 12
"""A view, on a phone in Berlin, the page of offers, the group, and an order of 12.50."""


async def python_client(served: Served, send: Callable[[Client], None], **settings: Any) -> list[Exception]:
    """Runs calls through a client of its own; returns what it could not deliver."""
    failed: list[Exception] = []

    def run() -> None:
        client = Client(
            **{
                "write_key": served.key,
                "host": f"{served.base_url}/segment",
                "on_error": lambda error, _: failed.append(error),
                "upload_interval": 0.05,
                "max_retries": 0,
                **settings,
            }
        )
        send(client)
        if client.consumers is not None:  # none in sync mode, where `shutdown` fails
            client.shutdown()

    await asyncio.to_thread(run)
    return failed


def one_of_every_call(client: Client, prefix: str) -> None:
    user, visitor = f"{prefix}-user", f"{prefix}-visitor"
    client.track(anonymous_id=visitor, event="Product Viewed", properties={"category": "audio"}, context=dict(CONTEXT))
    client.track(anonymous_id=visitor, event="No Such Thing", properties={"nested": {"a": [1, None]}})
    client.track(anonymous_id=visitor, event="Order Completed", properties={"order_id": "bad", "total": "a lot"})
    client.page(anonymous_id=visitor, name="Offers", properties={"path": "/offers"})
    client.screen(anonymous_id=visitor, name="Offers")
    client.group(anonymous_id=visitor, group_id="g1", traits={"employees": 5})
    client.alias(previous_id=visitor, user_id=user)
    client.identify(user_id=user, traits={"plan": "pro", "unheard": "of"}, context=dict(CONTEXT))
    client.track(
        user_id=user,
        event="Order Completed",
        properties={"order_id": "o1", "total": 12.5},
        timestamp=datetime.now(UTC) - timedelta(hours=1),
        message_id=f"{prefix}-order",
    )


async def check(served: Served, prefix: str) -> None:
    """What one of every call comes to, after the merge."""
    await served.known.live.worker.run_due()
    user = f"{prefix}-user"
    assert await served.known.live.balance(user) == POINTS
    member = await served.known.member(user)
    assert (member.attributes, member.locale, member.timezone) == ({"plan": "pro"}, "de-DE", "Europe/Berlin")
    [order] = await served.known.events(user)
    assert order.client_id == f"{prefix}-order"
    assert timedelta(minutes=59) < order.recorded_at - order.occurred_at < timedelta(minutes=61)
    before = await served.known.events(f"anon:{prefix}-visitor")
    assert {event.type: event.status for event in before} == {
        "product_viewed": "processed",
        "No Such Thing": "quarantined",
        "page_viewed": "processed",
        "group_joined": "processed",
    }
    [view] = [event for event in before if event.type == "product_viewed"]
    assert view.context.items() >= {("device", "ios"), ("city", "Berlin"), ("language", "de")}


@pytest.mark.parametrize("settings", [{}, {"gzip": True}, {"sync_mode": True}], ids=["plain", "gzip", "sync"])
async def test_the_python_client(served: Served, settings: dict[str, Any]) -> None:
    prefix = f"python-{'-'.join(settings) or 'plain'}"
    assert await python_client(served, lambda client: one_of_every_call(client, prefix), **settings) == []
    await check(served, prefix)


async def test_the_python_client_gives_up_a_wrong_key_at_once(served: Served) -> None:
    failed = await python_client(
        served,
        lambda client: client.track("nobody", "Product Viewed"),
        write_key="rk_" + "A" * 43,
        max_retries=10,
    )
    assert [getattr(error, "status", None) for error in failed] == [401]


async def test_the_python_client_repeats_what_the_service_could_not_do(served: Served) -> None:
    user = "python-repeats"
    assert await python_client(served, lambda client: client.track(user, "Product Viewed")) == []
    rate_limited = threading.Event()

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Rate-limited (status 503)"):
                rate_limited.set()

    log, waiting = logging.getLogger("segment"), Waiting()
    log.addHandler(waiting)
    level = log.level
    log.setLevel(logging.DEBUG)
    lock = text("SELECT 1 FROM member WHERE external_id = :user AND program_id = :program FOR UPDATE")

    def send(client: Client) -> None:
        client.track(user, "Product Viewed")
        assert rate_limited.wait(20), "the client was not told to wait"
        released.wait(20)
        client.flush()

    released = threading.Event()
    try:
        async with transaction(served.known.live.service.engine) as connection:
            await connection.execute(lock, {"user": user, "program": served.known.live.program_id})
            sending = asyncio.create_task(python_client(served, send))
            assert await asyncio.to_thread(rate_limited.wait, 20)
        released.set()
        assert await sending == []
    finally:
        log.removeHandler(waiting)
        log.setLevel(level)
    assert await served.known.live.balance(user) == 10


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.parametrize(
    ("name", "host", "path"),
    [
        ("host-only", "", ""),  # the client drops the path of its host, so it posts to /v1/batch
        ("host-with-path", "/segment", ""),
        ("path", "", "/segment/v1/batch"),
    ],
)
async def test_the_node_client(served: Served, node: str, name: str, host: str, path: str) -> None:
    prefix = f"node-{name}"
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT), served.base_url + host, served.key, prefix, path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert json.loads(output) == {"failed": [], "attempts": [200]}
    await check(served, prefix)
