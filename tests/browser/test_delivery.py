"""Messages reach pages of another origin: all of them, once and in order."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests import http
from tests.servers import ServerProcess

from .stage import (
    Site,
    Visitor,
    publish,
    push_server,
    subscribe,
    until_heard,
    until_held,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_order(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """60 messages sent as fast as possible reach three pages in order, each once."""
    pages = [
        await visit(site.page("updates.js", subscribe(push, "order"))) for _ in range(3)
    ]
    await until_held(push, "order", 3)
    await publish(push, "order", *range(60))
    for page in pages:
        assert await page.until_got(60) == list(range(60))
    await until_held(push, "order", 3)
    for page in pages:
        assert len(await page.run("got")) == 60
        assert page.errors == []


async def test_same_origin(server: ServerProcess, visit: Visitor) -> None:
    """A page of the server's own origin needs no CORS."""
    page = await visit(f"{server.url}/hello")
    await page.page.add_script_tag(path="pushserver/static/pushserver/updates.js")
    await page.run(
        "() => { window.got = []; updates.on('a', (m) => got.push(m.data)) }"
    )
    await page.run("() => { updates.subscribe({a: '/updates/same-origin'}) }")
    await until_held(server, "same-origin")
    await publish(server, "same-origin", "one", "two")
    assert await page.until_got(2) == ["one", "two"]
    assert page.errors == []


async def test_preflight(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """A page of another origin passes the preflight and can read the ids it sends."""
    first, second = await publish(push, "preflight", 1, 2)
    page = await visit(site.page("updates.js", subscribe(push, "preflight")))
    await page.until_got(2)
    await until_held(push, "preflight")
    asked = await page.run("exchanges.map(({request}) => request['If-None-Match'])")
    tags = [each.partition(":")[2] for each in (first, second)]
    # Each exchange is recorded twice: with the request and with the response.
    assert asked == ["0", "0", tags[0], tags[0], tags[1]]


async def test_headers_of_other_clients(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """A page of another origin may send Etag, like NchanSubscriber.js, and others."""
    await publish(push, "other-clients", "news")
    page = await visit(site.page())
    asked = """(url) => fetch(url, {
        credentials: "include",
        headers: {"Etag": "1:0", "Last-Event-ID": "1:0", "Authorization": "Bearer x"},
    }).then((answer) => answer.json())"""
    assert await page.run(asked, f"{push.url}/updates/other-clients") == "news"


async def test_credentials(site: Site, whole: ServerProcess, visit: Visitor) -> None:
    """The passthrough view gets the cookies of the page's visitor."""
    cookie = "document.cookie = 'who=me; path=/';"
    await visit(site.page("updates.js", cookie, subscribe(whole, "credentials")))
    (event,) = await until_heard(whole, "credentials", 1)
    assert event["event"] == "subscribe"
    assert event["cookies"] == {"who": "me"}


async def test_another_origin(push: ServerProcess, visit: Visitor) -> None:
    """A page of an origin that is not allowed cannot read messages."""
    with Site().serving() as stranger:
        await publish(push, "stranger", "secret")
        page = await visit(stranger.page("updates.js", subscribe(push, "stranger")))
        await page.until("states.filter(([state]) => state === 'waiting').length > 1")
        assert await page.run("got") == []
        assert any("CORS policy" in error for error in page.errors)


async def test_restart(site: Site, visit: Visitor) -> None:
    """A page reconnects to a killed or stopped server and gets later messages."""
    with push_server(site) as server:
        page = await visit(site.page("updates.js", subscribe(server, "restart")))
        await until_held(server, "restart")
        await publish(server, "restart", *range(20))
        await page.until_got(20)
        for how, count in ((signal.SIGKILL, 20), (signal.SIGTERM, 40)):
            await asyncio.to_thread(server.stop, how)
            await page.until("states.at(-1)[0] === 'waiting'")
            await asyncio.to_thread(server.start)
            await until_held(server, "restart")
            await publish(server, "restart", *range(count, count + 20))
            assert await page.until_got(count + 20) == list(range(count + 20))
            assert await page.run("states.at(-1)[0]") == "live"


async def test_gap(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """A page that reconnects too late gets the gap before the next message."""
    first, second, _ = await publish(push, "gap", 1, 2, 3, store="/small")
    channel = f"{{url: '{push.url}/small/updates/gap', after: '{first}'}}"
    script = f"record('main'); updates.subscribe({{main: {channel}}})"
    page = await visit(site.page("updates.js", script))
    assert await page.until_got(1) == [3]
    assert await page.run("gaps") == [[second, 0]]


@pytest.mark.parametrize("status", [304, 408])
async def test_timeout(
    site: Site, push: ServerProcess, visit: Visitor, status: int
) -> None:
    """A page sends a new request at once when the server ends a poll by timeout."""
    script = subscribe(push, f"timeout-{status}", location=f"/brief-{status}/")
    page = await visit(site.page("updates.js", script))
    await page.until(
        "(status) => exchanges.filter((each) => each.status === status).length > 1",
        status,
    )
    await publish(push, f"timeout-{status}", "still here")
    assert await page.until_got(1) == ["still here"]
    assert "waiting" not in await page.run("states.map(([state]) => state)")


async def test_unknown_channel(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """A page is told why it is refused, also by a server of another origin."""
    script = subscribe(push, "unknown", location="/strict/")
    page = await visit(site.page("updates.js", script))
    await page.until("states.at(-1)[0] === 'waiting'")
    detail = await page.run("states.at(-1)[1]")
    assert detail["status"] == 404
    assert detail["reason"] == "There is no such channel."
    assert detail["retryIn"] >= 15_000


async def test_deleted_channel(site: Site, push: ServerProcess, visit: Visitor) -> None:
    """A page whose channel is deleted is told so and sends no more requests."""
    page = await visit(site.page("updates.js", subscribe(push, "deleted")))
    await until_held(push, "deleted")
    await asyncio.to_thread(http.delete, f"{push.url}/send-update/deleted")
    await page.until("states.at(-1)[0] === 'gone'")
    assert await page.run("states.at(-1)[1].status") == 410
    assert await page.run("exchanges.length") == 2
