"""Messages that are opened as pages at their URL, in the site's own origin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import http
from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier

from .stage import Visit, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Sets a cookie with the URL at which it ran, for the site's own pages to read.
SCRIPT = "document.cookie = location.pathname.split('/').pop() + '=ran; path=/';"
HTML = f"<!doctype html><title>quiet</title><p>A page<script>{SCRIPT}</script>"
XHTML = (
    "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>quiet</title></head>"
    f"<body><script>{SCRIPT}</script></body></html>"
)
SVG = f"<svg xmlns='http://www.w3.org/2000/svg'><script>{SCRIPT}</script></svg>"
XSLT = (
    "<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='#s'?>"
    "<!DOCTYPE a [<!ATTLIST xsl:stylesheet id ID #REQUIRED>]>"
    "<a><xsl:stylesheet id='s' version='1.0'"
    " xmlns:xsl='http://www.w3.org/1999/XSL/Transform'><xsl:template match='/'>"
    f"<html><body><script>{SCRIPT}</script></body></html>"
    "</xsl:template></xsl:stylesheet></a>"
)

#: Messages that a browser runs as pages of its origin: the type and the body.
RUNS = {
    "html": ("text/html", HTML),
    "odd": ("TEXT/HTML ;charset=utf-8", HTML),
    "two": ("text/plain, text/html", HTML),
    "xhtml": ("application/xhtml+xml", XHTML),
    "xml": ("text/xml", XHTML),
    "xml2": ("application/xml; charset=utf-8", XHTML),
    "xslt": ("text/xsl", XSLT),
    "svg": ("image/svg+xml", SVG),
}
#: Messages that a browser shows as text, if it does not guess the type.
SHOWS = {
    "none": (None, HTML),
    "any": ("*/*", HTML),
    "nonsense": ("nonsense", HTML),
    "text": ("text/plain", HTML),
    "json": ("application/json", HTML),
}
#: Messages that a browser saves as files.
SAVES = {
    "unknown": ("unknown/unknown", HTML),
    "unknown2": ("application/unknown", HTML),
    "other": ("application/x-other+xml", XHTML),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with messages as pages: sandboxed, and at ``/inline/`` not."""
    subscriber = {"type": "subscriber", "create_on_get": True}
    with daphne(
        {
            "locations": [
                {"type": "publisher", "prefix": "/send-update/"},
                {**subscriber, "prefix": "/updates/"},
                {**subscriber, "prefix": "/interval/", "polling": "interval"},
                {**subscriber, "prefix": "/inline/", "inline": True},
            ]
        }
    ) as process:
        yield process


@pytest.fixture(scope="module")
def messages(server: ServerProcess) -> dict[str, tuple[str | None, str]]:
    """All messages, each in a channel with its name."""
    messages = {**RUNS, **SHOWS, **SAVES}
    with http.Client(base_url=f"{server.url}/send-update/") as client:
        for name, (content_type, body) in messages.items():
            headers = {} if content_type is None else {"Content-Type": content_type}
            answer = client.post(name, content=body.encode(), headers=headers)
            assert answer.status_code == 202
    return messages


async def have_run(page: Visit) -> set[str]:
    """Return the names of the messages that ran with the rights of the site."""
    return {cookie["name"] for cookie in await page.page.context.cookies()}


@pytest.mark.parametrize(
    "location",
    [
        in_tier(each, {"updates", "inline"}, "messages of interval polls as pages")
        for each in ("updates", "interval", "inline")
    ],
)
async def test_opened(
    server: ServerProcess,
    messages: dict[str, tuple[str | None, str]],
    visit: Visitor,
    location: str,
) -> None:
    """A message opened at its URL runs no script, unless the location allows it."""
    from playwright.async_api import Error

    page = await visit(f"{server.url}/hello")
    shown, saved = set(), set()
    for name in messages:
        try:
            await page.page.goto(f"{server.url}/{location}/{name}")
        except Error as error:
            assert "Download is starting" in str(error)
            saved.add(name)
        else:
            if await page.run("document.contentType") in (
                "text/plain",
                "application/json",
            ):
                shown.add(name)
    assert await have_run(page) == (set(RUNS) if location == "inline" else set())
    assert shown == set(SHOWS)
    assert saved == set(SAVES)


@pytest.mark.parametrize("location", ["updates", "inline"])
@pytest.mark.parametrize("tag", ["iframe src", "embed src", "object data"])
@pytest.mark.usefixtures("messages")
async def test_embedded(
    server: ServerProcess, visit: Visitor, location: str, tag: str
) -> None:
    """A message in a frame of the site's own page runs no script either."""
    page = await visit(f"{server.url}/hello")
    await page.run(
        """([name, url]) => new Promise((resolve) => {
            const [tag, attribute] = name.split(" ");
            const frame = document.createElement(tag);
            frame.onload = resolve;
            frame.setAttribute(attribute, url);
            document.body.append(frame);
        })""",
        [tag, f"/{location}/html"],
    )
    assert await have_run(page) == ({"html"} if location == "inline" else set())


@pytest.mark.usefixtures("messages")
async def test_fetched(server: ServerProcess, visit: Visitor) -> None:
    """A page of the site can fetch messages of any type."""
    page = await visit(f"{server.url}/hello")
    text = "fetch('/updates/html').then((answer) => answer.text())"
    assert await page.run(text) == HTML
