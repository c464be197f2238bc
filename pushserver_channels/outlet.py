"""What the connection behind an ASGI ``send`` tells: how much of it is not sent yet.

ASGI has no word for that. Where a ``send`` waits for its client, as uvicorn's and
granian's do, nothing has to be known. Daphne's never waits, so it is looked at what
Twisted has not sent yet; and of all a connection can be cut whose client reads nothing,
for which a server that stops would wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any

from .shutdown import find_reactor
from .types import Send


class Outlet:
    """The way of what is sent to one client.

    Attributes:
        is_twisted: Whether it is Daphne's.
        never_waits: Whether ``send`` returns at once, whatever the client reads.
        max_message: Bytes that a WebSocket's message may have, None for any number.
    """

    is_twisted = False
    never_waits = False
    max_message: int | None = None

    def count_unsent(self) -> int | None:
        """Return how many bytes wait to be sent, None if that is not known."""
        return None

    def cut(self) -> bool:
        """End the connection at once; return False if that cannot be done."""
        return False

    def close(self) -> bool:
        """End the connection once all is sent; return False if that cannot be done."""
        return False

    @property
    def is_secure(self) -> bool:
        """Whether the connection is by TLS, as far as is known."""
        return False


class AsyncioOutlet(Outlet):
    """A connection of uvicorn's."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def count_unsent(self) -> int | None:
        size: int = self._transport.get_write_buffer_size()
        return size

    def cut(self) -> bool:
        self._transport.abort()
        return True

    def close(self) -> bool:
        self._transport.close()
        return True


class TwistedOutlet(Outlet):
    """A connection of Daphne's.

    Args:
        protocol: A request, or a WebSocket.
        never_waits: Whether it is Daphne's own ``send``, which never waits.
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
            kept: int = len(transport.dataBuffer) - transport.offset
            return kept + int(transport._tempDataLen)
        except AttributeError:  # As by TLS.
            return None

    def cut(self) -> bool:
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

    @property
    def is_secure(self) -> bool:
        return bool(getattr(self._transport, "TLS", False)) or hasattr(
            self._transport, "getPeerCertificate"
        )


def find_outlet(send: Send) -> Outlet:
    """Return what is known of the connection behind a ``send``."""
    if isinstance(send, partial) and send.func.__name__ == "handle_reply":
        server = getattr(send.func, "__self__", None)
        waits = getattr(server, "waits_for_clients", False)
        return TwistedOutlet(send.args[0], not waits)
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if hasattr(transport, "get_write_buffer_size"):
        return AsyncioOutlet(transport)
    outlet = Outlet()
    # Something of the site's is around it.
    outlet.is_twisted = outlet.never_waits = find_reactor() is not None
    return outlet


class Rest:
    """What is left of a ``send`` that was started by hand and waits.

    Args:
        steps: What it goes on with.
        waits_for: What it waits for, as it has told.
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
        """Give it up."""
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()


def start(sending: Awaitable[None]) -> Rest | None:
    """Start a ``send`` by hand; return None if it has ended, else what is left of it.

    Most end without waiting, and so need no task. Raises what it raises.
    """
    steps: Any = sending if hasattr(sending, "send") else sending.__await__()
    try:
        waits_for = steps.send(None) if hasattr(steps, "send") else next(steps)
    except StopIteration:
        return None
    return Rest(steps if hasattr(steps, "__next__") else steps.__await__(), waits_for)
