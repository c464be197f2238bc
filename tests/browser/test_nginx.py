"""The same pages on nginx with Nchan, as ``manage.py pushserver_nginx`` sets it up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.servers import Nginx, nginx
from tests.servers import daphne

from .stage import Site, Visitor, publish, subscribe, until_heard, until_held

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def nchan(site: Site) -> Iterator[Nginx]:
    """nginx with Nchan, for pages of another origin, before a plain Django."""
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
    """A page asks again at once when Nchan has held its request long enough."""
    script = subscribe(nchan, "timeout", location="/brief/")
    page = await visit(site.page("updates.js", script))
    await page.until("exchanges.filter((each) => each.status === 408).length > 1")
    await publish(nchan, "timeout", "still here")
    assert await page.until_got(1) == ["still here"]
    assert "waiting" not in await page.run("states.map(([state]) => state)")
