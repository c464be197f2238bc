"""The same pages on nginx with Nchan, as ``manage.py pushserver_nginx`` sets it up."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from tests import http
from tests.conformance.servers import Nginx, nginx
from tests.servers import daphne
from tests.waiting import until

from .stage import Site, Visitor, publish, subscribe, until_heard, until_held

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def nchan(site: Site) -> Iterator[Nginx]:
    """nginx with Nchan, for pages of another origin, in front of a plain Django."""
    of_pages = {
        "type": "subscriber",
        "create_on_get": True,
        "allow_origin": site.url,
        "allow_credentials": True,
        "passthrough": "/passthrough",
    }
    conf = {
        "store": {"type": "memory", "max_messages": 1000},
        "locations": [
            {"type": "publisher", "prefix": "/send-update/"},
            {**of_pages, "prefix": "/updates/"},
            {**of_pages, "prefix": "/brief/", "timeout": 1},
            {**of_pages, "prefix": "/plain/", "passthrough": None},
        ],
    }
    with daphne(conf, "tests.asgi:django_application") as django:
        options = ("--django", f"127.0.0.1:{django.port}", "--workers", "1")
        with nginx(conf, *options) as server:
            yield server


async def test_order(site: Site, nchan: Nginx, visit: Visitor) -> None:
    """30 messages sent as fast as possible reach two pages in order, each once."""
    pages = [
        await visit(site.page("updates.js", subscribe(nchan, "order")))
        for _ in range(2)
    ]
    await until_held(nchan, "order", 2)
    await publish(nchan, "order", *range(30))
    for page in pages:
        assert await page.until_got(30) == list(range(30))
        assert page.errors == []


async def test_credentials(site: Site, nchan: Nginx, visit: Visitor) -> None:
    """The passthrough view gets the cookies of the page's visitor."""
    cookie = "document.cookie = 'who=me; path=/';"
    await visit(site.page("updates.js", cookie, subscribe(nchan, "credentials")))
    (event,) = await until_heard(nchan, "credentials", 1)
    assert event["event"] == "subscribe"
    assert event["cookies"] == {"who": "me"}


async def test_timeout(site: Site, nchan: Nginx, visit: Visitor) -> None:
    """A page sends a new request at once when Nchan ends a poll by timeout."""
    script = subscribe(nchan, "timeout", location="/brief/")
    page = await visit(site.page("updates.js", script))
    await page.until("exchanges.filter((each) => each.status === 408).length > 1")
    await publish(nchan, "timeout", "still here")
    assert await page.until_got(1) == ["still here"]
    assert "waiting" not in await page.run("states.map(([state]) => state)")


async def test_restarts(site: Site, nchan: Nginx, visit: Visitor) -> None:
    """A page reconnects when nginx is reloaded or restarted and responds with 410."""
    script = subscribe(nchan, "restarts", location="/plain/")
    page = await visit(site.page("updates.js", script))
    published_at = 0
    # A reload is not the first: Nchan still counts subscribers from before it, so a
    # message may be published before the page reconnects. To get it then, the page
    # needs an id.
    for count, how in enumerate((signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM), 1):
        await until_held(nchan, "restarts")
        if how == signal.SIGHUP:
            nchan.process.send_signal(how)
        else:
            await asyncio.to_thread(nchan.stop, how)
        await page.until(
            "(count) => exchanges.filter(({status}) => status === 410).length >= count",
            count,
        )
        if how != signal.SIGHUP:
            await asyncio.to_thread(nchan.start)
        await until_held(nchan, "restarts")
        # A restarted Nchan has forgotten its ids; within a second it gives them again.
        await until(lambda: time.time() >= published_at + 1)  # noqa: B023
        [message_id] = await publish(nchan, "restarts", count)
        published_at = int(message_id.partition(":")[0])
        assert await page.until_got(count) == list(range(1, count + 1))
    assert "gone" not in await page.run("states.map(([state]) => state)")


async def test_deleted_channel(site: Site, nchan: Nginx, visit: Visitor) -> None:
    """A page reconnects after its channel is deleted, since Nchan responds the same."""
    page = await visit(site.page("updates.js", subscribe(nchan, "deleted")))
    await until_held(nchan, "deleted")
    await asyncio.to_thread(http.delete, f"{nchan.url}/send-update/deleted")
    await page.until("exchanges.some(({status}) => status === 410)")
    await page.until("exchanges.at(-1).status === undefined")
    await publish(nchan, "deleted", "made again")
    assert await page.until_got(1) == ["made again"]
