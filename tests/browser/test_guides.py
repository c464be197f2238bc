"""Pages of the how-to guides, in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.servers import need
from tests.guides.following import Reader, apply
from tests.guides.sites import make_site, read_page
from tests.servers import ServerProcess

from . import libraries
from .stage import Site, Visitor, publish

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.left_to_all("how-to guides"),
]

#: The pages that listen without the package's scripts: an EventSource, and fetch.
PAGES = [each for each in read_page("howto/javascript") if each.verb == "write"]
SERVE = next(each for each in read_page("howto/javascript") if each.verb == "serve")


@pytest.mark.parametrize("number", range(len(PAGES)))
async def test_page_without_scripts_listens(
    number: int, tmp_path: Path, visit: Visitor
) -> None:
    """It shows each message once, and those that come later as well."""
    make_site(tmp_path)
    apply(PAGES[number], tmp_path)
    shown = "[...document.querySelectorAll('#answers li')].map((li) => li.textContent)"
    with Reader(tmp_path) as reader:
        reader.follow([SERVE])
        page = await visit(reader.server.url)
        for expected in (["1"], ["1", "2"], ["1", "2", "3"]):
            await publish(reader.server, "news", {"value": int(expected[-1])})
            await page.until(f"(texts) => {shown}.join() === texts.join()", expected)
        assert page.errors == []


HOOK = next(each for each in read_page("howto/react") if "useEffect" in each.code)

#: Shows the messages of a channel, in strict mode, which runs each effect twice.
COMPONENT = """
    function News({ url }) {
        const messages = useChannel("news", url);
        return React.createElement("ul", { id: "answers" }, messages.map(
            ({ id, data }) => React.createElement("li", { key: id }, data.value)));
    }
    window.start = (url) => {
        const box = document.body.appendChild(document.createElement("div"));
        const root = ReactDOM.createRoot(box);
        const show = (node) =>
            root.render(React.createElement(React.StrictMode, null, node));
        show(React.createElement(News, { url }));
        window.leave = () => show(null);
    };
"""


async def test_react_shows_each_message_once(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """The hook of the guide works in strict mode, and ends with its component."""
    need(libraries.are_there(), "A client library", libraries.COMMAND)
    if libraries.FOLDER not in site.folders:
        site.folders.append(libraries.FOLDER)
    first, *lines = HOOK.code.replace("export ", "").splitlines()
    assert first.startswith("import { useEffect, useState }")
    hook = "\n".join(["const { useEffect, useState } = React;", *lines])
    scripts = ("react.js", "react-dom.js", "updates.js", "updates.streams.js")
    page = await visit(site.page(*scripts, hook + COMPONENT))
    await publish(push, "react", {"value": 1})
    await page.run("(url) => start(url)", f"{push.url}/updates/react")
    shown = "[...document.querySelectorAll('#answers li')].map((li) => li.textContent)"
    await page.until(f"{shown}.join() === '1'")
    await publish(push, "react", {"value": 2}, {"value": 3})
    await page.until(f"{shown}.join() === '1,2,3'")
    await page.run("leave()")
    await page.until("document.getElementById('answers') === null")
    assert page.errors == []
