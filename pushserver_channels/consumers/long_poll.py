"""Long polling: requests that are held until there is a message.

A held request is its consumer and a future, nothing more, because every further object
costs time for each message to each client. So the consumer is also the cursor. Two
optimizations are used here and nowhere else:

* For the first :data:`WATCH_AFTER` seconds a disconnect of the client is not noticed.
  The request waits for a future. On a busy channel most are answered in that time.
* After that the request waits in ``receive()``, which returns when the client
  disconnects. Ending the wait cancels that call. A second task that watches the client
  would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import Awaitable, Iterable
from functools import partial

from pushserver.conf import Location, PublisherLocation, SubscriberLocation
from pushserver_channels.cancellation import uncancel
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import ClientDisconnected, PushError
from pushserver_channels.hub import Cursor, Heard, Hub
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.positions import BEGINNING
from pushserver_channels.protocol import parse_message_id

from .base import Answer, MakeConsumer, Site
from .positions import find_start_position
from .subscriber import SubscriberConsumer

#: Seconds after which a held request notices that its client disconnects.
WATCH_AFTER = 1.0

#: Seconds for which a request is held if ``timeout`` is 0. Without a limit, a client
#: that vanished without closing its connection might never be noticed, for example
#: behind a proxy. A client that is there asks again.
LONGEST_WAIT = 3600.0

#: Replaces the headers of a held request. Its answer does not need them, and they take
#: memory and time of the garbage collector.
NO_HEADERS: dict[bytes, bytes] = {}

# Looked up once, because access to the members of an Enum is slow.
_NOT_MINE, _LEAVES = Heard.NOT_MINE, Heard.TAKEN_AND_LEAVES


class LongPollConsumer(SubscriberConsumer, Cursor):
    """Holds the request until there is a message.

    It enters the hub, then asks the store, then waits. So a message published after the
    store was asked is delivered by the hub, and none is lost.

    Attributes:
        hub: Delivers the messages. Set when the cursor enters the hub.
        outcome: What ended the wait: a message, an error, or None if the time was up.
        ended: Whether the wait has ended.
        queried_after: The id after which the store is being asked for a message, None
            if it is not being asked.
        deferred: The first message delivered meanwhile whose id is not higher.
    """

    __slots__ = (
        "_held",
        "_time_limit",
        "_watches",
        "queried_after",
        "ended",
        "hub",
        "outcome",
        "deferred",
    )

    hub: Hub

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        headers = CrossOrigin.of(location, site.headers).headers
        watched = (
            bool(site.observe(location))
            or 0 < location.timeout <= WATCH_AFTER
            or _must_notice_disconnects(site.settings.locations)
        )
        observers = site.find_observers(location)
        guard = site.find_guard(location)
        limits = site.limits
        return partial(cls, location, headers, observers, guard, limits, watched)

    def enter_hub(self, hub: Hub) -> None:
        """Enter the hub, which delivers messages to this cursor from now on."""
        self.hub = hub
        self.task = None
        self.permission = self.find_permission(0)
        self.queried_after: MessageId | None = None
        self.deferred: Message | None = None
        self.outcome: Message | Exception | None = None
        self.ended = False
        self._held: asyncio.Future[None] | None = None
        self._time_limit = hub.deadlines(WATCH_AFTER, LongPollConsumer.watch)
        self._watches = False
        hub.enter(self)

    # The request

    def get(self) -> Awaitable[Answer | None]:
        """Return an awaitable of the answer, or of None once the request is held."""
        if self.may_have_body():
            return self.read_body_and_ask()
        return self.ask()

    async def read_body_and_ask(self) -> Answer | None:
        """Read the request's body, then enter the hub and ask as :meth:`ask` does."""
        await self.discard_body()
        return await self.ask()

    def ask(self) -> Awaitable[Answer | None]:
        """Enter the hub; return an awaitable that asks the store or holds the request.

        Most clients have all messages. If the store knows that without a query, the
        request is held without a coroutine.
        """
        seen = parse_message_id(self.headers)
        if seen is START:
            # It names no message, or not by these headers.
            query = self.scope.get("query_string", b"")
            start = find_start_position(self.headers, query, self.location)
            if isinstance(start, int):
                return self.ask_for_newest(start)
            seen = start
        self.seen = seen
        hub = self.find_hub()
        self.enter_hub(hub)
        if (
            hub.stopping
            or self.watched
            or self.observers
            or not hub.store.has_nothing(self.channel_id, seen)
        ):
            return self.ask_store()
        self.headers = NO_HEADERS
        self.accept()
        return self.hold()

    async def ask_for_newest(self, newest: int) -> Answer | None:
        """Enter the hub, then ask for the first of the newest messages.

        Args:
            newest: The number of these messages, 0 for later ones only.
        """
        self.seen = BEGINNING
        hub = self.find_hub()
        self.enter_hub(hub)
        self.seen = await self.find_reads(hub).position(
            self.channel_id, newest, create=self.location.create_on_get
        )
        return await self.ask_store()

    async def ask_store(self) -> Answer | None:
        """Answer with a message of the store, or return None once the request is held.

        While the store is asked, a message with an id up to the client's is deferred.
        The client may have got it from another process already.
        """
        hub, location = self.hub, self.location
        self.task = current_task()
        self.queried_after = self.seen
        message = await self.find_reads(hub).next(
            self.channel_id, self.seen, create=location.create_on_get
        )
        if message is not None:
            self.leave()
            self.accept()
            return self.build_next(message)
        if not self.ended:
            hub.admit(self, location.concurrency)
        self.accept()
        if self.deferred is not None:
            await self.check_deferred(self.deferred)
        self.queried_after = None
        if self.watched:
            await self.wait(location.timeout or LONGEST_WAIT)
            return self.build_outcome()
        self.headers = NO_HEADERS
        await self.hold()
        return None

    async def check_deferred(self, message: Message) -> None:
        """Send a deferred message, if the channel has not reached the client's id.

        In that case the client waits for the next message, whatever its id.
        """
        if not self.ended:
            info = await self.hub.info(self.channel_id)
            if info.last_message_id < self.seen:
                self.finish(message)

    async def answer_held(self) -> Answer:
        """Wait until the wait has ended, and return the answer."""
        if not self.ended:
            await self.wait()
        else:
            self.leave()
        return self.build_outcome()

    def build_next(self, message: Message | None) -> Answer:
        """Return the answer with the next message, or without one."""
        return self.build_message(message, self.seen, self.location.timeout_status)

    def build_outcome(self) -> Answer:
        """Return the answer for the outcome of the wait, or raise it if an error."""
        outcome = self.outcome
        if not isinstance(outcome, Exception):
            return self.build_next(outcome)
        # A raised error refers to the frames, and so to this object. A reference back
        # would make a cycle, which only the garbage collector frees.
        self.outcome = None
        try:
            raise outcome
        finally:
            del outcome

    async def fail(self, error: BaseException) -> None:
        if hasattr(self, "hub"):
            self.leave()
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and self.has_outcome() and not self.responding:
                # The publisher may have been answered that the message was delivered.
                uncancel()
                try:
                    await self.send_answer(self.build_outcome())
                    return
                except BaseException as outcome:  # The outcome may be an error.
                    error = outcome
        await super().fail(error)

    def has_outcome(self) -> bool:
        """Return whether the wait has ended with what the client should be sent.

        While the store is being asked, a message that the hub has delivered need not be
        the client's next one: the store may have older ones, which would be skipped.
        """
        outcome = self.outcome
        is_next = (
            self.queried_after is None
            or not isinstance(outcome, Message)
            or outcome.previous == self.seen
        )
        return self.ended and is_next

    # The wait

    def hold(self) -> asyncio.Future[None]:
        """Return a future that is done when the wait ends, or after WATCH_AFTER."""
        self._held = held = self.hub.loop.create_future()
        if self.ended:
            held.set_result(None)
        else:
            self._time_limit.add(self)
        return held

    def watch(self) -> None:
        """Finish the future, so that the request goes on to wait in :meth:`wait`."""
        self.expire_in((self.location.timeout or LONGEST_WAIT) - WATCH_AFTER)
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    async def wait(self, timeout: float = 0) -> None:
        """Wait for the outcome, or until the client disconnects.

        Args:
            timeout: Seconds after which the wait ends, 0 if that is limited already.
        """
        if timeout:
            self.expire_in(timeout)
        if not self.ended:
            self.task = current_task()
            self._watches = True
            try:
                while (await self.receive())["type"] != "http.disconnect":
                    pass  # The rest of a body is ignored.
            except asyncio.CancelledError:
                if not self.ended:
                    raise
                uncancel()
            finally:
                self._watches = False
            self.finish(ClientDisconnected())
        self.leave()

    def expire_in(self, seconds: float) -> None:
        """End the wait after a number of seconds."""
        self._time_limit = self.hub.deadlines(seconds, LongPollConsumer.finish)
        self._time_limit.add(self)

    def leave(self) -> None:
        """Leave the hub and stop the time limit. Calling it again does nothing."""
        self._time_limit.discard(self)
        self.hub.leave(self)

    def hear(self, message: Message) -> Heard:
        if self.queried_after is not None and self.queried_after >= message.id:
            if self.deferred is None:  # Later ones can be read from the store.
                self.deferred = message
            return _NOT_MINE
        return _LEAVES if self.finish(message) else _NOT_MINE

    def end(self, error: PushError | None) -> None:
        self.finish(error)

    def finish(self, outcome: Message | Exception | None = None) -> bool:
        """End the wait with an outcome; return False if it had ended before."""
        if self.ended:
            return False
        self.ended = True
        self.outcome = outcome
        held = self._held
        if self._watches and self.task is not None:
            self.task.cancel()
        elif held is not None and not held.done():  # The server may have cancelled.
            held.set_result(None)
        return True


def _must_notice_disconnects(locations: Iterable[Location]) -> bool:
    """Return whether disconnects must be noticed from the start of a wait.

    They must if a client that has left could keep another one out (``concurrency``), or
    could be the only receiver of a message that is not kept (``store_messages``). A
    channel belongs to all locations, so one such location is enough.
    """
    return any(
        not each.store_messages
        if isinstance(each, PublisherLocation)
        else isinstance(each, SubscriberLocation) and each.concurrency != "broadcast"
        for each in locations
    )
