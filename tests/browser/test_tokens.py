"""Pages whose signed URLs expire, from a real Daphne."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier
from tests.waiting import until

from .stage import Visit, Visitor, publish, until_held
from .token_site import LOCATIONS

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = {
    "poll": ("updates.js", "updates.tokens.js"),
    "stream": ("updates.js", "updates.streams.js", "updates.tokens.js"),
    "websocket": (
        *("updates.js", "updates.streams.js"),
        *("updates.websocket.js", "updates.tokens.js"),
    ),
}

#: Whether each channel of a page has reached a state.
ARE = """
    (state) => {
        const last = new Map(states.map(([each, name]) => [name, each]));
        return last.size === 2 && [...last.values()].every((each) => each === state);
    }
"""


@pytest.fixture(scope="module")
def signing() -> Iterator[ServerProcess]:
    """A Daphne that serves a site whose tokens are valid for 1.5 seconds."""
    push_server = {"locations": LOCATIONS, "token_max_age": 1.5}
    module = "tests.browser.token_site"
    with daphne(push_server, DJANGO_SETTINGS_MODULE=module) as server:
        yield server


class TokenPage:
    """A page with two channels, and the requests that it has sent."""

    def __init__(self, visit: Visit, name: str) -> None:
        self.visit = visit
        self.name = name
        self.requests: list[str] = []
        visit.page.on("request", lambda request: self.requests.append(request.url))

    @property
    def asked(self) -> list[Any]:
        """The channels of each request for tokens."""
        urls = [urlsplit(each) for each in self.requests]
        return [
            sorted(parse_qs(each.query)["channel"])
            for each in urls
            if each.path == "/push/tokens"
        ]

    async def until_all(self, state: str) -> None:
        await self.visit.until(ARE, state)

    async def publish(self, server: ServerProcess, *messages: int) -> None:
        for part in ("one", "two"):
            await publish(server, f"{self.name}/{part}", *messages)


async def open_page(
    server: ServerProcess,
    visit: Visitor,
    transport: str,
    *more: str,
    user: str,
    beside: TokenPage | None = None,
) -> TokenPage:
    """Open a page of a user, whose channels are live."""
    scripts = (*SCRIPTS[transport], *more)
    query = "&".join(f"script={each}" for each in scripts)
    url = f"{server.url}/page/{user}/{transport}?{query}"
    opened = await visit("about:blank", None if beside is None else beside.visit)
    page = TokenPage(opened, f"{user}-{transport}")
    await opened.page.goto(url)
    await page.until_all("live")
    return page


async def publish_until(
    server: ServerProcess, page: TokenPage, *others: TokenPage, renewals: int
) -> None:
    """Publish until tokens were renewed; each message must come once and in order."""
    count = 0

    async def has_renewed() -> bool:
        nonlocal count
        await page.publish(server, count)
        count += 1
        return len(page.asked) >= renewals

    await until(has_renewed, interval=0.2)
    await page.publish(server, count)
    for each in (page, *others):
        got = await each.visit.until_got(2 * (count + 1))
        for name in ("one", "two"):
            of_channel = [number for channel, number in got if channel == name]
            assert of_channel == list(range(count + 1))


async def test_renewals(signing: ServerProcess, visit: Visitor) -> None:
    """A poll, a stream and a socket go on; one request renews all their tokens."""
    opening = [open_page(signing, visit, each, user="renewed") for each in SCRIPTS]
    pages = await asyncio.gather(*opening)
    await asyncio.gather(*(publish_until(signing, page, renewals=2) for page in pages))
    for page in pages:
        channels = [f"{page.name}/one", f"{page.name}/two"]
        assert all(asked == channels for asked in page.asked)
        states = await page.visit.run("states")
        transports = {detail.get("transport", "poll") for _, _, detail in states}
        assert transports == {page.name.partition("-")[2]}


async def test_all_tabs(signing: ServerProcess, visit: Visitor) -> None:
    """The leader of the tabs renews the tokens, and all tabs get all messages."""
    share = "updates.tabs.js"
    leader = await open_page(signing, visit, "stream", share, user="tabs")
    other = await open_page(signing, visit, "stream", share, user="tabs", beside=leader)
    await publish_until(signing, leader, other, renewals=1)
    assert other.asked == []
    await until_held(signing, f"{leader.name}/one")


@pytest.mark.parametrize(
    "transport",
    [in_tier(each, ["stream"], "with other transports") for each in SCRIPTS],
)
async def test_logging_out(
    signing: ServerProcess, visit: Visitor, transport: str
) -> None:
    """A page whose user has logged out is told so, and sends no more requests."""
    page = await open_page(signing, visit, transport, user="leaving")
    opened = page.visit.page
    await opened.clock.install()
    await opened.context.request.get(f"{signing.url}/logout")
    await page.until_all("gone")
    assert (await page.visit.run("states.at(-1)[2]"))["status"] == 403
    for part in ("one", "two"):
        await until_held(signing, f"{page.name}/{part}", 0)
    count = len(page.requests)
    await opened.clock.run_for(100_000)
    assert len(page.requests) == count


async def test_a_revoked_right(signing: ServerProcess, visit: Visitor) -> None:
    """A page whose user may listen again goes on; one that may not is told so."""
    page = await open_page(signing, visit, "stream", user="revoked")
    context = page.visit.page.context
    await page.publish(signing, 1)
    await page.visit.until_got(2)
    await context.request.get(f"{signing.url}/revoke/revoked")
    await page.publish(signing, 2)
    got = await page.visit.until_got(4)
    assert sorted(got) == [["one", 1], ["one", 2], ["two", 1], ["two", 2]]
    await context.request.get(f"{signing.url}/logout")
    await context.request.get(f"{signing.url}/revoke/revoked")
    await page.until_all("gone")
