"""A limited number of connections, which are kept open for the next publish."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from .deadline import Deadline

#: The most connections of one publisher that are in use at once. When all are in use,
#: the next publish waits for one of them.
MAX_CONNECTIONS = 32


class NoConnectionFree(TimeoutError):
    """All connections were in use until the deadline, so nothing was sent."""


class ReusableConnection(Protocol):
    """A connection that can be kept open for the next publish."""

    def is_quiet(self) -> bool:
        """Return whether it is open and nothing can be read from it."""

    def close(self) -> None:
        """Close it."""


Kept = TypeVar("Kept", bound=ReusableConnection)


class Connections(Generic[Kept]):
    """The connections of a process that are in use, and those that are idle.

    Threads and greenlets may share it. A forked child starts without connections,
    because data that it writes to its parent's would be mixed with the parent's data.
    """

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Forget all connections without closing them."""
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        # By place: each connection with the time of its last use, the latest last.
        self._idle: dict[Hashable, deque[tuple[Kept, float]]] = {}

    def use(self, deadline: Deadline) -> AbstractContextManager[int]:
        """Allow one connection to be used in a ``with`` block.

        Raises :class:`NoConnectionFree` at the deadline.
        """
        return self.use_several(deadline, 1)

    @contextmanager
    def use_several(self, deadline: Deadline, most: int) -> Iterator[int]:
        """Allow connections to be used in a ``with`` block; provide their number.

        It waits for one, and takes more of those that are free. Raises
        :class:`NoConnectionFree` at the deadline.
        """
        free = self._free
        try:
            is_free = free.acquire(timeout=deadline.left())
        except TimeoutError:
            is_free = False
        if not is_free:
            raise NoConnectionFree
        number = 1
        while number < most and free.acquire(blocking=False):
            number += 1
        try:
            yield number
        finally:
            free.release(number)

    def take(self, place: Hashable, max_idle: float) -> Kept | None:
        """Return an idle connection that is open, None if there is none.

        Args:
            place: The server to which it is connected.
            max_idle: Seconds after which an idle connection is not used again.
        """
        idle = self._idle.get(place)
        while idle:
            try:
                connection, used_at = idle.pop()
            except IndexError:  # Another thread took the last one.
                break
            if monotonic() - used_at < max_idle and connection.is_quiet():
                return connection
            connection.close()
        return None

    def keep(self, place: Hashable, connection: Kept, max_idle: float) -> None:
        """Keep a connection for the next publish, and close those idle for too long."""
        now = monotonic()
        idle = self._idle.setdefault(place, deque())
        idle.append((connection, now))
        with suppress(IndexError):  # Another thread may take the last one.
            while now - idle[0][1] > max_idle:
                idle.popleft()[0].close()

    def close(self) -> None:
        """Close all idle connections."""
        for idle in list(self._idle.values()):
            with suppress(IndexError):  # Another thread may take the last one.
                while idle:
                    idle.pop()[0].close()

    def __del__(self) -> None:
        self.close()


_all: weakref.WeakSet[Connections[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for connections in list(_all):
        connections.forget()


if hasattr(os, "register_at_fork"):  # Windows has no fork().
    os.register_at_fork(after_in_child=_forget_all)
