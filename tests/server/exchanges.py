"""HTTP requests to an ASGI application in this process, and their responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from asgiref.testing import ApplicationCommunicator

from pushserver_channels.consumers import LongPollConsumer, long_poll
from pushserver_channels.deadlines import Deadlines
from pushserver_channels.hub import hubs
from pushserver_channels.types import Application, Receive, Scope, Send
from tests.waiting import until

Headers = Sequence[tuple[bytes, bytes]]

EPOCH = b"Thu, 01 Jan 1970 00:00:00 GMT"
JSON = [(b"accept", b"application/json")]
FUTURE = [
    (b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT"),
    (b"if-none-match", b"7"),
]
PAGE = b"http://127.0.0.1:8000"


async def django(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand in for Django: respond with status 299 and the path of the request."""
    if scope["type"] != "http":
        await send({"type": f"{scope['type']}.seen"})
        return
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@dataclass(frozen=True)
class Answer:
    """The response of an application."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a header, or None; fail if it is given twice."""
        values = [value for key, value in self.headers if key == name.lower().encode()]
        assert len(values) < 2, f"{name} is given twice: {values}"
        return values[0].decode("latin-1") if values else None


def http_scope(
    method: str,
    path: str,
    headers: Headers = (),
    **others: Any,
) -> Scope:
    """Return the scope of a request for a percent-encoded path, as Daphne makes it."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver"), *headers],
        "client": ["127.0.0.1", 40_000],
        "server": ["127.0.0.1", 8000],
        **others,
    }


class Exchange(ApplicationCommunicator):
    """A request in progress, whose body is not sent yet if it is None."""

    def __init__(
        self,
        application: Application,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = b"",
        **scope: Any,
    ) -> None:
        if body != b"" and not any(name == b"content-length" for name, _ in headers):
            # Over HTTP/1.1 a body needs Content-Length or Transfer-Encoding.
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        super().__init__(application, http_scope(method, path, headers, **scope))
        if body is not None:
            parts = [body] if isinstance(body, bytes) else list(body)
            for number, part in enumerate(parts, 1):
                self.put_body(part, more=number < len(parts))

    def put_body(self, part: bytes, *, more: bool) -> None:
        """Send a part of the body to the application."""
        message = {"type": "http.request", "body": part, "more_body": more}
        self.input_queue.put_nowait(message)

    def start(self) -> Exchange:
        """Start the application with the request."""
        assert self.future
        return self

    def disconnect(self) -> None:
        """Send the client's disconnect to the application."""
        self.input_queue.put_nowait({"type": "http.disconnect"})

    async def end(self) -> None:
        """Wait until the application ends, and raise its exception if there is one."""
        await asyncio.wait_for(self.future, 10)

    async def answer(self) -> Answer:
        """Return the whole response after the application has ended."""
        await self.end()
        start = self.output_queue.get_nowait()
        assert start["type"] == "http.response.start"
        body = []
        while not self.output_queue.empty():
            part = self.output_queue.get_nowait()
            assert part["type"] == "http.response.body"
            body.append(part.get("body", b""))
        assert not part.get("more_body"), "the answer has no end"
        return Answer(start["status"], list(start["headers"]), b"".join(body))

    @property
    def is_silent(self) -> bool:
        """Whether the application has sent nothing."""
        return self.output_queue.empty()


async def until_held(channel_id: str, count: int = 1, store: str = "default") -> None:
    """Wait until this number of requests is held on a channel."""
    hub = hubs.get(store)
    await until(lambda: len(hub.waiting.get(channel_id, ())) == count)


async def until_idle() -> None:
    """Wait until the current task is the only one."""
    this = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() == {this})


class Site:
    """An application under test, which receives requests over ASGI."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def exchange(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = b"",
        **scope: Any,
    ) -> Exchange:
        """Return a request that is not started yet."""
        return Exchange(self.application, method, path, headers, body, **scope)

    async def ask(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] = b"",
        **scope: Any,
    ) -> Answer:
        """Send a request, and return the response."""
        return await self.exchange(method, path, headers, body, **scope).answer()

    async def hold(self, path: str, headers: Headers = (), **scope: Any) -> Exchange:
        """Start a request, and return it once it is held on the channel of its path."""
        channel_id = path.rpartition("/")[2]
        waiting = len(hubs.get("default").waiting.get(channel_id, ()))
        exchange = self.exchange("GET", path, headers, **scope).start()
        await until_held(channel_id, waiting + 1)
        return exchange

    async def info(self, channel_id: str) -> dict[str, Any] | None:
        """Return the channel info, or None if the channel does not exist."""
        answer = await self.ask(
            "GET", f"/send-update/{channel_id}", [(b"accept", b"application/json")]
        )
        if answer.status == 404:
            return None
        assert answer.status == 200
        info: dict[str, Any] = json.loads(answer.body)
        return info

    async def post(
        self, channel_id: str, body: bytes = b"news", headers: Headers = ()
    ) -> Answer:
        """Publish a message, and return the response."""
        return await self.ask("POST", f"/send-update/{channel_id}", headers, body)


def id_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return the headers that ask for the message after this response."""
    date, tag = answer["last-modified"], answer["etag"]
    assert date is not None
    assert tag is not None
    return [(b"if-modified-since", date.encode()), (b"if-none-match", tag.encode())]


#: Returns a site with all kinds of locations, which have the given options.
Serve = Callable[..., Site]


def unwatched() -> Deadlines[LongPollConsumer]:
    """Return the held requests whose clients are not watched yet."""
    hub = hubs.get("default")
    return hub.deadlines(long_poll.WATCH_AFTER, LongPollConsumer.watch)
