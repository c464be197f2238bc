"""The client on a page: as a script, as a module, with jQuery, among other scripts."""

from __future__ import annotations

import pytest

from tests.servers import ServerProcess

from .stage import Site, Visitor, publish, subscribe, until_held

pytestmark = pytest.mark.asyncio(loop_scope="session")

JQUERY = ["jquery-1.8.3.min.js", "jquery-3.8.0.min.js"]
IDS = ["jquery-1.8", "jquery-3"]
ORDERS = [
    ("updates.js", *JQUERY),
    (JQUERY[0], "updates.js", JQUERY[1]),
    (*reversed(JQUERY), "updates.js"),
]

#: A page as written for the old client.
OLD_PAGE = """
    window.alerts = [];
    $.ajaxSetup({timeout: 50, cache: false, headers: {"X-Of-The-Page": "1"}});
    $(document).ajaxError(() => alerts.push("error"));
    $.updates.subscribe({main_channel: "URL", none: ""});
    $.updates.registerProcessor("main_channel", "answer", (data) => got.push(data));
    $.updates.onExchange((exchange) => exchanges.push(exchange));
"""


@pytest.mark.parametrize("jquery", JQUERY, ids=IDS)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
async def test_jquery(
    site: Site, push: ServerProcess, visit: Visitor, jquery: str, first: bool
) -> None:
    """An old page works unchanged, with its own settings of jQuery.ajax."""
    channel = f"old-{jquery}-{first}"
    url = f"{push.url}/updates/{channel}"
    scripts = [jquery, "updates.js"] if first else ["updates.js", jquery]
    page = await visit(site.page(*scripts, OLD_PAGE.replace("URL", url)))
    assert await page.run("$.updates === updates && jQuery.updates === updates")
    await until_held(push, channel)
    # The page's own request times out; the client's earlier one stays held.
    await page.run(f"() => {{ $.ajax({{url: '{url}-own', headers: {{}}}}) }}")
    await page.until("alerts.length === 1")
    await until_held(push, channel)
    answers = [{"type": "answer", "n": n} for n in range(3)]
    await publish(push, channel, {"type": "other"}, *answers)
    assert await page.until_got(3) == answers
    assert await page.run("alerts") == ["error"]
    # The first request was held; four were answered, and the last one is held.
    assert await page.run("exchanges.filter((each) => each.status).length") == 4


@pytest.mark.parametrize("scripts", ORDERS, ids=["first", "between", "last"])
async def test_two_jqueries(
    site: Site, visit: Visitor, scripts: tuple[str, ...]
) -> None:
    """Each jQuery of a page has the client, and noConflict() restores its names."""
    page = await visit(site.page(*scripts, "window.newer = jQuery.noConflict(true);"))
    last, before = [
        script.split("-")[1].split(".min")[0]
        for script in reversed(scripts)
        if script in JQUERY
    ]
    assert await page.run("[newer.fn.jquery, jQuery.fn.jquery, $.fn.jquery]") == [
        last,
        before,
        before,
    ]
    assert await page.run("newer.updates === updates && $.updates === updates")
    assert await page.run("(jQuery.noConflict(true), typeof jQuery)") == "undefined"
    assert page.errors == []


async def test_without_jquery(site: Site, visit: Visitor) -> None:
    """Without jQuery, the client defines no global names but its own."""
    page = await visit(site.page("updates.js"))
    assert await page.run("typeof jQuery + typeof $") == "undefined" * 2
    assert await page.run("typeof updates.subscribe") == "function"


async def test_jquery_known_only_as_dollar(site: Site, visit: Visitor) -> None:
    """A jQuery that is only known as $ has the client after the document is parsed."""
    script = "window.$ = jQuery.noConflict(true);"
    page = await visit(site.page("updates.js", JQUERY[1], script))
    assert await page.run("$.updates === updates")
    script = "window.kept = jQuery.noConflict(true);"
    page = await visit(
        site.page(JQUERY[1], script, "updates.js", "window.$ = window.kept;")
    )
    await page.until("$.updates === updates")


@pytest.mark.parametrize(
    "statement",
    [
        "import '/updates.js';",
        "import {updates} from '/updates.module.js';",
        "import updates from '/updates.module.js';",
    ],
)
async def test_module(
    site: Site, push: ServerProcess, visit: Visitor, statement: str
) -> None:
    """The client can be imported with or without a name; both give the same object."""
    channel = f"module-{hash(statement)}"
    script = (
        f"{statement} record('main');"
        f" updates.subscribe({{main: '{push.url}/updates/{channel}'}});"
        " window.same = updates === window.updates;"
    )
    page = await visit(
        site.document(
            "<script>window.got = []; window.record = (name) =>"
            " updates.on(name, (message) => got.push(message.data))</script>"
            f'<script type="module">{script}</script>'
        )
    )
    await until_held(push, channel)
    await publish(push, channel, "hello")
    assert await page.until_got(1) == ["hello"]
    assert await page.run("same")


async def test_loading_twice_makes_one_client(site: Site, visit: Visitor) -> None:
    """A page that loads the file twice, once as a module, has one client."""
    page = await visit(
        site.document(
            '<p id="updates"></p><script src="/updates.js"></script>'
            "<script>window.first = updates</script>"
            '<script src="/updates.js"></script>'
            '<script type="module">import "/updates.js"; window.done = true</script>'
        )
    )
    await page.until("window.done")
    assert await page.run("first === updates && 'subscribe' in updates")


async def test_failing_processor(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """An exception of a processor is logged on the console, and others still run."""
    script = """
        updates.registerProcessor("main", "a", () => { throw new Error("mine") });
    """
    page = await visit(site.page("updates.js", script, subscribe(push, "failing")))
    await until_held(push, "failing")
    messages = [{"type": "a", "n": n} for n in range(2)]
    await publish(push, "failing", *messages)
    assert await page.until_got(2) == messages
    assert len(page.errors) == 2
    assert all("mine" in error for error in page.errors)
