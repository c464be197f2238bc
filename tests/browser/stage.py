"""What the browser tests need: a site with pages, push servers and tabs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tests import http
from tests.servers import ROOT, ServerProcess, wait_until, wait_until_held
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Page

CLIENT = ROOT / "pushserver/static/pushserver"
LIBRARIES = ROOT / "tests/browser/static"

#: Records in a page what the tests check.
RECORDER = """
    window.got = [];
    window.states = [];
    window.exchanges = [];
    window.gaps = [];
    window.record = (name) => {
        updates.on(name, (message) => got.push(message.data));
        updates.onGap(name, (missed) => gaps.push([missed, got.length]));
        updates.onState((state, of, detail) => states.push([state, detail]));
        updates.onExchange((exchange) => exchanges.push(exchange));
    };
"""


def script_tag(script: str) -> str:
    if script.endswith(".js"):
        return f'<script src="/{script}"></script>'
    return f"<script>{script}</script>"


class Site:
    """A web server with the client, jQuery and the pages that tests define.

    Attributes:
        gate: The response to ``/gate.js``, an empty script, waits until this is set.
        folders: The folders of its files.
    """

    def __init__(self) -> None:
        self._pages: dict[str, str] = {}
        self.gate = Event()
        self.folders = [CLIENT, LIBRARIES]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def page(self, *scripts: str) -> str:
        """Return the URL of a page with scripts: file names ``*.js`` or code."""
        return self.document("".join(map(script_tag, (RECORDER, *scripts))))

    def document(self, head: str) -> str:
        """Return the URL of a page with this content of <head>."""
        path = f"/pages/{len(self._pages)}"
        self._pages[path] = f"<!doctype html><title>{path}</title>{head}<p>A page"
        return self.url + path

    def _find(self, path: str) -> tuple[str, bytes] | None:
        if path in self._pages:
            return "text/html; charset=utf-8", self._pages[path].encode()
        if path == "/gate.js":
            self.gate.wait(PATIENCE)
            return "text/javascript", b"// open"
        for folder in self.folders:
            file = folder / path.lstrip("/")
            if file.is_file():
                return guess_type(file.name)[0] or "", file.read_bytes()
        return None

    def _make_handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                content_type, body = site._find(self.path) or ("text/plain", b"")
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    @contextmanager
    def serving(self) -> Iterator[Site]:
        thread = Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def push_server(site: Site, *arguments: str) -> ServerProcess:
    """Return a push server for pages of a site on another origin.

    Its subscriber locations are ``/updates/``; ``/brief-304/`` and ``/brief-408/``,
    which have a short timeout; ``/polled/``, which has polls only; ``/strict/``, which
    creates no channels; and ``/small/updates/``, whose store keeps one message. Pages
    of the site may publish at ``/open/send-update/`` only.
    """
    of_pages = {
        "type": "subscriber",
        "create_on_get": True,
        "allow_origin": site.url,
        "allow_credentials": True,
        "passthrough": "/passthrough",
    }
    locations = [
        {"type": "publisher", "prefix": "/send-update/"},
        {
            "type": "publisher",
            "prefix": "/open/send-update/",
            "allow_origin": site.url,
        },
        {**of_pages, "prefix": "/updates/"},
        {**of_pages, "prefix": "/brief-304/", "timeout": 0.6},
        {**of_pages, "prefix": "/brief-408/", "timeout": 0.6, "timeout_status": 408},
        {**of_pages, "prefix": "/polled/", "transports": ["poll"]},
        {**of_pages, "prefix": "/strict/", "create_on_get": False},
        {"type": "publisher", "prefix": "/small/send-update/", "store": "small"},
        {**of_pages, "prefix": "/small/updates/", "store": "small"},
    ]
    stores = {
        "default": {"type": "memory"},
        "small": {"type": "memory", "max_messages": 1},
    }
    return ServerProcess(
        *(sys.executable, "-m", "django", "runpushserver", "127.0.0.1:{port}"),
        *arguments,
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": json.dumps({"locations": locations, "store": stores}),
        },
    )


class Visit:
    """A page in the browser, and its errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        icon = message.location["url"].endswith("/favicon.ico")
        if message.type == "error" and not icon:
            self.errors.append(message.text)

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def until(self, condition: str, argument: Any = None) -> None:
        """Wait until an expression or a function of the page is true."""
        # Do not poll per frame, the default, since pages in the background draw none.
        await self.page.wait_for_function(
            condition, arg=argument, polling=20, timeout=20_000
        )

    async def until_got(self, count: int) -> list[Any]:
        """Wait until the page has received this number of messages, and return them."""
        await self.until("(count) => got.length >= count", count)
        messages: list[Any] = await self.run("got")
        return messages


#: Opens a URL in a new tab, of an existing visitor or of a new one.
Visitor = Callable[..., Awaitable[Visit]]


async def publish(
    server: ServerProcess, channel: str, *messages: Any, store: str = ""
) -> list[str]:
    """Publish messages as JSON, one after the other, and return their ids."""
    url = f"{server.url}{store}/send-update/{channel}"

    def publish_all() -> list[str]:
        with http.Client(headers={"Accept": "application/json"}) as client:
            answers = [client.post(url, json=message) for message in messages]
        return [answer.json()["last_message_id"] for answer in answers]

    return await asyncio.to_thread(publish_all)


def subscribe(server: ServerProcess, channel: str, location: str = "/updates/") -> str:
    """Return the script with which a page subscribes to a channel as ``main``."""
    url = json.dumps(f"{server.url}{location}{channel}")
    return f'record("main"); updates.subscribe({{main: {url}}});'


async def until_held(server: ServerProcess, channel: str, count: int = 1) -> None:
    """Wait until a channel has this number of held requests."""
    url = f"{server.url}/send-update/{channel}"
    await asyncio.to_thread(wait_until_held, url, count)


async def until_heard(
    server: ServerProcess, channel: str, count: int
) -> list[dict[str, Any]]:
    """Wait for this number of passthrough requests and return them."""

    def heard() -> list[dict[str, Any]]:
        answer = http.get(f"{server.url}/heard", params={"channel": channel})
        events: list[dict[str, Any]] = answer.json()["heard"]
        return events if len(events) >= count else []

    events: list[dict[str, Any]] = await asyncio.to_thread(wait_until, heard)
    return events
