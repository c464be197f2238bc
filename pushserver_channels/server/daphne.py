"""The server of ``runpushserver``: Daphne, tuned for thousands of held requests.

These small subclasses of Daphne's and Twisted's classes leave out work that a held
request does not need, and limit what one client can use. Clients see no other change.
docs/explanation/performance.rst has the gain of each measure, and a test for each fails
if a new Daphne or Twisted no longer fits.

Importing this module installs Twisted's reactor, as importing Daphne's server does.
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
from pushserver_channels.types import ASGIMessage, Scope

from .bodies import FindLimit, find_no_limit
from .connections import Factory, find_connection
from .inbox import Inbox
from .keepalive import keep_alive

logger = logging.getLogger("pushserver.server")

#: The most connections that wait to be accepted. After a message to all, thousands of
#: clients come back at once; a connection beyond the limit is tried again a second
#: later.
BACKLOG = 4096


class Server(daphne.server.Server):
    """A Daphne server that does not iterate over all held requests.

    Daphne's own checks all requests every second for finished and abandoned ones, and
    every two seconds for timeouts.

    Args:
        find_limit: Returns the limit of a request's body.
        args: The arguments of Daphne's server.
        options: The keyword arguments of Daphne's server.
    """

    #: Its ``send`` waits for clients: see :meth:`handle_reply`.
    waits_for_clients = True

    def __init__(
        self, *args: Any, find_limit: FindLimit = find_no_limit, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.find_limit = find_limit

    def run(self) -> None:
        #: The applications whose client has disconnected, the oldest first.
        self.disconnected: dict[Any, asyncio.Task[None]] = {}
        self.websockets: set[Any] = set()
        super().run()

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        # Daphne assigns its own factory in run(); this one replaces it.
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
            return None  # The client has disconnected already.
        inbox = Inbox()
        scope.setdefault("asgi", {"version": "3.0"})
        send = partial(self.handle_reply, protocol)
        application = asyncio.get_running_loop().create_task(
            self.application(scope=scope, receive=inbox.get, send=send)
        )
        self.connections[protocol]["application_instance"] = application
        application.add_done_callback(partial(self.application_done, protocol))
        return inbox

    async def handle_reply(self, protocol: Any, message: ASGIMessage) -> None:
        """Send a message of an application, and wait for a client that reads slowly.

        Only while more is to follow: the end of an answer needs no wait.
        """
        await super().handle_reply(protocol, message)
        if message.get("more_body") or message["type"] == "websocket.send":
            connection = find_connection(protocol)
            if connection is not None and connection.is_full:
                await connection.wait_until_drained()

    def application_done(self, protocol: Any, application: asyncio.Task[None]) -> None:
        """Forget an application that has ended, and its request if that has ended."""
        details = self.connections[protocol]
        del details["application_instance"]
        self.disconnected.pop(protocol, None)
        has_left = "disconnected" in details
        if has_left:
            del self.connections[protocol]
        error = None if application.cancelled() else application.exception()
        if error is None:
            return
        logger.error(
            "Exception inside application: %s",
            error,
            exc_info=error,
            extra={"reason": "failed"},
        )
        if not has_left:
            try:
                protocol.handle_exception(error)
            except ValueError:
                # The answer has started. Closing the connection marks it as incomplete.
                protocol.loseConnection()

    def application_checker(self) -> None:
        """Cancel the applications whose client disconnected long ago."""
        long_ago = time.time() - self.application_close_timeout
        for protocol, application in list(self.disconnected.items()):
            if self.connections[protocol]["disconnected"] > long_ago:
                break
            logger.warning(
                "Cancelled, because its client disconnected long ago: %r",
                application,
                extra={"reason": "client"},
            )
            del self.disconnected[protocol]
            application.cancel()
        asyncio.get_running_loop().call_later(1, self.application_checker)

    def timeout_checker(self) -> None:
        """Check the timeouts of WebSockets; HTTP requests have none here."""
        for protocol in list(self.websockets):
            protocol.check_timeouts()
        asyncio.get_running_loop().call_later(2, self.timeout_checker)

    def kill_all_applications(self) -> Deferred[None]:
        """Cancel all applications, and wait until they have ended.

        Daphne's own fails and cancels none if a client has sent half a request, and it
        stops waiting when the first application has ended.
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
