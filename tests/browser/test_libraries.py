"""Client libraries of others through a restart of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from tests.conformance.servers import need
from tests.live.wire import Wire, request
from tests.servers import ServerProcess, daphne
from tests.valkey import Valkey

from . import libraries
from .clients import CLIENTS, Client
from .stage import Site, Visit, Visitor, until_held

if TYPE_CHECKING:
    from playwright.async_api import Route

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: The messages before the stop, while the server stops, while it is down, and after all
#: clients have returned.
BEFORE, STOPPING, AWAY, TOTAL = range(50), range(50, 100), range(100, 150), range(200)
AFTER = range(150, 200)

#: Those that the default tier tests.
DEFAULT = ("EventSource", "WebSocket")
OTHERS = tuple(name for name in CLIENTS if name not in DEFAULT)


@pytest.fixture
def library_site(site: Site, names: Sequence[str]) -> Site:
    """A site that serves the libraries, unless the browser itself is the client."""
    if names != DEFAULT:
        need(libraries.are_there(), "A client library", libraries.COMMAND)
        site.folders.append(libraries.FOLDER)
    return site


@pytest.fixture
def servers(site: Site) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two processes that share a store in Redis."""
    of_pages = {
        "type": "subscriber",
        "create_on_get": True,
        "allow_origin": site.url,
        "allow_credentials": True,
    }
    with Valkey() as store:
        conf = {
            "store": {"type": "redis", "url": store.url, "max_messages": 1000},
            "locations": [
                {"type": "publisher", "url": "/send-update/([^/]+)"},
                {**of_pages, "url": "/updates/([^/]+)"},
                {**of_pages, "url": "/newest/([^/]+)", "first_message": "newest"},
            ],
        }
        with daphne(conf) as one, daphne(conf) as other:
            yield one, other


def channel_of(name: str) -> str:
    return "".join(filter(str.isalnum, name))


async def publish(
    server: ServerProcess, names: Sequence[str], numbers: Sequence[int]
) -> None:
    """Publish messages for clients on the channel of each."""
    async with await Wire.open(server.port) as wire:
        for number in numbers:
            for name in names:
                await wire.send(build_request(name, CLIENTS[name], number))
            for _ in names:
                assert (await wire.answer("POST")).status in (201, 202)


def build_request(name: str, client: Client, number: int) -> bytes:
    named = () if client.event is None else (f"X-EventSource-Event: {client.event}",)
    body = client.body.replace("{number}", str(number)).encode()
    headers = ("Content-Type: text/html; charset=utf-8", *named)
    return request("POST", f"/send-update/{channel_of(name)}", *headers, body=body)


async def open_page(
    site: Site, server: ServerProcess, visit: Visitor, name: str
) -> Visit:
    """Open the page of a client, and wait until it has subscribed."""
    client = CLIENTS[name]
    location = "updates" if client.resumes else "newest"
    url = f"{server.url}/{location}/{channel_of(name)}"
    content = client.page.replace("URL", url)
    document = site.document(content.replace("WSS", url.replace("http:", "ws:")))
    if client.needs_same_origin:
        page = await visit(site.page())

        async def fulfill(route: Route) -> None:
            path = route.request.url.removeprefix(server.url)
            await route.fulfill(response=await route.fetch(url=site.url + path))

        for pattern in ("/pages/*", "/*.js"):
            await page.page.route(server.url + pattern, fulfill)
        await page.page.goto(document.replace(site.url, server.url))
    else:
        page = await visit(document)
    await until_held(server, channel_of(name))
    return page


@pytest.mark.left_to_all("client libraries")
@pytest.mark.parametrize("names", [DEFAULT, OTHERS], ids=["default", "others"])
async def test_200_messages_through_a_restart(
    library_site: Site,
    servers: tuple[ServerProcess, ServerProcess],
    visit: Visitor,
    names: Sequence[str],
) -> None:
    """Whoever resumes gets each message once; others miss only what came meanwhile."""
    one, other = servers
    pages = {name: await open_page(library_site, one, visit, name) for name in names}
    await publish(other, names, BEFORE)
    for page in pages.values():
        await page.until_got(len(BEFORE))
    stopping = asyncio.create_task(asyncio.to_thread(one.stop))
    await publish(other, names, STOPPING)
    await stopping
    await publish(other, names, AWAY)
    await asyncio.to_thread(one.start)
    for name in names:
        await until_held(one, channel_of(name))
    await publish(other, names, AFTER)
    got = {}
    for name, page in pages.items():
        await page.until(f"got.at(-1) === {TOTAL[-1]}")
        got[name] = await page.run("got")
    for name, numbers in got.items():
        if not CLIENTS[name].resumes:
            assert numbers == sorted(set(numbers)), name
            lost = set(TOTAL) - set(numbers)
            assert set(AWAY) <= lost <= {*STOPPING, *AWAY}, name
            got[name] = list(TOTAL)
    assert got == dict.fromkeys(names, list(TOTAL))
