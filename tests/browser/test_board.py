"""The example's live page, served by a real Daphne."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.servers import ServerProcess
from tests.tiers import in_tier

from .stage import Visit, Visitor, publish

pytestmark = pytest.mark.asyncio(loop_scope="session")


def example_server(*command: str, **env: str) -> ServerProcess:
    """Return a process with the example's settings."""
    server = ServerProcess(sys.executable, *command, last_signal=signal.SIGKILL)
    server.env |= {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "PORT": str(server.port),
        **env,
    }
    return server


def example_site(**env: str) -> ServerProcess:
    """Return the example as ``make run`` serves it."""
    application = "example_project.asgi:application"
    arguments = ("-v", "0", "-b", "127.0.0.1", "-p", "{port}", application)
    return example_server("-m", "daphne", *arguments, **env)


@pytest.fixture(scope="module")
def example() -> Iterator[ServerProcess]:
    with example_site() as server:
        yield server


async def until_count(visit: Visit, count: int) -> None:
    await visit.until(
        "(n) => document.getElementById('count').textContent === n", str(count)
    )


async def until_state(visit: Visit, state: str) -> None:
    await visit.until(
        "(state) => document.getElementById('connection').dataset.state === state",
        state,
    )


async def until_posted(visit: Visit, text: str) -> None:
    await visit.until(
        "(text) => [...document.querySelectorAll('.post .text')]"
        ".some((post) => post.textContent === text)",
        text,
    )


async def post(visit: Visit, text: str) -> None:
    await visit.page.fill("#text", text)
    await visit.page.click("button")


async def posts(visit: Visit) -> list[str]:
    texts: list[str] = await visit.page.locator(".post .text").all_text_contents()
    return texts


async def test_posts_reach_all_windows(example: ServerProcess, visit: Visitor) -> None:
    """A post in one window appears in the others, and in windows opened later."""
    one = await visit(example.url)
    other = await visit(example.url)
    await until_count(one, 2)
    await post(one, "from one")
    await until_posted(other, "from one")
    await post(other, "from the other")
    for window in (one, other, await visit(example.url)):
        await until_posted(window, "from the other")
        assert (await posts(window))[:2] == ["from the other", "from one"]
        assert window.errors == []


async def test_posts_are_text(example: ServerProcess, visit: Visitor) -> None:
    """Posts are shown as text in all windows, and never as HTML."""
    nasty = "</script><img src=x onerror='window.hit = 1'><b>bold</b>"
    one = await visit(example.url)
    await post(one, nasty)
    await until_posted(one, nasty)
    later = await visit(example.url)
    await until_posted(later, nasty)
    for window in (one, later):
        assert await window.run("document.querySelectorAll('#posts img').length") == 0
        assert await window.run("window.hit") is None
        assert window.errors == []


@pytest.mark.left_to_all("of the example")
async def test_number_of_visitors(example: ServerProcess, visit: Visitor) -> None:
    """All windows show the number of visitors, who may have several windows each."""
    one = await visit(example.url)
    beside = await visit(example.url, beside=one)
    other = await visit(example.url)
    for window in (one, beside, other):
        await until_count(window, 2)
        assert await window.page.locator("#here li").count() == 2
    third = await visit(example.url)
    await until_count(one, 3)
    await beside.page.close()
    await other.page.goto("about:blank")
    await until_count(one, 2)
    names = await one.page.locator("#here li .unseen").all_text_contents()
    assert sorted(names) == sorted(
        [await window.page.inner_text("label b") for window in (one, third)]
    )


async def test_connection_and_wire(visit: Visitor) -> None:
    """The page shows the state of its connection and the last exchange."""
    with example_site() as server:
        window = await visit(server.url)
        await until_state(window, "live")
        await post(window, "hello")
        await until_posted(window, "hello")
        lines = await window.page.inner_text("#exchange")
        for part in (
            "GET /updates/board",
            "200 OK",
            "If-None-Match:",
            "Etag:",
            "hello",
        ):
            assert part in lines
        # A page asks a killed server again at once, and a stopped one seconds later.
        server.stop(signal.SIGKILL)
        await until_state(window, "waiting")
        server.start()
        await until_state(window, "live")
        await until_count(window, 1)


async def test_refused_post_stays_in_the_form(
    example: ServerProcess, visit: Visitor
) -> None:
    """A post that the site refuses stays in the form, and the page shows the reason."""
    window = await visit(example.url)
    await window.run("document.querySelector('[name=csrfmiddlewaretoken]').value = ''")
    await post(window, "keep me")
    await window.until("document.getElementById('refusal').hidden === false")
    assert "403" in await window.page.locator("#refusal").inner_text()
    assert await window.page.input_value("#text") == "keep me"


@pytest.mark.left_to_all("of the example")
async def test_window_reloads_posts_after_a_gap(
    example: ServerProcess, visit: Visitor
) -> None:
    """A window that missed messages loads the posts from the site."""
    away = await visit(example.url)
    other = await visit(example.url)
    await until_state(away, "live")
    await post(other, "seen")  # A page that has seen nothing has no id to go on from.
    await until_posted(away, "seen")
    await away.page.goto("about:blank")
    await post(other, "missed")
    await until_posted(other, "missed")
    await publish(example, "board", *[{"type": "noise"}] * 101)
    await away.page.go_back(wait_until="commit")
    await until_posted(away, "missed")
    assert away.errors == []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        in_tier(each, {(360, "dark"), (1440, "light")}, "looks of the example")
        for each in itertools.product((360, 1440), ("light", "dark"))
    ],
)
async def test_page_layout_in_narrow_wide_light_and_dark_windows(
    example: ServerProcess, visit: Visitor, width: int, scheme: str
) -> None:
    """The page fits narrow and wide windows, light and dark, without errors."""
    viewport = {"width": width, "height": 800}
    window = await visit(example.url, viewport=viewport, color_scheme=scheme)
    await post(window, "a-very-long-word-" * 20)
    await until_posted(window, "a-very-long-word-" * 20)
    assert await window.run("document.documentElement.scrollWidth") == width
    background = await window.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 384) == (scheme == "dark")
    assert window.errors == []


@pytest.mark.left_to_all("of the example")
async def test_push_server_on_another_port(visit: Visitor) -> None:
    """The page also works with its push server on another port."""
    site = example_site()
    push = example_server(
        *("manage.py", "runpushserver", "127.0.0.1:{port}"), PORT=str(site.port)
    )
    for server in (site, push):
        server.env["PUSH_HOST"] = f"127.0.0.1:{push.port}"
    with site, push:
        one = await visit(site.url)
        other = await visit(site.url)
        for window in (one, other):
            await until_count(window, 2)
        await post(one, "over there")
        await until_posted(other, "over there")
        names = await other.page.locator("#here li .unseen").all_text_contents()
        assert sorted(names) == sorted(
            [await window.page.inner_text("label b") for window in (one, other)]
        ), "the cookies that name the visitors went to the other port"
        assert one.errors + other.errors == []
