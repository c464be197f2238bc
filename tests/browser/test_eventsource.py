"""``updates.eventSource()`` beside the browser's own ``EventSource``."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests import http
from tests.servers import ServerProcess

from .stage import Site, Visit, Visitor, publish, until_held
from .streams import ASKED, subscribe

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = ("updates.js", "updates.streams.js", "updates.eventsource.js")

#: Records what a source tells, as the name says.
LISTEN = """
    window.listen = (name, source) => {
        window[name] = [];
        for (const type of ["message", "story", "open", "error"]) {
            source.addEventListener(type, (event) => window[name].push(
                [event.type, event.data ?? null, event.lastEventId ?? null,
                 event.origin ?? null, source.readyState]));
        }
        return source;
    };
"""


async def post(url: str, body: bytes, **headers: str) -> None:
    answer = await asyncio.to_thread(http.post, url, content=body, headers=headers)
    answer.raise_for_status()


async def test_same_events_as_the_native_one(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """Both tell the same of messages of all kinds: types, names, ids and data."""
    url = f"{streaming.url}/updates/native"
    script = f"""
        const options = {{withCredentials: true}};
        listen("native", new EventSource("{url}", options));
        listen("ours", updates.eventSource("{url}", options));
    """
    page = await visit(site.page(*SCRIPTS, LISTEN, script))
    await until_held(streaming, "native", 2)
    target = f"{streaming.url}/send-update/native"
    for content_type, body in (
        ("text/plain", "Grüße\r\nand more\n".encode()),
        ("application/json", b'{"a": [1]}'),
        ("image/png", b"\x89PN\xff"),
        ("image/png", b"text"),
        ("text/plain; charset=iso-8859-1", b"G\xfc"),
        ("application/octet-stream", bytes(range(256)) * 400),
    ):
        await post(target, body, **{"Content-Type": content_type})
    named = {"Content-Type": "text/html", "X-EventSource-Event": "story"}
    await post(target, b"<p>named", **named)
    for name in ("native", "ours"):
        await page.until(f"{name}.filter(([type]) => type !== 'open').length >= 7")
    native, ours = await page.run("native"), await page.run("ours")
    assert [each for each in ours if each[0] == "story"]
    assert ours == native
    assert page.errors == []


async def test_library_with_a_replaced_eventsource(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """A library that is given it hears its messages on the page's connection."""
    # What htmx's extension "sse" and Turbo's connectStreamSource() do with a source.
    library = """
        const connect = (source) => {
            source.onerror = () => {
                if (source.readyState === EventSource.CLOSED) got.push("closed");
            };
            source.onopen = () => got.push("open");
            source.addEventListener("story", ({data}) => got.push(data));
            source.addEventListener("message", (event) => {
                if (event instanceof MessageEvent && typeof event.data === "string") {
                    got.push(event.data);
                }
            });
            return source;
        };
    """
    url = f"{streaming.url}/updates/library-one,library-two"
    sources = f"window.source = connect(updates.eventSource('{url}'));"
    # Cookies are sent to the other origin for both, or they have two connections.
    sources = sources.replace("')", "', {withCredentials: true})")
    script = subscribe(streaming.url, "library-three")
    page = await visit(site.page(*SCRIPTS, library, script, sources))
    await page.until("got.includes('open')")
    for channel in ("library-one", "library-two", "library-three"):
        await until_held(streaming, channel)
    await publish(streaming, "library-one", 1)
    await publish(streaming, "library-two", 2)
    await page.until_got(3)
    assert await page.run("got.slice(1)") == ["1", "2"]
    *_, asked = await page.run(ASKED)
    path = "/updates/library-three,library-one,library-two"
    assert asked.startswith(streaming.url + path)
    await page.run("source.close()")
    await until_held(streaming, "library-two", 0)
    await until_held(streaming, "library-three")


async def test_connection_of_all_tabs(
    site: Site, streaming: ServerProcess, visit: Visitor
) -> None:
    """It is shared with the other tabs of the user for whom the page was rendered."""
    tag = '<script type="application/json" data-push-channels>{}</script>'
    channels = {"a": {"url": f"{streaming.url}/updates/tabs-a", "share": "tabs"}}
    source = f"""
        updates.onState((...state) => states.push(state));
        updates.onExchange((exchange) => exchanges.push(exchange));
        updates.eventSource("{streaming.url}/updates/tabs-b", {{withCredentials: true}})
            .onmessage = ({{data}}) => got.push(data);
    """
    lists = "".join(f"window.{name} = [];" for name in ("got", "states", "exchanges"))
    scripts = (*SCRIPTS[:2], "updates.tabs.js", SCRIPTS[2])
    url = site.document(
        tag.format(json.dumps(channels))
        + f"<script>{lists}</script>"
        + "".join(f'<script src="/{script}"></script>' for script in scripts)
        + f"<script>{source}</script>"
    )
    first = await visit(url)
    pages: list[Visit] = [first, await visit(url, beside=first)]
    for page in pages:
        await page.until("states.filter(([state]) => state === 'live').length >= 2")
    await publish(streaming, "tabs-b", 1, 2)
    for page in pages:
        assert await page.until_got(2) == ["1", "2"]
    assert await pages[1].run("exchanges") == []
    await until_held(streaming, "tabs-b")
