from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.servers import ServerProcess

from .stage import Site, Visit, push_server
from .streams import streaming_server

if TYPE_CHECKING:
    from playwright.async_api import Browser

NEEDS = (
    "The browser's tests need Chromium and Playwright:"
    " apt-get install chromium && pip install playwright"
)
#: Features that are disabled. The last option ``--disable-features`` counts, so those
#: that Playwright disables are repeated.
DISABLED = (
    # Each window would load two pages for suggestions in the address bar, and keep a
    # renderer in reserve: more than half of the CPU time of a window.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "SpareRendererForSitePerProcess"),
    # Playwright's, for the pages that are tested.
    *("HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable"),
    *("ThirdPartyStoragePartitioning", "PaintHolding", "DestroyProfileOnBrowserClose"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "AvoidCorsURLLoaderRestartOnRedirect"),
    # Playwright's, against requests of the browser itself.
    *("LensOverlay", "MediaRouter", "OptimizationHints", "NetworkTimeServiceQuerying"),
    *("AimEnabled", "PreconnectToSearch"),
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(DISABLED)}",
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium; without one tests are skipped, but fail in CI."""
    chromium = shutil.which("chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        async_playwright = None
    if chromium is None or async_playwright is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDS)
        pytest.skip(NEEDS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=ARGUMENTS,
            # Playwright disables the back-forward cache, which a test here needs.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Visit]]]:
    """Opens a URL in a new tab, of an existing visitor or of a new one with options."""
    contexts = []

    async def visit(
        url: str, beside: Visit | None = None, wait_until: str = "load", **options: Any
    ) -> Visit:
        if beside is None:
            contexts.append(await browser.new_context(**options))
            page = await contexts[-1].new_page()
        else:
            page = await beside.page.context.new_page()
        visit = Visit(page)
        await page.goto(url, wait_until=wait_until)
        return visit

    yield visit
    for context in contexts:
        await context.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A site whose pages may subscribe to the push server of another origin."""
    with Site().serving() as site:
        yield site


@pytest.fixture(scope="session")
def push(site: Site) -> Iterator[ServerProcess]:
    """A push server without a site, on another origin than the pages."""
    with push_server(site) as server:
        yield server


@pytest.fixture(scope="session")
def whole(site: Site) -> Iterator[ServerProcess]:
    """A push server with a Django site, whose passthrough view records requests."""
    with push_server(site, "--allrequests") as server:
        yield server


@pytest.fixture(scope="module")
def streaming(site: Site) -> Iterator[ServerProcess]:
    """A Daphne with a memory store."""
    with streaming_server(site) as server:
        yield server
