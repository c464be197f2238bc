"""Telling a Django view who subscribes and who leaves, without a socket.

A held request is announced by a POST to the view, ``subscribe=1``, and its end by
another one, ``unsubscribe=1``: requests inside the process, through the whole of
Django's middleware, with the subscriber's own headers. They wait in queues, one for
each subscriber, so that its order is kept; a few run at a time, because each Django
request makes a thread. Nobody waits for them but a server that stops. Source: protocol,
"Passthrough".
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

from .hub.cursor import Cursor
from .shutdown import call_before_shutdown
from .subrequests import (
    ApplicationExited,
    ClientRequest,
    contain_exits,
    run_application,
)
from .types import Application, Scope

logger = logging.getLogger(__name__)

#: Requests to views that run at once.
CONCURRENCY = 4

#: Seconds after which a view is not waited for any more.
VIEW_TIMEOUT = 30.0

#: Seconds for which a server that stops waits for views.
STOP_TIMEOUT = 20.0

#: Requests that may wait before the view is not told of new subscribers any more. The
#: end of those it was told of is told in any case.
MAX_WAITING = 20_000

#: Bytes that these requests may take, for the same.
MAX_WAITING_SIZE = 32 * 1024 * 1024

#: Seconds between two lines in the log that tell how many subscribers were left out.
LOG_INTERVAL = 60.0

#: Requests that may outlast :data:`VIEW_TIMEOUT` before no other one is made. Each has
#: a thread.
MAX_OVERDUE = 100

#: Bytes that a request takes while it waits, besides what the client sent.
_OVERHEAD = 512


class _State(Enum):
    """How far a view was told of a subscriber."""

    SUBSCRIBE_QUEUED = auto()  # The subscribe waits.
    SUBSCRIBED = auto()  # The subscribe was told, or is being told.
    UNSUBSCRIBE_QUEUED = auto()  # The unsubscribe waits.
    FINISHED = auto()  # Both were told, or neither will ever be.


class Subscription:
    """A held request, of which a view is told, for the time of a ``with`` block.

    It waits in a queue itself, once for its subscribe and once for its unsubscribe, so
    that the two share what they need of the subscriber's request.

    Args:
        dispatcher: Makes the requests.
        path: The view's.
        scope: The subscriber's.
        channel_id: The channel.

    Attributes:
        key: Of the queue: requests of one subscriber on one channel share it.
        size: Bytes that it takes, about.
        stage: How far the view was told.
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
        # A browser comes back on another connection but with its cookies.
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        who = tuple(cookies) or tuple(scope.get("client") or (id(self),))
        # That two subscribers may have the same hash only makes them share a queue.
        self.key = hash((channel_id, who))
        self.state = _State.SUBSCRIBE_QUEUED
        dispatcher.subscribe(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *error: object) -> None:
        self.unsubscribe()

    def unsubscribe(self) -> None:
        """Tell the view that the request is held no more, if it was told the other."""
        self._dispatcher.unsubscribe(self)

    def build_form(self) -> bytes:
        """Return the form that the view is sent next, and take it for told."""
        event = "subscribe"
        if self.state is _State.SUBSCRIBE_QUEUED:
            self.state = _State.SUBSCRIBED
        else:
            event, self.state = "unsubscribe", _State.FINISHED
        return urlencode({"channel_id": self._channel_id, event: "1"}).encode()

    def build_scope(self, body: bytes) -> Scope:
        """Return the scope of a request with a form."""
        return self._client_request.build_scope(self.path, body)


class Dispatcher:
    """Makes the requests to the views of a Django application.

    Args:
        application: The site's ASGI application.

    Attributes:
        waiting: How many requests wait for their turn.
        waiting_size: Bytes that they take, about.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Future[None] | None = None
        self._clear()

    def _clear(self) -> None:
        """Forget everything that waits or runs."""
        # By the key: who waits, in order. A queue stays as long as one of its requests
        # waits or runs, and is ready if none runs.
        self._queues: dict[int, dict[Subscription, None]] = {}
        self._ready: OrderedDict[int, None] = OrderedDict()
        self.waiting = 0
        self.waiting_size = 0
        # The loop itself keeps no task alive.
        self._workers: set[asyncio.Task[Any] | None] = set()
        self._requests: set[asyncio.Future[int | None]] = set()
        self._running = 0
        # Of so many subscribers a view was not told since the log said so.
        self._skipped = 0
        self._log_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._is_drained_by_server = False

    def subscribe(self, subscription: Subscription) -> None:
        """Tell a view that a request is held, unless too many are waiting already."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # What an earlier loop left behind has ended with it.
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
        """Tell a view that a request is held no more, if it was told of it.

        A subscribe that still waits is taken back, and neither is told.
        """
        if subscription.state is _State.SUBSCRIBED:
            subscription.state = _State.UNSUBSCRIBE_QUEUED
            self._enqueue(subscription)
        elif subscription.state is _State.SUBSCRIBE_QUEUED:
            subscription.state = _State.FINISHED
            self._withdraw(subscription)

    def _enqueue(self, subscription: Subscription) -> None:
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
            # In a context of its own: this one is the first subscriber's.
            loop = asyncio.get_running_loop()
            worker = Context().run(loop.create_task, self._work())
            self._workers.add(worker)

    def _withdraw(self, subscription: Subscription) -> None:
        queue = self._queues.get(subscription.key, {})
        if subscription not in queue:
            return  # An earlier loop left it behind.
        self._dequeue(queue, subscription)
        if not queue and subscription.key in self._ready:
            del self._ready[subscription.key], self._queues[subscription.key]
        self._check_idle()

    def _dequeue(
        self, queue: dict[Subscription, None], subscription: Subscription
    ) -> None:
        del queue[subscription]
        self.waiting -= 1
        self.waiting_size -= subscription.size

    def _check_idle(self) -> None:
        """Note that a request does not wait or run any more."""
        if not self.waiting and not self._running:
            self._idle.set()

    def _skip(self, path: str) -> None:
        """Count a subscriber of whom a view is not told, and log it now and then."""
        self._skipped += 1
        if self._log_timer is None:
            logger.error(
                "%d passthrough requests (%d bytes) wait. The view at %s is slower than"
                " subscribers come and go; it hears of no new ones until fewer wait",
                self.waiting,
                self.waiting_size,
                path,
            )
            loop = asyncio.get_running_loop()
            self._log_timer = loop.call_later(LOG_INTERVAL, self._log_skipped)

    def _log_skipped(self) -> None:
        """Log how many subscribers were left out meanwhile."""
        self._log_timer = None
        if self._skipped:
            logger.error(
                "No passthrough view was told of %d subscribers, because too many"
                " requests were waiting; %d wait now",
                self._skipped,
                self.waiting,
            )
            self._skipped = 0

    async def drain(self) -> None:
        """Wait until the views were told of everything, but not for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TIMEOUT
        while (self.waiting or self._running) and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._idle.wait(), left)
            except asyncio.TimeoutError:
                break
        if self.waiting or self._running:
            logger.error(
                "The server stops before %d passthrough requests were made",
                self.waiting + self._running,
            )
        if self._log_timer is not None:
            self._log_timer.cancel()
            self._log_skipped()

    async def drain_before_exit(self) -> None:
        """Drain before a request ends with which the process may end.

        Daphne waits by itself; for other servers, all who ask here wait for the same.
        """
        if self._is_drained_by_server:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.ensure_future(self.drain())
        await asyncio.shield(self._draining)

    async def _work(self) -> None:
        try:
            while self._ready:
                await self._deliver_next()
        finally:
            # At once: what is enqueued from now on needs another worker.
            self._workers.discard(asyncio.current_task())

    async def _deliver_next(self) -> None:
        """Make the next request of the queue whose turn it is."""
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
        """Make a request in a task of its own, which may outlast our patience."""
        while len(self._requests) >= MAX_OVERDUE:
            await asyncio.wait(self._requests, return_when=asyncio.FIRST_COMPLETED)
        body = subscription.build_form()
        scope = subscription.build_scope(body)
        request = asyncio.ensure_future(run_application(self._application, scope, body))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        await asyncio.wait([request], timeout=VIEW_TIMEOUT)
        if not request.done():
            # Not cancelled: the thread of the view would run on all the same.
            logger.error("The passthrough view at %s takes too long", subscription.path)
        elif request.cancelled():
            logger.error("The passthrough view at %s was cancelled", subscription.path)
        elif error := request.exception():
            reason = f": {error}" if isinstance(error, ApplicationExited) else ""
            logger.error(
                "The passthrough view at %s failed%s",
                subscription.path,
                reason,
                exc_info=error,
            )
        elif request.result() not in range(200, 300):
            logger.error(
                "The passthrough view at %s answered %s, so nobody heard %s",
                subscription.path,
                request.result(),
                body.decode(),
            )


class Passthrough:
    """Tells one view of the held requests of a location.

    Args:
        dispatcher: Makes the requests.
        path: The view's.
    """

    def __init__(self, dispatcher: Dispatcher, path: str) -> None:
        self._dispatcher = dispatcher
        self._path = path

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Tell the view that a subscriber waits; return what tells it the end."""
        return self.subscribe(cursor.scope, cursor.channel_id).unsubscribe

    def subscribe(self, scope: Scope, channel_id: str) -> Subscription:
        """Tell the view that a request is held, and return what will tell the end."""
        return Subscription(self._dispatcher, self._path, scope, channel_id)

    async def drain_before_exit(self) -> None:
        """Wait until the views were told of everything, if nobody else does."""
        await self._dispatcher.drain_before_exit()
