"""`rewards program backfill` as a real process, killed half-way; and what publishing says of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.command import run
from tests.features.backfills.test_backfills import BADGE, HEAD, METRICS, PROGRAM, RULES, metrics, order, publish
from tests.service import SECRET_KEY, EventFactory, Live, live, service_settings

BEGINNING = """
  awards: {count: badge.awarded}
  either: {count: [ordered, badge.awarded]}
"""
BADGES = """
  awarded: {metric: awards, levels: [5]}
  given: {levels: [{name: One}]}
"""
"""Of what was before them nothing is recorded by itself."""
COUNT = 130
"""Members: two pages and a part."""


class Command:
    """`rewards program …` against the test's own servers."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "REWARDS_DATABASE_URL": database_url,
            "REWARDS_REDIS_URL": redis_url,
            "REWARDS_SECRET_KEY": SECRET_KEY,
        }

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rewards.cli", "program", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(run, "program", *arguments, environment=self.environment)
        return done.returncode, done.stdout, done.stderr


async def running(shop: Live) -> dict[str, Any]:
    [found] = (await shop.client.get("/v1/programs/backfills")).json()["items"]
    return dict(found)


async def test_killed_half_way_the_next_one_goes_on(migrated_url: str, redis_url: str) -> None:
    command = Command(migrated_url, redis_url)
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as shop:
        members = [f"m{number}" for number in range(COUNT)]
        events = [
            EventFactory(type="ordered", member=member, properties={"order": member, "total": 7, "product": "chair"})
            for member in members
        ]
        answer = await shop.client.post("/v1/events/batch", json={"events": events})
        assert answer.status_code == 200, answer.text
        await publish(shop, HEAD + METRICS + BADGE + RULES)
        process = command.begin("backfill", "--program", shop.program_key)
        while not (items := (await shop.client.get("/v1/programs/backfills")).json()["items"]):
            assert process.poll() is None
        while (await running(shop))["members_done"] < 50:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.communicate)
        half = await running(shop)
        assert (half["state"], half["members_done"] < COUNT, half["id"]) == ("running", True, items[0]["id"])
        code, said, complained = await command.run("backfill", "--program", shop.program_key)
        assert (code, said) == (
            0,
            f"{COUNT} members, {COUNT} with events to fill in; badges and tiers achieved: {COUNT}; 0 members failed\n",
        )
        assert f"Going on with the backfill {half['id']}, begun by cli." in complained
        for member in members:
            assert await metrics(shop, member) == [1, 7, 7, 1]
            assert await shop.balance(member) == 110
        code, _, complained = await command.run("backfill", "--program", shop.program_key, "--metric", "ordres")
        assert (code, "did you mean orders?" in complained) == (1, True)


async def test_other_options_than_those_at_work_are_refused(migrated_url: str, redis_url: str) -> None:
    command = Command(migrated_url, redis_url)
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as shop:
        await order(shop, "ada", "a1", 40)
        await publish(shop, HEAD + METRICS + BADGE + RULES)
        key = shop.program_key

        async def told(*options: str) -> tuple[int, str]:
            code, said, complained = await command.run("backfill", "--program", key, *options)
            return code, said + complained

        code, said = await told("--resume")
        assert (code, "no backfill of" in said) == (1, True), said
        # Nobody works it off here: as if it had been interrupted.
        begun = await shop.client.post(
            "/v1/programs/backfills",
            json={"metrics": ["spent", "orders"], "announce": False},
            headers={"Idempotency-Key": "begun"},
        )
        assert begun.status_code == 202, begun.text
        for other in (
            (),
            ("--silent",),
            ("--metric", "orders", "--silent"),
            ("--metric", "orders", "--metric", "spent"),
            ("--metric", "orders", "--metric", "spent", "--silent", "--rewards"),
        ):
            code, said = await told(*other)
            assert (code, "nothing was begun" in said) == (1, True), (other, said)
            assert "It has: --metric orders --metric spent --silent; begun by key:" in said
            assert "0 of 1 member done" in said
            assert f"rewards program backfill --program {key} --resume" in said
            assert begun.json()["id"] in said
        code, said = await told("--metric", "ordres")
        assert (code, "did you mean orders?" in said) == (1, True), said
        code, said = await told("--resume", "--silent")
        assert (code, "--resume goes on as it was begun" in said) == (2, True), said
        assert ((await running(shop))["state"], (await running(shop))["members_done"]) == ("running", 0)

        code, said = await told("--metric", "orders", "--metric", "spent", "--silent")  # the same once more
        assert (code, f"Going on with the backfill {begun.json()['id']}" in said) == (0, True), said
        assert ((await running(shop))["state"], (await metrics(shop, "ada"))[:2]) == ("done", [1, 40])
        assert await shop.balance("ada") == 10  # silently: without the badge's reward


async def test_going_on_takes_what_a_later_version_no_longer_has(migrated_url: str, redis_url: str) -> None:
    command = Command(migrated_url, redis_url)
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as shop:
        await order(shop, "ada", "a1", 40)
        await publish(shop, HEAD + METRICS + BADGE + RULES)
        begun = await shop.client.post("/v1/programs/backfills", json={}, headers={"Idempotency-Key": "begun"})
        assert begun.status_code == 202, begun.text
        await publish(shop, HEAD + METRICS.replace("largest", "most") + BADGE + RULES)
        code, _, complained = await command.run("backfill", "--program", shop.program_key)
        assert (code, "--metric largest --metric orders" in complained) == (1, True), complained
        code, said, complained = await command.run("backfill", "--program", shop.program_key, "--resume")
        assert (code, "1 member, 1 with events to fill in" in said) == (0, True), complained
        assert await shop.balance("ada") == 110


async def test_publishing_tells_what_a_backfill_can_make_up_for(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as shop:
        source = (HEAD + METRICS + BEGINNING + BADGE + BADGES + RULES).replace("key: fills", f"key: {shop.program_key}")
        drafted = await shop.client.post(
            "/v1/programs/versions", content=source, headers={"Content-Type": "application/yaml"}
        )
        number = drafted.json()["version"]["number"]
        published = (await shop.client.post(f"/v1/programs/versions/{number}/publish")).json()
        new = {"metrics": ["largest", "orders", "products", "spent"], "badges": ["buyer"]}
        assert published["backfill"] == new
        again = (await shop.client.post(f"/v1/programs/versions/{number}/publish")).json()
        assert again["backfill"] == {}
        changed = tmp_path / "changed.yaml"
        changed.write_text(source.replace("over: 180d", "over: 90d"))
        code, said, _ = await Command(migrated_url, redis_url).run("publish", str(changed))
        assert code == 0
        expected = f"New are metrics spent. To count what was recorded before: rewards program backfill --program {shop.program_key}\n"
        assert said.endswith(expected)
