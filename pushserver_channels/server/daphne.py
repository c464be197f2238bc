"""The Daphne of ``runpushserver``, set for thousands of held requests.

The server is Daphne's and what reads HTTP is Twisted's. These small subclasses leave
out what they do for each request that a held one does not need, and bound what one
client can take of the server; else a client sees no change. What each of them gains
stands in docs/performance.rst; a test for each tells when a new Daphne or Twisted
changes beneath it.

Importing this installs Twisted's reactor, as importing Daphne's server does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.defer import Deferred

from pushserver_channels.shutdown import wait_for_end
from pushserver_channels.types import Scope

from .bodies import FindLimit, find_no_limit
from .connections import Factory
from .inbox import Inbox
from .keepalive import keep_alive

logger = logging.getLogger(__name__)

#: Connections that may wait to be accepted. Thousands of clients come back at once when
#: a message reaches them all; what does not fit waits a second for its next try.
BACKLOG = 4096


class Server(daphne.server.Server):
    """A server that looks after who needs it, and does not go round all who wait.

    Daphne's goes through all requests each second, to forget those that are finished
    and to end the applications that do not; and each other second for their timeouts.

    Args:
        find_limit: Tells how long a body may be.
        options: Those of Daphne's.
    """

    def __init__(
        self, *args: Any, find_limit: FindLimit = find_no_limit, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.find_limit = find_limit

    def run(self) -> None:
        #: Applications whose client has left, oldest first.
        self.disconnected: dict[Any, asyncio.Task[None]] = {}
        self.websockets: set[Any] = set()
        super().run()

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        # Daphne makes its own in the middle of run().
        self._http_factory = Factory(self)

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        keep_alive(port.socket)

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
            self.disconnected[protocol] = application

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
        self.disconnected.pop(protocol, None)
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
        for protocol, application in list(self.disconnected.items()):
            if self.connections[protocol]["disconnected"] > long_ago:
                break
            logger.warning("Cancelled, as its client left long ago: %r", application)
            del self.disconnected[protocol]
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
        end = wait_for_end(applications, self.application_close_timeout)
        return Deferred.fromFuture(asyncio.ensure_future(end))
