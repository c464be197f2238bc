"""Sockets whose operations all end at one deadline.

The timeout of a socket applies to each operation, so a server that sends single bytes
could block a publisher for ever.
"""

from __future__ import annotations

import io
import select
import socket
from typing import Any

from .deadline import Deadline
from .resolver import resolve


def open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a TCP connection to the first address of a host that accepts it.

    The addresses share the time that is left. Raises ``OSError``, at the deadline
    ``TimeoutError``.
    """
    addresses = resolve(host, port, deadline)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        limit = deadline.left(len(addresses) - number)
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # For example IPv6 on a system without it.
            failure = error
            continue
        try:
            connection.settimeout(limit)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
    assert failure is not None, "resolve() returns at least one address."
    raise failure


class TimedSocket:
    """A connected socket with one deadline for all operations.

    It has the methods of a socket that http.client and redis-py use.

    Args:
        connection: The socket, with TLS or without.
        deadline: The deadline of the first exchange.

    Attributes:
        deadline: The deadline. :meth:`start` replaces it.
        has_sent: Whether sending has begun in this exchange.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._socket = connection
        self.start(deadline)

    def start(self, deadline: Deadline) -> None:
        """Start an exchange, with a deadline of its own."""
        self.deadline = deadline
        self.has_sent = False

    def sendall(self, data: bytes) -> None:
        """Send all data, or raise ``OSError``; at the deadline ``TimeoutError``."""
        rest = memoryview(data)
        while rest:
            self._set_timeout()
            self.has_sent = True
            rest = rest[self._socket.send(rest) :]

    def recv(self, size: int) -> bytes:
        """Return received data, at most ``size`` bytes; empty at the end."""
        self._set_timeout()
        return self._socket.recv(size)

    def recv_into(self, buffer: Any) -> int:
        """Read received data into a buffer, and return its size in bytes."""
        self._set_timeout()
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file of the received data, which keeps the socket open, too."""
        return io.BufferedReader(_TimedFile(self, self._socket.makefile("rb", 0)))

    def is_quiet(self) -> bool:
        """Return False if there is data, or the end of the connection, to read."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)
        return not select.select([self._socket], [], [], 0)[0]

    def settimeout(self, timeout: float | None) -> None:
        """Do nothing, because the deadline applies."""

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()

    def _set_timeout(self) -> None:
        self._socket.settimeout(self.deadline.left())


class _TimedFile(io.RawIOBase):
    """A raw file of received data, which is read before the deadline."""

    def __init__(self, timed: TimedSocket, file: socket.SocketIO) -> None:
        self._timed = timed
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._timed._set_timeout()
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
