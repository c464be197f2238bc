"""The HTTP connections of ``runpushserver``, based on Twisted's.

They do less work for a held request, and limit what one client can use: a client that
sends too long a body, or sends it too slowly, or more requests while one is held, or
does not read its answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any

from daphne.http_protocol import HTTPFactory
from twisted.internet import tcp
from twisted.internet.protocol import connectionDone

from pushserver_channels.deadlines import Deadlines
from pushserver_channels.exceptions import (
    BadRequest,
    HeadersTooLarge,
    MessageTooLarge,
    PushError,
    TargetTooLong,
)
from pushserver_channels.protocol import MAX_HEADER_LINES

from .bodies import may_be_too_long
from .requests import Request
from .slow_requests import TimedChannel

#: The most bytes that are buffered behind a request that is not answered yet (HTTP
#: pipelining). Up to this limit the connection is read, so that a disconnect is
#: noticed.
MAX_PIPELINED = 16_384

#: Seconds after which a connection that exceeds this limit is closed. Otherwise a held
#: request might stay long after its client has disconnected.
PIPELINE_TIMEOUT = 5.0

#: The most seconds and bytes for which a connection is read on after a body was
#: refused. Closing it while the client is sending could reset it before the client has
#: read the answer.
LINGER_TIMEOUT = 5.0
LINGER_SIZE = 16 * 2**20


class Connection(TimedChannel):
    """A connection that writes each answer at once, and limits what is buffered.

    Twisted writes when the event loop reports that the socket is writable. To register
    and unregister for that takes longer than the write itself. Twisted also starts the
    next request when the last answer is ready, even if the client has not read it. A
    client that reads nothing could make any number of requests.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._drained: asyncio.Event | None = None
        self._written: list[bytes] = []
        #: The request whose answer the client must read before the next one starts.
        self._unread_request: Any = None
        self._is_blocked = False
        #: The bytes that are still read and discarded after a body was refused; None if
        #: none was refused.
        self._discard_budget: int | None = None

    # Reading

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._discard_budget is not None:
            self._discard_budget -= len(data)
            if self._discard_budget < 0:
                self.abort()
            return
        try:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        except MessageTooLarge as error:
            self.refuse_body(error)
        except ValueError:
            if self._handlingRequest:
                raise
            # Such as a Content-Length of so many digits that int() refuses it.
            self._respondToBadRequestAndDisconnect()
        # Complete lines were removed. Twisted would wait for the CR LF of this one.
        if b"\n" in self._buffer and self.line_mode and not self.paused:
            self.refuse_head(BadRequest("A line of the head ends without CR."))

    def allHeadersReceived(self) -> None:  # noqa: N802
        length = self.length
        if may_be_too_long(self._command, length):
            request = self.requests[-1]
            scope = request.scope(self._command, self._path)
            request.too_large = error = self.factory.server.find_limit(scope)
            if error is not None and (length or 0) > error.max_size:
                raise error
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def refuse_body(self, error: MessageTooLarge) -> None:
        """Answer that a body is too long, and close the connection afterwards."""
        self.discard()
        request = self.requests[-1]
        request.method, request.uri = self._command, self._path
        request.clientproto = self._version
        request.refuse(error)

    def discard(self) -> None:
        """Discard everything that arrives, and close after the next answer."""
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        self.persistent = False
        self._discard_budget = LINGER_SIZE

    # Requests that Twisted cannot parse: it closes the connection, mostly without an
    # answer. These methods override Twisted's.

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        if self._receivedHeaderSize:
            self.refuse_head(HeadersTooLarge(MAX_HEADER_LINES, self.totalHeadersSize))
        else:
            self.refuse_head(TargetTooLong(self.MAX_LENGTH))

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        if (
            self._receivedHeaderSize > self.totalHeadersSize
            or self._receivedHeaderCount > self.maxHeaders
        ):
            self.refuse_head(HeadersTooLarge(MAX_HEADER_LINES, self.totalHeadersSize))
        else:
            self.refuse_head(BadRequest("The request cannot be read as HTTP/1.1."))

    def refuse_head(self, error: PushError) -> None:
        """Answer a request that cannot be parsed, and close the connection."""
        if self._discard_budget is not None:
            return  # It has been answered.
        self.discard()
        body = f"{error}\n".encode()
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        transport: Any = self.transport
        transport.write(head.encode() + body)
        self.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self._handlingRequest:
            super().rawDataReceived(data)
            return
        self._dataBuffer = [b"".join((*self._dataBuffer, data))]
        if len(self._dataBuffer[0]) > MAX_PIPELINED:
            transport: Any = self._networkProducer
            transport.pauseProducing()
            if self._unread_request is None and not self._is_blocked:
                self._is_blocked = True
                self.factory.blocked.add(self)

    # Writing

    def writeHeaders(  # noqa: N802
        self, version: bytes, code: bytes, reason: bytes, headers: Any
    ) -> None:
        self._written += (version, b" ", code, b" ", reason, b"\r\n")
        for name, values in headers.getAllRawHeaders():
            for value in values:
                self._written += (name, b": ", value, b"\r\n")
        self._written.append(b"\r\n")

    def write(self, data: bytes) -> None:
        self._written.append(data)

    def writeSequence(self, iovec: list[bytes]) -> None:  # noqa: N802
        self._written += iovec

    def flush(self) -> None:
        """Send what was written, to the socket at once if nothing else is buffered."""
        if not self._written:
            return
        transport: Any = self.transport
        data = b"".join(self._written)
        self._written.clear()
        sent = transport.writeSomeData(data) if is_drained(transport) else 0
        if not isinstance(sent, int):
            sent = 0  # The connection is lost, which Twisted will notice.
        if sent < len(data):
            transport.write(data[sent:])

    def requestDone(self, request: Any) -> None:  # noqa: N802
        # Twisted may answer the next request before the following call returns.
        self.flush()
        self.unblock()
        if self._waitingForTransport and self.persistent:
            self._unread_request = request
            self.setTimeout(self._savedTimeOut)  # type: ignore[no-untyped-call]
            return
        super().requestDone(request)  # type: ignore[no-untyped-call]

    @property
    def is_full(self) -> bool:
        """Whether the client has still to read what was written."""
        return bool(self._waitingForTransport)

    async def wait_until_drained(self) -> None:
        """Return when the client has read what was written, or has left."""
        if self._drained is None:
            self._drained = asyncio.Event()
        await self._drained.wait()

    def release(self) -> None:
        """End the waits for the client."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def stopProducing(self) -> None:  # noqa: N802
        # Called when the connection is lost, also after it became a WebSocket's.
        self.release()
        super().stopProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:  # noqa: N802
        super().resumeProducing()  # type: ignore[no-untyped-call]
        self.release()
        request, self._unread_request = self._unread_request, None
        if request is not None:
            super().requestDone(request)  # type: ignore[no-untyped-call]

    # Closing

    def loseConnection(self) -> None:  # noqa: N802
        if self._discard_budget is None:
            super().loseConnection()  # type: ignore[no-untyped-call]
            return
        self._networkProducer.unregisterProducer()
        transport: Any = self.transport
        transport.loseWriteConnection()
        self.factory.lingering.add(self)

    def abort(self) -> None:
        """Close the connection at once, without sending what is buffered."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802
        self.unblock()
        self.release()
        if self._discard_budget is not None:
            self.factory.lingering.discard(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def unblock(self) -> None:
        """Stop the time limit for data behind a held request."""
        if self._is_blocked:
            self._is_blocked = False
            self.factory.blocked.discard(self)


def find_connection(protocol: Any) -> Connection | None:
    """Return the connection of a request or a WebSocket, None once it is closed."""
    channel = getattr(protocol, "channel", None)
    if channel is None:
        # A WebSocket has taken over the transport, which still tells the connection.
        channel = getattr(getattr(protocol, "transport", None), "producer", None)
    return channel if isinstance(channel, Connection) else None


def is_drained(transport: Any) -> bool:
    """Return whether this is a plain TCP connection with an empty write buffer."""
    return (
        isinstance(transport, tcp.Server)
        and bool(transport.connected)
        and not transport.TLS
        and not transport.dataBuffer
        and not transport._tempDataBuffer
    )


class IdleTimer:
    """The idle time limit of a connection, without a timer of its own.

    Twisted's own cancels a reactor timer at each request and starts one after it.
    """

    __slots__ = ("_deadlines", "expire")

    def __init__(
        self, deadlines: Deadlines[IdleTimer], expire: Callable[[], object]
    ) -> None:
        self.expire = expire
        self._deadlines = deadlines
        deadlines.add(self)

    def reset(self, seconds: float) -> None:
        self._deadlines.restart(self)

    def cancel(self) -> None:
        self._deadlines.discard(self)


class Factory(HTTPFactory):
    """Makes the connections of a server."""

    protocol = Connection

    @cached_property
    def blocked(self) -> Deadlines[Connection]:
        """The connections with more than MAX_PIPELINED bytes behind a held request."""
        return Deadlines(PIPELINE_TIMEOUT, Connection.abort)

    @cached_property
    def lingering(self) -> Deadlines[Connection]:
        """The connections that are read on because a body was refused."""
        return Deadlines(LINGER_TIMEOUT, Connection.abort)

    @cached_property
    def idle(self) -> Deadlines[IdleTimer]:
        """The time limits of all idle connections."""
        return Deadlines(self.timeOut, lambda timer: timer.expire())

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        connection.callLater = self.call_later
        return connection

    def call_later(self, seconds: float, expire: Callable[[], object]) -> Any:
        """Return a delayed call; for the idle time limit it is an IdleTimer."""
        if seconds == self.timeOut:
            return IdleTimer(self.idle, expire)
        return asyncio.get_running_loop().call_later(seconds, expire)

    def log(self, request: Any) -> None:
        """Do nothing: Twisted's access log is not used. Daphne has its own."""
