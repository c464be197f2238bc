"""The base class of the consumers: the handling of a request, from start to end."""

from __future__ import annotations

import asyncio
import logging
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pushserver.conf import (
    Location,
    MetricsLocation,
    PushServerSettings,
    SubscriberLocation,
)
from pushserver_channels.access import Guard
from pushserver_channels.exceptions import (
    ClientDisconnected,
    InvalidChannelId,
    MethodNotAllowed,
    PushError,
    ServerStopping,
    Unauthorized,
    find_reason,
)
from pushserver_channels.health import Health
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Hub, Observer, hubs
from pushserver_channels.log_details import describe_request
from pushserver_channels.metrics.sharing import SnapshotSharing
from pushserver_channels.presence import LocationPresence
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

logger = logging.getLogger("pushserver.server")

ChooseHeaders = Callable[[bytes | None], Headers]
#: The two ASGI messages of an answer: its start and its body.
Answer = tuple[ASGIMessage, ASGIMessage]

TEXT = (b"content-type", b"text/plain; charset=utf-8")
#: Without this, browsers may cache a 404 or a 410 for a while.
NO_CACHE = (b"cache-control", b"no-cache")
CLOSE = (b"connection", b"close")
#: What a 401 asks for, without a token and with a bad one. Source: RFC 6750, section 3.
_CHALLENGES = (
    (b"www-authenticate", b"Bearer"),
    (b"www-authenticate", b'Bearer error="invalid_token"'),
)

#: Characters of a path that a log line or an error repeats.
MAX_SHOWN_PATH = 512

#: Makes a consumer of a location, given a channel id, or a tuple of several, and why
#: they cannot be that.
MakeConsumer = Callable[[Any, str | None], "Handler"]


@dataclass(frozen=True)
class Site:
    """What the consumers of all locations share.

    Attributes:
        settings: The settings in ``PUSH_SERVER``.
        headers: The headers of every answer.
        observe: Returns the observers of a subscriber location.
        find_guard: Returns what decides who may listen at a location, None if everybody
            may.
        limits: Counts what the subscribers of all locations hold.
        health: Finds out whether this process is able to serve.
        share: Returns what shows and reads metrics, for a metrics location.
        find_presence: Returns what notes who is on the channels of a location, None if
            it has no presence.
    """

    settings: PushServerSettings
    headers: Headers
    observe: Callable[[SubscriberLocation], Sequence[Observer]]
    find_guard: Callable[[SubscriberLocation], Guard | None]
    limits: HeldLimits
    health: Health
    share: Callable[[MetricsLocation], SnapshotSharing]
    find_presence: Callable[[SubscriberLocation], LocationPresence | None]

    def find_observers(self, location: SubscriberLocation) -> Sequence[Observer]:
        """Return the observers of a location.

        They include the one that ends expired rights, and the one of presence.
        """
        guard, presence = self.find_guard(location), self.find_presence(location)
        observers = list(self.observe(location))
        if guard is not None:
            observers.append(guard.leases)
        if presence is not None:
            observers.append(presence)
        return tuple(observers)


#: What servers say of a connection that is closed already.
_CLOSED = re.compile("the handler is closed|on a closed protocol")


def is_disconnect(error: BaseException) -> bool:
    """Return whether an error of ``send`` means that the client has disconnected.

    By ASGI it is an ``OSError``. uvloop, under uvicorn, raises a ``RuntimeError``, and
    so does autobahn, under Daphne, for a WebSocket that is being closed.
    """
    return isinstance(error, OSError) or (
        isinstance(error, RuntimeError) and _CLOSED.search(str(error)) is not None
    )


class Handler(Protocol):
    """Answers one request, in the steps of :func:`answer_request`."""

    responding: bool

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the request."""

    def answer(self) -> Awaitable[Answer | None]:
        """Return an awaitable of the answer, or of None for :meth:`answer_held`."""

    async def answer_held(self) -> Answer | None:
        """Return the answer to a held request, None if it was sent already."""

    async def fail(self, error: BaseException) -> None:
        """Handle an exception that was raised in another step."""

    def release(self) -> None:
        """Release what the request has held. Called last, however it ended."""


class Finder(Protocol):
    """An application that finds the handler of each request."""

    def find(self, scope: Scope) -> Handler:
        """Return the handler of a request."""


async def answer_request(
    self: Finder, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request, from start to end.

    This is the ``__call__`` of consumers and of the applications around them. If one
    awaited another, each held request would need one more coroutine, and a delivery to
    it would take about 4 % longer.
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
    finally:
        handler.release()


class PushConsumer(BodyConsumer):
    """Answers one request to a location.

    Channels' own consumer does not call ``receive`` while it handles a request, so it
    does not notice that a client disconnects; and it switches to a thread to close
    database connections, which are not used here. This one handles the whole request in
    one coroutine.

    Attributes:
        location: The location, from ``PUSH_SERVER['locations']``.
        channel_id: The channel id in the URL.
        fault: Why the channel id is invalid, None if it is valid.
        choose_headers: Returns the headers of every answer, given the request's
            ``Origin``.
        common_headers: The headers of every answer to this request.
        responding: Whether an answer has been started, so that no other can be sent.
    """

    location: Location
    channel_id: str
    fault: str | None
    choose_headers: ChooseHeaders
    common_headers: Headers

    #: Consumers have no channel on the channel layer, because the hub delivers
    #: messages.
    channel_layer_alias = None

    #: Whether a request that the server cancels is answered with 503. False where the
    #: request may already have taken effect.
    answers_cancellation: ClassVar[bool] = False

    #: The HTTP methods of the location, with the names of their handlers.
    methods: ClassVar[dict[str, str]] = {}

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        """Return whether this consumer answers a request to the location.

        The consumers of a location are tried in turn, the polls last.
        """
        return bool(scope["type"] == "http")

    @classmethod
    @abstractmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        """Return a function that makes the consumers of a location.

        Whatever the location's requests share is built here, once.
        """

    __call__ = answer_request

    def find(self, scope: Scope) -> PushConsumer:
        """Return this consumer, which answers the request."""
        return self

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the parts of the request."""
        self.scope = scope
        self.receive = receive
        self.base_send = send
        raw = scope["headers"]
        # If there are too many, they are not read at all.
        self.headers = dict(raw) if len(raw) <= MAX_HEADER_LINES else {}
        self.common_headers = self.build_common_headers()
        self.responding = False

    def answer(self) -> Awaitable[Answer | None]:
        """Check the request; return an awaitable of the answer.

        It gives None if :meth:`answer_held` returns the answer. This is not a coroutine
        function, to save a coroutine around the one in which a request is held.
        """
        scope = self.scope
        raw = scope["headers"]
        try:
            check_headers(self.headers, raw)
            if len(self.headers) != len(raw):
                self.headers = fold_headers(raw)
                self.common_headers = self.build_common_headers()
            self.check_client()
            name = self.methods.get(scope["method"])
            if name is None:
                raise MethodNotAllowed(scope["method"], ", ".join(self.methods))
            if self.fault is not None:
                raise InvalidChannelId(self.fault)
            handler = self.find_handler(name)
        except PushError as error:
            return self.refuse(error)
        return handler()

    def find_handler(self, name: str) -> Callable[[], Awaitable[Answer | None]]:
        """Return the handler of a method, given the name of its function.

        Raises :class:`PushError` if the request is refused before it is handled.
        """
        handler: Callable[[], Awaitable[Answer | None]] = getattr(self, name)
        return handler

    async def answer_held(self) -> Answer | None:
        """Return the answer to a held request, None if it was sent already.

        Called if the handler returned None.
        """
        return None

    def build_common_headers(self) -> Headers:
        """Return the headers of every answer to this request."""
        headers = self.choose_headers(self.headers.get(b"origin"))
        if hubs.draining.is_active and self.can_send_connection_close():
            # A proxy cannot repeat a POST on a connection that ends at this moment.
            headers = [*headers, CLOSE]
        return headers

    def check_client(self) -> None:
        """Raise :class:`PushError` if the client may not use the location."""

    async def refuse(self, error: PushError) -> Answer:
        """Read the request's body unless the connection is closed, then raise an error.

        If the body is invalid, the error about the body is raised instead.
        """
        if not error.closes:
            await self.discard_body()
        raise error

    async def fail(self, error: BaseException) -> None:
        """Answer an exception of the handler, or raise it again if it has no answer."""
        if isinstance(error, PushError):
            await self.send_error(error)
        elif isinstance(error, ClientDisconnected) or (
            self.responding and is_disconnect(error)
        ):
            pass  # There is no client to answer.
        elif isinstance(error, asyncio.CancelledError):
            if self.responding or not self.answers_cancellation:
                raise error
            # Daphne cancels its applications when it stops; it still sends this answer.
            await self.send_error(ServerStopping())
        elif isinstance(error, Exception):
            scope = self.scope
            logger.error(
                "Cannot answer %s %s",
                scope["method"],
                scope["path"][:MAX_SHOWN_PATH],
                exc_info=error,
                extra=self.describe(find_reason(error)),
            )
            if not self.responding:
                await self.send_error(PushError("The server failed; its log says why."))
        else:
            raise error

    def release(self) -> None:
        """Release what the request has held."""

    def describe(self, reason: str) -> dict[str, str]:
        """Return the ``extra`` of a log record about the request."""
        kind = self.location.type
        return describe_request(self.scope, (self.channel_id,), kind, reason)

    def find_hub(self) -> Hub:
        """Return the hub of the location's store."""
        return hubs.get(self.location.store, self.scope.get("server"))

    def build_answer(self, status: int, headers: Headers, body: bytes = b"") -> Answer:
        """Return an answer, with the common headers added."""
        return (
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self.common_headers],
            },
            {"type": "http.response.body", "body": body},
        )

    async def send_error(self, error: PushError) -> None:
        """Answer with the status and the text of an error."""
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
        if isinstance(error, Unauthorized):
            headers.append(_CHALLENGES[error.is_invalid])
        if error.closes:
            headers += await self.begin_close(error)
        answer = self.build_answer(error.status, headers, body)
        try:
            if error.closes and self.more_body:
                await self.send_and_linger(answer)
            else:
                await self.send_answer(answer)
        except (OSError, RuntimeError) as failure:
            if not is_disconnect(failure):
                raise

    async def begin_close(self, error: PushError) -> Headers:
        """Let an error close the connection; return the header that says so."""
        if self.more_body:
            await self.read_until_pause()
        return [CLOSE] if self.can_send_connection_close() else []

    def can_send_connection_close(self) -> bool:
        """Return whether the answer may have ``Connection: close``.

        HTTP/2 has no such header, and a server adds its own if the client sent one.
        """
        asked = self.headers.get(b"connection", b"").lower()
        return self.scope["http_version"].startswith("1") and asked != b"close"

    async def send_and_linger(self, answer: Answer) -> None:
        """Send an answer that closes the connection, and read on before ending it."""
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
        """Answer with the supported methods."""
        await self.discard_body()
        return self.build_answer(204, [(b"allow", ", ".join(self.methods).encode())])
