"""The body of a request: read, or read past, but never without end."""

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

#: Bytes of a body that are read though nobody wants them, so that the connection can
#: go on. As long as a message may be where nothing else is set: who is refused shall be
#: told why.
MAX_IGNORED_BODY = 1_048_576

#: Seconds that such a body may take.
IGNORED_BODY_TIMEOUT = 30.0

#: Bytes and seconds for which a connection that ends with the answer is read on. A
#: client that is still sending would otherwise be reset before it has read the answer.
MAX_LINGER = 8_388_608
LINGER_TIMEOUT = 1.0

#: Seconds without a part of a body after which its client is taken to wait.
PAUSE = 0.05


#: What a ``Content-Length`` promises that cannot be read: no body is so long.
INVALID_LENGTH = -1


def parse_content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the bytes that ``Content-Length`` promises, None without one."""
    value = headers.get(b"content-length")
    if value is None:
        return None
    value = value.strip(b" \t")
    if not value.isdigit():  # (int() would also take +5 and 1_000.)
        return INVALID_LENGTH
    # (And it refuses thousands of digits. No body has as many bytes in any case.)
    return int(value) if len(value) <= 18 else sys.maxsize


def check_body(size: int, headers: Mapping[bytes, bytes]) -> None:
    """Raise :class:`BadRequest` unless the body is the one that the headers promise.

    uvicorn with httptools hands on an empty body where a request asks for an upgrade,
    as Java's HttpClient does for HTTP/2. In chunks it has no length to compare with, so
    of an empty one it cannot be known whether it was.

    Args:
        size: Bytes that arrived.
        headers: The request's.
    """
    declared = parse_content_length(headers)
    encoding = headers.get(b"transfer-encoding")
    if size == declared or (declared is None and encoding is None):
        return
    if declared == INVALID_LENGTH:
        raise InvalidContentLength(headers[b"content-length"].decode("latin-1"))
    if encoding is not None and encoding.strip(b" \t").lower() != b"chunked":
        # Some servers undo the chunks and leave the rest.
        raise UnknownEncoding(encoding.decode("latin-1"))
    if not size and b"upgrade" in headers:
        raise LostBody(size, declared)
    if declared is not None:
        raise IncompleteBody(size, declared)


class BodyConsumer(AsyncHttpConsumer):
    """Reads the body of one request.

    Attributes:
        receive: Returns the next event of the request.
        headers: The request's, by name.
        more_body: Whether the body has not been read to its end.
    """

    receive: Receive
    headers: dict[bytes, bytes]
    more_body = True

    def may_have_body(self) -> bool:
        """Return whether the headers speak of a body (RFC 9112, section 6)."""
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    async def read_body(self, max_size: int) -> bytes:
        """Return the body.

        Args:
            max_size: Bytes, 0 for no limit.

        Raises :class:`MessageTooLarge` once it is sure to be,
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
        """Read the body to its end, keeping nothing.

        Otherwise it would be taken for the connection's next request.

        Raises :class:`BodyTooLarge`, :class:`RequestTimeout`, :class:`IncompleteBody`,
        or as :func:`check_body` does.
        """
        if self.scope["method"] == "GET" and not self.may_have_body():
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
        """Return how many bytes of a body are read though nobody wants them."""
        return MAX_IGNORED_BODY

    async def read_what_flows(self) -> None:
        """Read on while the client is sending, which is answered when it has done so.

        granian closes a connection as soon as the answer is complete, and a client
        that only sends would not read it. Who waits to be told to go on is not.
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
        """Read on for a moment, so that a client that still sends gets its answer."""
        with suppress(asyncio.TimeoutError, IncompleteBody):
            await asyncio.wait_for(self._skip_body(MAX_LINGER), LINGER_TIMEOUT)

    async def _skip_body(self, limit: float) -> int:
        """Read until the body ends or has more bytes than a limit; return how many."""
        size = 0
        while self.more_body and size <= limit:
            size += len(self.read_part(await self.receive(), size))
        return size

    def read_part(self, message: ASGIMessage, size: int) -> bytes:
        """Return a part of the body, and note whether more follows.

        Args:
            message: The event that holds it.
            size: Bytes that have arrived before.

        Raises :class:`IncompleteBody` if the client breaks off: it may only have ended
        what it sends, and be waiting for an answer.
        """
        if message["type"] == "http.disconnect":
            self.more_body = False
            raise IncompleteBody(size, parse_content_length(self.headers))
        self.more_body = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body
