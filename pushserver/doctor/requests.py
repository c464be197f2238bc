"""Requests as the world makes them, through the public URL."""

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

#: Bytes of the longest answer that is read; whoever sends more is no push server.
MAX_ANSWER = 32 * 1024 * 1024


@dataclass(frozen=True)
class Response:
    """What came back.

    Attributes:
        status: The status, 0 if the connection was closed or failed.
        headers: The headers.
        body: The body, as it was before a proxy compressed it.
        error: Why there is no status.
        seconds: How long it took, from when the request was sent.
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
        """Return the values of a header, one for each line of it."""
        return [str(value) for value in self.headers.get_all(header, [])]


class SentRequest:
    """One request, sent at once and answered later.

    Args:
        url: Where to.
        method: What to do there.
        headers: With what headers.
        body: With what body.
        patience: Seconds to wait for a connection, and then for the whole answer.
        source: The address of this machine to come from, None for any.
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
        self.local_address: str | None = None
        self._started = monotonic()
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection.connect()
        except (OSError, HTTPException) as error:
            self._fail(error)
            if isinstance(error, TimeoutError):
                self._error = NO_CONNECTION  # Nobody has taken the request to hold it.
            return
        try:
            self.local_address = self._connection.sock.getsockname()[0]
            self._started = monotonic()
            self._connection.request(method, path, body, headers or {})
        except (OSError, HTTPException) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            self._error = NO_ANSWER
        elif isinstance(error, ConnectionError | HTTPException):
            self._error = CLOSED
        else:
            self._error = str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            self._error = "nobody listens there"

    @contextmanager
    def _hanging_up_in_time(self) -> Iterator[None]:
        """End what is read meanwhile when time is up, however often a byte comes.

        The connection's own timeout is for each of them.
        """
        connected = self._connection.sock
        is_late = False

        def hang_up() -> None:
            nonlocal is_late
            is_late = True
            with suppress(OSError):  # It has been closed.
                # That of TLS would forget what is still being read.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

        timer = Timer(self._patience, hang_up)
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
        """Wait for the answer and hang up."""
        status, headers, body = 0, Message(), b""
        if not self._error:
            try:
                with self._hanging_up_in_time():
                    response = self._connection.getresponse()
                    body = _read(response)
                status, headers = response.status, response.headers
            except (OSError, HTTPException) as error:
                self._fail(error)
        seconds = monotonic() - self._started
        self._connection.close()
        return Response(status, headers, body, self._error, seconds)


def _read(response: HTTPResponse) -> bytes:
    """Return the whole body, no longer than anybody needs it."""
    body = response.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise HTTPException("too long")
    if response.length:
        raise HTTPException("cut")
    if response.headers["Content-Encoding"] == "gzip":
        with suppress(OSError, EOFError):  # What is not what it says stays as it is.
            return gzip.decompress(body)
    return body


def source_addresses() -> list[str]:
    """Return addresses of this machine that are not the usual one of loopback."""
    addresses = ["127.0.0.2"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent; it makes the system choose the address it would use.
            probe.connect(("192.0.2.1", 9))
            addresses.insert(0, probe.getsockname()[0])
        except OSError:
            pass
    return addresses
