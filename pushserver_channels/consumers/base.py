"""What all locations share: one request, told from top to bottom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import ClassVar

from channels.generic.http import AsyncHttpConsumer

from pushserver.conf import Location
from pushserver_channels.exceptions import (
    ClientDisconnected,
    InvalidChannelId,
    MessageTooLarge,
    MethodNotAllowed,
    PushError,
    ServerStopping,
)
from pushserver_channels.hubs import Hub, hubs
from pushserver_channels.protocol import Headers, build_retry_after, fold_headers
from pushserver_channels.types import Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

Handler = Callable[[], Awaitable[None]]

TEXT = (b"content-type", b"text/plain; charset=utf-8")
#: Browsers would keep a 404 or a 410 for a while.
NO_CACHE = (b"cache-control", b"no-cache")


def read_part(message: Message) -> tuple[bytes, bool]:
    """Return a part of a body, and whether more follows."""
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


class PushConsumer(AsyncHttpConsumer):
    """Answers one request to a location.

    The stock consumer reads nothing while it handles a request, so that it never hears
    that a client left, and hops to a thread for database connections, of which there
    are none here. This one keeps ``receive`` and tells the request in one coroutine.

    Args:
        location: The location, from ``PUSH_SERVER['locations']``.
        server_headers: The ``Server`` header, if it is not the server's own.
        channel_id: The channel id in the URL.
    """

    #: No client has a channel of its own on the layer: the hub knows who waits.
    channel_layer_alias = None

    #: Whether an answer is on its way, after which there can be no other.
    responding = False

    #: Whether a request that the server cancels is told to come back. It is not where
    #: it may have done its work.
    told_to_come_back: ClassVar[bool] = False

    #: The methods of the location, and the names of what handles them.
    methods: ClassVar[dict[str, str]] = {}

    def __init__(
        self, location: Location, server_headers: Headers, channel_id: str
    ) -> None:
        # (Channels' own __init__ makes a list for the body, which is read otherwise.)
        self.location = location
        self.server_headers = server_headers
        self.channel_id = channel_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.base_send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            await self.find_handler()()
        except PushError as error:
            await self.send_error(error)
        except ClientDisconnected:
            pass  # Nobody is left to answer.
        except asyncio.CancelledError:
            if self.responding or not self.told_to_come_back:
                raise
            # This is how Daphne says that it stops; an answer sent now still gets out.
            await self.send_error(ServerStopping())
        except Exception:
            logger.exception("Cannot answer %s %s", scope["method"], scope["path"])
            if not self.responding:
                await self.send_error(PushError("The server failed; its log says why."))

    def find_handler(self) -> Handler:
        """Return what answers the request."""
        try:
            if len(self.headers) != len(self.scope["headers"]):
                self.headers = fold_headers(self.scope["headers"])
            self.check_client()
            method = self.check_method()
            self.check_channel_id()
        except PushError as error:
            return partial(self.refuse, error)
        handler: Handler = getattr(self, self.methods[method])
        return handler

    async def refuse(self, error: PushError) -> None:
        """Raise an error, with the request's body read.

        Otherwise the body would be taken for the connection's next request.
        """
        await self.discard_body()
        raise error

    def check_client(self) -> None:
        """Raise :class:`PushError` if the client may not ask here at all."""

    def check_method(self) -> str:
        """Return the method, or raise :class:`MethodNotAllowed`."""
        method: str = self.scope["method"]
        if method not in self.methods:
            raise MethodNotAllowed(method, ", ".join(self.methods))
        return method

    def check_channel_id(self) -> None:
        """Raise :class:`InvalidChannelId` if the channel id cannot be one."""
        channel_id, limit = self.channel_id, self.location.max_channel_id_length
        if not channel_id:
            raise InvalidChannelId("The URL has no channel id.")
        if 0 < limit < len(channel_id):
            raise InvalidChannelId(f"A channel id has at most {limit} characters here.")
        try:
            channel_id.encode()
        except UnicodeEncodeError:
            raise InvalidChannelId("The channel id in the URL is not UTF-8.") from None

    @property
    def hub(self) -> Hub:
        """The hub of the location's store."""
        return hubs.get(self.location.store)

    def common_headers(self) -> Headers:
        """Return the headers of every answer to this request."""
        return self.server_headers

    async def read_body(self, max_size: int) -> bytes:
        """Return the body, or raise :class:`MessageTooLarge` once it is sure to be.

        Args:
            max_size: Bytes, 0 for no limit.
        """
        limit = max_size or inf
        declared = self.headers.get(b"content-length", b"0")
        # (int() refuses thousands of digits, which are too many bytes in any case.)
        if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
            raise MessageTooLarge(max_size)
        parts, size, more = [], 0, True
        while more:
            part, more = read_part(await self.receive())
            parts.append(part)
            size += len(part)
            if size > limit:
                raise MessageTooLarge(max_size)
        return b"".join(parts)

    async def discard_body(self) -> None:
        """Read the body to its end, keeping nothing."""
        more = self.scope["method"] != "GET" or self.may_have_body()
        while more:
            _, more = read_part(await self.receive())

    def may_have_body(self) -> bool:
        """Return whether the headers speak of a body (RFC 9112, section 6)."""
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer."""
        headers = [*headers, *self.common_headers()]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        self.responding = True
        try:
            await self.base_send(start)
            await self.base_send({"type": "http.response.body", "body": body})
        except OSError:  # ASGI's word for a client that left.
            raise ClientDisconnected from None

    async def send_error(self, error: PushError) -> None:
        """Answer with the status of an error and its sentence."""
        body = f"{error}\n".encode(errors="replace")
        headers: Headers = [TEXT, (b"content-length", b"%d" % len(body)), NO_CACHE]
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", error.allowed.encode()))
        if error.retry_after:
            headers.append(build_retry_after())
        with suppress(ClientDisconnected):
            await self.respond(error.status, headers, body)

    async def options(self) -> None:
        """Answer which methods there are."""
        await self.discard_body()
        await self.respond(204, [(b"allow", ", ".join(self.methods).encode())])
