"""Tabs that share one connection."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import http
from tests.servers import ServerProcess
from tests.tiers import in_tier

from .background_tabs import open_tabs
from .stage import Site, Visit, Visitor, publish, until_held
from .streams import ASKED, subscribe

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = ("updates.js", "updates.streams.js", "updates.tabs.js")

#: Whether all channels of a page are live on the connection that tabs share.
IS_SHARED = """
    states.length > 0 && [...new Map(states.map((each) => [each[1], each])).values()]
        .every(([state, , detail]) => state === "live" && detail.shared === true)
"""

#: Says in the page whether it came from the back-forward cache.
PERSISTED = "addEventListener('pageshow', (e) => window.persisted = e.persisted)"


async def until_alone(server: ServerProcess, *channels: str, count: int = 1) -> None:
    """Wait until each channel has so many subscribers."""
    for channel in channels:
        await until_held(server, channel, count)


async def find_leader(pages: list[Visit]) -> Visit:
    """Return the only page that has sent requests."""
    (leader,) = [page for page in pages if await page.run("exchanges.length > 0")]
    return leader


@pytest.mark.parametrize(
    ("count", "channels", "closings"),
    [
        in_tier(size, [(6, 3, 3)], "with many tabs", id=f"{size[0]} tabs")
        for size in ((6, 3, 3), (20, 8, 10))
    ],
)
async def test_many_tabs(
    site: Site,
    streaming: ServerProcess,
    visit: Visitor,
    count: int,
    channels: int,
    closings: int,
) -> None:
    """Tabs use one connection, and get each message once, whichever tab is closed."""
    names = [f"{count}-tabs-{number}" for number in range(channels)]
    url = site.page(*SCRIPTS, subscribe(streaming.url, *names, share="many"))
    pages = [await visit(url)]
    while len(pages) < count:
        pages.append(await visit(url, beside=pages[0]))
    for page in pages:
        await page.until(IS_SHARED)
    await until_alone(streaming, *names)
    published = 0

    async def publish_some() -> None:
        nonlocal published
        for number in range(published, published + 3):
            await asyncio.gather(
                *(publish(streaming, name, [name, number]) for name in names)
            )
        published += 3

    for _ in range(closings):
        leader = await find_leader(pages)
        *_, asked = await leader.run(ASKED)
        assert all(name in asked for name in names)
        await publish_some()
        pages.remove(leader)
        await asyncio.gather(leader.page.close(), publish_some())
        await pages[0].until_got(published * channels)
        await until_alone(streaming, *names)
    # One that opens now gets what the others have.
    pages.append(await visit(url, beside=pages[0]))
    await publish_some()
    for page in pages:
        got = await page.until_got(published * channels)
        for name in names:
            expected = [[name, number] for number in range(published)]
            assert [each for each in got if each[0] == name] == expected
        assert await page.run("gaps") == []
        assert page.errors == []
    await until_alone(streaming, *names)


async def test_frozen_leader(
    site: Site, streaming: ServerProcess, browser: Browser
) -> None:
    """A tab that the browser freezes gives up the connection, and comes back to it."""
    channels = subscribe(streaming.url, "frozen-one", "frozen-two", share="frozen")
    url = site.page(*SCRIPTS, channels)
    async with open_tabs(browser, url, url) as (hidden, visible):
        assert await hidden.run("document.visibilityState") == "hidden"
        await hidden.until(IS_SHARED)
        await visible.until(IS_SHARED)
        assert await hidden.run("exchanges.length > 0")
        await hidden.freeze()
        await visible.until("exchanges.length > 0")
        await publish(streaming, "frozen-one", 1, 2)
        await publish(streaming, "frozen-two", 3)
        await visible.until("got.length >= 3")
        await hidden.resume()
        await hidden.until("got.length >= 3")
        await publish(streaming, "frozen-two", 4)
        for tab in (hidden, visible):
            await tab.until("got.length >= 4")
            assert sorted(await tab.run("got")) == [1, 2, 3, 4]
    await until_held(streaming, "frozen-one", 0)


@pytest.mark.left_to_all("with many tabs")
async def test_silent_leader(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A visible tab takes over from one that does not answer."""
    channels = subscribe(streaming.url, "silent", share="silent")
    url = site.page(*SCRIPTS, channels)
    leader = await visit(url)
    other = await visit(url, beside=leader)
    await other.until(IS_SHARED)
    debugger = await leader.page.context.new_cdp_session(leader.page)
    await debugger.send("Debugger.enable")
    await debugger.send("Debugger.pause")
    # The next script does not run.
    stopped = asyncio.ensure_future(leader.run("window.isAwake = true"))
    await other.until("exchanges.length > 0")
    await publish(streaming, "silent", 1, 2)
    assert await other.until_got(2) == [1, 2]
    await debugger.send("Debugger.disable")
    await stopped
    await publish(streaming, "silent", 3)
    for page in (leader, other):
        assert await page.until_got(3) == [1, 2, 3]
    await until_held(streaming, "silent", 1)


async def test_crashed_tab(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """The channels of a tab that crashes are left, since it cannot say so itself."""
    page = await visit(
        site.page(*SCRIPTS, subscribe(streaming.url, "crash-one", share="crash"))
    )
    await page.until(IS_SHARED)
    url = site.page(*SCRIPTS, subscribe(streaming.url, "crash-two", share="crash"))
    other = await visit(url, beside=page)
    await other.until(IS_SHARED)
    await until_alone(streaming, "crash-one", "crash-two")
    debugger = await other.page.context.new_cdp_session(other.page)
    crash = asyncio.ensure_future(debugger.send("Page.crash"))
    await until_held(streaming, "crash-two", 0)
    await until_held(streaming, "crash-one", 1)
    crash.cancel()


async def test_back_forward_cache(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """The leader and the others enter the cache, and get what they missed."""
    channels = subscribe(streaming.url, "cache", share="cache")
    url = site.page(*SCRIPTS, PERSISTED, channels)
    pages = [await visit(url)]
    pages.append(await visit(url, beside=pages[0]))
    for page in pages:
        await page.until(IS_SHARED)
    got = []
    for page, other in (pages, reversed(pages), pages):
        await page.page.goto(site.page())
        await publish(streaming, "cache", len(got))
        got.append(len(got))
        assert await other.until_got(len(got)) == got
        # A page from the cache is not loaded.
        await page.page.go_back(wait_until="commit")
        assert await page.until_got(len(got)) == got
        assert await page.run("persisted") is True
        await page.until(IS_SHARED)
        await until_held(streaming, "cache", 1)
    assert [page.errors for page in pages] == [[], []]


async def test_two_users(site: Site, streaming: ServerProcess, visit: Visitor) -> None:
    """Tabs of two users of a browser have two connections."""
    urls = [
        site.page(*SCRIPTS, subscribe(streaming.url, "users", share=user))
        for user in ("one", "two")
    ]
    pages = [await visit(urls[0])]
    pages.append(await visit(urls[1], beside=pages[0]))
    for page in pages:
        await page.until(IS_SHARED)
        assert len(await page.run(ASKED)) > 0
    await until_held(streaming, "users", 2)
    await publish(streaming, "users", "hello")
    assert [await page.until_got(1) for page in pages] == [["hello"], ["hello"]]


@pytest.mark.parametrize(
    "script",
    [
        "Object.defineProperty(navigator, 'locks', {value: undefined})",
        "navigator.locks.request = async () => { throw new Error('not here') }",
        "delete window.BroadcastChannel",
        "window.BroadcastChannel = class { constructor() { throw new Error('no') } }",
    ],
    ids=["no locks", "locks fail", "no channel", "channel fails"],
)
async def test_browsers_that_cannot_share(
    site: Site, streaming: ServerProcess, visit: Visitor, script: str
) -> None:
    """Where a tab cannot share, it has its own connection."""
    name = f"cannot-share-{len(script)}"
    url = site.page(script, *SCRIPTS, subscribe(streaming.url, name, share="none"))
    pages = [await visit(url)]
    pages.append(await visit(url, beside=pages[0]))
    await until_held(streaming, name, 2)
    await publish(streaming, name, "hello")
    for page in pages:
        assert await page.until_got(1) == ["hello"]
        assert await page.run("states.at(-1)[2].shared ?? null") is None
        assert page.errors == []


@pytest.mark.parametrize(
    "statement",
    [
        "import '/updates.js';",
        "import {updates} from '/updates.module.js';",
    ],
)
async def test_module(
    site: Site, streaming: ServerProcess, visit: Visitor, statement: str
) -> None:
    """It is loaded as a module, too, and subscribes as a template says."""
    name = f"tabs-module-{len(statement)}"
    channels: dict[str, Any] = {
        name: {"url": f"{streaming.url}/updates/{name}", "share": name}
    }
    script = f"updates.on('{name}', ({{data}}) => got.push(data));"
    url = site.document(
        '<script type="application/json" data-push-channels>'
        f"{json.dumps(channels)}</script>"
        "<script>window.got = []; window.states = []</script>"
        f'<script type="module">{statement} import "/updates.streams.js";'
        f' import "/updates.tabs.js"; {script}'
        "updates.onState((...state) => states.push(state));</script>"
    )
    page = await visit(url)
    other = await visit(url, beside=page)
    for each in (page, other):
        await each.until(IS_SHARED)
    await publish(streaming, name, "hello")
    for each in (page, other):
        assert await each.until_got(1) == ["hello"]
    info = f"{streaming.url}/send-update/{name}"
    answer = http.get(info, headers={"Accept": "application/json"})
    assert answer.json()["subscribers"] == 1
