"""Subscriber locations: GET asks for the message after the last one seen."""

from __future__ import annotations

from pushserver.conf import SubscriberLocation
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import PushError, ServerStopping
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.passthrough import Passthrough
from pushserver_channels.protocol import (
    Headers,
    build_message_headers,
    build_message_id,
    parse_message_id,
)

from .base import NO_CACHE, PushConsumer


class SubscriberConsumer(PushConsumer):
    """Answers a subscriber's request with the next message. Source: protocol, 3.1.

    Args:
        location: The location.
        server_headers: The ``Server`` header, if it is not the server's own.
        cross_origin: The location's headers for pages of other origins.
        passthrough: Tells a view who comes and goes, None if nobody wants to know.
        channel_id: The channel id in the URL.
    """

    location: SubscriberLocation
    methods = {"GET": "get", "OPTIONS": "options"}
    told_to_come_back = True

    def __init__(
        self,
        location: SubscriberLocation,
        server_headers: Headers,
        cross_origin: CrossOrigin,
        passthrough: Passthrough | None,
        channel_id: str,
    ) -> None:
        super().__init__(location, server_headers, channel_id)
        self.cross_origin = cross_origin
        self.passthrough = passthrough

    def common_headers(self) -> Headers:
        origin = self.headers.get(b"origin")
        return [*self.server_headers, *self.cross_origin.headers(origin)]

    async def send_message(self, message: Message, last_seen: MessageId) -> None:
        """Answer with a message, and say so if an earlier one was missed."""
        headers = build_message_headers(
            message.id, message.content_type, len(message.body)
        )
        gap = message.gap_after(last_seen)
        if gap is not None:
            headers = [*headers, (b"push-gap", str(gap).encode())]
        await self.respond(200, headers, message.body)

    async def send_nothing(self, status: int, last_seen: MessageId) -> None:
        """Answer that there is no message yet; the client's id stays what it is."""
        await self.respond(status, [NO_CACHE, *build_message_id(last_seen)])


class IntervalPollConsumer(SubscriberConsumer):
    """Answers at once: 304 if there is no message yet."""

    async def get(self) -> None:
        """Answer with the next message or with 304."""
        await self.discard_body()
        last_seen = parse_message_id(self.headers)
        message = await self.hub.next(
            self.channel_id, last_seen, create=self.location.create_on_get
        )
        if message is None:
            await self.send_nothing(304, last_seen)
        else:
            await self.send_message(message, last_seen)


class LongPollConsumer(SubscriberConsumer):
    """Holds the request until there is a message."""

    async def get(self) -> None:
        """Answer with the next message, as soon as there is one."""
        await self.discard_body()
        last_seen = parse_message_id(self.headers)
        hub = self.hub
        with hub.subscription(self.channel_id) as subscription:
            message = await subscription.next(
                last_seen, create=self.location.create_on_get
            )
            if message is None:
                hub.settle(subscription, self.location.concurrency)
                if self.location.timeout:
                    subscription.end_after(self.location.timeout)
                if self.passthrough is None:
                    message = await subscription.wait(self.receive)
                else:
                    with self.passthrough.subscribe(self.scope, self.channel_id):
                        message = await subscription.wait(self.receive)
        if message is None:
            await self.send_nothing(self.location.timeout_status, last_seen)
        else:
            await self.send_message(message, last_seen)

    async def send_error(self, error: PushError) -> None:
        await super().send_error(error)
        if isinstance(error, ServerStopping) and self.passthrough is not None:
            # The process ends with the last request, and who was here has left by then.
            await self.passthrough.wait_to_stop()
