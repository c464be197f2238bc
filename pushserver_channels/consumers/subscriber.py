"""The base class of the consumers that answer subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import PushError, ServerStopping
from pushserver_channels.hub import Observer
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.protocol import (
    Headers,
    build_message_headers,
    build_message_id,
)
from pushserver_channels.push_location import build_push_location

from .base import (
    NO_CACHE,
    Answer,
    ChooseHeaders,
    MakeConsumer,
    PushConsumer,
    Site,
)


class SubscriberConsumer(PushConsumer):
    """Answers a subscriber's request with the next message. Source: protocol, 3.1.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given the request's
            ``Origin``.
        observers: Notified of the subscribers that start and stop waiting.
        watched: Whether a disconnect must be noticed as soon as the request is held.
        channel_id: The channel id in the URL.
        fault: Why the channel id is invalid, None if it is valid.
    """

    location: SubscriberLocation
    observers: Sequence[Observer]
    methods = {"GET": "get", "OPTIONS": "options"}
    answers_cancellation = True

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "Only these have subscribers."
        headers = CrossOrigin.of(location, site.headers).headers
        return partial(cls, location, headers, site.observe(location), True)

    def __init__(
        self,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        observers: Sequence[Observer],
        watched: bool,
        channel_id: str,
        fault: str | None,
    ) -> None:
        self.location = location
        self.choose_headers = choose_headers
        self.observers = observers
        self.watched = watched
        self.channel_id = channel_id
        self.fault = fault

    def build_common_headers(self) -> Headers:
        headers = super().build_common_headers()
        if self.location.separator is None:
            return headers
        root_path = self.scope.get("root_path") or ""
        return [*headers, *build_push_location(self.location, root_path)]

    def build_message(
        self, message: Message | None, seen: MessageId, otherwise: int
    ) -> Answer:
        """Return an answer with a message, or without one.

        Args:
            message: The message, None if there is none.
            seen: The id that the client sent, which an answer without a message
                repeats.
            otherwise: The status of an answer without a message.
        """
        if message is None:
            return self.build_answer(otherwise, [NO_CACHE, *build_message_id(seen)])
        message_id, body, content_type, previous, content_encoding, _, _ = message
        headers = build_message_headers(
            message_id,
            content_type,
            content_encoding,
            len(body),
            self.location.inline,
        )
        if previous != seen and previous is not None:
            gap = message.gap_after(seen)
            if gap is not None:
                headers = [*headers, (b"push-gap", str(gap).encode())]
        return self.build_answer(200, headers, body)

    async def send_error(self, error: PushError) -> None:
        await super().send_error(error)
        if isinstance(error, ServerStopping):
            # The process may exit once the last request has ended.
            for observer in self.observers:
                await observer.drain_before_exit()
