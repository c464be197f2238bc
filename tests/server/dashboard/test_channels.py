"""The list of channels, and the page of one."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest

from pushserver_channels.dashboard import ranking
from pushserver_channels.dashboard.responder import responders
from tests.server.access.subscribing import Serving
from tests.server.exchanges import EPOCH, Site
from tests.stores.test_contract_figures import ODD_IDS

from .site import Browser

pytestmark = pytest.mark.usefixtures("watched_soon")

OLD = [(b"if-modified-since", EPOCH), (b"if-none-match", b"0")]


def list_ids(text: str) -> list[str]:
    """Return the channels in a list, in their order."""
    table = text.partition('id="channels"')[2].partition("</tbody>")[0]
    return [
        unescape(each)
        for each in re.findall('<tr role="row" data-key="([^"]*)"', table)
    ]


async def publish(site: Site, *channel_ids: str) -> None:
    for channel_id in channel_ids:
        await site.post(quote(channel_id, safe=""))


async def test_sorting(serve: Serving) -> None:
    """Channels are sorted by clients, messages, rate, last message or id."""
    site = serve()
    await publish(site, "c", "c", "c", "b", "b", "a")
    last = await site.ask("GET", "/updates/a", OLD)
    assert last["Last-Modified"] and last["Etag"]
    held = await site.hold(
        "/updates/a",
        [
            (b"if-modified-since", last["Last-Modified"].encode()),
            (b"if-none-match", last["Etag"].encode()),
        ],
    )
    browser = Browser()
    assert list_ids(await browser.read()) == ["a", "b", "c"]
    for sort, order in {
        "held": "abc",
        "messages": "cba",
        "rate": "cba",
        "id": "abc",
        "nonsense": "abc",
    }.items():
        text = await browser.read(sort=sort)
        assert list_ids(text) == list(order), sort
        assert text.count("aria-sort") == 1
    held.disconnect()
    await held.end()


async def test_searching(serve: Serving) -> None:
    """A search finds a part of an id, in capitals or not."""
    site = serve()
    await publish(site, "News-1", "news-2", "other")
    browser = Browser()
    assert list_ids(await browser.read(q="NEWS")) == ["News-1", "news-2"]
    assert list_ids(await browser.read(q="[")) == []
    assert "No channel has “[” in its id." in await browser.read(q="[")


async def test_a_list_that_is_not_complete(
    serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While channels are looked at, the page says so, and not that there are none."""
    monkeypatch.setattr(ranking, "PATIENCE", 0)
    monkeypatch.setattr(ranking, "MAX_RUNNING", 0)
    site = serve()
    await publish(site, "a")
    text = await Browser().read()
    assert "Looking for channels." in text and "Still looking" in text
    assert "There are no channels" not in text
    for making in responders["default"].rankings._making.values():
        making[1].cancel()


async def test_pages(serve: Serving) -> None:
    """A list has fifty channels on a page, and a number beyond is the last page."""
    site = serve()
    await publish(site, *(f"{number:03}" for number in range(120)))
    browser = Browser()
    seen = []
    for page in ("1", "2", "3"):
        seen += list_ids(await browser.read(sort="id", page=page))
    assert seen == [f"{number:03}" for number in range(120)]
    assert list_ids(await browser.read(sort="id", page="99")) == seen[100:]
    for page in ("0", "-1", "x", "9" * 9):
        assert list_ids(await browser.read(sort="id", page=page)) == seen[:50]
    assert "page=2" in await browser.read(sort="id")


@pytest.mark.parametrize("channel_id", ODD_IDS)
async def test_odd_ids(serve: Serving, channel_id: str) -> None:
    """The page of a channel works whatever its id, which is shown as text."""
    site = serve(
        publisher={"url": "/send-update/(.+)"},
        url="/updates/(.+)",
    )
    await publish(site, channel_id)
    browser = Browser()
    text = await browser.read()
    assert list_ids(text) == [channel_id]
    [link] = re.findall('class="mono" href="([^"]*)"', text.partition('"channels"')[2])
    answer = await browser.get(unescape(link).removeprefix("/push/"))
    assert answer.context["channel_id"] == channel_id
    assert answer.context["found"]["messages"] == 1
    assert "<script>alert" not in text + answer.content.decode()
    wire = await browser.get("wire/", channel=channel_id, location="1")
    assert (
        wire.json()["url"]
        == f"/updates/{quote(channel_id, safe='')}".replace("%2F", "/")
        or quote(channel_id) in wire.json()["url"]
    )


async def test_messages(serve: Serving) -> None:
    """The messages of a channel are shown as text, cut, with their types and gaps."""
    site = serve(store={"max_messages": 3})
    await site.post("a", b"dropped")
    first = await site.post("a", b"<img src=x onerror=alert(1)>")
    assert first.status == 202
    await site.post("a", b"x" * 5000, [(b"content-type", b"text/html")])
    await site.post("a", b"\xff\x00" * 100, [(b"x-eventsource-event", b"story")])
    text = await Browser().read("channel/", channel="a")
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in text
    assert "x" * 1000 + "…" in text and "x" * 1001 not in text
    assert "ff 00 ff 00" in text and "200 B" in text and "story" in text
    assert text.count('class="gap"') == 1
    assert "What came before is not shown or no longer kept" in text
    assert text.index("ff 00") < text.index("&lt;img")


async def test_a_gap_between_messages(serve: Serving) -> None:
    """A message that is missing between two others is told."""
    site = serve()
    await site.post("a", b"first")
    await site.post("a", b"not kept", [(b"ttl", b"0")])
    await site.post("a", b"third")
    text = await Browser().read("channel/", channel="a")
    assert "Gap: not kept, up to" in text
    assert text.count('class="gap"') <= 2


async def test_a_channel_that_does_not_exist(serve: Serving) -> None:
    """To look at a channel does not create it."""
    site = serve()
    await publish(site, "other")
    text = await Browser().read("channel/", channel="missing")
    assert "does not exist" in text
    assert (await site.ask("GET", "/send-update/missing")).status == 404
    assert (await Browser().get("channel/")).status_code == 404
    assert (await Browser().get(store="other")).status_code == 404


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, ["poll", "eventsource", "websocket"]),
        ({"transports": ["poll"]}, ["poll"]),
        ({"polling": "interval"}, ["interval"]),
    ],
)
async def test_transports(
    serve: Serving, options: dict[str, Any], kinds: list[str]
) -> None:
    """The page offers what the locations of the channel allow."""
    serve(**options)
    answer = await Browser().get("channel/", channel="a")
    assert [each["kind"] for each in answer.context["transports"]] == kinds


async def test_signed_urls(serve: Serving) -> None:
    """The page listens with a token of nobody, which is not in the page itself."""
    site = serve(signed=True)
    await site.post("a")
    browser = Browser("reader")
    assert "token" not in await browser.read("channel/", channel="a")
    wire = (await browser.get("wire/", channel="a", location="1")).json()["url"]
    assert (await site.ask("GET", wire, OLD)).status == 200
    assert (await browser.get("wire/", channel="a", location="0")).status_code == 404
    assert (await browser.get("wire/", channel="a")).status_code == 404
