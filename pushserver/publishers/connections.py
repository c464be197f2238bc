"""Connections that are kept for the next publish, bounded in number."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from .deadline import Deadline

#: Connections that are in use at once, for each way to publish. Publishers beyond wait
#: for one of them.
MAX_CONNECTIONS = 32


class NoConnectionFree(TimeoutError):
    """All connections were in use until the deadline, so nothing was sent."""


class Connection(Protocol):
    """A connection that can be kept."""

    def is_quiet(self) -> bool:
        """Return whether it is open and has nothing to read."""

    def close(self) -> None:
        """Close it."""


Kept = TypeVar("Kept", bound=Connection)


class Connections(Generic[Kept]):
    """The connections of a process that are in use, and those that are idle.

    Threads and greenlets may share it. A child process begins without any: what it
    wrote into its parent's connections would be mixed with what the parent writes.
    """

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begin anew, without a word to the other ends."""
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        # The last used ones are on the right, each with the time of its last use.
        self._idle: dict[Hashable, deque[tuple[Kept, float]]] = {}

    @contextmanager
    def use(self, deadline: Deadline) -> Iterator[None]:
        """Allow one connection to be used in a ``with`` block.

        Raises :class:`NoConnectionFree` at the deadline.
        """
        free = self._free
        try:
            is_free = free.acquire(timeout=deadline.left())
        except TimeoutError:
            is_free = False
        if not is_free:
            raise NoConnectionFree
        try:
            yield
        finally:
            free.release()

    def take(self, place: Hashable, max_idle: float) -> Kept | None:
        """Return an idle connection that is open, None if there is none.

        Args:
            place: Where it leads.
            max_idle: Seconds after which an idle connection is not used again.
        """
        idle = self._idle.get(place)
        while idle:
            try:
                connection, used_at = idle.pop()
            except IndexError:  # Another thread was faster.
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
        while now - idle[0][1] > max_idle:
            try:
                idle.popleft()[0].close()
            except IndexError:
                break

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop()[0].close()

    def __del__(self) -> None:
        self.close()


_all: weakref.WeakSet[Connections[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for connections in list(_all):
        connections.forget()


if hasattr(os, "register_at_fork"):  # Windows has none.
    os.register_at_fork(after_in_child=_forget_all)
