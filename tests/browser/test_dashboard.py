"""The dashboard of the example, as its staff sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import ServerProcess, wait_until
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until

from .stage import Visit, Visitor, publish
from .test_board import example_site

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Whether a transport has received a text, as the log says.
HAS_RECEIVED = """
    ([transport, text]) => [...document.querySelectorAll("#log [data-way=in]")].some(
        (entry) =>
            entry.querySelector(".what span").textContent === transport
            && entry.querySelector("pre").textContent.includes(text)
    )
"""

STREAM = "Server-sent events"

TRANSPORTS = ("Long poll", STREAM, "WebSocket", "Interval poll")


@pytest.fixture(scope="module")
def example() -> Iterator[ServerProcess]:
    with example_site() as server:
        yield server


async def open_dashboard(
    visit: Visitor, server: ServerProcess, path: str = "", **options: object
) -> Visit:
    """Return a page of the dashboard, after a login by one click."""
    window = await visit(f"{server.url}/push/{path}", **options)
    await window.page.click("text=Log in as the operator")
    await window.page.wait_for_url("**/push/**")
    return window


async def switch(window: Visit, transport: str) -> None:
    await window.page.click(f'#transports button:has-text("{transport}")')


async def until_true(window: Visit, condition: str, argument: Any = None) -> None:
    """Wait until an expression or a function of the page is true.

    It is not the page that waits: its policy forbids scripts of others, such as ours.
    """
    await until(lambda: window.run(condition, argument), interval=0.05)


async def until_shown(window: Visit, selector: str, text: str) -> None:
    await until_true(
        window,
        "([selector, text]) => [...document.querySelectorAll(selector)]"
        ".some((each) => each.textContent.includes(text))",
        [selector, text],
    )


async def test_the_pages_follow_and_show_the_wire(
    example: ServerProcess, visit: Visitor
) -> None:
    """The list follows what happens, and a channel shows each transport's frames."""
    nasty = "<img src=x onerror='window.hit = 1'>"
    window = await open_dashboard(visit, example)
    await publish(example, "first", 1)
    await until_shown(window, "#channels a", "first")
    await window.page.fill("#channel", "__proto__")
    await window.page.keyboard.press("Enter")
    await window.page.wait_for_url("**/channel/**")
    await until_shown(window, "h1", "__proto__")
    for transport in TRANSPORTS:
        await switch(window, transport)
    await until_true(window, HAS_RECEIVED, ["WebSocket", "101"])
    await until_true(window, HAS_RECEIVED, [STREAM, "id:"])
    await window.page.fill("#body", nasty)
    await window.page.click("#publish button")
    await until_shown(window, "#published", "sent to who listens")
    for transport in TRANSPORTS:
        await until_true(window, HAS_RECEIVED, [transport, nasty])
    await until_shown(window, "#messages pre", nasty)
    for transport in TRANSPORTS:
        await switch(window, transport)
    pressed = "document.querySelectorAll('[aria-pressed=true]').length"
    await until_true(window, f"{pressed} === 0")
    assert await window.run("document.querySelectorAll('main img').length") == 0
    assert await window.run("window.hit") is None
    assert window.errors == []


@pytest.mark.left_to_all("the dashboard's pause and confirmations")
async def test_pausing_and_deleting(example: ServerProcess, visit: Visitor) -> None:
    """The focus stays, a paused page stays as it is, and a deletion asks before."""
    await publish(example, "doomed", 1)
    window = await open_dashboard(visit, example)
    await until_shown(window, "#channels a", "doomed")
    await window.page.focus("#channels a:text-is('doomed')")
    await publish(example, "%3Cscript%3Ewindow.hit=1%3C%2Fscript%3E", 1)
    await until_shown(window, "#channels a", "<script>window.hit=1</script>")
    assert await window.run("document.activeElement.textContent") == "doomed"
    await window.page.click("#pause")
    await until_shown(window, "#state", "Paused")
    await publish(example, "later", 1)
    other = await visit(f"{example.url}/push/", beside=window)
    await until_shown(other, "#channels a", "later")
    assert "later" not in await window.page.inner_text("#channels")
    await window.page.click("#pause")
    await until_shown(window, "#channels a", "later")

    await window.page.click("#channels a:text-is('doomed')")
    await window.page.wait_for_url("**/channel/**")
    await window.page.click("text=Delete…")
    await window.page.click("button:has-text('Delete')")
    await window.page.wait_for_url("**done=deleted**")
    await until_shown(window, ".note", "The channel was deleted.")
    assert "doomed" not in await window.page.inner_text("#channels")
    assert window.errors == []


@pytest.mark.left_to_all("the dashboard of two processes")
async def test_two_processes_on_redis(visit: Visitor) -> None:
    """One process shows both, what both hold, and that one of them has ended."""
    with Valkey() as valkey, example_site(PUSH_STORE_URL=valkey.url) as one:
        with example_site(PUSH_STORE_URL=valkey.url) as other:
            await publish(one, "shared", 1)
            listening = await open_dashboard(visit, other, "channel/?channel=shared")
            await switch(listening, STREAM)
            await until_true(listening, HAS_RECEIVED, [STREAM, "id:"])
            window = await open_dashboard(visit, one)
            await until_shown(window, "#processes-sum", "2 of 2 ready")
            row = "#channels tr:has(a:text-is('shared'))"
            assert await window.page.inner_text(f"{row} td:nth-child(2)") == "1"
            await publish(one, "shared", "over there")
            await until_true(listening, HAS_RECEIVED, [STREAM, "over there"])
            await listening.page.goto("about:blank")
        wait_until(lambda: other.process.poll() is not None)
        await until_shown(window, "#processes-sum", "1 of 1 ready")
        assert window.errors == []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        in_tier(each, set(), "looks of the dashboard")
        for each in itertools.product((360, 1440), ("light", "dark"))
    ],
)
async def test_narrow_and_wide_light_and_dark(
    example: ServerProcess, visit: Visitor, width: int, scheme: str
) -> None:
    """All pages fit narrow and wide windows, light and dark; nothing moves later."""
    channel = "long-" * 40
    await publish(example, channel, "x" * 500)
    window = await open_dashboard(
        visit,
        example,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    await until_shown(window, "#channels a", channel)
    for page in ("", f"channel/?channel={channel}", f"delete/?channel={channel}"):
        await window.page.goto(f"{example.url}/push/{page}")
        assert await window.run("document.documentElement.scrollWidth") <= width
        background = await window.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 384) == (scheme == "dark")
        # Each control has a name for screen readers.
        nameless = await window.run(
            "[...document.querySelectorAll('main :is(input:not([type=hidden]),"
            " textarea, select, button, a)')].filter((each) => !(each.labels?.length"
            " || each.textContent.trim() || each.ariaLabel)).length"
        )
        assert nameless == 0
    assert window.errors == []
