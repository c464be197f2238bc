"""Follow the tutorial, page by page, and use what it has made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guides.following import Reader
from tests.guides.sites import ROOT, read_page
from tests.valkey import Valkey

from .stage import Visit, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: The pages, as their index lists them.
PAGES = re.findall(r"^   (\w+)$", (ROOT / "docs/tutorial/index.rst").read_text(), re.M)


async def log_in(visit: Visit, name: str) -> None:
    """Log a user of the tutorial in."""
    await visit.page.fill("input[name=username]", name)
    await visit.page.fill("input[name=password]", "open-sesame")
    await visit.page.click("button")


async def until_shown(visit: Visit, *notes: str) -> None:
    """Wait until the page shows exactly these notes, in this order."""
    shown = "[...document.querySelectorAll('#notes li')].map((li) => li.textContent)"
    await visit.until(f"(notes) => {shown}.join() === notes.join()", list(notes))


@pytest.mark.left_to_all("the tutorial")
async def test_tutorial_leads_to_a_live_and_private_page(
    tmp_path: Path, visit: Visitor
) -> None:
    """All that the tutorial says works; then a note reaches its owner's windows alone.

    The windows are at different processes.
    """
    with Valkey() as valkey, Reader(tmp_path, valkey.url) as reader:
        for page in PAGES:
            reader.follow(read_page(f"tutorial/{page}"))
        one, other = (reader.servers[usual].url for usual in ("8000", "8001"))
        anna, annas_other, ben = await visit(one), await visit(other), await visit(one)
        for window, name in ((anna, "anna"), (annas_other, "anna"), (ben, "ben")):
            await log_in(window, name)
        await until_shown(anna, "anna: From a shell")
        await until_shown(ben)
        await anna.page.fill("input[name=text]", "4 < 2")
        await anna.page.click("button")
        await until_shown(anna, "anna: 4 < 2", "anna: From a shell")
        await until_shown(annas_other, "anna: 4 < 2", "anna: From a shell")
        await until_shown(ben)
        assert anna.errors == annas_other.errors == ben.errors == []
