"""Notify a Django view of subscribers that start and stop waiting.

For each held request the view gets a POST with ``subscribe=1`` at its start and one
with ``unsubscribe=1`` at its end. These are requests inside the process, through all of
Django's middleware, with the subscriber's own headers. They are queued by subscriber,
so that the order for each is kept, and a few run at a time, because each Django request
makes a thread. Only a stopping server waits for them. Source: protocol, "Passthrough".
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from enum import Enum, auto
from typing import Any
from urllib.parse import urlencode

from .counters import counters
from .hub.cursor import Cursor
from .shutdown import call_before_shutdown
from .subrequests import (
    ApplicationExited,
    ClientRequest,
    contain_exits,
    run_application,
)
from .types import Application, Scope

logger = logging.getLogger("pushserver.passthrough")

#: The most requests to views that run at once.
CONCURRENCY = 4

#: Seconds after which the next request is made although a view has not answered.
VIEW_TIMEOUT = 30.0

#: Seconds for which a stopping server waits for views.
STOP_TIMEOUT = 20.0

#: The most queued requests. When there are more, views are not notified of new
#: subscribers. They are still notified when a subscriber leaves of which they were
#: notified before.
MAX_WAITING = 20_000

#: The most bytes of all queued requests. When there are more, the same applies.
MAX_WAITING_SIZE = 32 * 1024 * 1024

#: Seconds between two log lines that say how many subscribers were skipped.
LOG_INTERVAL = 60.0

#: The most requests that may run longer than :data:`VIEW_TIMEOUT`, each in a thread.
#: When there are more, no new request is made.
MAX_OVERDUE = 100

#: Bytes that a queued request takes besides the client's headers.
_OVERHEAD = 512


class _State(Enum):
    """Which notifications of a subscriber are queued or sent."""

    SUBSCRIBE_QUEUED = auto()  # The first notification is queued.
    SUBSCRIBED = auto()  # The first was sent, or is being sent.
    UNSUBSCRIBE_QUEUED = auto()  # The second notification is queued.
    FINISHED = auto()  # Both were sent, or neither will be.


class Subscription:
    """A held request of which a view is notified, as a context manager.

    The object itself is queued twice, for its two notifications, so that both use the
    same copy of the subscriber's request.

    Args:
        dispatcher: Makes the requests.
        path: The path of the view.
        scope: The ASGI scope of the subscriber's request.
        channel_id: The channel.

    Attributes:
        key: The key of the queue, the same for all requests of one subscriber on one
            channel.
        size: The approximate size in bytes.
        state: Which notifications are queued or sent.
    """

    __slots__ = (
        "_channel_id",
        "_client_request",
        "_dispatcher",
        "key",
        "path",
        "size",
        "state",
    )

    def __init__(
        self, dispatcher: Dispatcher, path: str, scope: Scope, channel_id: str
    ) -> None:
        self._dispatcher = dispatcher
        self._channel_id = channel_id
        self._client_request = ClientRequest(scope)
        self.path = path
        self.size = self._client_request.size + len(channel_id) + _OVERHEAD
        # A browser may use another connection next time, but sends the same cookies.
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        subscriber = tuple(cookies) or tuple(scope.get("client") or (id(self),))
        # Two subscribers with the same hash share a queue, which does no harm.
        self.key = hash((channel_id, subscriber))
        self.state = _State.SUBSCRIBE_QUEUED
        dispatcher.subscribe(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *error: object) -> None:
        self.unsubscribe()

    def unsubscribe(self) -> None:
        """Notify the view of the request's end, if it was notified of the start."""
        self._dispatcher.unsubscribe(self)

    def build_form(self) -> bytes:
        """Return the form of the next notification, and mark it as sent."""
        event = "subscribe"
        if self.state is _State.SUBSCRIBE_QUEUED:
            self.state = _State.SUBSCRIBED
        else:
            event, self.state = "unsubscribe", _State.FINISHED
        return urlencode({"channel_id": self._channel_id, event: "1"}).encode()

    def describe(self) -> dict[str, str]:
        """Return the ``extra`` of a log record about it."""
        return {"channel_id": self._channel_id, "reason": "failed"}

    def build_scope(self, body: bytes) -> Scope:
        """Return the ASGI scope of the request that sends a form."""
        return self._client_request.build_scope(self.path, body)


class Dispatcher:
    """Makes the requests to the views of a Django application.

    Args:
        application: The site's ASGI application.

    Attributes:
        waiting: The number of queued requests.
        waiting_size: Their approximate size in bytes.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Future[None] | None = None
        self._clear()

    @property
    def is_idle(self) -> bool:
        """Whether no request to the view is queued or running."""
        return not (self._workers or self._queues or self._ready)

    def _clear(self) -> None:
        """Forget all queued and running requests."""
        # The queues, by key. A queue exists while one of its requests is queued or
        # runs, and is ready while none of them runs.
        self._queues: dict[int, dict[Subscription, None]] = {}
        self._ready: OrderedDict[int, None] = OrderedDict()
        self.waiting = 0
        self.waiting_size = 0
        # References to the tasks, because the event loop keeps only weak ones.
        self._workers: set[asyncio.Task[Any] | None] = set()
        self._requests: set[asyncio.Future[int | None]] = set()
        self._running = 0
        # The number of subscribers skipped since the last log line.
        self._skipped = 0
        self._log_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._is_drained_by_server = False

    def subscribe(self, subscription: Subscription) -> None:
        """Queue the first notification, unless too many requests are queued."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # The requests of an earlier event loop have ended with it.
            self._clear()
            self._loop = loop
            self._is_drained_by_server = call_before_shutdown(self.drain)
            contain_exits(loop)
        if (
            self.waiting >= MAX_WAITING
            or self.waiting_size + subscription.size > MAX_WAITING_SIZE
        ):
            subscription.state = _State.FINISHED
            self._skip(subscription.path)
            return
        self._enqueue(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Queue the second notification, if the first was sent.

        If the first is still queued, remove it and send neither.
        """
        if subscription.state is _State.SUBSCRIBED:
            subscription.state = _State.UNSUBSCRIBE_QUEUED
            self._enqueue(subscription)
        elif subscription.state is _State.SUBSCRIBE_QUEUED:
            subscription.state = _State.FINISHED
            self._withdraw(subscription)

    def _enqueue(self, subscription: Subscription) -> None:
        """Queue a notification, and start a worker if there are too few."""
        self.waiting += 1
        self.waiting_size += subscription.size
        self._idle.clear()
        queue = self._queues.get(subscription.key)
        if queue is not None:
            queue[subscription] = None
            return
        self._queues[subscription.key] = {subscription: None}
        self._ready[subscription.key] = None
        if len(self._workers) < CONCURRENCY:
            # In a context of its own, because this one belongs to a subscriber's
            # request.
            loop = asyncio.get_running_loop()
            worker = Context().run(loop.create_task, self._work())
            self._workers.add(worker)

    def _withdraw(self, subscription: Subscription) -> None:
        """Remove a notification from its queue."""
        queue = self._queues.get(subscription.key, {})
        if subscription not in queue:
            return  # It was queued on an earlier event loop.
        self._dequeue(queue, subscription)
        if not queue and subscription.key in self._ready:
            del self._ready[subscription.key], self._queues[subscription.key]
        self._check_idle()

    def _dequeue(
        self, queue: dict[Subscription, None], subscription: Subscription
    ) -> None:
        """Remove a notification from a queue, and from the totals of all queues."""
        del queue[subscription]
        self.waiting -= 1
        self.waiting_size -= subscription.size

    def _check_idle(self) -> None:
        """Set the idle event if no request is queued or running."""
        if not self.waiting and not self._running:
            self._idle.set()

    def _skip(self, path: str) -> None:
        """Count a subscriber that is skipped, and log it from time to time."""
        self._skipped += 1
        counters.limits["passthrough"] += 1
        if self._log_timer is None:
            logger.error(
                "%d passthrough requests (%d bytes) are queued. The view at %s"
                " is slower than subscribers come and go; it is not notified of new"
                " ones until fewer are queued",
                self.waiting,
                self.waiting_size,
                path,
                extra={"reason": "limited"},
            )
            loop = asyncio.get_running_loop()
            self._log_timer = loop.call_later(LOG_INTERVAL, self._log_skipped)

    def _log_skipped(self) -> None:
        """Log how many subscribers were skipped since the last line."""
        self._log_timer = None
        if self._skipped:
            logger.error(
                "No passthrough view was told of %d subscribers, because too many"
                " requests were queued; %d are queued now",
                self._skipped,
                self.waiting,
                extra={"reason": "limited"},
            )
            self._skipped = 0

    async def drain(self) -> None:
        """Wait until all requests were made, at most :data:`STOP_TIMEOUT` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TIMEOUT
        while (self.waiting or self._running) and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._idle.wait(), left)
            except asyncio.TimeoutError:
                break
        if self.waiting or self._running:
            logger.error(
                "The server stops, and %d passthrough requests were not made",
                self.waiting + self._running,
                extra={"reason": "stopping"},
            )
        if self._log_timer is not None:
            self._log_timer.cancel()
            self._log_skipped()

    async def drain_before_exit(self) -> None:
        """Wait until all requests were made, unless Daphne does so itself.

        Called before a held request ends, because the process may exit with the last
        one. All callers share one wait.
        """
        if self._is_drained_by_server:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.ensure_future(self.drain())
        await asyncio.shield(self._draining)

    async def _work(self) -> None:
        """Make the requests of the ready queues, one after the other."""
        try:
            while self._ready:
                await self._deliver_next()
        finally:
            # Without delay: a request queued from now on needs another worker.
            self._workers.discard(asyncio.current_task())

    async def _deliver_next(self) -> None:
        """Make the next request of the first ready queue."""
        key, _ = self._ready.popitem(last=False)
        queue = self._queues[key]
        subscription = next(iter(queue))
        self._dequeue(queue, subscription)
        self._running += 1
        try:
            await self._deliver(subscription)
        finally:
            self._running -= 1
            if queue:
                self._ready[key] = None
            else:
                del self._queues[key]
            self._check_idle()

    async def _deliver(self, subscription: Subscription) -> None:
        """Make a request, in a task that may go on after :data:`VIEW_TIMEOUT`."""
        while len(self._requests) >= MAX_OVERDUE:
            await asyncio.wait(self._requests, return_when=asyncio.FIRST_COMPLETED)
        body = subscription.build_form()
        scope = subscription.build_scope(body)
        request = asyncio.ensure_future(run_application(self._application, scope, body))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        await asyncio.wait([request], timeout=VIEW_TIMEOUT)
        if not request.done():
            # It is not cancelled, because the thread of the view would run on anyway.
            logger.error(
                "The passthrough view at %s takes too long",
                subscription.path,
                extra=subscription.describe(),
            )
        elif request.cancelled():
            logger.error(
                "The passthrough view at %s was cancelled",
                subscription.path,
                extra=subscription.describe(),
            )
        elif error := request.exception():
            reason = f": {error}" if isinstance(error, ApplicationExited) else ""
            logger.error(
                "The passthrough view at %s failed%s",
                subscription.path,
                reason,
                exc_info=error,
                extra=subscription.describe(),
            )
        elif request.result() not in range(200, 300):
            logger.error(
                "The passthrough view at %s answered %s, so no receiver got %s",
                subscription.path,
                request.result(),
                body.decode(),
                extra=subscription.describe(),
            )


class Passthrough:
    """Notifies one view of the held requests of a location.

    Args:
        dispatcher: Makes the requests.
        path: The path of the view.
    """

    def __init__(self, dispatcher: Dispatcher, path: str) -> None:
        self._dispatcher = dispatcher
        self._path = path

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Notify the view of a held request; return a function that reports its end."""
        return self.subscribe(cursor.scope, cursor.channel_id).unsubscribe

    def subscribe(self, scope: Scope, channel_id: str) -> Subscription:
        """Notify the view of a held request, and return the subscription."""
        return Subscription(self._dispatcher, self._path, scope, channel_id)

    async def drain_before_exit(self) -> None:
        """Wait until all requests were made, unless Daphne does so itself."""
        await self._dispatcher.drain_before_exit()
