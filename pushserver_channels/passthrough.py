"""Telling a Django view who subscribes and who leaves, without a socket.

A held request is announced by a POST to the view, ``subscribe=1``, and its end by
another one, ``unsubscribe=1``: requests inside the process, through the whole of
Django's middleware, with the subscriber's own headers. They wait in lines, one for each
subscriber, so that its order is kept; a few lines move at a time, because each Django
request makes a thread. Nobody waits for them but a server that stops. Source: protocol,
"Passthrough".
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from pushserver.views import INTERNAL_REQUEST

from .shutdown import call_before_shutdown
from .types import Application, Message, Scope

logger = logging.getLogger(__name__)

#: Requests to views that run at once.
CONCURRENCY = 4

#: Seconds after which a view is not waited for any more.
VIEW_TIMEOUT = 30.0

#: Seconds for which a server that stops waits for views.
STOP_TIMEOUT = 20.0

#: Waiting notices at which the log says that the view is too slow.
MANY = 10_000

#: What belongs to the subscriber's connection and body, not to the request made here.
_NOT_PASSED_ON = frozenset(
    {
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class _Notice:
    """A request to a view that waits for its turn."""

    path: str
    scope: Scope
    body: bytes
    told: asyncio.Future[None]


class Courier:
    """Makes the requests to the views of a Django application.

    Args:
        application: The site's ASGI application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None
        # The notices of each subscriber, kept as long as one of them is under way.
        self._lines: dict[object, deque[_Notice]] = {}
        self._ready: deque[object] = deque()
        # The loop itself keeps no task alive.
        self._workers: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Future[int | None]] = set()
        self._is_drained_by_server = False
        self._draining: asyncio.Future[None] | None = None
        # What the views were not told yet.
        self._untold: set[asyncio.Future[None]] = set()

    def post(self, path: str, scope: Scope, body: bytes, line: object) -> _Notice:
        """Queue a form for a view, behind what waits in the same line."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # What an earlier loop left behind has ended with it.
            self._lines, self._ready = {}, deque()
            self._workers, self._untold = set(), set()
            self._loop = loop
            self._is_drained_by_server = call_before_shutdown(self.drain)
        notice = _Notice(path, scope, body, loop.create_future())
        self._untold.add(notice.told)
        if len(self._untold) % MANY == 0:
            logger.warning(
                "%d passthrough requests wait: the view at %s is slower than"
                " subscribers come and go",
                len(self._untold),
                path,
            )
        if line in self._lines:
            self._lines[line].append(notice)
        else:
            self._lines[line] = deque([notice])
            self._ready.append(line)
            if len(self._workers) < CONCURRENCY:
                worker = loop.create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
        return notice

    async def drain(self) -> None:
        """Wait until the views were told of everything, but not for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TIMEOUT
        while self._untold and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._untold.copy(), timeout=left)
        if self._untold:
            logger.error(
                "The server stops before %d passthrough requests were made",
                len(self._untold),
            )

    async def wait_to_stop(self) -> None:
        """Drain before a request ends with which the process may end.

        Daphne waits by itself; for other servers, all who ask here wait for the same.
        """
        if self._is_drained_by_server:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.ensure_future(self.drain())
        await asyncio.shield(self._draining)

    async def _work(self) -> None:
        while self._ready:
            line = self._ready.popleft()
            notices = self._lines[line]
            notice = notices.popleft()
            await self._deliver(notice)
            self._untold.discard(notice.told)
            notice.told.set_result(None)
            if notices:
                self._ready.append(line)
            else:
                del self._lines[line]

    async def _deliver(self, notice: _Notice) -> None:
        """Make a request in a task of its own, which may outlast our patience."""
        request = asyncio.ensure_future(self._request(notice))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        await asyncio.wait([request], timeout=VIEW_TIMEOUT)
        if not request.done():
            # Not cancelled: the thread of the view would run on all the same.
            logger.error("The passthrough view at %s takes too long", notice.path)
        elif request.cancelled():
            logger.error("The passthrough view at %s was cancelled", notice.path)
        elif error := request.exception():
            logger.error(
                "The passthrough view at %s failed", notice.path, exc_info=error
            )
        elif request.result() not in range(200, 300):
            logger.error(
                "The passthrough view at %s answered %s, so nobody heard %s",
                notice.path,
                request.result(),
                notice.body.decode(),
            )

    async def _request(self, notice: _Notice) -> int | None:
        """Run the application on a notice, and return the status it answered."""
        messages: deque[Message] = deque()
        messages.append({"type": "http.request", "body": notice.body})
        answered = asyncio.Event()
        status = None

        async def receive() -> Message:
            if messages:
                return messages.popleft()
            # Django takes a disconnect before its answer for a client that left.
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                answered.set()

        await self._application(_request_scope(notice), receive, send)
        return status


def _request_scope(notice: _Notice) -> Scope:
    """Return the scope of a POST to the view, as if the subscriber had made it."""
    headers = [
        (name, value)
        for name, value in notice.scope["headers"]
        if name not in _NOT_PASSED_ON
    ]
    headers += [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", b"%d" % len(notice.body)),
    ]
    return {
        **notice.scope,
        "method": "POST",
        "path": notice.path,
        "raw_path": quote(notice.path).encode(),
        "query_string": b"",
        "headers": headers,
        INTERNAL_REQUEST: True,
    }


class Presence:
    """A held request, of which a view was told, for the time of a ``with`` block."""

    __slots__ = ("_form", "_line", "_passthrough", "_scope")

    def __init__(
        self, passthrough: Passthrough, scope: Scope, form: dict[str, str], line: object
    ) -> None:
        self._passthrough = passthrough
        self._scope = scope
        self._form = form
        self._line = line
        self._post("subscribe")

    def __enter__(self) -> Presence:
        return self

    def __exit__(self, *error: object) -> None:
        self.unsubscribe()

    def unsubscribe(self) -> None:
        """Tell the view that the request is held no more."""
        self._post("unsubscribe")

    def _post(self, event: str) -> None:
        body = urlencode({**self._form, event: "1"}).encode()
        self._passthrough.post(self._scope, body, self._line)


class Passthrough:
    """Tells one view of the held requests of a location.

    Args:
        courier: Makes the requests.
        path: The view's.
    """

    def __init__(self, courier: Courier, path: str) -> None:
        self._courier = courier
        self._path = path

    def subscribe(self, scope: Scope, channel_id: str) -> Presence:
        """Tell the view that a request is held, and return what will tell the end."""
        # A browser comes back on another connection but with its cookies.
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        who = tuple(cookies) or tuple(scope.get("client") or ())
        return Presence(self, scope, {"channel_id": channel_id}, (channel_id, who))

    def post(self, scope: Scope, body: bytes, line: object) -> None:
        """Queue a form for the view, behind what waits in the same line."""
        self._courier.post(self._path, scope, body, line)

    async def wait_to_stop(self) -> None:
        """Wait until the views were told of everything, if nobody else does."""
        await self._courier.wait_to_stop()
