"""What all locations share: one request, told from top to bottom."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from pushserver.conf import Location, PushServerSettings, SubscriberLocation
from pushserver_channels.exceptions import (
    ClientDisconnected,
    InvalidChannelId,
    MethodNotAllowed,
    PushError,
    ServerStopping,
)
from pushserver_channels.hub import Hub, Observer, hubs
from pushserver_channels.protocol import (
    MAX_HEADER_LINES,
    Headers,
    build_retry_after,
    check_headers,
    fold_headers,
)
from pushserver_channels.sandbox import NOSNIFF
from pushserver_channels.types import ASGIMessage, Receive, Scope, Send

from .bodies import BodyConsumer

logger = logging.getLogger(__name__)

ChooseHeaders = Callable[[bytes | None], Headers]
#: The two events of an answer: how it begins, and its body.
Answer = tuple[ASGIMessage, ASGIMessage]

TEXT = (b"content-type", b"text/plain; charset=utf-8")
#: Browsers would keep a 404 or a 410 for a while.
NO_CACHE = (b"cache-control", b"no-cache")
CLOSE = (b"connection", b"close")

#: Characters of a path that a log line or an error repeats.
MAX_SHOWN_PATH = 512

#: Makes a consumer of a location, given a channel id and why it cannot be one.
MakeConsumer = Callable[[str, str | None], "PushConsumer"]


@dataclass(frozen=True)
class Site:
    """What the consumers of all locations share.

    Attributes:
        settings: ``PUSH_SERVER``.
        headers: The headers of every answer.
        observe: Returns who looks on who waits at a location.
    """

    settings: PushServerSettings
    headers: Headers
    observe: Callable[[SubscriberLocation], Sequence[Observer]]


def is_disconnect(error: BaseException) -> bool:
    """Return whether a server says by an error of ``send`` that nobody is left.

    ASGI's word for that is an ``OSError``. uvloop, below uvicorn, has another one.
    """
    return isinstance(error, OSError) or (
        isinstance(error, RuntimeError) and "the handler is closed" in str(error)
    )


class Handler(Protocol):
    """Answers one request in the steps that :func:`answer_request` takes."""

    responding: bool

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the request."""

    def answer(self) -> Awaitable[Answer | None]:
        """Return what gives the answer, or None where :meth:`answer_held` gives it."""

    async def answer_held(self) -> Answer | None:
        """Return the answer to a held request, None if it was sent already."""

    async def fail(self, error: BaseException) -> None:
        """Deal with what was raised."""


class Finder(Protocol):
    """Knows who answers a request."""

    def find(self, scope: Scope) -> Handler:
        """Return who answers a request."""


async def answer_request(
    self: Finder, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request, from begin to end.

    This is what consumers and the applications around them are called by, each itself:
    one that awaited another would cost each held request a coroutine, and a delivery
    to it some 4 % of its time.
    """
    handler = self.find(scope)
    handler.begin(scope, receive, send)
    try:
        answer = await handler.answer()
        if answer is None:
            answer = await handler.answer_held()
        if answer is not None:
            start, body = answer
            handler.responding = True
            await send(start)
            await send(body)
    except BaseException as error:
        await handler.fail(error)


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

    #: No client has a channel of its own on the layer: the hub knows who waits.
    channel_layer_alias = None

    #: Whether a request that the server cancels is told to come back. It is not where
    #: it may have done its work.
    answers_cancellation: ClassVar[bool] = False

    #: The methods of the location, and the names of what handles them.
    methods: ClassVar[dict[str, str]] = {}

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        """Return whether a request for the location is one for this consumer.

        The consumers of a location are asked in turn, the polls last.
        """
        return True

    @classmethod
    @abstractmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        """Return what makes the consumers of a location.

        What its requests share is made here, once.
        """

    __call__ = answer_request

    def find(self, scope: Scope) -> PushConsumer:
        """Return this consumer, which answers the request."""
        return self

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
        """Return what gives the answer, or None where :meth:`answer_held` gives it.

        It is no coroutine around another: a request may be held in it.
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
        handle: Callable[[], Awaitable[Answer | None]] = getattr(self, name)
        return handle()

    async def answer_held(self) -> Answer | None:
        """Return the answer to a held request, None if it was sent already.

        Asked where a handler returned None.
        """
        return None

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
            self.responding and is_disconnect(error)
        ):
            pass  # Nobody is left to answer.
        elif isinstance(error, asyncio.CancelledError):
            if self.responding or not self.answers_cancellation:
                raise error
            # This is how Daphne says that it stops; an answer sent now still gets out.
            await self.send_error(ServerStopping())
        elif isinstance(error, Exception):
            scope = self.scope
            logger.error(
                "Cannot answer %s %s",
                scope["method"],
                scope["path"][:MAX_SHOWN_PATH],
                exc_info=error,
            )
            if not self.responding:
                await self.send_error(PushError("The server failed; its log says why."))
        else:
            raise error

    def find_hub(self) -> Hub:
        """Return the hub of the location's store."""
        return hubs.get(self.location.store, self.scope.get("server"))

    def build_answer(self, status: int, headers: Headers, body: bytes = b"") -> Answer:
        """Return an answer with the headers that every answer here has."""
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
        if error.closes and self.can_send_connection_close():
            headers.append(CLOSE)
        if error.closes and self.more_body:
            await self.read_what_flows()
        answer = self.build_answer(error.status, headers, body)
        try:
            if error.closes and self.more_body:
                await self.send_and_linger(answer)
            else:
                await self.send_answer(answer)
        except (OSError, RuntimeError) as failure:
            if not is_disconnect(failure):
                raise

    def can_send_connection_close(self) -> bool:
        """Return whether an answer may say that the connection ends with it.

        HTTP/2 has no such header, and a server that was asked to close adds its own.
        """
        asked = self.headers.get(b"connection", b"").lower()
        return self.scope["http_version"].startswith("1") and asked != b"close"

    async def send_and_linger(self, answer: Answer) -> None:
        """Send an answer, and end it a moment later, as the connection ends with it."""
        self.responding = True
        start, body = answer
        await self.base_send(start)
        await self.base_send({**body, "more_body": True})
        await self.linger()
        await self.base_send({"type": body["type"], "body": b""})

    async def send_answer(self, answer: Answer) -> None:
        """Send an answer."""
        self.responding = True
        start, body = answer
        await self.base_send(start)
        await self.base_send(body)

    async def options(self) -> Answer:
        """Answer which methods there are."""
        await self.discard_body()
        return self.build_answer(204, [(b"allow", ", ".join(self.methods).encode())])
