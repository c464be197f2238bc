"""The listening sockets of this process, whichever server opened them."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

#: Seconds between two checks whether the server still listens.
CHECK_INTERVAL = 0.5


def find_listeners() -> Iterator[tuple[int, str]]:
    """Yield each listening file descriptor of this process, and its address."""
    try:
        descriptors = os.listdir("/dev/fd")
    except OSError:
        return  # Windows has no /dev/fd.
    for each in descriptors:
        address = read_address(int(each))
        if address is not None:
            yield int(each), address


def read_address(descriptor: int) -> str | None:
    """Return the address at which a file descriptor listens, None if it does not."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        listener = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        name = listener.getsockname()
    except OSError:
        return None
    finally:
        listener.detach()  # The descriptor stays open.
    if isinstance(name, tuple):
        host, port, *_ = name
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(name) or None


class ListenerWatch:
    """Detects that the server has closed all sockets on which it accepted requests.

    A server that ends by itself, as uvicorn and gunicorn do after ``--max-requests``,
    gets no signal. It closes its listening sockets, and waits for the held requests.

    Args:
        stop: A coroutine function that is called once, when all sockets are closed.
    """

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stop = stop
        self._watched: dict[int, str] = {}  # Addresses by descriptors.
        self._timer: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Future[None] | None = None

    def add(self, address: Sequence[Any]) -> None:
        """Watch the sockets of an address, on the running event loop.

        Args:
            address: The host and the port of a request's server, or the path of a unix
                socket and None.
        """
        name, port = address
        for descriptor, listening in find_listeners():
            if listening == name if port is None else listening.endswith(f":{port}"):
                self._watched[descriptor] = listening
        if self._watched and self._timer is None:
            self._wait(asyncio.get_running_loop())

    def forget(self) -> None:
        """Stop watching."""
        self._watched = {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(CHECK_INTERVAL, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        if any(read_address(each) == name for each, name in self._watched.items()):
            self._wait(loop)
        else:
            self.forget()
            self._stopping = asyncio.ensure_future(self._stop())
