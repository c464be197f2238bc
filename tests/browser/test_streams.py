"""Pages that get all their channels on one stream, from a real Daphne."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from tests import http
from tests.servers import ServerProcess
from tests.valkey import Valkey

from .buffering_proxy import BufferingProxy
from .stage import RECORDER, Site, Visitor, publish, script_tag, until_held
from .streams import ASKED, SCRIPTS, streaming_server, subscribe, until_streaming

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANNELS = [f"channel-{number}" for number in range(8)]


async def test_eight_channels(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """Eight channels of a page use one connection, and each message comes once."""
    script = subscribe(streaming.url, *CHANNELS, prefix="all-")
    page = await visit(site.page(*SCRIPTS, script))
    await until_streaming(page)
    for channel in CHANNELS:
        await until_held(streaming, f"all-{channel}")
    for number in range(5):
        for channel in CHANNELS:
            await publish(streaming, f"all-{channel}", [channel, number])
    got = await page.until_got(40)
    for channel in CHANNELS:
        of_channel = [each for each in got if each[0] == channel]
        assert of_channel == [[channel, number] for number in range(5)]
    asked = await page.run(ASKED)
    # One found the location, the other has all channels.
    assert len(asked) == 2
    assert all(f"all-{channel}" in asked[1] for channel in CHANNELS)
    assert page.errors == []


async def test_text_and_bytes(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A message is the same as by a poll: its data, its type and its bytes."""
    script = """
        updates.on("main", ({contentType, text, bytes}) =>
            got.push([contentType, text.length, [...bytes.slice(0, 3)]]));
        updates.onState((...state) => states.push(state));
    """
    url = f"{streaming.url}/updates/bytes"
    scripts = (script, f"updates.subscribe({{main: '{url}'}})")
    page = await visit(site.page(*SCRIPTS, *scripts))
    await until_streaming(page)
    target = f"{streaming.url}/send-update/bytes"
    for content_type, body in (
        ("image/png", b"\x89PN\xff"),
        ("text/plain; charset=iso-8859-1", b"G\xfc"),
        ("text/plain", "Grüße\n".encode()),
    ):
        headers = {"Content-Type": content_type}
        await asyncio.to_thread(http.post, target, content=body, headers=headers)
    assert await page.until_got(3) == [
        ["image/png", 4, [0x89, 0x50, 0x4E]],
        ["text/plain; charset=iso-8859-1", 2, [0x47, 0xFC]],
        ["text/plain", 6, [0x47, 0x72, 0xC3]],
    ]


@pytest.mark.left_to_all("restarts")
async def test_restart_without_a_store(site: Site, visit: Visitor) -> None:
    """What a memory store lost at a restart is told as a gap, and the rest comes."""
    with streaming_server(site) as server:
        script = subscribe(server.url, "one", "two")
        page = await visit(site.page(*SCRIPTS, script))
        await until_streaming(page)
        await publish(server, "one", 1, 2)
        await page.until_got(2)
        await page.run("() => { window.goOn = updates.close() }")
        await until_held(server, "one", 0)
        await publish(server, "one", "lost")
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        await asyncio.to_thread(server.start)
        await publish(server, "one", 3)
        await page.run("() => goOn()")
        assert await page.until_got(3) == [1, 2, 3]
        [[name, _, before]] = await page.run("gaps")
        assert (name, before) == ("one", 2)
        await publish(server, "two", 4)
        assert await page.until_got(4) == [1, 2, 3, 4]


async def test_restart_with_redis(site: Site, visit: Visitor) -> None:
    """What is published while a server is down comes when it is back, and once.

    Whether it was killed or stopped.
    """
    with Valkey() as valkey:
        store = {"type": "redis", "url": valkey.url}
        servers = [streaming_server(site, store=store) for _ in range(2)]
        with servers[0] as server, servers[1] as other:
            page = await visit(site.page(*SCRIPTS, subscribe(server.url, *"abc")))
            await until_streaming(page)
            sent = [*range(10)]
            await publish(server, "a", *sent)
            for how in (signal.SIGKILL, signal.SIGTERM):
                await page.until_got(len(sent))
                await asyncio.to_thread(server.stop, how)
                await page.until("states.at(-1)[0] === 'waiting'")
                for channel in "abc":
                    await publish(other, channel, *range(20))
                sent += [*range(20)] * 3
                await asyncio.to_thread(server.start)
                got = await page.until_got(len(sent))
                await until_streaming(page)
                assert sorted(got) == sorted(sent)
            assert await page.run("gaps") == []


async def test_deleted_channel(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page is told which of its channels is deleted, and hears the other ones."""
    page = await visit(site.page(*SCRIPTS, subscribe(streaming.url, "gone", "stays")))
    await until_streaming(page)
    await asyncio.to_thread(http.delete, f"{streaming.url}/send-update/gone")
    await page.until("states.at(-1)[0] === 'gone'")
    assert await page.run("states.at(-1)[1]") == "gone"
    assert await page.run("states.at(-1)[2].status") == 410
    await publish(streaming, "stays", "hello")
    assert await page.until_got(1) == ["hello"]
    assert len(await page.run(ASKED)) == 2


async def test_buffering_proxy(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """Behind a proxy that holds streams back, a page gets batches of all channels."""
    await publish(streaming, "buffered-one", 1)
    with BufferingProxy(streaming.url) as proxy:
        script = subscribe(proxy.url, "one", "two", prefix="buffered-")
        page = await visit(site.page(*SCRIPTS, script))
        await page.until_got(1)
        await publish(streaming, "buffered-two", 2, 3)
        await publish(streaming, "buffered-one", 4)
        assert sorted(await page.until_got(4)) == [1, 2, 3, 4]
        await publish(streaming, "buffered-one", 5)
        await publish(streaming, "buffered-two", 6)
        assert sorted(await page.until_got(6)) == [1, 2, 3, 4, 5, 6]
        await until_streaming(page, "batch")
        assert await page.run("gaps") == []


async def test_server_without_streams(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """A location that holds no streams is polled, as without the module."""
    url = f"{push.url}/polled/old-style"
    script = subscribe(push.url, "old-style").replace("/updates/", "/polled/")
    await publish(push, "old-style", 1)
    page = await visit(site.page(*SCRIPTS, script))
    await page.until_got(1)
    await until_held(push, "old-style")
    await publish(push, "old-style", 2)
    assert await page.until_got(2) == [1, 2]
    await until_streaming(page, "poll")
    asked = await page.run(ASKED)
    assert asked[1:] == [url] * (len(asked) - 1)


# The life of a page


async def test_back_forward_cache(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page that comes back from the cache gets what it missed, and nothing twice."""
    script = "addEventListener('pageshow', (e) => window.persisted = e.persisted)"
    channels = subscribe(streaming.url, "one", "two", prefix="cache-")
    page = await visit(site.page(*SCRIPTS, script, channels))
    await until_streaming(page)
    await publish(streaming, "cache-one", "before")
    await page.until_got(1)
    await page.page.goto(site.page())
    await until_held(streaming, "cache-one", 0)
    await publish(streaming, "cache-two", "meanwhile")
    # A page from the cache is not loaded.
    await page.page.go_back(wait_until="commit")
    assert await page.until_got(2) == ["before", "meanwhile"]
    assert await page.run("persisted") is True
    await publish(streaming, "cache-one", "after")
    assert await page.until_got(3) == ["before", "meanwhile", "after"]
    assert "waiting" not in await page.run("states.map(([state]) => state)")
    assert page.errors == []


async def test_new_stream_after_a_frozen_page_resumes(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page that was frozen opens a new stream when the browser resumes it."""
    channels = subscribe(streaming.url, "one", "two", prefix="resumed-")
    page = await visit(site.page(*SCRIPTS, channels))
    await until_streaming(page)
    asked = len(await page.run(ASKED))
    # Headless Chromium cannot be frozen: it dispatches no event then.
    await page.run("() => { document.dispatchEvent(new Event('resume')) }")
    await page.until(f"exchanges.filter((each) => !each.status).length > {asked}")
    await until_held(streaming, "resumed-one")
    await publish(streaming, "resumed-two", "hello")
    assert await page.until_got(1) == ["hello"]


async def test_request_when_the_browser_is_online_again(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page asks at once when the browser says that the network is back."""
    channels = subscribe(streaming.url, "one", "two", prefix="online-")
    page = await visit(site.page(*SCRIPTS, channels))
    await until_streaming(page)
    asked = len(await page.run(ASKED))
    await page.page.context.set_offline(True)
    await page.page.context.set_offline(False)
    await page.until(f"exchanges.filter((each) => !each.status).length > {asked}")
    await until_held(streaming, "online-one")
    await publish(streaming, "online-one", "hello")
    assert await page.until_got(1) == ["hello"]


@pytest.mark.parametrize(
    "statement",
    [
        "import '/updates.js'; import '/updates.streams.js';",
        "import {updates} from '/updates.module.js'; import '/updates.streams.js';",
    ],
)
async def test_module(
    site: Site, streaming: ServerProcess, visit: Visitor, statement: str
) -> None:
    """It is loaded as a module, too."""
    script = subscribe(streaming.url, "one", prefix=f"module-{len(statement)}-")
    lists = "window.got = []; window.gaps = []; window.states = [];"
    page = await visit(
        site.document(
            f"<script>{lists} window.exchanges = []</script>"
            f'<script type="module">{statement} {script}</script>'
        )
    )
    await until_streaming(page)
    await publish(streaming, f"module-{len(statement)}-one", "hello")
    assert await page.until_got(1) == ["hello"]


async def test_channels_of_a_template(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A page begins after its position, whichever scripts its tag comes before."""
    await publish(streaming, "tag-one", "old")
    info = http.get(
        f"{streaming.url}/send-update/tag-one", headers={"Accept": "application/json"}
    ).json()
    await publish(streaming, "tag-one", "while the page was made")
    channels = {
        "one": {
            "url": f"{streaming.url}/updates/tag-one",
            "after": info["last_message_id"],
        },
        "two": {"url": f"{streaming.url}/updates/tag-two", "after": "0:0"},
    }
    tag = (
        '<script type="application/json" data-push-channels>'
        f"{json.dumps(channels)}</script>"
    )
    script = """
        updates.on("one", ({data}) => got.push(data));
        updates.on("two", ({data}) => got.push(data));
    """
    url = site.document(tag + "".join(map(script_tag, (RECORDER, *SCRIPTS, script))))
    page = await visit(url)
    assert await page.until_got(1) == ["while the page was made"]
    await until_held(streaming, "tag-two")
    await publish(streaming, "tag-two", "later")
    assert await page.until_got(2) == ["while the page was made", "later"]
    assert page.errors == []
