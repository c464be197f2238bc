"""Read or discard the body of a request, within limits of size and time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import inf

from channels.generic.http import AsyncHttpConsumer

from pushserver_channels.exceptions import (
    BodyTooLarge,
    IncompleteBody,
    InvalidContentLength,
    LostBody,
    MessageTooLarge,
    RequestTimeout,
    UnknownEncoding,
)
from pushserver_channels.types import ASGIMessage, Receive

#: The most bytes of a body that is read and discarded, so that the connection can be
#: used again. It is the default of max_message_size, so that a refused publisher gets
#: an answer.
MAX_IGNORED_BODY = 1_048_576

#: The same for a request to a subscriber location, which has no use for a body.
MAX_SUBSCRIBER_BODY = 1024

#: Seconds within which such a body must arrive.
IGNORED_BODY_TIMEOUT = 30.0

#: The most bytes that are read, and the most seconds, before a connection is closed. If
#: it were closed at once, TCP could reset it before a client that is still sending has
#: read the answer.
MAX_LINGER = 8_388_608
LINGER_TIMEOUT = 1.0

#: Seconds without a part of a body after which :meth:`read_until_pause` stops reading.
PAUSE = 0.05


#: Stands for a ``Content-Length`` that is not a number; no body has this length.
INVALID_LENGTH = -1


def parse_content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the bytes that ``Content-Length`` declares, None without the header."""
    value = headers.get(b"content-length")
    if value is None:
        return None
    value = value.strip(b" \t")
    if not value.isdigit():  # int() would also accept +5 and 1_000.
        return INVALID_LENGTH
    # int() refuses thousands of digits. No body has that many bytes anyway.
    return int(value) if len(value) <= 18 else sys.maxsize


def check_body(size: int, headers: Mapping[bytes, bytes]) -> None:
    """Raise :class:`BadRequest` unless the body is as long as its headers declare.

    uvicorn with httptools drops the body of a request that asks for an upgrade, as
    Java's HttpClient does for HTTP/2. A chunked body declares no length, so if it is
    empty and there is an ``Upgrade`` header, :class:`LostBody` is raised.

    Args:
        size: The bytes that arrived.
        headers: The headers of the request, by name.
    """
    declared = parse_content_length(headers)
    encoding = headers.get(b"transfer-encoding")
    if size == declared or (declared is None and encoding is None):
        return
    if declared == INVALID_LENGTH:
        raise InvalidContentLength(headers[b"content-length"].decode("latin-1"))
    if encoding is not None and encoding.strip(b" \t").lower() != b"chunked":
        # Some servers decode chunked, and leave other encodings in the body.
        raise UnknownEncoding(encoding.decode("latin-1"))
    if not size and b"upgrade" in headers:
        raise LostBody(size, declared)
    if declared is not None:
        raise IncompleteBody(size, declared)


class BodyConsumer(AsyncHttpConsumer):
    """Reads the body of one request.

    Attributes:
        receive: Returns the next ASGI message of the request.
        headers: The headers of the request, by name.
        more_body: Whether the body has not been read to its end.
    """

    receive: Receive
    headers: dict[bytes, bytes]
    more_body = True

    def may_have_body(self) -> bool:
        """Return whether the headers announce a body (RFC 9112, section 6)."""
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    async def read_body(self, max_size: int) -> bytes:
        """Return the body.

        Args:
            max_size: The most bytes, 0 for no limit.

        Raises :class:`MessageTooLarge` as soon as the body is known to be longer,
        :class:`IncompleteBody`, or as :func:`check_body` does.
        """
        declared = parse_content_length(self.headers)
        limit = max_size or inf
        if declared is not None and declared > limit:
            raise MessageTooLarge(max_size)
        body = self.read_part(await self.receive(), 0)
        if self.more_body:
            parts, size = [body], len(body)
            while self.more_body and size <= limit:
                part = self.read_part(await self.receive(), size)
                parts.append(part)
                size += len(part)
            body = b"".join(parts)
        size = len(body)
        if size > limit:
            raise MessageTooLarge(max_size)
        if size != declared:
            check_body(size, self.headers)
        return body

    async def discard_body(self) -> None:
        """Read the body to its end and discard it, if that was not done before.

        Otherwise it would be read as the connection's next request.

        Raises :class:`BodyTooLarge`, :class:`RequestTimeout`, :class:`IncompleteBody`,
        or as :func:`check_body` does.
        """
        if self.scope["method"] == "GET" and not self.may_have_body():
            return
        if not self.more_body:
            return
        limit = self.max_ignored_body()
        declared = parse_content_length(self.headers)
        if declared is not None and declared > limit:
            raise BodyTooLarge(limit)
        try:
            size = await asyncio.wait_for(self._skip_body(limit), IGNORED_BODY_TIMEOUT)
        except asyncio.TimeoutError:
            raise RequestTimeout(IGNORED_BODY_TIMEOUT) from None
        if size > limit:
            raise BodyTooLarge(limit)
        check_body(size, self.headers)

    def max_ignored_body(self) -> int:
        """Return the most bytes of a body that is read and discarded."""
        return MAX_IGNORED_BODY

    async def read_until_pause(self) -> None:
        """Read until the client stops sending, before the answer is sent.

        granian closes a connection as soon as the answer is complete, and a client that
        is still sending would not read it. A client with ``Expect`` has not sent its
        body yet, so there is nothing to read.
        """
        if b"expect" in self.headers:
            return
        loop = asyncio.get_running_loop()
        deadline, size = loop.time() + LINGER_TIMEOUT, 0
        with suppress(asyncio.TimeoutError, IncompleteBody):
            while self.more_body and size <= MAX_LINGER and loop.time() < deadline:
                message = await asyncio.wait_for(self.receive(), PAUSE)
                size += len(self.read_part(message, size))

    async def linger(self) -> None:
        """Read for :data:`LINGER_TIMEOUT` seconds before the connection is closed."""
        with suppress(asyncio.TimeoutError, IncompleteBody):
            await asyncio.wait_for(self._skip_body(MAX_LINGER), LINGER_TIMEOUT)

    async def _skip_body(self, limit: float) -> int:
        """Read until the body ends or exceeds a limit; return the bytes read."""
        size = 0
        while self.more_body and size <= limit:
            size += len(self.read_part(await self.receive(), size))
        return size

    def read_part(self, message: ASGIMessage, size: int) -> bytes:
        """Return a part of the body, and note whether more follows.

        Args:
            message: The ASGI message that holds the part.
            size: The bytes that arrived before.

        Raises :class:`IncompleteBody` if the client stops sending. It may still be
        reading, and wait for an answer.
        """
        if message["type"] == "http.disconnect":
            self.more_body = False
            raise IncompleteBody(size, parse_content_length(self.headers))
        self.more_body = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body
