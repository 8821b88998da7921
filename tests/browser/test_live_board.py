"""A live ranking in a real Chromium: an `EventSource` of a page, which can send no header, and comes back all the same."""

from __future__ import annotations

import pytest
from tests.browser.shop import Shop, Visitor, eventually
from tests.features.leaderboards.boards import Boards

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WATCH = """<!doctype html><link rel="icon" href="data:,"><script>
window.seen = [];
async function watch(url, token, last) {
  const headers = {Authorization: `Bearer ${token}`};
  const answer = await fetch(`${url}/v1/me/stream-tickets`, {method: "POST", headers});
  const {ticket} = await answer.json();
  const address = `${url}/v1/me/leaderboards/stars/stream?ticket=${ticket}` + (last ? `&last_event_id=${last}` : "");
  window.source = new EventSource(address);
  for (const kind of ["snapshot", "changes"]) {
    window.source.addEventListener(kind, ({data, lastEventId}) => {
      const {entries, me} = JSON.parse(data);
      if (entries.length) window.seen.push([kind, entries.map(({rank, score}) => [rank, score]), me && me.rank, lastEventId]);
    });
  }
}
</script>"""


async def test_a_page_watches_a_ranking_and_comes_back(shop: Shop, visitor: Visitor) -> None:
    boards = Boards(shop.live)

    async def star(member: str) -> None:
        await shop.live.event(type="starred", member=member, properties={})
        await boards.project()

    for _ in range(2):
        await star("live-ada")
    await star("live-bob")
    page = await visitor.visit(shop.document("/live", WATCH))
    given = [shop.service, await shop.token("live-bob")]

    async def seen() -> list[list[object]]:
        found: list[list[object]] = await page.evaluate("seen.map((each) => each.slice(0, 3))")
        return found

    await page.evaluate("([url, token]) => watch(url, token)", given)
    first = ["snapshot", [[1, 2], [2, 1]], 2]
    assert await eventually(seen, [first]) == [first]
    await star("live-cem")
    second = ["changes", [[2, 1]], 2]  # level with bob
    assert await eventually(seen, [first, second]) == [first, second]
    await page.evaluate("source.close()")
    for _ in range(2):
        await star("live-bob")
    last = await page.evaluate("seen.pop()[3]")
    await page.evaluate("([url, token, last]) => { seen = []; return watch(url, token, last); }", [*given, last])
    again = ["changes", [[1, 3], [2, 2], [3, 1]], 1]
    assert await eventually(seen, [again]) == [again]
