"""Pages that are told who is on a channel by signed URLs, from a real Daphne."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier
from tests.waiting import until

from .presence_token_site import LOCATIONS
from .stage import Visit, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = {
    "poll": ("updates.js",),
    "stream": ("updates.js", "updates.streams.js"),
    "websocket": ("updates.js", "updates.streams.js", "updates.websocket.js"),
}
MORE = ("updates.tokens.js", "updates.presence.js")


@pytest.fixture(scope="module")
def signing() -> Iterator[ServerProcess]:
    """A Daphne that serves a site whose tokens are valid for 1.5 seconds."""
    push_server = {"locations": LOCATIONS, "token_max_age": 1.5}
    module = "tests.browser.presence_token_site"
    with daphne(push_server, DJANGO_SETTINGS_MODULE=module) as server:
        yield server


class PresencePage:
    """A page of a user, and the channels for which it has requested tokens."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.renewed: list[Any] = []
        visit.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.path == "/push/tokens":
            self.renewed.append(sorted(parse_qs(parts.query)["channel"]))

    async def until_renewed(self, times: int) -> None:
        """Wait until its tokens were renewed so many times more."""
        enough = len(self.renewed) + times
        await until(lambda: len(self.renewed) >= enough, interval=0.05)

    async def until_heard(self, *expected: list[Any]) -> None:
        """Wait until it was told of these changes, and of no others."""
        await self.visit.until("(count) => heard.length >= count", len(expected))
        assert await self.visit.run("heard") == list(expected)


async def come(
    server: ServerProcess, visit: Visitor, user: str, transport: str
) -> PresencePage:
    """Open a page of a user, who is told to be there."""
    scripts = "&".join(f"script={each}" for each in (*SCRIPTS[transport], *MORE))
    opened = await visit("about:blank")
    page = PresencePage(opened)
    await opened.page.goto(f"{server.url}/page/{user}/{transport}?{scripts}")
    await opened.until(
        "(user) => here?.[user] || heard.some(([, key]) => key === user)", user
    )
    return page


@pytest.mark.parametrize(
    "transport",
    [in_tier(each, ["stream"], "with other transports") for each in SCRIPTS],
)
async def test_a_new_token_is_not_noticed(
    signing: ServerProcess, visit: Visitor, transport: str
) -> None:
    """Nobody leaves or comes; what a new token says anew of its user is told once."""
    anna = await come(signing, visit, "anna", transport)
    await anna.visit.run("heard.length = 0")
    ben = await come(signing, visit, "ben", transport)
    joined = ["join", "ben", {"name": "Ben"}, True]
    await anna.until_heard(joined)
    syncs = await anna.visit.run("syncs")
    for page in (anna, ben):
        await page.until_renewed(2)
    await anna.until_heard(joined)
    await ben.visit.page.context.request.get(f"{signing.url}/rename/Benny")
    renamed = ["join", "ben", {"name": "Benny"}, False]
    await anna.until_heard(joined, renamed)
    await ben.until_renewed(2)
    await ben.visit.page.close()
    left = ["leave", "ben", {"name": "Benny"}]
    await anna.until_heard(joined, renamed, left)
    assert await anna.visit.run("syncs") == syncs
    channels = [f"presence:room-{transport}", f"room-{transport}"]
    assert all(each == channels for each in anna.renewed + ben.renewed)
    assert anna.visit.errors == []
