"""HTTP requests to the public URL."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from time import monotonic
from urllib.parse import urlsplit

NO_ANSWER = "no answer in time"
CLOSED = "the connection was closed"
NO_CONNECTION = "no connection in time"

#: The most bytes of an answer that are read; no push server sends more.
MAX_ANSWER = 32 * 1024 * 1024


@dataclass(frozen=True)
class Response:
    """The response to a request, or the reason why there is none.

    Attributes:
        status: The status, 0 if there is no response.
        headers: The headers.
        body: The body, decompressed if a proxy compressed it.
        error: Why there is no response.
        seconds: Seconds from sending the request to the end of the response.
    """

    status: int
    headers: Message
    body: bytes
    error: str
    seconds: float

    def __str__(self) -> str:
        return str(self.status) if self.status else self.error

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def all(self, header: str) -> list[str]:
        """Return the values of a header, one for each line."""
        return [str(value) for value in self.headers.get_all(header, [])]


class SentRequest:
    """A request that is sent when it is created, and whose response is read later.

    Args:
        url: The URL.
        method: The method.
        headers: The headers.
        body: The body.
        patience: Seconds to wait for a connection, and then for the whole response.
        source: The local address to connect from, None for any.

    Attributes:
        local_address: The local address of the connection, None if there is none.
        started: When the request was sent, on the monotonic clock.
    """

    def __init__(
        self,
        url: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        patience: float,
        source: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(
            parts.hostname or "",
            parts.port,
            timeout=patience,
            source_address=None if source is None else (source, 0),
        )
        self._patience = patience
        self._error = ""
        self._socket: socket.socket | None = None
        self.local_address: str | None = None
        self.started = monotonic()
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection.connect()
        except (OSError, HTTPException) as error:
            self.fail(error)
            if isinstance(error, TimeoutError):
                self._error = NO_CONNECTION  # Not NO_ANSWER: the request was not sent.
            return
        # The connection forgets its socket once it has an answer without a length.
        self._socket = self._connection.sock
        try:
            self.local_address = self._socket.getsockname()[0]
            self.started = monotonic()
            self._connection.request(method, path, body, headers or {})
        except (OSError, HTTPException) as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Set the reason why there is no response, from the error of a request."""
        if isinstance(error, TimeoutError):
            self._error = NO_ANSWER
        elif isinstance(error, ConnectionError | HTTPException):
            self._error = CLOSED
        else:
            self._error = str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            self._error = "nobody listens there"

    @contextmanager
    def limit_reading_time(self, limit: float) -> Iterator[None]:
        """Raise ``TimeoutError`` if reading in the block takes too long in all.

        Args:
            limit: Seconds. The connection is shut down after them.
        """
        connected = self._socket
        assert connected is not None, "There is a connection, or an error before."
        connected.settimeout(limit)
        is_late = False

        def hang_up() -> None:
            nonlocal is_late
            is_late = True
            with suppress(OSError):  # The connection may be closed already.
                # Not the shutdown() of a TLS socket, which would break the pending
                # read.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

        timer = Timer(limit, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, HTTPException) as error:
            raise (TimeoutError() if is_late else error) from None
        finally:
            timer.cancel()
        if is_late:
            raise TimeoutError

    def response(self) -> Response:
        """Wait for the response, and close the connection."""
        status, headers, body = 0, Message(), b""
        if not self._error:
            try:
                with self.limit_reading_time(self._patience):
                    response = self._connection.getresponse()
                    body = _read(response)
                status, headers = response.status, response.headers
            except (OSError, HTTPException) as error:
                self.fail(error)
        seconds = monotonic() - self.started
        self._connection.close()
        return Response(status, headers, body, self._error, seconds)


def _read(response: HTTPResponse) -> bytes:
    """Return the whole body; raise ``HTTPException`` if it is too long or cut."""
    body = response.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise HTTPException("too long")
    if response.length:
        raise HTTPException("cut")
    if response.headers["Content-Encoding"] == "gzip":
        with suppress(OSError, EOFError):  # If it is not gzip, it stays as it is.
            return gzip.decompress(body)
    return body


def source_addresses() -> list[str]:
    """Return addresses of this machine other than 127.0.0.1."""
    addresses = ["127.0.0.2"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent; the system only chooses the address that it would use.
            probe.connect(("192.0.2.1", 9))
            addresses.insert(0, probe.getsockname()[0])
        except OSError:
            pass
    return addresses
