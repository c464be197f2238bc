"""Subscriber locations: GET asks for the message after the last one seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext

from pushserver.conf import SubscriberLocation
from pushserver_channels.exceptions import PushError, ServerStopping
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.passthrough import Passthrough
from pushserver_channels.protocol import (
    build_message_headers,
    build_message_id,
    parse_message_id,
)
from pushserver_channels.subscriptions import Subscription, uncancel

from .base import NO_CACHE, Answer, ChooseHeaders, PushConsumer

#: Seconds for which a request is held where ``timeout`` is 0. A client that vanished
#: without a word is never noticed where the server does not watch its connections, nor
#: one behind a proxy; and one that is there asks again.
LONGEST_WAIT = 3600.0

#: What is kept of a request's headers while it is held: its answer needs none, and a
#: dict takes its room and its time.
NO_HEADERS: dict[bytes, bytes] = {}


class SubscriberConsumer(PushConsumer):
    """Answers a subscriber's request with the next message. Source: protocol, 3.1.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given an ``Origin``.
        passthrough: Tells a view who comes and goes, None if nobody wants to know.
        watched: Whether it matters at once that a client who is held has left.
        channel_id: The channel id in the URL.
        fault: Why it cannot be one, None if it can.
    """

    location: SubscriberLocation
    methods = {"GET": "get", "OPTIONS": "options"}
    told_to_come_back = True

    def __init__(
        self,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        passthrough: Passthrough | None,
        watched: bool,
        channel_id: str,
        fault: str | None,
    ) -> None:
        self.location = location
        self.choose_headers = choose_headers
        self.passthrough = passthrough
        self.watched = watched
        self.channel_id = channel_id
        self.fault = fault

    def tell(
        self, message: Message | None, last_seen: MessageId, otherwise: int
    ) -> Answer:
        """Return an answer with a message, which is sent now.

        Args:
            message: The message, None if there is none.
            last_seen: The id that the client named; without a message it stays.
            otherwise: The status if there is none.
        """
        if message is None:
            return self.respond(otherwise, [NO_CACHE, *build_message_id(last_seen)])
        message_id, body, content_type, previous = message
        headers = build_message_headers(
            message_id, content_type, len(body), self.location.inline
        )
        if previous is not None and previous > last_seen:
            gap = message.gap_after(last_seen)
            if gap is not None:
                headers = [*headers, (b"push-gap", str(gap).encode())]
        return self.respond(200, headers, body)


class IntervalPollConsumer(SubscriberConsumer):
    """Answers at once: 304 if there is no message yet."""

    async def get(self) -> Answer:
        """Return an answer with the next message, or 304."""
        await self.discard_body()
        last_seen = parse_message_id(self.headers)
        message = await self.find_hub().next(
            self.channel_id, last_seen, create=self.location.create_on_get
        )
        return self.tell(message, last_seen, 304)


class LongPollConsumer(SubscriberConsumer, Subscription):
    """Holds the request until there is a message.

    It is its own place on the channel, and tells all in as few coroutines as it can:
    each object more that a held request is made of is looked after by the collector,
    and paid for with every message to every client.

    Attributes:
        last_seen: The id that the client named.
    """

    __slots__ = ("last_seen",)

    def get(self) -> Awaitable[Answer | None]:
        """Return what gives an answer with the next message, or None to :meth:`go_on`.

        Most clients have all that there is, and the store often knows that at once.
        """
        if self.may_have_body():
            return self.read_and_ask()
        return self.ask()

    async def read_and_ask(self) -> Answer | None:
        """Do as :meth:`get` does, with the request's body read."""
        await self.discard_body()
        return await self.ask()

    def ask(self) -> Awaitable[Answer | None]:
        """Enter the channel, and return what gives an answer or says to go on."""
        self.last_seen = last_seen = parse_message_id(self.headers)
        hub = self.find_hub()
        self.enter(hub)
        if (
            hub.stopping
            or self.watched
            or not hub.store.has_nothing(self.channel_id, last_seen)
        ):
            return self.look_up()
        self.headers = NO_HEADERS
        return self.hold(self.location.timeout or LONGEST_WAIT)

    async def look_up(self) -> Answer | None:
        """Return an answer with what the store has, or wait for the next message."""
        location = self.location
        message = await self.look(self.last_seen, create=location.create_on_get)
        if message is None:
            self.hub.settle(self, location.concurrency)
            if not self.watched and self.set_aside is None:
                self.headers = NO_HEADERS
                await self.hold(location.timeout or LONGEST_WAIT)
                return None
            message = await self.wait_with_a_view()
        return self.take_leave(message)

    def go_on(self) -> Answer | None:
        """Return the answer if the wait has ended, None if it goes on."""
        return self.take_leave(self.outcome()) if self.ended else None

    async def watch(self) -> Answer:
        """Wait on, now with an eye on the client, and return the answer."""
        return self.take_leave(await self.wait(self.receive))

    def take_leave(self, message: Message | None) -> Answer:
        """Leave the channel, and return the answer."""
        self.leave()
        return self.tell(message, self.last_seen, self.location.timeout_status)

    async def wait_with_a_view(self) -> Message | None:
        """Return the next message published, None if there was none in time."""
        presence: AbstractContextManager[object] = nullcontext()
        if self.passthrough is not None:
            presence = self.passthrough.subscribe(self.scope, self.channel_id)
        with presence:
            timeout = self.location.timeout or LONGEST_WAIT
            return await self.wait(self.receive, timeout)

    async def fail(self, error: BaseException) -> None:
        if self.is_entered():
            self.leave()
        cancelled = isinstance(error, asyncio.CancelledError)
        if cancelled and self.is_over() and not self.responding:
            # A publisher may have been told that the message was sent.
            uncancel()
            try:
                await self.send_answer(self.take_leave(self.outcome()))
                return
            except BaseException as outcome:  # It may be what ended the wait.
                error = outcome
        await super().fail(error)

    async def send_error(self, error: PushError) -> None:
        await super().send_error(error)
        if isinstance(error, ServerStopping) and self.passthrough is not None:
            # The process ends with the last request, and who was here has left by then.
            await self.passthrough.wait_to_stop()
