"""The connection behind an ASGI ``send``: the size of its write buffer, and its end.

ASGI does not give access to them. If ``send`` waits for the client, as it does in
uvicorn and granian, the size of the buffer is not needed. Daphne's own ``send`` never
waits, so the buffer of Twisted's transport is read. A connection whose client does not
read is aborted, because a server that stops would wait for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from functools import partial
from types import CoroutineType
from typing import Any

from .shutdown import find_reactor
from .types import Send


class ClientConnection:
    """The connection to one client. This class is for servers that are not known.

    Attributes:
        is_twisted: Whether the server is Daphne.
        never_waits: Whether ``send`` returns at once even if the client does not read.
        max_message: The most bytes of a message on a WebSocket, None for no limit.
    """

    is_twisted = False
    never_waits = False
    max_message: int | None = None

    def count_unsent(self) -> int | None:
        """Return the number of bytes in the write buffer, None if it is unknown."""
        return None

    def abort(self) -> bool:
        """Abort the connection and drop its buffer; return False if impossible."""
        return False

    def close(self) -> bool:
        """Close the connection once all is sent; return False if impossible."""
        return False

    def close_after_answer(self) -> None:
        """Close the connection after the answer, if the answer alone does not do it."""

    @property
    def is_secure(self) -> bool:
        """Whether the connection is known to use TLS."""
        return False


class AsyncioConnection(ClientConnection):
    """A connection on an asyncio transport, as of uvicorn."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def count_unsent(self) -> int | None:
        size: int = self._transport.get_write_buffer_size()
        return size

    def abort(self) -> bool:
        self._transport.abort()
        return True

    def close(self) -> bool:
        self._transport.close()
        return True


class TwistedConnection(ClientConnection):
    """A connection of Daphne.

    Args:
        protocol: The request, or the WebSocket protocol.
        never_waits: Whether ``send`` is Daphne's own, which never waits.
    """

    is_twisted = True

    def __init__(self, protocol: Any, never_waits: bool) -> None:
        self._protocol = protocol
        self.never_waits = never_waits
        self.max_message = getattr(protocol, "maxMessagePayloadSize", None) or None

    @property
    def _transport(self) -> Any:
        channel = getattr(self._protocol, "channel", self._protocol)
        return getattr(channel, "transport", None)

    def count_unsent(self) -> int | None:
        transport = self._transport
        try:
            buffered: int = len(transport.dataBuffer) - transport.offset
            return buffered + int(transport._tempDataLen)
        except AttributeError:  # Such as a TLS transport.
            return None

    def abort(self) -> bool:
        transport = self._transport
        if transport is None:
            return False
        transport.abortConnection()
        return True

    def close(self) -> bool:
        transport = self._transport
        if transport is None:
            return False
        transport.loseConnection()
        return True

    def close_after_answer(self) -> None:
        channel: Any = getattr(self._protocol, "channel", None)
        if hasattr(channel, "persistent"):
            channel.persistent = False

    @property
    def is_secure(self) -> bool:
        return bool(getattr(self._transport, "TLS", False)) or hasattr(
            self._transport, "getPeerCertificate"
        )


def find_connection(send: Send) -> ClientConnection:
    """Return the connection behind a ``send``."""
    if isinstance(send, partial) and send.func.__name__ == "handle_reply":
        server = getattr(send.func, "__self__", None)
        waits = getattr(server, "waits_for_clients", False)
        return TwistedConnection(send.args[0], not waits)
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if hasattr(transport, "get_write_buffer_size"):
        return AsyncioConnection(transport)
    connection = ClientConnection()
    # Middleware of the site wraps the server's own ``send``.
    connection.is_twisted = connection.never_waits = find_reactor() is not None
    return connection


class PendingSend:
    """A ``send`` that was started without a task and now waits; await it to finish it.

    Args:
        steps: The iterator of the coroutine.
        waits_for: The future that it yielded.
    """

    def __init__(self, steps: Any, waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
        except BaseException:
            self.close()
            raise
        yield from self._steps

    def close(self) -> None:
        """Close the coroutine without finishing it."""
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()


def start_send(sending: Awaitable[None]) -> PendingSend | None:
    """Run a ``send`` until it waits; return the pending send, None if it has ended.

    Most end without waiting, so they need no task. Exceptions of ``send`` are raised.
    """
    if type(sending) is CoroutineType:  # As of most servers, and fast.
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return None
        return PendingSend(sending.__await__(), waits_for)
    steps: Any = sending if hasattr(sending, "send") else sending.__await__()
    try:
        waits_for = steps.send(None) if hasattr(steps, "send") else next(steps)
    except StopIteration:
        return None
    return PendingSend(
        steps if hasattr(steps, "__next__") else steps.__await__(), waits_for
    )
