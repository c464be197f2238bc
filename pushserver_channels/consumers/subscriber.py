"""Subscriber locations: GET asks for the message after the last one seen."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext

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
from pushserver_channels.subscriptions import Subscription

from .base import NO_CACHE, PushConsumer


class SubscriberConsumer(PushConsumer):
    """Answers a subscriber's request with the next message. Source: protocol, 3.1.

    Args:
        location: The location.
        cross_origin: The location's headers for pages of this and other origins.
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
        cross_origin: CrossOrigin,
        passthrough: Passthrough | None,
        watched: bool,
        channel_id: str,
        fault: str | None,
    ) -> None:
        self.location = location
        self.cross_origin = cross_origin
        self.passthrough = passthrough
        self.watched = watched
        self.channel_id = channel_id
        self.fault = fault

    def common_headers(self) -> Headers:
        return self.cross_origin.headers(self.headers.get(b"origin"))

    def build_headers(self, message: Message, last_seen: MessageId) -> Headers:
        """Return the headers of a message; they say so if an earlier one was missed."""
        message_id, body, content_type, previous = message
        headers = build_message_headers(message_id, content_type, len(body))
        if previous is not None and previous > last_seen:
            gap = message.gap_after(last_seen)
            if gap is not None:
                headers = [*headers, (b"push-gap", str(gap).encode())]
        return headers

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
            headers = self.build_headers(message, last_seen)
            await self.respond(200, headers, message.body)


class LongPollConsumer(SubscriberConsumer):
    """Holds the request until there is a message."""

    # One coroutine tells it all: each one inside another, and each object more for the
    # collector to look after, is paid for with every message to every client.
    async def get(self) -> None:
        """Answer with the next message, as soon as there is one."""
        if self.may_have_body():
            await self.discard_body()
        last_seen = parse_message_id(self.headers)
        location, hub = self.location, self.hub
        subscription = hub.subscription(self.channel_id)
        subscription.enter()
        try:
            message = await subscription.next(last_seen, create=location.create_on_get)
            if message is None:
                hub.settle(subscription, location.concurrency)
                if self.watched or subscription.set_aside is not None:
                    message = await self.wait(subscription)
                else:
                    try:
                        await subscription.hold(location.timeout)
                    except asyncio.CancelledError as error:
                        subscription.go_on_after(error)
                    if subscription.ended:
                        message = subscription.outcome()
                    else:
                        message = await subscription.wait(self.receive)
        finally:
            subscription.leave()
        if message is None:
            await self.send_nothing(location.timeout_status, last_seen)
        else:
            headers = self.build_headers(message, last_seen)
            await self.base_send(self.begin_response(200, headers))
            await self.base_send({"type": "http.response.body", "body": message.body})

    async def wait(self, subscription: Subscription) -> Message | None:
        """Return the next message published, None if there was none in time."""
        presence: AbstractContextManager[object] = nullcontext()
        if self.passthrough is not None:
            presence = self.passthrough.subscribe(self.scope, self.channel_id)
        with presence:
            return await subscription.wait(self.receive, self.location.timeout)

    async def send_error(self, error: PushError) -> None:
        await super().send_error(error)
        if isinstance(error, ServerStopping) and self.passthrough is not None:
            # The process ends with the last request, and who was here has left by then.
            await self.passthrough.wait_to_stop()
