"""Send requests to push servers, over connections that are kept alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from urllib.request import Request

from .connections import Connections
from .deadline import Deadline
from .http_connection import ServerConnection
from .http_failures import ExchangeFailed
from .idempotency import KEY_HEADER

#: Seconds after which an idle connection is not used again. Not every server recognizes
#: a repeated POST, so it must not be sent while the server closes the connection, as
#: uvicorn does after 5 seconds.
MAX_IDLE = 4.0

#: Seconds before a POST whose connection has ended is sent again, by attempt. A server
#: that is restarted refuses connections for a moment.
REPEAT_DELAYS = (0.0, 0.1, 0.4, 1.0, 1.0)

#: The name of the header of keys, as ``urllib`` keeps it.
KEY = KEY_HEADER.capitalize()

#: A response and (the beginning of) its body.
Answer = tuple[HTTPResponse, bytes]


class Exchanges:
    """Sends requests, and receives the answers.

    Attributes:
        connections: The connections.
    """

    def __init__(self) -> None:
        self.connections: Connections[ServerConnection] = Connections()
        # The servers that recognize a repeated POST, by scheme and host.
        self._recognizing: set[tuple[str, str]] = set()

    def exchange(self, request: Request, deadline: Deadline) -> Answer:
        """Send a request and return the answer.

        If the connection ends before the answer, the request is sent again, on another
        connection, if the server would recognize it. Raises
        :class:`~.base.PublishError`.
        """
        try:
            return self.finish(request, self.start(request, deadline), deadline)
        except ExchangeFailed as failure:
            return self.repeat(request, deadline, failure)

    def start(self, request: Request, deadline: Deadline) -> ServerConnection:
        """Send a request; return the connection on which the answer will come.

        Raises :class:`ExchangeFailed`.
        """
        place = _find_place(request)
        connection = None
        with _closing_after_errors(lambda: connection, deadline):
            connection = self.connections.take(place, MAX_IDLE)
            connection = connection or ServerConnection(*place)
            connection.connect(deadline)
            connection.send(request)
        assert connection is not None, "It was made."
        return connection

    def finish(
        self, request: Request, connection: ServerConnection, deadline: Deadline
    ) -> Answer:
        """Return the answer to a request that was started.

        Raises :class:`ExchangeFailed`.
        """
        with _closing_after_errors(lambda: connection, deadline):
            response, body = connection.receive()
        place = _find_place(request)
        if connection.is_open:
            self.connections.keep(place, connection, MAX_IDLE)
        if request.data is not None and response.status < 300:
            if response.getheader(KEY_HEADER) == request.get_header(KEY):
                self._recognizing.add(place)
            else:
                self._recognizing.discard(place)
        return response, body

    def repeat(
        self, request: Request, deadline: Deadline, failure: ExchangeFailed
    ) -> Answer:
        """Send a request again that has failed, if the server would recognize it.

        Raises :class:`~.base.PublishError`.
        """
        recognized = _find_place(request) in self._recognizing
        if not (recognized or request.data is None) or not failure.has_sent:
            raise failure.convert(request) from failure.error
        # The other idle connections have probably ended as well.
        self.connections.close()
        for delay in REPEAT_DELAYS:
            if deadline.is_over:
                break
            with suppress(TimeoutError):  # The deadline may pass just now.
                time.sleep(min(delay, deadline.left() or delay))
            try:
                return self.finish(request, self.start(request, deadline), deadline)
            except ExchangeFailed as error:
                failure = error
        raise failure.convert(request, was_sent=True) from failure.error


@contextmanager
def _closing_after_errors(
    find: Callable[[], ServerConnection | None], deadline: Deadline
) -> Iterator[None]:
    """Close a connection after an error, and raise :class:`ExchangeFailed`.

    Args:
        find: Returns the connection, None if there is none yet.
        deadline: The deadline of the request.
    """
    try:
        yield
    except (OSError, HTTPException) as error:
        connection = find()
        if connection is not None:
            connection.close()
        has_sent = connection is not None and connection.has_sent
        raise ExchangeFailed(error, deadline, has_sent) from None
    except BaseException:
        # For example a greenlet was killed. The next request on this connection would
        # get the answer to this one.
        connection = find()
        if connection is not None:
            connection.close()
        raise


def _find_place(request: Request) -> tuple[str, str]:
    """Return the scheme and the host of a request."""
    return request.type, request.host
