"""The Daphne of ``runpushserver``, set for thousands of held requests.

The server is Daphne's and what reads HTTP is Twisted's. These small subclasses leave
out what they do for each request that a held one does not need, and change nothing that
a client sees. What each of them gains stands in docs/performance.rst; a test for each
tells when a new Daphne or Twisted changes beneath it.

Importing this installs Twisted's reactor, as importing Daphne's server does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import cached_property, partial
from inspect import signature
from typing import Any

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as TwistedRequest

from pushserver_channels.deadlines import Deadlines
from pushserver_channels.types import Message, Scope

logger = logging.getLogger(__name__)

#: Connections that may wait to be accepted. Thousands of clients come back at once when
#: a message reaches them all; what does not fit waits a second for its next try.
BACKLOG = 4096


class Inbox:
    """What the client of a request does, for its application to receive.

    A tenth of the size of an ``asyncio.Queue``, of which Daphne makes one for each
    request: it is mostly one task that receives, and nobody waits for room.
    """

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: Message) -> None:
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> Message:
        while not self._messages:
            if self._arrival is not None and not self._arrival.done():
                # Another task receives: after it, or in its place if it gives up.
                await asyncio.wait([self._arrival])
                continue
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._messages.pop(0)


#: With this an answer is the connection's last.
CLOSE = (b"connection", b"close")

#: Twisted would read a form in the body, and the Content-Type of each POST to find one,
#: for nobody: applications read their bodies themselves. Older versions always do.
REQUEST_OPTIONS = {"parsePOSTFormSubmission": False}
if not REQUEST_OPTIONS.keys() <= signature(TwistedRequest).parameters.keys():
    REQUEST_OPTIONS = {}


class Request(WebRequest):
    """A request whose body is left alone, and whose answer leaves in one piece."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, **REQUEST_OPTIONS)

    def handle_reply(self, message: Message) -> None:
        channel = None if self.finished else self.channel
        if channel is None:
            return  # The client has left.
        if message.get("status", 200) >= 400 and CLOSE in message["headers"]:
            channel.persistent = False  # Twisted asks the request's headers only.
        try:
            super().handle_reply(message)
            channel.flush()
        except TypeError:
            # A body that is no bytes leaves an answer that never comes to its end.
            channel.loseConnection()
            raise


class Connection(HTTPChannel):
    """A connection that sends at once what a request has written.

    Twisted sends a head and a body when the event loop tells that the client reads, for
    which it has to be asked and told to stop: that takes longer than to send.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._written: list[bytes] = []

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

    def requestDone(self, request: Any) -> None:  # noqa: N802
        # Twisted may answer the next request, or a broken one, before it returns.
        self.flush()
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def flush(self) -> None:
        """Send what was written, behind what the client has not read yet."""
        if not self._written:
            return
        transport: Any = self.transport
        data = b"".join(self._written)
        self._written.clear()
        sent = transport.writeSomeData(data) if is_drained(transport) else 0
        if not isinstance(sent, int):
            sent = 0  # The connection is lost, as Twisted will find out.
        if sent < len(data):
            transport.write(data[sent:])


def is_drained(transport: Any) -> bool:
    """Return whether nothing waits to be sent on a plain TCP connection."""
    return (
        isinstance(transport, tcp.Server)
        and bool(transport.connected)
        and not transport.TLS
        and not transport.dataBuffer
        and not transport._tempDataBuffer
    )


class IdleTimer:
    """The time limit of a connection, where Twisted would have a timer of the reactor.

    Twisted cancels it when a request comes and makes another one when it is answered.
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
    def idle(self) -> Deadlines[IdleTimer]:
        """The time limits of all idle connections."""
        return Deadlines(self.timeOut, lambda timer: timer.expire())

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        connection.callLater = self.call_later
        return connection

    def call_later(self, seconds: float, expire: Callable[[], object]) -> Any:
        """Return a delayed call, one of ours where it is for the idle time limit."""
        if seconds == self.timeOut:
            return IdleTimer(self.idle, expire)
        return asyncio.get_running_loop().call_later(seconds, expire)

    def log(self, request: Any) -> None:
        """Format no line for Twisted's access log, which nobody reads.

        Daphne has one of its own.
        """


class Server(daphne.server.Server):
    """A server that looks after who needs it, and does not go round all who wait.

    Daphne's goes through all requests each second, to forget those that are finished
    and to end the applications that do not; and each other second for their timeouts.
    """

    def run(self) -> None:
        #: Applications whose client has left, oldest first.
        self.left_alone: dict[Any, asyncio.Task[None]] = {}
        self.websockets: set[Any] = set()
        super().run()

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        # Daphne makes its own in the middle of run().
        self._http_factory = Factory(self)

    def protocol_connected(self, protocol: Any) -> None:
        super().protocol_connected(protocol)
        if not isinstance(protocol, WebRequest):
            self.websockets.add(protocol)

    def protocol_disconnected(self, protocol: Any) -> None:
        if protocol not in self.connections:
            return
        super().protocol_disconnected(protocol)
        self.websockets.discard(protocol)
        application = self.connections[protocol].get("application_instance")
        if application is None:
            del self.connections[protocol]
        else:
            self.left_alone[protocol] = application

    def create_application(self, protocol: Any, scope: Scope) -> Inbox | None:
        if protocol not in self.connections:
            return None  # Its client has left already.
        inbox = Inbox()
        scope.setdefault("asgi", {"version": "3.0"})
        send = partial(self.handle_reply, protocol)
        application = asyncio.get_running_loop().create_task(
            self.application(scope=scope, receive=inbox.get, send=send)
        )
        self.connections[protocol]["application_instance"] = application
        application.add_done_callback(partial(self.application_done, protocol))
        return inbox

    def application_done(self, protocol: Any, application: asyncio.Task[None]) -> None:
        """Forget an application at once, and its request if that is finished, too."""
        details = self.connections[protocol]
        del details["application_instance"]
        self.left_alone.pop(protocol, None)
        has_left = "disconnected" in details
        if has_left:
            del self.connections[protocol]
        error = None if application.cancelled() else application.exception()
        if error is None:
            return
        logger.error("Exception inside application: %s", error, exc_info=error)
        if not has_left:
            try:
                protocol.handle_exception(error)
            except ValueError:
                # The answer has begun. Cut off, it is not taken for a whole one.
                protocol.loseConnection()

    def application_checker(self) -> None:
        """End the applications whose client left long ago."""
        long_ago = time.time() - self.application_close_timeout
        for protocol, application in list(self.left_alone.items()):
            if self.connections[protocol]["disconnected"] > long_ago:
                break
            logger.warning("Cancelled, as its client left long ago: %r", application)
            del self.left_alone[protocol]
            application.cancel()
        asyncio.get_running_loop().call_later(1, self.application_checker)

    def timeout_checker(self) -> None:
        """Look after the timeouts of WebSockets; plain requests have none here."""
        for protocol in list(self.websockets):
            protocol.check_timeouts()
        asyncio.get_running_loop().call_later(2, self.timeout_checker)

    def kill_all_applications(self) -> Deferred[None]:
        """Cancel all applications, and wait until they have ended.

        Daphne's fails, and cancels none, where a client has sent half a request; and
        when the first has ended it waits for the others no more.
        """
        applications = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        for application in applications:
            application.cancel()
        return Deferred.fromFuture(asyncio.ensure_future(self.wait_for(applications)))

    async def wait_for(self, applications: list[asyncio.Task[None]]) -> None:
        """Wait until applications have ended, but not for ever."""
        if applications:
            await asyncio.wait(applications, timeout=self.application_close_timeout)
