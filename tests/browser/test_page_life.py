"""Pages that close, enter the back-forward cache, sleep, or lose the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import ServerProcess, channel_info

from .stage import Site, Visitor, publish, subscribe, until_heard, until_held

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_closing_a_page_ends_its_request(
    site: Site, whole: ServerProcess, visit: Visitor
) -> None:
    """A page that closes ends its request without an error."""
    page = await visit(site.page("updates.js", subscribe(whole, "closed")))
    await until_held(whole, "closed")
    await page.page.goto(site.page())
    await until_held(whole, "closed", 0)
    assert page.errors == []

    page = await visit(site.page("updates.js", subscribe(whole, "closed")))
    await until_held(whole, "closed")
    await page.page.close()
    await until_held(whole, "closed", 0)
    events = await until_heard(whole, "closed", 4)
    assert [each["event"] for each in events] == ["subscribe", "unsubscribe"] * 2


async def test_back_forward_cache(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """A page that returns from the cache gets what it missed, and nothing twice."""
    script = "addEventListener('pageshow', (e) => window.persisted = e.persisted)"
    page = await visit(site.page("updates.js", script, subscribe(push, "cache")))
    await publish(push, "cache", "before")
    await page.until_got(1)
    await until_held(push, "cache")
    await page.page.goto(site.page())
    await until_held(push, "cache", 0)
    await publish(push, "cache", "meanwhile")
    # A page from the cache is not loaded again.
    await page.page.go_back(wait_until="commit")
    assert await page.until_got(2) == ["before", "meanwhile"]
    assert await page.run("persisted") is True
    await until_held(push, "cache")
    await publish(push, "cache", "after")
    assert await page.until_got(3) == ["before", "meanwhile", "after"]
    assert "waiting" not in await page.run("states.map(([state]) => state)")
    assert page.errors == []


async def test_prerendering_sends_no_request(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """A page that is prerendered sends no request before it is shown."""
    # Chromium decides by the machine's load whether it prerenders: see below.
    prerendered = """
        window.shown = false;
        const prerendering = { configurable: true, get: () => !shown };
        Object.defineProperty(document, "prerendering", prerendering);
    """
    page = await visit(
        site.page(prerendered, "updates.js", subscribe(push, "prerendering"))
    )
    # A request that the client had sent by now would be answered, too.
    kept = f"{push.url}/updates/prerendering-kept"
    await publish(push, "prerendering-kept", "hello")
    await page.run("(url) => fetch(url).then((answer) => answer.text())", kept)
    assert channel_info(f"{push.url}/send-update/prerendering") == {}
    show = "shown = true; document.dispatchEvent(new Event('prerenderingchange'))"
    await page.run(f"() => {{ {show} }}")
    await until_held(push, "prerendering")
    await publish(push, "prerendering", "hello")
    assert await page.until_got(1) == ["hello"]


@pytest.mark.left_to_all("prerendered by Chromium")
async def test_prerendered_page_of_chromium(
    site: Site, push: ServerProcess, browser: Browser
) -> None:
    """A prerendered page of Chromium's own does so, too."""
    site.gate.clear()
    was_run = f"fetch('{push.url}/updates/prerendered-was-run')"
    shown = site.page("updates.js", subscribe(push, "prerendered"), was_run)
    rules = f'{{"prerender": [{{"urls": ["{shown}"], "eagerness": "immediate"}}]}}'
    first = site.document(
        f'<script type="speculationrules">{rules}</script>'
        f"<script>fetch('/gate.js').then(() => location.href = '{shown}')</script>"
    )
    # Playwright disables prerendering in the pages that it opens itself.
    session = await browser.new_browser_cdp_session()
    # A window of its own: Chromium prerenders nothing for a tab in the background.
    options = {"url": first, "newWindow": True, "background": False}
    target = await session.send("Target.createTarget", options)
    try:
        await until_held(push, "prerendered-was-run")
        assert channel_info(f"{push.url}/send-update/prerendered") == {}
        site.gate.set()
        await until_held(push, "prerendered")
    finally:
        site.gate.clear()
        await session.send("Target.closeTarget", {"targetId": target["targetId"]})


async def test_request_when_the_browser_is_online_again(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """A page sends a request at once when the browser is online again."""
    page = await visit(site.page("updates.js", subscribe(push, "online")))
    await until_held(push, "online")
    asked = await page.run("exchanges.length")
    await page.page.context.set_offline(True)
    await page.page.context.set_offline(False)
    await page.until("(asked) => exchanges.length > asked", asked)
    await until_held(push, "online")
    await publish(push, "online", "hello")
    assert await page.until_got(1) == ["hello"]


async def test_request_after_sleep(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """After sleep, a page sends a new request at once and ends the old one."""
    page = await visit("about:blank")
    await page.page.clock.install()
    await page.page.goto(site.page("updates.js", subscribe(push, "sleep")))
    await until_held(push, "sleep")
    await page.page.clock.fast_forward("01:00")
    await page.until("exchanges.length > 1")
    await until_held(push, "sleep")
    await publish(push, "sleep", "good morning")
    assert await page.until_got(1) == ["good morning"]
    assert page.errors == []


async def test_late_processor(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """Processors in a script that loads later miss no messages."""
    await publish(push, "late", {"type": "kept"})
    url = f"{push.url}/updates/late"
    later = "updates.registerProcessor('a', 'kept', ({type}) => late.push(type));"
    page = await visit(
        site.page(
            "updates.js",
            f"window.late = []; updates.subscribe({{a: '{url}'}});",
            "gate.js",
            later,
        ),
        wait_until="commit",
    )
    await page.until("window.late")
    # A request that the client had sent by now would be answered, too.
    await page.run("(url) => fetch(url).then((answer) => answer.text())", url)
    site.gate.set()
    await page.until("late.length === 1")


async def test_firefox(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """In Firefox, requests are keepalive, and are sent again if the page stays."""
    firefox = """
        window.mozInnerScreenX = 0;
        window.kept = [];
        const ask = window.fetch;
        window.fetch = (url, options) => {
            kept.push(options.keepalive);
            return ask(url, options);
        };
    """
    page = await visit(site.page(firefox, "updates.js", subscribe(push, "firefox")))
    await until_held(push, "firefox")
    # For example a link to a download: the page stays open.
    await page.run("() => { dispatchEvent(new Event('beforeunload')) }")
    await page.until("exchanges.length === 2")
    # Chromium keeps the first request open for half a minute, so two may be held.
    await publish(push, "firefox", "hello")
    assert await page.until_got(1) == ["hello"]
    assert set(await page.run("kept")) == {True}
    assert page.errors == []
