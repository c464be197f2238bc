"""The page of the README, in a new site, as a new user sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import http
from tests.guides.following import serve
from tests.guides.sites import make_site
from tests.servers import ServerProcess

from .stage import Visit, Visitor, publish

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMAND = ["python", "manage.py", "runpushserver", "--allrequests"]


async def until_shown(visit: Visit, *values: str) -> None:
    """Wait until the page shows exactly these values, in this order."""
    shown = "[...document.querySelectorAll('#answers li')].map((li) => li.textContent)"
    await visit.until(f"(values) => {shown}.join() === values.join()", list(values))


async def send(visit: Visit, value: str) -> None:
    """Submit a value with the form of the page."""
    await visit.page.fill("input[name=value]", value)
    await visit.page.click("button")


def find_beginning(server: ServerProcess) -> str:
    """Return the id after which a page begins that is loaded now."""
    [message_id] = re.findall(r'"after": "([^"]*)"', http.get(server.url).text)
    return message_id


async def test_update_of_one_page_appears_in_others(
    tmp_path: Path, visit: Visitor
) -> None:
    """Two windows show what one of them sends, and so does a page that opens later."""
    make_site(tmp_path)
    with serve(tmp_path, COMMAND) as server:
        one = await visit(server.url)
        other = await visit(server.url, beside=one)
        await send(one, "4 < 2")
        await until_shown(one, "4 < 2")
        await until_shown(other, "4 < 2")
        await other.page.reload()
        await until_shown(other, "4 < 2")
        assert one.errors == other.errors == []


async def test_page_with_a_position_skips_earlier_messages(
    tmp_path: Path, visit: Visitor
) -> None:
    """A page that begins after its own data does not show earlier messages."""
    make_site(tmp_path, "howto/beginning")
    with serve(tmp_path, COMMAND) as server:
        [old] = await publish(server, "news", {"type": "answer", "value": "old"})
        assert find_beginning(server) == old
        page = await visit(server.url)
        await send(page, "new")
        await until_shown(page, "new")
        assert page.errors == []
