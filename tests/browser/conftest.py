"""A real Chromium, the service as a process of its own on a loopback port, and a shop whose pages use both."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright
from tests.browser.shop import PROGRAM, Shop, Visitor
from tests.left_out import BROWSERS
from tests.service import SECRET_KEY, Live, live, service_settings


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian package: chromium)")
    async with async_playwright() as playwright:
        # In containers there are often neither user namespaces nor much shared memory.
        browser = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def program(migrated_url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as running:
        yield running


@pytest.fixture(scope="session")
async def shop(program: Live, migrated_url: str, redis_url: str) -> AsyncIterator[Shop]:
    environment = {
        **os.environ,
        "REWARDS_DATABASE_URL": migrated_url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }
    rewards = Path(sys.executable).with_name("rewards")
    process = await asyncio.create_subprocess_exec(
        *(rewards, "serve", "--port", "0", "--no-worker"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    base_url = await asyncio.wait_for(_listening(process.stderr), 30)
    # What it says later is read as well, so that it never waits for a reader.
    reading = asyncio.create_task(process.stderr.read())
    try:
        async with Shop(program, base_url).open() as opened:
            yield opened
    finally:
        process.terminate()
        await process.wait()
        await reading


@pytest.fixture
async def visitor(browser: Browser, shop: Shop) -> AsyncIterator[Visitor]:
    context = await browser.new_context(viewport={"width": 800, "height": 600})
    visitor = Visitor(shop, context)
    yield visitor
    await context.close()
    assert visitor.errors == []


async def _listening(said: asyncio.StreamReader) -> str:
    """The address that the process says it listens on."""
    lines = []
    while line := (await said.readline()).decode():
        if line.startswith("Listening on "):
            return line.removeprefix("Listening on ").strip()
        lines.append(line)
    raise AssertionError("the service ended: " + "".join(lines))
