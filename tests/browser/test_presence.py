"""Pages that are told who is on a channel, from a real Daphne."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import ServerProcess
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until

from .background_tabs import open_tabs
from .stage import Site, Visit, Visitor
from .streams import streaming_server

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Seconds in which a reload has to be over.
GRACE = 4

SCRIPTS = {
    "poll": ("updates.js", "updates.presence.js"),
    "stream": ("updates.js", "updates.streams.js", "updates.presence.js"),
    "websocket": (
        *("updates.js", "updates.streams.js", "updates.websocket.js"),
        "updates.presence.js",
    ),
    "tabs": (
        *("updates.js", "updates.streams.js", "updates.tabs.js"),
        "updates.presence.js",
    ),
}


def server_with_presence(site: Site, grace: float, **push_server: Any) -> ServerProcess:
    """Return a Daphne whose location tells who is on a channel."""
    subscriber = {
        "type": "subscriber",
        "prefix": "/updates/",
        "separator": ",",
        "create_on_get": True,
        "allow_origin": site.url,
        "allow_credentials": True,
        "authorize": "tests.browser.presence_access.may_listen",
        "presence": True,
        "presence_grace": grace,
    }
    publisher = {"type": "publisher", "prefix": "/send-update/"}
    locations = [publisher, subscriber]
    return streaming_server(site, locations=locations, **push_server)


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[ServerProcess]:
    with server_with_presence(site, GRACE) as server:
        yield server


def watch(url: str, **options: Any) -> str:
    """Return the script of a page that is on a channel, and notes who else is."""
    channel = json.dumps({"url": url, **options})
    return f"""
        window.here = null;
        window.heard = [];
        updates.onState((...state) => states.push(state));
        updates.presence("main", {{
            onSync: ({{members}}) => (here = [...members.keys()].sort()),
            onJoin: (key, info) => heard.push(["join", key, info]),
            onLeave: (key, info) => heard.push(["leave", key, info]),
            onCount: (count) => (window.count = count),
        }});
        updates.subscribe({{main: {channel}}});
    """


async def come(
    server: ServerProcess, visit: Visitor, url: str, name: str, **options: Any
) -> Visit:
    """Open a page of a user, and wait until it knows that this one is there."""
    opened = await visit("about:blank", **options)
    cookie = {"name": "user", "value": name, "url": server.url}
    await opened.page.context.add_cookies([cookie])
    await opened.page.goto(url)
    await until_sync(opened, name)
    return opened


async def until_sync(visit: Visit, name: str) -> None:
    await visit.until(
        "(name) => here?.includes(name) || heard.some(([, key]) => key === name)",
        name,
    )


async def until_heard(visit: Visit, name: str, *expected: list[Any]) -> None:
    """Wait until the page of a user was told of others, and of nothing else."""
    others = f"heard.filter(([, key]) => key !== '{name}')"
    await visit.until(f"(count) => {others}.length >= count", len(expected))
    assert await visit.run(others) == list(expected)


def join(name: str) -> list[Any]:
    return ["join", name, {"name": name.title()}]


def leave(name: str) -> list[Any]:
    return ["leave", name, {"name": name.title()}]


@pytest.mark.parametrize(
    "transport",
    [in_tier(each, ["stream"], "with other transports") for each in SCRIPTS],
)
async def test_windows_are_told_who_comes_and_goes(
    site: Site, server: ServerProcess, visit: Visitor, transport: str
) -> None:
    """A reload is not noticed; who has closed the window leaves after the grace."""
    options = {"share": "s"} if transport == "tabs" else {"transport": transport}
    options["location"] = '/updates/{channels}; separator=","'
    script = watch(f"{server.url}/updates/coming-{transport}", **options)
    url = site.page(*SCRIPTS[transport], script)
    one = await come(server, visit, url, "anna")
    other = await come(server, visit, url, "ben")
    await until_heard(one, "anna", join("ben"))
    await one.until("count === 2")
    await other.run("window.isOld = true")
    await other.page.reload()
    await until_sync(other, "ben")
    assert await other.run("window.isOld") is None
    assert await other.run("here") == ["anna", "ben"]
    third = await come(server, visit, url, "cleo")
    await until_heard(one, "anna", join("ben"), join("cleo"))
    await other.page.close()
    await until_heard(third, "cleo", leave("ben"))
    await until_heard(one, "anna", join("ben"), join("cleo"), leave("ben"))
    await one.until("count === 2")
    if transport in ("stream", "websocket"):
        assert {each[2]["transport"] for each in await one.run("states")} == {transport}
    assert one.errors + third.errors == []


@pytest.mark.left_to_all("presence faults")
async def test_a_killed_server_is_not_noticed(site: Site, visit: Visitor) -> None:
    """The pages reconnect to the next process, and nobody is told to leave."""
    with (
        Valkey() as store,
        server_with_presence(
            site, 15, store={"type": "redis", "url": store.url}
        ) as server,
    ):
        url = site.page(*SCRIPTS["stream"], watch(f"{server.url}/updates/staying"))
        one = await come(server, visit, url, "anna")
        other = await come(server, visit, url, "ben")
        await until_heard(one, "anna", join("ben"))
        server.stop(signal.SIGKILL)
        for each in (one, other):
            await each.until("states.at(-1)[0] === 'waiting'")
        server.start()
        third = await come(server, visit, url, "cleo")
        await until_heard(one, "anna", join("ben"), join("cleo"))
        await until_heard(other, "ben", join("cleo"))
        await third.until("here.length === 3 || heard.length === 2")
        await third.page.close()
        # By then those who had not come back would have left, too.
        await until_heard(one, "anna", join("ben"), join("cleo"), leave("cleo"))
        await until_heard(other, "ben", join("cleo"), leave("cleo"))


async def test_a_hidden_page_stays(
    site: Site, browser: Browser, visit: Visitor
) -> None:
    """A page that is hidden says so, and stays for longer when its stream ends."""
    with server_with_presence(site, 0.5) as server:
        urls = [
            site.page(
                *SCRIPTS["stream"], watch(f"{server.url}/updates/hiding?user={name}")
            )
            for name in ("hidden", "visible")
        ]
        script = watch(f"{server.url}/updates/hiding")
        watching = site.page(*SCRIPTS["stream"], script)
        watcher = await come(server, visit, watching, "anna")
        async with open_tabs(browser, *urls) as (hidden, visible):
            assert await hidden.run("document.visibilityState") == "hidden"
            for name in ("hidden", "visible"):
                await until_sync(watcher, name)
            await hidden.run("updates.close()")
            await visible.run("updates.close()")

            async def has_left() -> bool:
                return leave("visible") in await watcher.run("heard")

            await until(has_left)
            later = await come(server, visit, watching, "ben")
            assert await later.run("here.filter((key) => key !== 'ben')") == [
                *("anna", "hidden")
            ]
            assert leave("hidden") not in await watcher.run("heard")
