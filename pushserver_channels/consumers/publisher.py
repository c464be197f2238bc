"""Publisher locations: POST publishes, PUT creates, DELETE drops, GET tells."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

from django.core.handlers.asgi import ASGIRequest

from pushserver.addresses import (
    HOP_HEADERS,
    comes_by_unix_socket,
    is_inside,
    read_hops,
)
from pushserver.conf import PublisherLocation
from pushserver.origins import find_page_fault
from pushserver_channels.exceptions import (
    BadRequest,
    Forbidden,
    ForbiddenPage,
    UnixSocketForbidden,
)
from pushserver_channels.messages import ChannelInfo
from pushserver_channels.protocol import (
    REMEMBERED,
    build_channel_info,
    check_content_type,
    choose_info_type,
)

from .base import NO_CACHE, Answer, ChooseHeaders, PushConsumer

_HOP_HEADERS = {name.lower().encode(): name for name in HOP_HEADERS}
_HOP_NAMES = frozenset(_HOP_HEADERS)

#: Is given the address of a client, the addresses that proxies told, and whether the
#: client came by a unix socket that is allowed.
IsInside = Callable[..., bool]


def remember_who_is_inside(location: PublisherLocation) -> IsInside | None:
    """Return what tells whether a client may publish, None if all may.

    It keeps what it found: reading addresses takes as long as the rest of a publish,
    and few hosts publish.
    """
    if location.allow_from is None:
        return None
    networks = location.allow_from

    def find(client: str | None, hops: str, unix: bool) -> bool:
        return is_inside(networks, client, hops, unix=unix)

    # (Without names, which would make a call take twice as long.)
    remember = lru_cache(maxsize=128)(find)

    def look_up(client: str | None, hops: str, unix: bool = False) -> bool:
        return (remember if len(hops) <= REMEMBERED else find)(client, hops, unix)

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
        self.check_address()
        if b"origin" in self.headers or b"sec-fetch-site" in self.headers:
            self.check_page()

    def check_address(self) -> None:
        """Raise :class:`Forbidden` unless the client's address may publish."""
        allowed = self.location.allow_from
        if allowed is None or self.is_inside is None:
            return
        client = self.scope.get("client")
        address = client[0] if client else None
        unix = not address and comes_by_unix_socket(client, self.scope.get("server"))
        if unix and not allowed.unix:
            raise UnixSocketForbidden
        hops = ""
        if not _HOP_NAMES.isdisjoint(self.headers):
            hops = self.read_hops()
        if not self.is_inside(address, hops, unix):
            raise Forbidden

    def read_hops(self) -> str:
        """Return the addresses that proxies told, with commas between them."""
        told = {
            name: self.headers[key].decode("latin-1")
            for key, name in _HOP_HEADERS.items()
            if key in self.headers
        }
        return read_hops(told.get)

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

    def max_ignored_body(self) -> int:
        """Return as much as a message may have: who is refused shall be told why."""
        return max(self.location.max_message_size, super().max_ignored_body())

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
        except BadRequest as error:
            return await self.refuse(error)
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
