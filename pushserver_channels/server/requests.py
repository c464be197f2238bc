"""The requests of ``runpushserver``."""

from __future__ import annotations

from inspect import signature
from typing import Any
from urllib.parse import unquote

from daphne.http_protocol import WebRequest
from twisted.web.http import Request as TwistedRequest

from pushserver_channels.exceptions import MessageTooLarge
from pushserver_channels.types import ASGIMessage, Scope

#: The header by which an answer closes the connection.
CLOSE = (b"connection", b"close")

#: Without this option Twisted parses the forms in bodies of POST requests, in vain:
#: applications parse the bodies themselves. Older versions do not have the option.
REQUEST_OPTIONS = {"parsePOSTFormSubmission": False}
if not REQUEST_OPTIONS.keys() <= signature(TwistedRequest).parameters.keys():
    REQUEST_OPTIONS = {}


class Request(WebRequest):
    """A request whose body has a limit and is not parsed, answered in one write.

    Attributes:
        too_large: The error for a body longer than its ``max_size``, None if there is
            no limit.
    """

    too_large: MessageTooLarge | None = None
    _received = 0
    _counted = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, **REQUEST_OPTIONS)

    def scope(self, method: bytes, uri: bytes) -> Scope:
        """Return the part of the ASGI scope that is needed to route the request."""
        raw_path = uri.partition(b"?")[0]
        roots = self.requestHeaders.getRawHeaders(b"daphne-root-path")
        root_path = unquote(roots[-1].decode("latin-1")) if roots else None
        return {
            "type": "http",
            "method": method.decode("latin-1"),
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "root_path": self.server.root_path if root_path is None else root_path,
        }

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        if length is None and self.too_large is not None:
            # Without a length, Twisted would buffer the body in a file.
            length = self.too_large.max_size
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        if self.too_large is not None and self._received > self.too_large.max_size:
            raise self.too_large
        super().handleContentChunk(data)

    def count_new_bytes(self) -> int:
        """Return the bytes of the body that have arrived since the last call."""
        new, self._counted = self._received - self._counted, self._received
        return new

    def refuse(self, error: MessageTooLarge) -> None:
        """Answer with an error before the body has arrived; close the connection."""
        client = self.client
        if hasattr(client, "host") and hasattr(client, "port"):
            self.client_addr = [str(client.host), client.port]  # For the access log.
        body = f"{error}\n".encode()
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ]
        self.responseHeaders.removeHeader(b"Connection")
        self.handle_reply(
            {
                "type": "http.response.start",
                "status": error.status,
                "headers": headers,
            }
        )
        self.handle_reply({"type": "http.response.body", "body": body})

    def handle_reply(self, message: ASGIMessage) -> None:
        channel = None if self.finished else self.channel
        if channel is None:
            return  # The client has disconnected.
        if message.get("status", 200) >= 400 and CLOSE in message["headers"]:
            channel.persistent = False  # Twisted only checks the request.
        try:
            super().handle_reply(message)
            channel.flush()
        except TypeError:
            # The body is not bytes, so the answer would never end.
            channel.loseConnection()
            raise
