"""A page does not hear of an update that its own action caused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conformance.servers import need
from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier

from . import libraries
from .stage import Visitor, until_held

if TYPE_CHECKING:
    from playwright.async_api import Route

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONF = {
    "locations": [
        {"type": "publisher", "prefix": "/send-update/"},
        {
            "type": "subscriber",
            "prefix": "/updates/",
            "separator": ",",
            "create_on_get": True,
        },
    ]
}

SCRIPTS = {
    "poll": ("updates.js",),
    "batch": ("updates.js", "updates.streams.js"),
    "stream": ("updates.js", "updates.streams.js"),
    "websocket": ("updates.js", "updates.streams.js", "updates.websocket.js"),
    "tabs": ("updates.js", "updates.streams.js", "updates.tabs.js"),
}


@pytest.fixture
def site() -> Iterator[ServerProcess]:
    """A Daphne that serves the site."""
    with daphne(CONF, DJANGO_SETTINGS_MODULE="tests.browser.exclude_site") as server:
        yield server


@pytest.mark.parametrize(
    "transport",
    [in_tier(each, {"stream"}, "with other transports") for each in SCRIPTS],
)
async def test_own_updates(site: ServerProcess, visit: Visitor, transport: str) -> None:
    """Each page hears what the other one says, in order, and not what it says."""
    scripts = "&".join(f"script={each}" for each in SCRIPTS[transport])
    url = f"{site.url}/page/{transport}?{scripts}"
    one = await visit(url)
    other = await visit(url, beside=one)
    await until_held(site, "news", 1 if transport == "tabs" else 2)
    assert await one.run("updates.clientId") != await other.run("updates.clientId")
    for number in range(3):
        await one.run(f"say('one-{number}')")
        await other.run(f"say('other-{number}')")
    assert await one.until_got(3) == [f"other-{number}" for number in range(3)]
    assert await other.until_got(3) == [f"one-{number}" for number in range(3)]
    assert one.errors == other.errors == []


@pytest.mark.left_to_all("htmx")
async def test_htmx(site: ServerProcess, visit: Visitor) -> None:
    """The page with the form has the answer's element only, and the others theirs."""
    need(libraries.are_there(), "A client library", libraries.COMMAND)

    async def fulfill(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        await route.fulfill(path=libraries.FOLDER / name)

    pages = []
    for _ in range(2):
        page = await visit("about:blank")
        await page.page.route("**/htmx-2*.js", fulfill)
        await page.page.goto(f"{site.url}/htmx")
        pages.append(page)
    await until_held(site, "notes", 2)
    for number, page in enumerate(pages):
        await page.page.fill("input", f"note {number}")
        await page.page.click("button")
        for each in pages:
            await each.until(
                "(count) => document.querySelectorAll('#list li').length === count",
                number + 1,
            )
    for page in pages:
        texts = await page.page.locator("#list li").all_text_contents()
        assert texts == ["note 0", "note 1"]
