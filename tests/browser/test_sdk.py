"""The browser SDK in a real Chromium: what is declared or called arrives once, also from a page that is left, and later.

Every test has a member of its own. The service runs in a process of its own; what it recorded is asked over HTTP.
"""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Route
from tests.browser.shop import Shop, Visitor, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BUTTON = '<button id="buy" data-rewards-click="clicked" data-rewards-prop-target="buy">Buy</button>'
ARTICLE = (
    '<p id="article" data-rewards-dwell="read" data-rewards-seconds="0.4" data-rewards-prop-article="a-1">Words</p>'
)
LONG = '<div style="height: 3000px"></div>'
HIDE = """(state) => {
  Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
DELIVERED = "/v1/me/events"


async def sent_by(page: Page, act: str) -> None:
    """Runs a script in the page and waits until the service has answered what it set off."""
    async with page.expect_response(lambda answer: DELIVERED in answer.url):
        await page.evaluate(act)


async def test_a_click_arrives_with_what_is_declared(shop: Shop, visitor: Visitor) -> None:
    body = BUTTON.replace(" id=", """ data-rewards-properties='{"price": 9.5}' id=""").replace("Buy", "<b>Buy</b>")
    page = await visitor.visit(shop.page("/click", "click", body))
    await page.click("b")
    await shop.expect("click", clicked=1)
    [event] = await shop.events("click")
    assert event["properties"] == {"target": "buy", "price": 9.5}
    assert (event["context"]["page"], event["context"]["channel"]) == ("/click", "web")
    assert await eventually(lambda: visitor.kept(page), 0) == 0


async def test_every_click_counts_and_none_twice(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/clicks", "clicks", BUTTON))
    for _ in range(25):  # more than one batch
        await page.click("button")
    await shop.expect("clicks", clicked=25)
    assert await shop.live.balance("clicks") == 25


async def test_what_is_read_for_long_enough_arrives_once(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/read", "read", LONG + ARTICLE))
    assert await page.evaluate("new Promise((done) => setTimeout(done, 600, 'not seen yet'))") == "not seen yet"
    assert await shop.arrived("read") == {}
    await page.locator("#article").scroll_into_view_if_needed()
    await shop.expect("read", read=1)
    await page.evaluate("scrollTo(0, 0)")
    await page.locator("#article").scroll_into_view_if_needed()
    await sent_by(page, "Rewards.track('clicked'), new Promise((done) => setTimeout(done, 600))")
    await shop.expect("read", read=1, clicked=1)
    seconds = (await shop.events("read"))[-1]["properties"]["dwell_seconds"]
    assert 0.4 <= seconds < 5


async def test_a_tab_in_the_background_reads_nothing(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/hidden", "hidden", '<p id="top">Top</p>' + ARTICLE.replace("0.4", "1")))
    await page.evaluate(HIDE, "hidden")
    assert await page.evaluate("new Promise((done) => setTimeout(done, 1300, 'waited'))") == "waited"
    assert await shop.arrived("hidden") == {}
    await page.evaluate(HIDE, "visible")
    await shop.expect("hidden", read=1)


async def test_time_adds_up_over_a_pause(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/adds", "adds", ARTICLE.replace("0.4", "1.2")))
    for _ in range(3):  # never long enough at once
        await page.evaluate("new Promise((done) => setTimeout(done, 500))")
        await page.evaluate(HIDE, "hidden")
        await page.evaluate(HIDE, "visible")
    await shop.expect("adds", read=1)
    assert (await shop.events("adds"))[0]["properties"]["dwell_seconds"] >= 1.2


async def test_half_of_what_is_larger_than_the_screen_is_enough(shop: Shop, visitor: Visitor) -> None:
    tall = ARTICLE.replace("<p", '<p style="height: 5000px; margin: 0"')
    await visitor.visit(shop.page("/tall", "tall", tall))
    await shop.expect("tall", read=1)


@pytest.mark.parametrize(
    ("name", "body", "scroll"),
    [
        ("page", f'<main data-rewards-scroll="scrolled" data-rewards-depth="75">{LONG}</main>', "scrollTo(0, 3000)"),
        (
            "box",
            f'<div data-rewards-scroll="scrolled" style="height: 200px; overflow: auto" id="box">{LONG}</div>',
            "document.querySelector('#box').scrollTop = 3000",
        ),
    ],
)
async def test_scrolling_deep_enough_arrives_once(
    shop: Shop, visitor: Visitor, name: str, body: str, scroll: str
) -> None:
    member = f"scroll-{name}"
    page = await visitor.visit(shop.page(f"/{member}", member, body))
    half = scroll.replace("3000", "1000")
    await sent_by(page, f"{half}; Rewards.track('clicked')")
    assert await shop.arrived(member) == {"clicked": 1}
    for script in (scroll, half, scroll):
        await page.evaluate(script)
    await shop.expect(member, clicked=1, scrolled=1)
    assert (await shop.events(member))[0]["properties"]["scroll_percent"] == 100


async def test_the_pointer_has_to_rest(shop: Shop, visitor: Visitor) -> None:
    box = '<p data-rewards-hover="hovered" data-rewards-hover-seconds="{}" id="{}" style="height: 50px">Help</p>'
    page = await visitor.visit(shop.page("/hover", "hover", box.format(5, "brushed") + box.format(0.3, "rested")))
    await page.hover("#brushed")
    await page.hover("#rested")
    await shop.expect("hover", hovered=1)


async def test_elements_that_come_later_are_heard(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/later", "later", "<main></main>"))
    await page.evaluate("(html) => { document.querySelector('main').innerHTML = html; }", BUTTON + ARTICLE)
    await page.click("#buy")
    await shop.expect("later", clicked=1, read=1)


@pytest.mark.parametrize("leave", ["link", "navigate", "close"])
async def test_a_page_that_is_left_sends_what_it_has(shop: Shop, visitor: Visitor, leave: str) -> None:
    member = f"leave-{leave}"
    shop.document("/elsewhere", "<!doctype html><title>Elsewhere</title><link rel='icon' href='data:,'>")
    body = f'{BUTTON}<a href="/elsewhere" data-rewards-click="clicked">Away</a>'
    address = shop.page(f"/{member}", member, ARTICLE + body)
    page = await visitor.visit(address)
    await shop.expect(member, read=1)  # the page has its token by now
    await page.click("#buy")
    if leave == "link":
        await page.click("a")
    elif leave == "navigate":
        await page.goto(shop.address + "/elsewhere")
    else:
        await page.close(run_before_unload=True)
    clicks = 2 if leave == "link" else 1
    await shop.expect(member, read=1, clicked=clicks)
    # Whoever comes back sends once more what was never confirmed; it pays nothing again.
    again = await visitor.visit(address)
    assert await eventually(lambda: visitor.kept(again), 0) == 0
    await shop.expect(member, read=2, clicked=clicks)
    assert await shop.live.balance(member) == 20 + clicks


@pytest.mark.parametrize(
    ("way", "without"),
    [
        ("beacon", "() => { window.fetch = () => new Promise(() => {}); }"),
        ("keepalive", "Object.defineProperty(navigator, 'sendBeacon', {value: undefined})"),
    ],
)
async def test_either_way_out_of_a_page_that_is_left_is_enough(
    shop: Shop, visitor: Visitor, way: str, without: str
) -> None:
    page = await visitor.visit(shop.page(f"/{way}", way, BUTTON + ARTICLE))
    await shop.expect(way, read=1)
    await page.evaluate(without)
    await page.click("#buy")
    await page.goto(shop.document("/empty", "<!doctype html><link rel='icon' href='data:,'>"))
    await shop.expect(way, read=1, clicked=1)


async def test_what_happens_offline_arrives_when_there_is_a_network_again(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/offline", "offline", BUTTON + ARTICLE))
    await shop.expect("offline", read=1)
    await visitor.context.set_offline(True)
    for _ in range(3):
        await page.click("#buy")
    assert await visitor.kept(page) == 3
    visitor.errors.clear()  # the browser itself tells of requests that fail
    await visitor.context.set_offline(False)
    await shop.expect("offline", read=1, clicked=3)
    assert await eventually(lambda: visitor.kept(page), 0) == 0
    visitor.errors.clear()


async def test_two_tabs_send_what_either_kept_and_it_counts_once(shop: Shop, visitor: Visitor) -> None:
    address = shop.page("/tabs", "tabs", BUTTON)
    tabs = [await visitor.visit(address) for _ in range(2)]
    await sent_by(tabs[0], "Rewards.track('opened')")
    await visitor.context.set_offline(True)
    for tab in tabs:
        await tab.bring_to_front()
        await tab.click("#buy")
        await tab.click("#buy")
    await visitor.context.set_offline(False)
    await visitor.visit(address)
    await shop.expect("tabs", opened=1, clicked=4)
    assert await eventually(lambda: visitor.kept(tabs[0]), 0) == 0
    assert await shop.live.balance("tabs") == 4
    visitor.errors.clear()


async def test_what_happens_offline_outlives_the_page(shop: Shop, visitor: Visitor) -> None:
    address = shop.page("/outlives", "outlives", BUTTON + ARTICLE)
    page = await visitor.visit(address)
    await shop.expect("outlives", read=1)
    await visitor.context.set_offline(True)
    await page.click("#buy")
    await page.close()
    await visitor.context.set_offline(False)
    assert await shop.arrived("outlives") == {"read": 1}
    await visitor.visit(shop.page("/outlives", "outlives", BUTTON))
    await shop.expect("outlives", read=1, clicked=1)
    assert await shop.live.balance("outlives") == 11
    visitor.errors.clear()


async def test_what_one_customer_did_is_never_sent_for_another(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/shared", "shared-ada", BUTTON + ARTICLE))
    await shop.expect("shared-ada", read=1)
    await visitor.context.set_offline(True)
    await page.click("#buy")
    await page.close()
    await visitor.context.set_offline(False)
    page = await visitor.visit(shop.page("/shared", "shared-bob", ARTICLE))
    await shop.expect("shared-bob", read=1)
    # Whether the page that closed could still send it or not: it is kept for its own customer, and not sent as another's.
    assert (await visitor.kept(page), await shop.arrived("shared-bob")) == (1, {"read": 1})
    await visitor.visit(shop.page("/shared", "shared-ada", ""))
    await shop.expect("shared-ada", read=1, clicked=1)
    visitor.errors.clear()


async def test_a_token_that_has_ended_is_replaced(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/ended", "ended", BUTTON + ARTICLE))
    await shop.expect("ended", read=1)
    await shop.live.client.delete("/v1/members/ended/tokens")
    # The serving process believes what it read for two seconds.
    stale = {"Authorization": f"Bearer {await shop.token('ended')}"}
    assert (await shop.live.client.get("/v1/me", headers=stale)).status_code == 200
    await page.evaluate("new Promise((done) => setTimeout(done, 2100))")
    await page.click("#buy")
    await shop.expect("ended", read=1, clicked=1)
    assert all("401" in error for error in visitor.errors)
    visitor.errors.clear()


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "1"}), (503, {"Retry-After": "1"}), (500, {})])
async def test_a_service_that_is_busy_is_asked_again_later(
    shop: Shop, visitor: Visitor, status: int, headers: dict[str, str]
) -> None:
    member = f"busy-{status}"
    tries: list[float] = []

    async def busy(route: Route) -> None:
        tries.append(await page.evaluate("performance.now()"))
        if len(tries) > 1:
            await route.continue_()
        else:
            exposed = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
            await route.fulfill(status=status, headers={**headers, **exposed})

    page = await visitor.visit(shop.page(f"/{member}", member, BUTTON))
    await page.route(f"**{DELIVERED}", busy)
    await page.click("#buy")
    await shop.expect(member, clicked=1)
    assert len(tries) == 2
    assert tries[1] - tries[0] >= 950
    visitor.errors.clear()


async def test_one_event_that_is_refused_holds_up_no_other(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/refused", "refused", ""))
    await page.evaluate("Rewards.track('ordered', {total: 9000})")  # no browser may say so
    await page.evaluate("Rewards.track('x'.repeat(300))")
    await page.evaluate("Rewards.track('clicked', {}, {id: 'x'.repeat(101)})")
    await page.evaluate("Rewards.track('clicked')")
    await shop.expect("refused", clicked=1)
    assert await eventually(lambda: visitor.kept(page), 0) == 0


async def test_an_id_of_the_page_makes_it_happen_once_for_good(shop: Shop, visitor: Visitor) -> None:
    once = ARTICLE.replace("<p", '<p data-rewards-id="a-1"')
    address = shop.page("/once", "once", once)
    for _ in range(2):
        page = await visitor.visit(address)
        async with page.expect_response(lambda answer: DELIVERED in answer.url):
            pass
    await shop.expect("once", read=1)


async def test_who_has_signed_out_is_not_heard(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.page("/out", "out", BUTTON + ARTICLE))
    await shop.expect("out", read=1)
    await page.evaluate("Rewards.stop()")
    await page.click("#buy")
    await page.evaluate("Rewards.track('clicked')")
    token = await shop.token("next")
    await page.evaluate("([token, url]) => Rewards.init({token, url})", [token, shop.service])
    await page.click("#buy")
    await shop.expect("next", clicked=1)
    assert await shop.arrived("out") == {"read": 1}


async def test_nothing_is_ever_thrown_into_the_page(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(
        shop.document(
            "/robust",
            f"""<!doctype html><link rel="icon" href="data:,"><script>
            Object.defineProperty(window, "localStorage", {{get() {{ throw new Error("blocked"); }}}});</script>
            <p data-rewards-dwell="" data-rewards-properties="no JSON" data-rewards-seconds="-1">{BUTTON}</p>
            <script src="{shop.service}/sdk.js"></script><script>
            const circular = {{}}; circular.self = circular;
            Rewards.track("clicked", circular); Rewards.track(); Rewards.track(null, 5n);
            Rewards.init(); Rewards.init({{token: "nonsense"}}); Rewards.init({{getToken() {{ throw new Error("no"); }}}});
            Rewards.stop(); Rewards.stop(); Rewards.track("clicked");
            Rewards.init({{getToken: () => fetch("/token/robust").then((answer) => answer.json())}});
            </script>""",
        )
    )
    await page.click("#buy")
    await shop.expect("robust", clicked=1)


async def test_it_is_a_module_too(shop: Shop, visitor: Visitor) -> None:
    await visitor.visit(
        shop.document(
            "/module",
            f"""<!doctype html><link rel="icon" href="data:,"><script type="module">
            import {{init, track}} from "{shop.service}/sdk.mjs";
            init({{token: "{await shop.token("module")}"}});
            track("clicked");
            </script>""",
        )
    )
    await shop.expect("module", clicked=1)


SLOW_TOKEN = """() => {
  window.tokens = {};
  window.slowly = (member) => () => new Promise((done) => { window.tokens[member] = done; });
}"""


async def test_whoever_comes_next_is_never_taken_for_the_one_before(shop: Shop, visitor: Visitor) -> None:
    """Another customer is signed in without the one before having been signed out: the old token is not used any more."""
    page = await visitor.visit(shop.page("/next", "next-ada", BUTTON + ARTICLE))
    await shop.expect("next-ada", read=1)
    await page.evaluate(
        """(url) => {
          Rewards.init({url, getToken: () => fetch("/token/next-bob").then((answer) => answer.json())});
          Rewards.track("clicked");
        }""",
        shop.service,
    )
    await shop.expect("next-bob", clicked=1)
    assert await shop.arrived("next-ada") == {"read": 1}


async def test_what_happens_before_the_first_token_outlives_the_page(shop: Shop, visitor: Visitor) -> None:
    early = shop.document(
        "/early", f"<link rel='icon' href='data:,'>{BUTTON}<script src='{shop.service}/sdk.js'></script>"
    )
    await visitor.visit(early)
    for _ in range(2):  # and a page that was left before the token came leaves what the first one gathered alone
        page = await visitor.visit(early)
        await page.evaluate("(url) => Rewards.init({url, getToken: () => new Promise(() => {})})", shop.service)
        await page.click("#buy")
        await page.evaluate("Rewards.track('opened', {}, {id: 'opened-today'})")
        await page.close()
    page = await visitor.visit(shop.page("/early-token", "early", ARTICLE))
    await shop.expect("early", clicked=2, opened=1, read=1)
    assert await eventually(lambda: visitor.kept(page), 0) == 0


async def test_what_happens_before_the_first_token_is_kept_for_its_customer_once_that_is_known(
    shop: Shop, visitor: Visitor
) -> None:
    page = await visitor.visit(shop.document("/known", f"<script src='{shop.service}/sdk.js'></script>"))
    await page.evaluate("Rewards.track('clicked')")
    await visitor.context.set_offline(True)
    await page.evaluate("([token, url]) => Rewards.init({token, url})", [await shop.token("known-ada"), shop.service])
    await page.close()
    await visitor.context.set_offline(False)
    await visitor.visit(shop.page("/known-bob", "known-bob", ARTICLE))
    await shop.expect("known-bob", read=1)
    await visitor.visit(shop.page("/known-ada", "known-ada", ""))
    await shop.expect("known-ada", clicked=1)
    visitor.errors.clear()


async def test_who_signs_out_before_the_token_came_leaves_nothing_for_the_next(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.document("/left", f"<script src='{shop.service}/sdk.js'></script>"))
    await page.evaluate("Rewards.track('opened')")
    assert await visitor.kept(page) == 1
    await page.evaluate("Rewards.stop()")
    assert await visitor.kept(page) == 0
    await page.close()
    await visitor.visit(shop.page("/left-next", "left-next", ARTICLE))
    await shop.expect("left-next", read=1)
    visitor.errors.clear()  # the page has no icon


async def test_what_nobody_came_for_is_not_kept_for_good(shop: Shop, visitor: Visitor) -> None:
    address = shop.page("/nobody", "nobody", "").replace("/nobody", "/nobody-waits")
    shop.document(
        "/nobody-waits",
        f"<link rel='icon' href='data:,'><script src='{shop.service}/sdk.js'></script>"
        "<script>Rewards.init({getToken: () => new Promise(() => {})});</script>",
    )
    page = await visitor.visit(address)
    await page.evaluate("for (let each = 0; each < 250; each += 1) Rewards.track('clicked')")
    assert await visitor.kept(page) == 200
    await page.evaluate("""() => Object.keys(localStorage).forEach((key) => {
      const event = JSON.parse(localStorage.getItem(key));
      localStorage.setItem(key, JSON.stringify({...event, occurred_at: "2020-01-01T00:00:00.000Z"}));
    })""")
    page = await visitor.visit(address)
    assert await visitor.kept(page) == 0


async def test_a_token_that_comes_after_its_customer_has_left_is_of_no_use(shop: Shop, visitor: Visitor) -> None:
    page = await visitor.visit(shop.document("/late-token", f'<script src="{shop.service}/sdk.js"></script>'))
    await page.evaluate(SLOW_TOKEN)
    await page.evaluate(
        """([url, ada]) => {
          Rewards.init({url, getToken: slowly("ada")});
          Rewards.track("opened");
          Rewards.stop();
          Rewards.init({url, getToken: slowly("bob")});
          Rewards.track("clicked");
          tokens.ada(ada);
        }""",
        [shop.service, await shop.token("late-ada")],
    )
    await page.wait_for_function("'bob' in tokens")
    await page.evaluate("(bob) => tokens.bob(bob)", await shop.token("late-bob"))
    await shop.expect("late-bob", clicked=1)
    assert await shop.arrived("late-ada") == {}
    visitor.errors.clear()  # the page has no icon


async def test_an_answer_that_comes_after_its_customer_has_left_says_nothing_of_the_next(
    shop: Shop, visitor: Visitor
) -> None:
    page = await visitor.visit(shop.page("/erased", "erased-ada", ARTICLE))
    await shop.expect("erased-ada", read=1)
    await page.evaluate(
        """([url, bob]) => {
          const send = window.fetch;
          window.fetch = () => new Promise((done) => { window.answer = () => done(new Response("", {status: 410})); });
          Rewards.track("opened");
          Rewards.flush();
          window.goOn = () => {
            Rewards.stop();
            Rewards.init({url, token: bob});
            Rewards.track("clicked");
            window.fetch = send;
            window.answer();
          };
        }""",
        [shop.service, await shop.token("erased-bob")],
    )
    await page.wait_for_function("Boolean(window.answer)")
    await page.evaluate("goOn()")
    await shop.expect("erased-bob", clicked=1)


async def test_a_clock_that_is_put_back_silences_nothing(shop: Shop, visitor: Visitor) -> None:
    member = "clock"
    page = await visitor.visit(shop.page(f"/{member}", member, BUTTON + ARTICLE))
    await shop.expect(member, read=1)

    async def busy(route: Route) -> None:
        await route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"})

    await page.route(f"**{DELIVERED}", busy)
    await sent_by(page, "Rewards.track('clicked'), Rewards.flush()")
    await page.unroute(f"**{DELIVERED}")
    await page.evaluate("() => { const now = Date.now; Date.now = () => now() - 3600000; }")
    await shop.expect(member, read=1, clicked=1)
    visitor.errors.clear()


async def test_words_of_several_bytes_leave_with_the_page_too(shop: Shop, visitor: Visitor) -> None:
    """A browser takes 64 KiB from a page that is being left: bytes, not characters."""
    page = await visitor.visit(shop.page("/bytes", "bytes", ARTICLE))
    await shop.expect("bytes", read=1)
    sizes = await page.evaluate(
        """() => {
          const sizes = [];
          navigator.sendBeacon = (_, body) => sizes.push(body.size) > 0;
          window.fetch = () => new Promise(() => {});
          for (let each = 0; each < 15; each += 1) Rewards.track("clicked", {note: "漢".repeat(2400)});
          dispatchEvent(new PageTransitionEvent("pagehide", {persisted: false}));
          return sizes;
        }"""
    )
    assert len(sizes) > 1
    assert max(sizes) <= 64 * 1024
