"""Requests to a store from any process, whose failures are one exception.

They are what Python calls of a site need besides publishing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import ClassVar

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.conf import StoreSettings, get_settings
from pushserver.event_loops import find_running_loop
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted

from .exceptions import PushError
from .hub import hubs
from .store_descriptions import describe_store
from .store_work import Result, StoreWork

#: Seconds in which the store must answer if ``publisher_timeout`` is 0.
TIMEOUT = 10.0


class StoreRequest(StoreWork[Result]):
    """A request to a store.

    Args:
        name: The name of the store in ``PUSH_SERVER``.
        settings: The settings of the store that is used: this one or one beside it.
        key: As of :class:`StoreWork`.

    Attributes:
        error: What is raised if the store is not reached.
        coroutine: What to call on the event loop of the push server instead.
    """

    error: ClassVar[type[Exception]]
    coroutine: ClassVar[str]

    def __init__(self, name: str, settings: StoreSettings, key: Hashable) -> None:
        super().__init__(settings, key)
        self.name = name

    def send_sync(self) -> Result:
        """Send the request from sync code, and return the answer.

        Raises :attr:`error`, and ``SynchronousOnlyOperation`` on the event loop of the
        push server.
        """
        loop = self._find_loop()
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself:"
                f" {self.coroutine} there."
            )
        with self._converting_errors():
            return self.run_sync(loop, self.make_deadline())

    async def send(self) -> Result:
        """Send the request, on any event loop, and return the answer."""
        loop = self._find_loop()
        with self._converting_errors():
            return await self.run(loop, self.make_deadline())

    def make_deadline(self) -> Deadline:
        """Return when the store must have answered."""
        return Deadline(get_settings().publisher_timeout or TIMEOUT)

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, None to ask a shared store."""
        loop = hubs.loop
        if loop is None and not self.settings.shared:
            raise self.error(
                f"The store {self.name!r} is in the memory of the push server, which"
                " does not run in this process. Several processes need a shared store,"
                " such as Redis."
            )
        return loop

    @contextmanager
    def _converting_errors(self) -> Iterator[None]:
        """Convert the exceptions of a ``with`` block to :attr:`error`."""
        try:
            yield
        except (
            PushError,
            NotStarted,
            NoConnectionFree,
            TimeoutError,
            asyncio.TimeoutError,
            futures.TimeoutError,
            futures.CancelledError,
        ) as error:
            place = describe_store(get_settings().store[self.name])
            reason = str(error) or "no answer in time"
            raise self.error(f"{place}: {reason}") from error
