"""Polls of several channels. Source: streams, section 5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels.access import Guard
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import PushError
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Observer
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.positions import build_position
from pushserver_channels.protocol import Headers, build_date, build_message_headers
from pushserver_channels.types import ASGIMessage

from .base import NO_CACHE, Answer, ChooseHeaders, MakeConsumer, Site
from .batch import Batch
from .positions import find_start_positions
from .stream_cursor import StreamCursor
from .subscriber import SubscriberConsumer


class NextMessage(Batch):
    """Collects one message: the next one of any of the channels."""

    max_messages = 1
    ends_with_fault = False

    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage:
        position = build_position(self.ids, cursor.index)
        return {
            "type": "message",
            "body": message.body,
            "message": message,
            "gap": gap,
            "position": position,
        }

    def build_fault(self, cursor: StreamCursor, error: PushError) -> None:
        return None


class SeveralPollConsumer(SubscriberConsumer):
    """Answers with the next message of several channels.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given an ``Origin``.
        observers: Notified of the subscribers.
        guard: Decides who may listen, None if everybody may.
        limits: Counts what subscribers hold.
        channel_ids: The channel ids in the URL.
        fault: Why one is invalid, None if all are valid.
    """

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        headers = CrossOrigin.of(location, site.headers).headers
        observers, guard = site.find_observers(location), site.find_guard(location)
        return partial(cls, location, headers, observers, guard, site.limits)

    def __init__(
        self,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        observers: Sequence[Observer],
        guard: Guard | None,
        limits: HeldLimits,
        channel_ids: tuple[str, ...],
        fault: str | None,
    ) -> None:
        first = channel_ids[0] if channel_ids else ""
        super().__init__(
            location, choose_headers, observers, guard, limits, True, first, fault
        )
        self.channel_ids = channel_ids

    async def get(self) -> Answer:
        """Answer with the next message, at once or as soon as there is one."""
        await self.discard_body()
        location = self.location
        query = self.scope.get("query_string", b"")
        positions = find_start_positions(
            self.headers, query, location, self.channel_ids
        )
        polled = NextMessage(
            self.find_hub(),
            location,
            self.observers,
            self.scope,
            self.receive,
            self.base_send,
            self.channel_ids,
        )
        polled.decisions = self.decisions
        is_long = location.polling == "long"
        try:
            await polled.begin(positions)
            self.accept()
            events = await polled.wait_for_events(location.timeout, waits=is_long)
        finally:
            polled.leave()
        headers: Headers = []
        denied = [
            quote(each.channel_id, safe="")
            for each in polled.cursors
            if each.fault is not None
        ]
        if denied:
            headers.append((b"push-denied", ",".join(denied).encode()))
        if not events:
            status = location.timeout_status if is_long else 304
            newest = max(each.seen for each in polled.cursors)
            headers += [
                NO_CACHE,
                (b"last-modified", build_date(max(newest.time, 0))),
                (b"etag", polled.build_start_position().encode()),
            ]
            return self.build_answer(status, headers)
        message, position = events[0]["message"], events[0]["position"].encode()
        known = build_message_headers(
            message.id,
            message.content_type,
            message.content_encoding,
            len(message.body),
            location.inline,
            message.exclude,
        )
        headers += [each for each in known if each[0] not in _REPLACED]
        headers.append((b"etag", position))
        # In quotes, because a position has commas.
        cache = b'no-cache, no-transform, etag="%s"' % position
        headers.append((b"cache-control", cache))
        if events[0]["gap"] is not None:
            headers.append((b"push-gap", str(events[0]["gap"]).encode()))
        return self.build_answer(200, headers, message.body)


#: Headers of a message that a poll of several channels replaces.
_REPLACED = (b"etag", b"cache-control")
