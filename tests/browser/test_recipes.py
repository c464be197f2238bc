"""The example's recipes, with the client libraries that their pages name."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from example_project.recipes import RECIPES
from tests import http
from tests.conformance.servers import need
from tests.servers import ROOT, ServerProcess
from tests.tiers import in_tier

from . import libraries
from .stage import Visit, Visitor
from .test_board import example_server, example_site

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")

CDN = "https://cdn.jsdelivr.net"

#: The files of a CDN, by their path there.
FILES = {
    "/npm/htmx.org@2.0.11/dist/htmx.js": "htmx-2.js",
    "/npm/htmx-ext-sse@2.2.4/dist/sse.js": "htmx-2-sse.js",
    "/npm/htmx-ext-ws@2.0.4/dist/ws.js": "htmx-2-ws.js",
    "/npm/@hotwired/turbo@8.0.23/dist/turbo.es2017-esm.js": "turbo.js",
    "/gh/starfederation/datastar@v1.0.1/bundles/datastar.js": "datastar.js",
}

TEMPLATES = ROOT / "example_project/templates/example_project/recipes"

#: A script of a page that is not of the site itself.
SCRIPT = re.compile(r'src="(https:[^"]+)"\s+integrity="([^"]+)"\s+crossorigin="anonym')

#: The default tier tests those that need no library.
WITHOUT_LIBRARY = {slug for slug, recipe in RECIPES.items() if not recipe.library}

#: Those whose client tells the page that messages were lost.
TOLD_GAPS = ("fetch", "htmx-sse", "turbo")

NASTY = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>&amp; é"


@pytest.fixture(scope="module")
def example() -> Iterator[ServerProcess]:
    with example_site() as server:
        yield server


@pytest.fixture
def needs_libraries(slug: str) -> None:
    if RECIPES[slug].library:
        need(libraries.are_there(), "A client library", libraries.COMMAND)


async def serve_libraries(context: BrowserContext) -> None:
    """Answer a page's requests to the CDN with the files that were fetched."""

    async def fulfill(route: Route) -> None:
        file = libraries.FOLDER / FILES[route.request.url.removeprefix(CDN)]
        await route.fulfill(
            body=file.read_bytes(),
            content_type="text/javascript",
            headers={"Access-Control-Allow-Origin": "*"},
        )

    await context.route(f"{CDN}/**", fulfill)


async def open_recipe(visit: Visitor, example: ServerProcess, slug: str) -> Visit:
    """Return a new visitor's page of a recipe."""
    window = await visit("about:blank")
    await serve_libraries(window.page.context)
    await window.page.goto(f"{example.url}/recipes/{slug}")
    return window


async def send(window: Visit, text: str) -> None:
    """Send a note, and wait until its field is empty."""
    await window.page.fill("#text", text)
    await window.page.click("#text + button")
    await window.until("document.getElementById('text').value === ''")


async def send_without_a_browser(
    example: ServerProcess, slug: str, texts: Iterable[str]
) -> None:
    path = f"/recipes/{slug}"
    async with http.AsyncClient(base_url=example.url) as client:
        token = (await client.get(path)).cookies["csrftoken"]
        for text in texts:
            form = {"csrfmiddlewaretoken": token, "text": text}
            assert (await client.post(f"{path}/notes", data=form)).status_code == 204


async def until_shown(window: Visit, *texts: str) -> None:
    """Wait until these are the notes of a page, newest first."""
    await window.until(
        "(texts) => JSON.stringify(texts) === JSON.stringify([..."
        "document.querySelectorAll('#notes .text')].map((each) => each.textContent))",
        list(texts),
    )


async def test_scripts_are_pinned() -> None:
    """Each script of another host has a version and a digest, and is tested here."""
    found = set()
    for page in TEMPLATES.glob("*/page.html"):
        text = page.read_text()
        scripts = dict(SCRIPT.findall(text))
        assert len(scripts) == text.count("https:"), page
        found |= set(scripts)
    assert found == {CDN + path for path in FILES}


@pytest.mark.left_to_all("client libraries")
async def test_digests_of_scripts() -> None:
    """``integrity`` is that of the file that the tests have fetched."""
    need(libraries.are_there(), "A client library", libraries.COMMAND)
    for page in TEMPLATES.glob("*/page.html"):
        for url, integrity in SCRIPT.findall(page.read_text()):
            file = libraries.FOLDER / FILES[url.removeprefix(CDN)]
            assert integrity == libraries.build_integrity(file), url


@pytest.mark.parametrize(
    "slug", [in_tier(each, WITHOUT_LIBRARY, "client libraries") for each in RECIPES]
)
@pytest.mark.usefixtures("needs_libraries")
async def test_notes_appear_in_two_windows(
    example: ServerProcess, visit: Visitor, slug: str
) -> None:
    """Each once, newest first, as text; also in a window that is opened later."""
    one = await open_recipe(visit, example, slug)
    other = await open_recipe(visit, example, slug)
    await send(one, NASTY)
    await until_shown(one, NASTY)
    await until_shown(other, NASTY)
    await send(other, "second")
    later = await open_recipe(visit, example, slug)
    await send(later, "third")
    for window in (one, other, later):
        await until_shown(window, "third", "second", NASTY)
        assert await window.run("window.hit") is None
        assert await window.run("document.querySelectorAll('#notes img').length") == 0
        assert window.errors == []
    names = await one.page.locator("#notes b").all_text_contents()
    assert len(set(names)) == 3, "each visitor has a name"


@pytest.mark.parametrize(
    "slug", [in_tier(each, WITHOUT_LIBRARY, "client libraries") for each in RECIPES]
)
@pytest.mark.usefixtures("needs_libraries")
async def test_refused_note_stays_in_the_form(
    example: ServerProcess, visit: Visitor, slug: str
) -> None:
    """A note that the site refuses is shown in no window."""
    window = await open_recipe(visit, example, slug)
    shown = await window.page.locator("#notes .text").all_text_contents()
    await window.run("document.querySelector('[name=csrfmiddlewaretoken]').value = ''")
    await window.page.fill("#text", "keep me")
    async with window.page.expect_response(
        lambda answer: answer.request.method == "POST"
    ) as answered:
        await window.page.click("#text + button")
    assert (await answered.value).status == 403
    if slug == "turbo":  # It shows the page of the refusal instead, as it always does.
        await window.until("document.body.textContent.includes('403')")
        return
    assert await window.page.input_value("#text") == "keep me"
    assert await window.page.locator("#notes .text").all_text_contents() == shown


@pytest.mark.parametrize(
    "slug",
    [in_tier(each, WITHOUT_LIBRARY, "client libraries") for each in TOLD_GAPS],
)
@pytest.mark.usefixtures("needs_libraries")
async def test_page_loads_again_after_a_gap(
    example: ServerProcess, visit: Visitor, slug: str
) -> None:
    """A page that has missed notes is loaded again, and then has each once."""
    window = await visit("about:blank")
    context = window.page.context
    await serve_libraries(context)
    gate = asyncio.Event()

    async def wait(route: Route) -> None:
        await gate.wait()
        await route.continue_()

    await context.route("**/updates/**", wait)
    await send_without_a_browser(example, slug, ["before the gap"])
    await window.page.goto(f"{example.url}/recipes/{slug}")
    # One more than are kept.
    await send_without_a_browser(example, slug, map(str, range(101)))
    gate.set()
    await until_shown(window, *map(str, range(100, 80, -1)))
    await send(window, "after the gap")
    await until_shown(window, "after the gap", *map(str, range(100, 80, -1)))


@pytest.mark.left_to_all("client libraries")
@pytest.mark.parametrize("slug", ["turbo"])
@pytest.mark.usefixtures("needs_libraries")
async def test_page_that_turbo_visits_again(
    example: ServerProcess, visit: Visitor, slug: str
) -> None:
    """The page begins anew, and shows each note once."""
    window = await open_recipe(visit, example, slug)
    await send(window, "before the visit")
    await window.run(
        "window.same = document.getElementById('notes'), Turbo.visit(location.href)"
    )
    await window.until("document.getElementById('notes') !== window.same")
    await send(window, "after the visit")
    await window.until("document.querySelectorAll('#notes .text').length > 1")
    texts = await window.page.locator("#notes .text").all_text_contents()
    assert texts[:2] == ["after the visit", "before the visit"]
    assert len(texts) == len(set(texts))
    assert await window.run("!!window.same"), "the browser has not loaded the page"


@pytest.mark.left_to_all("client libraries")
@pytest.mark.parametrize("slug", ["turbo"])
@pytest.mark.usefixtures("needs_libraries")
async def test_turbo_with_the_event_source_of_updates_js(
    example: ServerProcess, visit: Visitor, slug: str
) -> None:
    """The element that the documentation defines takes the place of Turbo's own."""
    page = await visit("about:blank")
    url = f"{example.url}/recipes/{slug}"
    text = (ROOT / "docs/howto/html.rst").read_text()
    blocks = text.split(".. code-block:: html+django\n")
    [block] = [each for each in blocks if "customElements" in each]
    scripts = block[: block.rindex("</script>")] + "</script>"
    scripts = re.sub(r"{% static '([^']+)' %}", r"/static/\1", scripts)

    async def change(route: Route) -> None:
        answer = await route.fetch()
        body = (await answer.text()).replace(
            "turbo-stream-source", "push-stream-source"
        )
        body = body.replace("element?.streamSource", "element?.source")
        body = body.replace("</head>", f"{scripts}</head>")
        await route.fulfill(response=answer, body=body)

    await serve_libraries(page.page.context)
    await page.page.route(url, change)
    await page.page.goto(url)
    await send(page, "heard by updates.js")
    await page.until(
        "document.querySelector('push-stream-source').source.readyState === 1"
    )
    await page.until(
        "document.querySelector('#notes .text').textContent.includes('heard')"
    )
    await page.run("Turbo.visit('/recipes')")
    await page.until("location.pathname === '/recipes'")
    assert page.errors == []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        in_tier(each, {(360, "dark")}, "looks of the recipes")
        for each in itertools.product((360, 1440), ("light", "dark"))
    ],
)
async def test_recipes_fit_narrow_and_wide_windows(
    example: ServerProcess, visit: Visitor, width: int, scheme: str
) -> None:
    viewport = {"width": width, "height": 800}
    for path in ("recipes", "recipes/fetch"):
        window = await visit(
            f"{example.url}/{path}", viewport=viewport, color_scheme=scheme
        )
        assert await window.run("document.documentElement.scrollWidth") == width
        assert window.errors == []


async def test_recipes_with_a_push_server_on_another_port(visit: Visitor) -> None:
    """A page without a library hears it, and that of Datastar says why it cannot."""
    site = example_site()
    push = example_server(
        *("manage.py", "runpushserver", "127.0.0.1:{port}"), PORT=str(site.port)
    )
    for server in (site, push):
        server.env["PUSH_HOST"] = f"127.0.0.1:{push.port}"
    with site, push:
        window = await visit(f"{site.url}/recipes/fetch")
        for text in ("first", "second"):
            await send(window, text)
        await until_shown(window, "second", "first")
        assert window.errors == []
        async with http.AsyncClient(base_url=site.url) as client:
            for slug in RECIPES:
                page = (await client.get(f"/recipes/{slug}")).text
                assert ("has another origin" in page) == (slug == "datastar"), slug


async def test_menu_of_recipes(example: ServerProcess, visit: Visitor) -> None:
    """The menu leads to each page, which shows its own source."""
    window = await visit(f"{example.url}/recipes")
    links = await window.page.eval_on_selector_all(
        "main a", "(links) => links.map((each) => each.pathname)"
    )
    assert links == [f"/recipes/{slug}" for slug in RECIPES]
    async with http.AsyncClient(base_url=example.url) as client:
        for slug, recipe in RECIPES.items():
            answer = await client.get(f"/recipes/{slug}")
            assert answer.status_code == 200
            assert "{% block page %}" in answer.text
            assert recipe.channel_id in answer.text
        assert (await client.get("/recipes/none")).status_code == 404
