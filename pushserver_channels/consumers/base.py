"""What all locations share: one request, told from top to bottom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar

from pushserver.conf import Location
from pushserver_channels.exceptions import (
    ClientDisconnected,
    InvalidChannelId,
    MethodNotAllowed,
    PushError,
    ServerStopping,
)
from pushserver_channels.hubs import hubs
from pushserver_channels.protocol import (
    MAX_HEADER_LINES,
    REMEMBERED,
    Headers,
    build_retry_after,
    check_headers,
    fold_headers,
)
from pushserver_channels.sandbox import NOSNIFF
from pushserver_channels.subscriptions import Hub
from pushserver_channels.types import Message, Receive, Scope, Send

from .bodies import BodyConsumer

logger = logging.getLogger(__name__)

ChooseHeaders = Callable[[bytes | None], Headers]
#: The two events of an answer: how it begins, and its body.
Answer = tuple[Message, Message]
Handler = Callable[[], Awaitable[Answer | None]]

TEXT = (b"content-type", b"text/plain; charset=utf-8")
#: Browsers would keep a 404 or a 410 for a while.
NO_CACHE = (b"cache-control", b"no-cache")
CLOSE = (b"connection", b"close")


def tells_that_client_left(error: BaseException) -> bool:
    """Return whether a server says by an error of ``send`` that nobody is left.

    ASGI's word for that is an ``OSError``. uvloop, below uvicorn, has another one.
    """
    return isinstance(error, OSError) or (
        isinstance(error, RuntimeError) and "the handler is closed" in str(error)
    )


class PushConsumer(BodyConsumer):
    """Answers one request to a location.

    The stock consumer reads nothing while it handles a request, so that it never hears
    that a client left, and hops to a thread for database connections, of which there
    are none here. This one keeps ``receive`` and tells the request in one coroutine.

    Attributes:
        location: The location, from ``PUSH_SERVER['locations']``.
        channel_id: The channel id in the URL.
        fault: Why it cannot be one, None if it can.
        choose_headers: Returns the headers of every answer, given an ``Origin``.
        common_headers: Those of every answer to it.
        responding: Whether an answer is on its way, after which there can be no other.
    """

    location: Location
    channel_id: str
    fault: str | None
    choose_headers: ChooseHeaders
    common_headers: Headers

    #: Only where a handler gives None. Returns the answer to a request that was held,
    #: None if it is held on; and holds it on, now with an eye on its client.
    go_on: Callable[[], Answer | None]
    watch: Callable[[], Awaitable[Answer]]

    #: No client has a channel of its own on the layer: the hub knows who waits.
    channel_layer_alias = None

    #: Whether a request that the server cancels is told to come back. It is not where
    #: it may have done its work.
    told_to_come_back: ClassVar[bool] = False

    #: The methods of the location, and the names of what handles them.
    methods: ClassVar[dict[str, str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begin(scope, receive, send)
        try:
            answer = await self.answer()
            if answer is None:
                answer = self.go_on() or await self.watch()
            await self.send_answer(answer)
        except BaseException as error:
            await self.fail(error)

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the request."""
        self.scope = scope
        self.receive = receive
        self.base_send = send
        raw = scope["headers"]
        # Too many are not looked at.
        self.headers = dict(raw) if len(raw) <= MAX_HEADER_LINES else {}
        self.common_headers = self.choose_headers(self.headers.get(b"origin"))
        self.responding = False

    def answer(self) -> Awaitable[Answer | None]:
        """Return what gives the answer: a coroutine, but not one around another.

        It gives None when a request that was held is to :meth:`go_on`.
        """
        scope = self.scope
        raw = scope["headers"]
        try:
            check_headers(self.headers, raw)
            if len(self.headers) != len(raw):
                self.headers = fold_headers(raw)
                self.common_headers = self.choose_headers(self.headers.get(b"origin"))
            self.check_client()
            name = self.methods.get(scope["method"])
            if name is None:
                raise MethodNotAllowed(scope["method"], ", ".join(self.methods))
            if self.fault is not None:
                raise InvalidChannelId(self.fault)
        except PushError as error:
            return self.refuse(error)
        handler: Handler = getattr(self, name)
        return handler()

    def check_client(self) -> None:
        """Raise :class:`PushError` if the client may not ask here at all."""

    async def refuse(self, error: PushError) -> Answer:
        """Raise an error, with the request's body read unless that ends the connection.

        The body may be what is wrong with the request, which is then told instead.
        """
        if not error.closes:
            await self.discard_body()
        raise error

    async def fail(self, error: BaseException) -> None:
        """Answer what a handler raised, or raise again what is not to be answered."""
        if isinstance(error, PushError):
            await self.send_error(error)
        elif isinstance(error, ClientDisconnected) or (
            self.responding and tells_that_client_left(error)
        ):
            pass  # Nobody is left to answer.
        elif isinstance(error, asyncio.CancelledError):
            if self.responding or not self.told_to_come_back:
                raise error
            # This is how Daphne says that it stops; an answer sent now still gets out.
            await self.send_error(ServerStopping())
        elif isinstance(error, Exception):
            scope = self.scope
            logger.error(
                "Cannot answer %s %s",
                scope["method"],
                scope["path"][:REMEMBERED],
                exc_info=error,
            )
            if not self.responding:
                await self.send_error(PushError("The server failed; its log says why."))
        else:
            raise error

    def find_hub(self) -> Hub:
        """Return the hub of the location's store."""
        return hubs.get(self.location.store, self.scope.get("server"))

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> Answer:
        """Return an answer, which is sent now."""
        self.responding = True
        return (
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self.common_headers],
            },
            {"type": "http.response.body", "body": body},
        )

    async def send_error(self, error: PushError) -> None:
        """Answer with the status of an error and its sentence."""
        body = f"{error}\n".encode(errors="replace")
        headers: Headers = [
            TEXT,
            (b"content-length", b"%d" % len(body)),
            NO_CACHE,
            NOSNIFF,
        ]
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", error.allowed.encode()))
        if error.retry_after:
            headers.append(build_retry_after())
        if error.closes and self.scope["http_version"].startswith("1"):
            headers.append(CLOSE)  # (HTTP/2 has no such header.)
        if error.closes and self.more_body:
            await self.read_what_flows()
        answer = self.respond(error.status, headers, body)
        try:
            if error.closes and self.more_body:
                await self.send_and_linger(answer)
            else:
                await self.send_answer(answer)
        except (OSError, RuntimeError) as failure:
            if not tells_that_client_left(failure):
                raise

    async def send_and_linger(self, answer: Answer) -> None:
        """Send an answer, and end it a moment later, as the connection ends with it."""
        start, body = answer
        await self.base_send(start)
        await self.base_send({**body, "more_body": True})
        await self.linger()
        await self.base_send({"type": body["type"], "body": b""})

    async def send_answer(self, answer: Answer) -> None:
        """Send an answer."""
        start, body = answer
        await self.base_send(start)
        await self.base_send(body)

    async def options(self) -> Answer:
        """Answer which methods there are."""
        await self.discard_body()
        return self.respond(204, [(b"allow", ", ".join(self.methods).encode())])
