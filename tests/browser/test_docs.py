"""The complete page of docs/browser.md, as it stands there, in a real Chromium."""

from pathlib import Path

import pytest
from tests.browser.shop import Shop, Visitor, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs/browser.md").read_text().split("```html\n")[1].split("```")[0]
EVENTS = {"app_opened": "opened", "product_viewed": "read", "product_shared": "clicked"}
"""The page's events, and what this program calls them."""


async def test_the_page_in_the_documentation_works(shop: Shop, visitor: Visitor) -> None:
    text = PAGE.replace("https://rewards.example.com", shop.service).replace('seconds="31"', 'seconds="0.4"')
    for theirs, ours in EVENTS.items():
        text = text.replace(f'"{theirs}"', f'"{ours}"')
    text = text.replace('fetch("/rewards-token", {method: "POST"})', 'fetch("/token-text/reader")')
    await shop.live.client.patch("/v1/members/reader", json={"locale": "en"})
    page = await visitor.visit(shop.document("/docs", text))
    await page.click("button")
    await shop.expect("reader", opened=1, read=1, clicked=1)
    assert await eventually(lambda: page.inner_text("#points"), "0 points") == "0 points"
