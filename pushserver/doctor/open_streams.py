"""Streams from the public URL, read as they come."""

from __future__ import annotations

import os
import socket
import zlib
from abc import abstractmethod
from base64 import b64encode
from contextlib import suppress
from email.message import Message
from http.client import HTTPException, HTTPResponse
from time import monotonic

from .requests import CLOSED, MAX_ANSWER, Response, SentRequest

#: The most bytes of one read.
_READ = 65_536

#: The opcodes of the control frames of WebSockets. Source: RFC 6455, section 5.2.
_CLOSE, _PING, _PONG = 8, 9, 10


class OpenStream(SentRequest):
    """A request for a stream, sent when it is created.

    Args:
        url: The URL.
        headers: The headers, other than those of the transport.
        patience: Seconds to wait for a connection, and then for the head.

    Attributes:
        received: The content of the stream so far.
        ending: Why the stream has ended, empty until then.
    """

    #: The headers that ask for the transport.
    HEADERS: dict[str, str] = {}

    def __init__(self, url: str, headers: dict[str, str], *, patience: float) -> None:
        self.received = b""
        self.ending = ""
        self._answer: HTTPResponse | None = None
        super().__init__(url, "GET", {**headers, **self.HEADERS}, patience=patience)

    def head(self) -> Response:
        """Wait for the head of the response, and return it without a body."""
        status, headers = 0, Message()
        if not self._error:
            try:
                with self.limit_reading_time(self._patience):
                    self._answer = self._connection.getresponse()
                status, headers = self._answer.status, self._answer.headers
            except (OSError, HTTPException) as error:
                self.fail(error)
        seconds = monotonic() - self.started
        return Response(status, headers, b"", self._error, seconds)

    def wait_for(self, content: bytes, count: int, limit: float) -> float | None:
        """Read until the stream has some content, or has ended, or the time is over.

        Args:
            content: The content.
            count: How often it must be there.
            limit: Seconds.

        Returns the seconds that it took, None if it did not come. The stream cannot be
        read after that.
        """
        started = monotonic()
        try:
            with self.limit_reading_time(limit):
                while self.received.count(content) < count:
                    data = self.read()
                    if not data:
                        self.ending = self.ending or CLOSED
                        return None
                    self.received += data
                    if len(self.received) > MAX_ANSWER:
                        raise HTTPException("too long")
        except (OSError, HTTPException) as error:
            self.fail(error)
            self.ending = self._error
            return None
        return monotonic() - started

    @abstractmethod
    def read(self) -> bytes:
        """Return the next part of the content, nothing at the end."""

    def close(self) -> None:
        """Close the connection."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()


class EventStream(OpenStream):
    """A stream of server-sent events."""

    HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}

    def __init__(self, url: str, headers: dict[str, str], *, patience: float) -> None:
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        super().__init__(url, headers, patience=patience)

    def read(self) -> bytes:
        assert self._answer is not None, "The head is read before."
        while data := self._answer.read1(_READ):
            if self._answer.headers["Content-Encoding"] == "gzip":
                try:
                    data = self._inflater.decompress(data)
                except zlib.error as error:
                    raise HTTPException(str(error)) from error
            if data:
                return data
        return b""


class WebSocketStream(OpenStream):
    """A WebSocket, of which only messages of text or bytes are read."""

    HEADERS = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
    }

    def read(self) -> bytes:
        assert self._answer is not None, "The head is read before."
        while True:
            opcode, payload = self._read_frame()
            if opcode == _CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                self.ending = f"the socket was closed with the code {code}"
                return b""
            if opcode == _PING:
                self._send_pong(payload)
            elif opcode != _PONG and payload:
                return payload

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._read_exactly(2)
        length = second & 127
        if length > 125:
            size = self._read_exactly(2 if length == 126 else 8)
            length = int.from_bytes(size, "big")
        if length > MAX_ANSWER or second & 128:
            raise HTTPException("not a frame of a server")
        return first & 15, self._read_exactly(length)

    def _read_exactly(self, size: int) -> bytes:
        assert self._answer is not None
        data: bytes = self._answer.fp.read(size)
        if len(data) < size:
            raise HTTPException("cut")
        return data

    def _send_pong(self, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        head = bytes((128 | _PONG, 128 | len(payload)))
        assert isinstance(self._socket, socket.socket)
        self._socket.sendall(head + mask + masked)
