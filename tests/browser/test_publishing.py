"""Pages of the push server's own origin may publish, and other pages may not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import http
from tests.servers import ServerProcess, channel_info

from .stage import Site, Visit, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Sends a request without reading the response; resolves when there is one.
NO_CORS = """
    ([method, url, body]) => fetch(url, {method, body, mode: "no-cors"})
        .then((response) => response.type, (error) => "failed")
"""
CORS = """
    ([method, url, body]) => fetch(url, {
        method, body, headers: body === undefined ? {} : {"Content-Type": "text/x"},
    }).then((response) => response.status, () => "failed")
"""
FORM = """
    ([url, name, value, enctype]) => {
        const form = document.createElement("form");
        Object.assign(form, {action: url, method: "POST", enctype});
        const input = document.createElement("input");
        Object.assign(input, {name, value});
        form.append(input);
        document.body.append(form);
        form.submit();
    }
"""


async def info(server: ServerProcess, channel: str) -> dict[str, Any]:
    """Return the channel info; empty if there is no channel."""
    url = f"{server.url}/send-update/{channel}"
    return await asyncio.to_thread(channel_info, url)


async def submit(page: Visit, *arguments: str) -> int:
    """Submit a form and return the status of the resulting page."""
    async with page.page.expect_navigation() as leaving:
        await page.run(FORM, list(arguments))
    response = await leaving.value
    status: int = response.status
    return status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same", "cross"])
async def test_page_of_another_site_cannot_publish_or_delete(
    site: Site, whole: ServerProcess, visit: Visitor, host: str
) -> None:
    """fetch() and forms of another site's page can neither publish nor delete."""
    channel = f"foreign-{host}"
    url = f"{whole.url}/send-update/{channel}"
    await asyncio.to_thread(http.put, url)
    page = await visit(site.document("").replace("127.0.0.1", host))
    assert await page.run(NO_CORS, ["POST", url, "evil"]) == "opaque"
    for method in ("GET", "POST", "PUT", "DELETE"):
        body = "evil" if method in ("POST", "PUT") else None
        arguments = [method, url] if body is None else [method, url, body]
        assert await page.run(CORS, arguments) == "failed"
    for enctype in ("text/plain", "application/x-www-form-urlencoded"):
        page = await visit(site.document("").replace("127.0.0.1", host))
        assert await submit(page, url, "a", "evil", enctype) == 403
    told = await info(whole, channel)
    assert told["messages"] == 0


async def test_passthrough_view_refuses_page_of_another_site(
    site: Site, whole: ServerProcess, visit: Visitor
) -> None:
    """The passthrough view refuses a form of another site's page."""
    page = await visit(site.document(""))
    form = "application/x-www-form-urlencoded"
    url = f"{whole.url}/passthrough"
    body = "channel_id=forged&subscribe=1"
    script = f"""fetch("{url}", {{
        method: "POST", mode: "no-cors", body: new URLSearchParams("{body}")
    }}).then((response) => response.type)"""
    assert await page.run(script) == "opaque"
    assert await submit(page, url, "channel_id", "forged", form) == 403
    answer = await asyncio.to_thread(http.get, f"{whole.url}/heard?channel=forged")
    assert answer.json()["heard"] == []


async def test_page_of_the_same_origin_can_publish(
    whole: ServerProcess, visit: Visitor
) -> None:
    """fetch() and a form of the same origin publish, and can read responses."""
    channel = "own-page"
    url = f"/send-update/{channel}"
    page = await visit(f"{whole.url}/hello")
    assert await page.run(CORS, ["POST", url, "news"]) == 202
    assert await page.run(CORS, ["GET", url]) == 200
    assert await submit(page, url, "a", "news", "text/plain") == 202
    assert (await info(whole, channel))["messages"] == 2
    assert await page.run(CORS, ["DELETE", url]) == 200


async def test_page_of_an_allowed_origin_can_publish(
    site: Site, push: ServerProcess, visit: Visitor
) -> None:
    """An origin in allow_origin can publish, with preflight, and read responses."""
    url = f"{push.url}/open/send-update/friend"
    page = await visit(site.document(""))
    assert await page.run(CORS, ["GET", url]) == 404
    assert await page.run(CORS, ["POST", url, "news"]) == 202
    assert await page.run(CORS, ["PUT", url, "no news"]) == 200
    assert await page.run(CORS, ["GET", url]) == 200
    assert await page.run(CORS, ["DELETE", url]) == 200
    foreign = await visit(site.document("").replace("127.0.0.1", "localhost"))
    assert await foreign.run(CORS, ["POST", url, "news"]) == "failed"
    assert await page.run(CORS, ["GET", url]) == 404
