"""A connection to a push server, which is kept alive."""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from urllib.request import Request

from .deadline import Deadline
from .sockets import TimedSocket, open_socket

#: The most bytes that are read of an answer. Channel info is shorter.
MAX_ANSWER = 65_536


class ServerConnection:
    """A connection to a push server.

    Args:
        scheme: ``http`` or ``https``.
        host: The host, with or without a port.

    Raises ``HTTPException`` if the host is invalid.
    """

    def __init__(self, scheme: str, host: str) -> None:
        kind = HTTPSConnection if scheme == "https" else HTTPConnection
        self._http = kind(host)
        self._socket: TimedSocket | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent on it."""
        return self._http.sock is not None

    @property
    def has_sent(self) -> bool:
        """Whether a part of the request may have been sent."""
        return self._socket is not None and self._socket.has_sent

    def connect(self, deadline: Deadline) -> None:
        """Connect if it is not connected, and set the deadline of all operations."""
        if self._socket is not None:
            self._socket.start(deadline)
            return
        host, port = self._http.host, self._http.port
        connection = open_socket(host, port, deadline)
        if isinstance(self._http, HTTPSConnection):
            try:
                context = ssl.create_default_context()
                connection.settimeout(deadline.left())
                connection = context.wrap_socket(connection, server_hostname=host)
            except BaseException:
                connection.close()
                raise
        # It has the methods of a socket that http.client uses.
        self._socket = self._http.sock = TimedSocket(connection, deadline)

    def send(self, request: Request) -> None:
        """Send a request."""
        self._http.request(
            request.get_method(),
            request.selector,
            body=request.data,
            headers={**request.unredirected_hdrs, **request.headers},
        )

    def receive(self) -> tuple[HTTPResponse, bytes]:
        """Return the response and (the beginning of) its body."""
        with self._http.getresponse() as response:
            body = response.read(MAX_ANSWER)
        is_whole = len(body) < MAX_ANSWER
        if is_whole and response.length:
            raise IncompleteRead(body, response.length)
        if response.will_close or not is_whole:
            self.close()
        return response, body

    def is_quiet(self) -> bool:
        """Return whether it is open: a closed one has an end to read."""
        return self._socket is not None and self._socket.is_quiet()

    def close(self) -> None:
        """Close it."""
        self._http.close()
        if self._socket is not None:
            # http.client drops the socket if the server announces to close it.
            self._socket.close()
