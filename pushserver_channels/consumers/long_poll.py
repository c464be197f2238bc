"""Long polling: a request that is held until there is a message.

A held request is its consumer and a future, nothing more: each further object is looked
after by the garbage collector and paid for with every message to every client. So the
consumer is the cursor, too, and what it needs to be fast is told here and nowhere else:

* Nothing watches whether the client leaves for the first :data:`WATCH_AFTER` seconds,
  in which most are answered where much is published. The request waits for a future.
* From then on it waits in ``receive()``, which says when the client leaves, and what
  ends the wait cancels that. A task beside it would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task
from collections.abc import Awaitable, Iterable
from functools import partial

from pushserver.conf import Location, PublisherLocation, SubscriberLocation
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import ClientDisconnected, PushError
from pushserver_channels.hub import Cursor, Heard, Hub
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.protocol import parse_message_id

from .base import Answer, MakeConsumer, Site
from .subscriber import SubscriberConsumer

#: Seconds for which a request is held before its client is watched.
WATCH_AFTER = 1.0

#: Seconds for which a request is held where ``timeout`` is 0. A client that vanished
#: without a word is never noticed where the server does not watch its connections, nor
#: one behind a proxy; and one that is there asks again.
LONGEST_WAIT = 3600.0

#: What is kept of a request's headers while it is held: its answer needs none, and a
#: dict takes room and the collector's time.
NO_HEADERS: dict[bytes, bytes] = {}

# Looked up once: an enumeration's members are slow to find for each delivery.
_NOT_MINE, _LEAVES = Heard.NOT_MINE, Heard.TAKEN_AND_LEAVES


class LongPollConsumer(SubscriberConsumer, Cursor):
    """Holds the request until there is a message.

    It enters the hub, then asks the store, then waits: what is published in between is
    handed to it, so nothing is lost.

    Attributes:
        hub: Hands it what is published; not there before it has entered.
        outcome: What ended the wait: a message, an error, or None when its time was up.
        ended: Whether the wait has ended.
        queried_after: The id after which the store is being asked, None if it is not.
        deferred: The first message that was published meanwhile with a lower id.
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
        assert isinstance(location, SubscriberLocation), "The table says so."
        headers = CrossOrigin.of(location, site.headers).headers
        observers = site.observe(location)
        watched = (
            bool(observers)
            or 0 < location.timeout <= WATCH_AFTER
            or _must_notice_disconnects(site.settings.locations)
        )
        return partial(cls, location, headers, observers, watched)

    def enter_hub(self, hub: Hub) -> None:
        """Enter the hub."""
        self.hub = hub
        self.task = None
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
        """Return what gives an answer with the next message, or None once it is held.

        Most clients have all that there is, and the store often knows that at once.
        """
        if self.may_have_body():
            return self.read_body_and_ask()
        return self.ask()

    async def read_body_and_ask(self) -> Answer | None:
        """Read the request's body, then do as :meth:`ask` does."""
        await self.discard_body()
        return await self.ask()

    def ask(self) -> Awaitable[Answer | None]:
        """Enter the hub; return what asks the store, or what holds the request."""
        self.seen = seen = parse_message_id(self.headers)
        hub = self.find_hub()
        self.enter_hub(hub)
        if (
            hub.stopping
            or self.watched
            or not hub.store.has_nothing(self.channel_id, seen)
        ):
            return self.ask_store()
        self.headers = NO_HEADERS
        return self.hold()

    async def ask_store(self) -> Answer | None:
        """Return an answer with what the store has, or None once the request is held.

        Meanwhile a message up to the client's id is set aside: it may be one that the
        client was sent by another process, and is only on its way to this one.
        """
        hub, location = self.hub, self.location
        self.task = current_task()
        self.queried_after = self.seen
        message = await hub.store.next(
            self.channel_id, self.seen, create=location.create_on_get
        )
        if message is not None:
            self.leave()
            return self.build_next(message)
        if not self.ended:
            hub.admit(self, location.concurrency)
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
        """Take a message that was set aside, if the client's id is from the future.

        Where the channel has not come to the client's id, it waits for any message.
        """
        if not self.ended:
            info = await self.hub.info(self.channel_id)
            if info.last_message_id < self.seen:
                self.finish(message)

    async def answer_held(self) -> Answer:
        """Return the answer to a request that was held, waiting for it if need be."""
        if not self.ended:
            await self.wait()
        else:
            self.leave()
        return self.build_outcome()

    def build_next(self, message: Message | None) -> Answer:
        """Return the answer with the next message, or without one."""
        return self.build_message(message, self.seen, self.location.timeout_status)

    def build_outcome(self) -> Answer:
        """Return the answer that the outcome gives, or raise the error that it is."""
        outcome = self.outcome
        if not isinstance(outcome, Exception):
            return self.build_next(outcome)
        # An error knows the frames it was raised through, and so all that is here: kept
        # here or there, it would be left to the garbage collector with the request.
        self.outcome = None
        try:
            raise outcome
        finally:
            del outcome

    async def fail(self, error: BaseException) -> None:
        if hasattr(self, "hub"):
            self.leave()
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and self.ended and not self.responding:
                # A publisher may have been told that the message was sent.
                _uncancel()
                try:
                    await self.send_answer(self.build_outcome())
                    return
                except BaseException as outcome:  # It may be what ended the wait.
                    error = outcome
        await super().fail(error)

    # The wait

    def hold(self) -> asyncio.Future[None]:
        """Return a future that is done when the wait has ended or is to be watched."""
        self._held = held = self.hub.loop.create_future()
        if self.ended:
            held.set_result(None)
        else:
            self._time_limit.add(self)
        return held

    def watch(self) -> None:
        """Let the request go on to where its client is watched: see :meth:`wait`."""
        self.expire_in((self.location.timeout or LONGEST_WAIT) - WATCH_AFTER)
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    async def wait(self, timeout: float = 0) -> None:
        """Wait for the outcome, or until the client leaves.

        Args:
            timeout: Seconds after which the wait ends, 0 for no limit.
        """
        if timeout:
            self.expire_in(timeout)
        if not self.ended:
            self.task = current_task()
            self._watches = True
            try:
                while (await self.receive())["type"] != "http.disconnect":
                    pass  # The rest of a body is nothing to us.
            except asyncio.CancelledError:
                if not self.ended:
                    raise
                _uncancel()
            finally:
                self._watches = False
            self.finish(ClientDisconnected())
        self.leave()

    def expire_in(self, seconds: float) -> None:
        """End the wait after some seconds."""
        self._time_limit = self.hub.deadlines(seconds, LongPollConsumer.finish)
        self._time_limit.add(self)

    def leave(self) -> None:
        """Hear nothing more; twice does no harm."""
        self._time_limit.discard(self)
        self.hub.leave(self)

    def hear(self, message: Message) -> Heard:
        if self.queried_after is not None and self.queried_after >= message.id:
            if self.deferred is None:  # What follows it can still be asked for.
                self.deferred = message
            return _NOT_MINE
        return _LEAVES if self.finish(message) else _NOT_MINE

    def end(self, error: PushError | None) -> None:
        self.finish(error)

    def finish(self, outcome: Message | Exception | None = None) -> bool:
        """End the wait, and return whether this is what ended it."""
        if self.ended:
            return False
        self.ended = True
        self.outcome = outcome
        held = self._held
        if self._watches and self.task is not None:
            self.task.cancel()
        elif held is not None and not held.done():  # The server may have cancelled it.
            held.set_result(None)
        return True


def _uncancel() -> None:
    """Let the running task go on, which was cancelled only because its wait ended.

    Or in the same moment; a publisher may have been told that the message was sent.
    """
    if sys.version_info >= (3, 11):
        task = current_task()
        assert task is not None, "It runs."
        task.uncancel()


def _must_notice_disconnects(locations: Iterable[Location]) -> bool:
    """Return whether a client that has left unnoticed would take something away.

    It takes nobody's place, and misses nothing that is kept, so for a moment it does no
    harm if that is not known. But channels belong to all locations.
    """
    return any(
        not each.store_messages
        if isinstance(each, PublisherLocation)
        else isinstance(each, SubscriberLocation) and each.concurrency != "broadcast"
        for each in locations
    )
