"""Publisher locations: POST publishes, PUT creates, DELETE drops, GET tells."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from io import BytesIO

from django.core.handlers.asgi import ASGIRequest

from pushserver.addresses import is_inside
from pushserver.conf import PublisherLocation
from pushserver.origins import find_page_fault
from pushserver_channels.exceptions import BadRequest, Forbidden, ForbiddenPage
from pushserver_channels.messages import ChannelInfo
from pushserver_channels.protocol import (
    REMEMBERED,
    build_channel_info,
    check_content_type,
    choose_info_type,
)

from .base import NO_CACHE, Answer, ChooseHeaders, PushConsumer

#: In these proxies tell for whom they ask.
_HOPS = {b"x-forwarded-for", b"x-real-ip"}

IsInside = Callable[[str | None, str], bool]


def remember_who_is_inside(location: PublisherLocation) -> IsInside | None:
    """Return what tells whether a client may publish, None if all may.

    It keeps what it found: reading addresses takes as long as the rest of a publish,
    and few hosts publish.
    """
    if location.allow_from is None:
        return None
    find = partial(is_inside, location.allow_from)
    remember = lru_cache(maxsize=128)(find)

    def look_up(client: str | None, hops: str) -> bool:
        return (remember if len(hops) <= REMEMBERED else find)(client, hops)

    return look_up


class PublisherConsumer(PushConsumer):
    """Answers a publisher's request with the channel info. Source: protocol, 3.2.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer.
        is_inside: Tells whether a client may publish, None if all may.
        channel_id: The channel id in the URL.
        fault: Why it cannot be one, None if it can.
    """

    location: PublisherLocation
    methods = {
        "GET": "get",
        "HEAD": "get",  # The ASGI server leaves out the body.
        "PUT": "put",
        "POST": "post",
        "DELETE": "delete",
        "OPTIONS": "options",
    }

    def __init__(
        self,
        location: PublisherLocation,
        choose_headers: ChooseHeaders,
        is_inside: IsInside | None,
        channel_id: str,
        fault: str | None,
    ) -> None:
        # (Channels' own __init__ makes a list for the body, which is read otherwise.)
        self.location = location
        self.choose_headers = choose_headers
        self.is_inside = is_inside
        self.channel_id = channel_id
        self.fault = fault

    def check_client(self) -> None:
        """Raise :class:`Forbidden` unless the client, and its page, may publish."""
        if self.is_inside is not None:
            client = self.scope.get("client") or (None, 0)
            hops = ""
            if not _HOPS.isdisjoint(self.headers):
                told = [self.headers.get(name) for name in _HOPS]
                hops = b",".join(filter(None, told)).decode("latin-1")
            if not self.is_inside(client[0], hops):
                raise Forbidden
        if b"origin" in self.headers or b"sec-fetch-site" in self.headers:
            self.check_page()

    def check_page(self) -> None:
        """Raise :class:`ForbiddenPage` if a page asks that may not publish."""
        # Django's request, because Django's settings decide what its own origin is. Of
        # the URL nothing is needed, and not all that is served here can be read there.
        scope = {**self.scope, "path": "/", "root_path": "", "query_string": b""}
        scope["headers"] = list(self.headers.items())
        request = ASGIRequest(scope, BytesIO())
        fault = find_page_fault(request, self.location.allow_origin)
        if fault is not None:
            raise ForbiddenPage(fault)

    async def get(self) -> Answer:
        """Tell the channel info."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().info(self.channel_id))

    async def put(self) -> Answer:
        """Create the channel if there is none; a body is no message."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().create(self.channel_id))

    async def post(self) -> Answer:
        """Publish the body: 201 if somebody waited and was sent it, else 202."""
        content_type = self.headers.get(b"content-type") or None
        try:
            check_content_type(content_type)
        except BadRequest:
            await self.discard_body()
            raise
        body = await self.read_body(self.location.max_message_size)
        delivered, info = await self.find_hub().publish(
            self.channel_id,
            body,
            content_type,
            keep=self.location.store_messages,
            create=self.location.create_on_post,
        )
        return self.build_info(201 if delivered else 202, info)

    async def delete(self) -> Answer:
        """End the held requests and drop the channel; tell what it was."""
        await self.discard_body()
        return self.build_info(200, await self.find_hub().delete(self.channel_id))

    def build_info(self, status: int, info: ChannelInfo) -> Answer:
        """Return an answer with channel info in the form that ``Accept`` asks for."""
        media_type = choose_info_type(self.headers.get(b"accept", b""))
        body = build_channel_info(info, media_type)
        headers = [
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
        ]
        if self.scope["method"] in ("GET", "HEAD"):
            headers.append(NO_CACHE)  # Nothing keeps the answers to other methods.
        return self.respond(status, headers, body)
