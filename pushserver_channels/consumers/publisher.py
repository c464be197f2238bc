"""The consumer of publisher locations.

POST publishes a message, PUT creates a channel, DELETE deletes it, GET returns its
info.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pushserver.conf import Location, PublisherLocation
from pushserver.presence.names import is_presence_channel
from pushserver.publishers.update import Update
from pushserver_channels.access import PublisherAccess
from pushserver_channels.cors import CrossOriginPublishing
from pushserver_channels.counters import counters
from pushserver_channels.exceptions import (
    BadRequest,
    PresenceChannel,
    PushError,
    ServerStopping,
    find_reason,
)
from pushserver_channels.hub import hubs
from pushserver_channels.messages import ChannelInfo
from pushserver_channels.protocol import (
    build_channel_info,
    check_header,
    choose_info_type,
    parse_event,
    parse_exclude,
    parse_key,
    parse_lifetime,
)
from pushserver_channels.stores import AppendCancelled
from pushserver_channels.types import Receive, Scope, Send

from .base import (
    NO_CACHE,
    Answer,
    ChooseHeaders,
    MakeConsumer,
    PushConsumer,
    Site,
)

#: The methods that change nothing.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class PublisherConsumer(PushConsumer):
    """Answers a publisher's request with the channel info. Source: protocol, 3.2.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given the request's
            ``Origin``.
        access: Decides who may publish.
        has_presence: Whether channels of the store are presence channels.
        channel_id: The channel id in the URL.
        fault: Why the channel id is invalid, None if it is valid.
    """

    location: PublisherLocation
    #: Whether the hub was asked to publish a message, and counts what comes of it.
    asks_hub = False
    methods = {
        "GET": "get",
        "HEAD": "get",  # The ASGI server leaves out the body.
        "PUT": "put",
        "POST": "post",
        "DELETE": "delete",
        "OPTIONS": "options",
    }

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, PublisherLocation), "By conf.locations."
        cross_origin = CrossOriginPublishing(
            location.allow_origin, cls.methods, site.headers
        )
        return partial(
            cls,
            location,
            cross_origin.headers,
            PublisherAccess(location),
            location.store in site.settings.presence_stores,
        )

    def __init__(
        self,
        location: PublisherLocation,
        choose_headers: ChooseHeaders,
        access: PublisherAccess,
        has_presence: bool,
        channel_id: str,
        fault: str | None,
    ) -> None:
        # Channels' own __init__, which makes a list for the body, is not needed.
        self.location = location
        self.choose_headers = choose_headers
        self.access = access
        self.has_presence = has_presence
        self.channel_id = channel_id
        self.fault = fault

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().begin(scope, receive, send)
        hubs.publishing += 1

    def release(self) -> None:
        super().release()
        hubs.publishing -= 1

    def check_client(self) -> None:
        self.access.check(self.scope, self.headers, self.channel_id)
        if (
            self.has_presence
            and self.scope["method"] not in _READING
            and is_presence_channel(self.channel_id)
        ):
            raise PresenceChannel

    async def fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError) and self._has_done_nothing():
            error = ServerStopping()  # Daphne cancels its applications when it stops.
        is_post = self.scope["method"] == "POST" and not self.asks_hub
        if is_post and isinstance(error, PushError):
            counters.refused[find_reason(error)] += 1
        await super().fail(error)

    def _has_done_nothing(self) -> bool:
        """Return whether the request can be repeated, because it changed nothing."""
        method = self.scope["method"]
        return not (self.responding or self.asks_hub or method == "DELETE")

    def max_ignored_body(self) -> int:
        """Return at least ``max_message_size``, so that a refused POST is answered."""
        return max(self.location.max_message_size, super().max_ignored_body())

    async def get(self) -> Answer:
        """Answer with the channel info."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().info(self.channel_id))

    async def put(self) -> Answer:
        """Create the channel if it does not exist; the body is discarded."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().create(self.channel_id))

    async def post(self) -> Answer:
        """Publish the body: 201 if a waiting subscriber was sent it, else 202."""
        content_type = self.headers.get(b"content-type") or None
        content_encoding = self.headers.get(b"content-encoding") or None
        try:
            check_header("Content-Type", content_type)
            check_header("Content-Encoding", content_encoding)
            event = parse_event(self.headers.get(b"x-eventsource-event"))
            keep, expires = parse_lifetime(self.headers.get(b"ttl"))
            key = parse_key(self.headers.get(b"idempotency-key"))
            exclude = parse_exclude(self.headers.get(b"push-exclude"))
        except BadRequest as error:
            return await self.refuse(error)
        body = await self.read_body(self.location.max_message_size)
        self.asks_hub = True
        fields = content_type, content_encoding, event, expires, exclude
        update = Update(self.channel_id, body, *fields)
        hub = self.find_hub()
        try:
            delivered, info = await hub.publish(
                update,
                keep=keep and self.location.store_messages,
                create=self.location.create_on_post,
                key=key,
            )
        except AppendCancelled as error:
            # The server stops, but the message may have been published already.
            delivered, info = await hub.finish(self.channel_id, error)
        answer = self.build_info(201 if delivered else 202, info)
        if key is not None and hub.recognizes_repeats:
            # So the client knows that it may repeat a POST that is not answered.
            answer[0]["headers"].append((b"idempotency-key", key.encode()))
        return answer

    async def delete(self) -> Answer:
        """Delete the channel, end its held requests, and answer with its last info."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().delete(self.channel_id))

    def build_info(self, status: int, info: ChannelInfo) -> Answer:
        """Return an answer with channel info, in the format that ``Accept`` names."""
        media_type = choose_info_type(self.headers.get(b"accept", b""))
        body = build_channel_info(info, media_type)
        headers = [
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
        ]
        if self.scope["method"] in ("GET", "HEAD"):
            headers.append(NO_CACHE)  # Answers to other methods are not cached.
        return self.build_answer(status, headers, body)
