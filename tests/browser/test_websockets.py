"""Pages that get their channels on one WebSocket, from a real Daphne."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests import http
from tests.servers import ServerProcess
from tests.tiers import in_tier
from tests.valkey import Valkey

from .stage import Site, Visitor, publish, until_held
from .streams import ASKED, SCRIPTS, streaming_server, subscribe, until_streaming

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOCKET_SCRIPTS = (*SCRIPTS, "updates.websocket.js")
LOCATION = '/updates/{channels}; separator=","'
OPTIONS = {"transport": "websocket", "location": LOCATION}

CHANNELS = [f"socket-{number}" for number in range(8)]


async def test_eight_channels(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """Eight channels of a page use one socket, and each message comes once."""
    script = subscribe(streaming.url, *CHANNELS, **OPTIONS)
    page = await visit(site.page(*SOCKET_SCRIPTS, script))
    await until_streaming(page, "websocket")
    for number in range(10):
        for channel in CHANNELS:
            await publish(streaming, channel, [channel, number])
    got = await page.until_got(80)
    for channel in CHANNELS:
        of_channel = [each for each in got if each[0] == channel]
        assert of_channel == [[channel, number] for number in range(10)]
    (asked,) = await page.run(ASKED)
    assert asked.startswith("ws://")
    for channel in CHANNELS:
        await until_held(streaming, channel)
    assert page.errors == []


async def test_text_and_bytes(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A message is the same as by a poll: its data, its type and its bytes."""
    script = """
        updates.on("main", ({contentType, text, bytes, event}) =>
            got.push([contentType, text.length, [...bytes.slice(0, 3)], event]));
        updates.onState((...state) => states.push(state));
    """
    url = f"{streaming.url}/updates/socket-bytes"
    options = f"{{url: '{url}', transport: 'websocket', location: '{LOCATION}'}}"
    scripts = (script, f"updates.subscribe({{main: {options}}})")
    page = await visit(site.page(*SOCKET_SCRIPTS, *scripts))
    await until_streaming(page, "websocket")
    target = f"{streaming.url}/send-update/socket-bytes"
    for content_type, body, event in (
        ("image/png", b"\x89PN\xff", "story"),
        ("text/plain; charset=iso-8859-1", b"G\xfc", None),
        ("text/plain", "Grüße\n".encode(), None),
    ):
        headers = {"Content-Type": content_type}
        if event is not None:
            headers["X-EventSource-Event"] = event
        await asyncio.to_thread(http.post, target, content=body, headers=headers)
    assert await page.until_got(3) == [
        ["image/png", 4, [0x89, 0x50, 0x4E], "story"],
        ["text/plain; charset=iso-8859-1", 2, [0x47, 0xFC], None],
        ["text/plain", 6, [0x47, 0x72, 0xC3], None],
    ]


@pytest.mark.parametrize(
    "how",
    [
        in_tier(signal.SIGTERM, {signal.SIGTERM}, "restarts", id="stop"),
        in_tier(signal.SIGKILL, {signal.SIGTERM}, "restarts", id="kill"),
    ],
)
async def test_restart(site: Site, visit: Visitor, how: signal.Signals) -> None:
    """What is published while a server is down comes when it is back, and once."""
    with Valkey() as valkey:
        store = {"type": "redis", "url": valkey.url}
        servers = [streaming_server(site, store=store) for _ in range(2)]
        with servers[0] as server, servers[1] as other:
            script = subscribe(server.url, *"abc", **OPTIONS)
            page = await visit(site.page(*SOCKET_SCRIPTS, script))
            await until_streaming(page, "websocket")
            await publish(server, "a", *range(10))
            await page.until_got(10)
            await asyncio.to_thread(server.stop, how)
            await page.until("states.at(-1)[0] === 'waiting'")
            for channel in "abc":
                await publish(other, channel, *range(20))
            await asyncio.to_thread(server.start)
            got = await page.until_got(70)
            assert sorted(got) == sorted(
                [*range(10), *range(20), *range(20), *range(20)]
            )
            assert await page.run("gaps") == []


async def test_deleted_channel(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page is told which channel is deleted; the socket of the last one is closed."""
    script = subscribe(streaming.url, "socket-gone", "socket-stays", **OPTIONS)
    page = await visit(site.page(*SOCKET_SCRIPTS, script))
    await until_streaming(page, "websocket")
    for number, channel in enumerate(("socket-gone", "socket-stays"), 1):
        target = f"{streaming.url}/send-update/{channel}"
        await asyncio.to_thread(http.delete, target)
        await page.until(
            "(count) => states.filter(([state]) => state === 'gone').length === count",
            number,
        )
        assert await page.run("states.at(-1)[1]") == channel
        assert await page.run("states.at(-1)[2].status") == 410
    assert len(await page.run(ASKED)) == 1


async def test_location_without_sockets(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """Where the handshake is refused, the page falls back, and misses nothing."""
    script = subscribe(push.url, "no-sockets", transport="websocket")
    script = script.replace("/updates/", "/polled/")
    await publish(push, "no-sockets", 1)
    page = await visit(site.page(*SOCKET_SCRIPTS, script))
    await page.until_got(1)
    await until_streaming(page, "poll")
    await publish(push, "no-sockets", 2)
    assert await page.until_got(2) == [1, 2]


async def test_location_without_separator(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """Each channel has a socket, once a stream has found that they cannot share one."""
    names = ("alone-one", "alone-two")
    script = subscribe(push.url, *names, transport="websocket")
    page = await visit(site.page(*SOCKET_SCRIPTS, script))
    await until_streaming(page, "websocket")
    for name in names:
        await publish(push, name, name)
    assert sorted(await page.until_got(2)) == list(names)


async def test_back_forward_cache(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page that comes back gets what it missed, and nothing twice."""
    script = "addEventListener('pageshow', (e) => window.persisted = e.persisted)"
    channels = subscribe(streaming.url, "socket-cache", **OPTIONS)
    page = await visit(site.page(*SOCKET_SCRIPTS, script, channels))
    await until_streaming(page, "websocket")
    await publish(streaming, "socket-cache", "before")
    await page.until_got(1)
    await page.page.goto(site.page())
    await until_held(streaming, "socket-cache", 0)
    await publish(streaming, "socket-cache", "meanwhile")
    await page.page.go_back(wait_until="commit")
    assert await page.until_got(2) == ["before", "meanwhile"]
    assert await page.run("persisted") is True
    assert page.errors == []


async def test_all_tabs(site: Site, streaming: ServerProcess, visit: Visitor) -> None:
    """Tabs share a socket, too."""
    script = subscribe(streaming.url, "socket-tabs", share="sockets", **OPTIONS)
    url = site.page(*SOCKET_SCRIPTS, "updates.tabs.js", script)
    first = await visit(url)
    pages = [first, await visit(url, beside=first)]
    for page in pages:
        await until_streaming(page, "websocket")
    await publish(streaming, "socket-tabs", 1, 2)
    for page in pages:
        assert await page.until_got(2) == [1, 2]
    await until_held(streaming, "socket-tabs", 1)
    assert await pages[1].run("exchanges") == []
