"""Publish and subscribe as the checks need it, and keep what they found out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pushserver.access.tokens import make_token
from pushserver.conf import (
    PublisherLocation,
    StoreSettings,
    SubscriberLocation,
)
from pushserver.paths import build_path
from pushserver.publishers import PublishError, Receipt
from pushserver.updates import publisher_url, send_update

from .echo import make_channel_id
from .findings import Failure, NotChecked
from .open_streams import OpenStream
from .requests import Response, SentRequest

Opened = TypeVar("Opened", bound=OpenStream)

#: The data of a message, long enough for a proxy to compress it.
PADDING = "All of this is here to be compressed. " * 60

#: The statuses of an accepted message.
ACCEPTED = (201, 202)

EPOCH = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}


class Probe:
    """Makes the requests of the checks, and keeps what was found out so far.

    Args:
        url: The public URL of the site.
        publisher: The location at which this process publishes.
        subscriber: The location at which these messages are received.
        store: The settings of the store of both.
        patience: Seconds within which a request that is not held must be answered.
        delay: Seconds within which a message must reach a waiting subscriber.
        streams: The location of each transport that is not a poll, by its name.

    Attributes:
        channel: The channel of the first message that was received.
        first_response: The response with that message, None if there was none.
        sends_elsewhere: Whether send_update() reaches another push server.
        cannot_send: Whether send_update() of this process fails.
        is_split: Whether several processes answer without sharing their messages.
    """

    def __init__(
        self,
        url: str,
        publisher: PublisherLocation,
        subscriber: SubscriberLocation,
        store: StoreSettings,
        *,
        patience: float,
        delay: float,
        streams: Mapping[str, SubscriberLocation] = MappingProxyType({}),
    ) -> None:
        self.base = url.rstrip("/")
        self.publisher = publisher
        self.subscriber = subscriber
        self.store = store
        self.patience = patience
        self.delay = delay
        self.streams = streams
        self.channel = ""
        self.first_response: Response | None = None
        self.sends_elsewhere = False
        self.cannot_send = False
        self.is_split = False
        self._channels: list[str] = []

    def new_channel(self, channel_id: str | None = None) -> str:
        """Return a channel id that is used only here; create the channel if needed."""
        channel_id = channel_id or make_channel_id()
        self._channels.append(channel_id)
        if not self.publisher.create_on_post:
            SentRequest(
                publisher_url(channel_id), "PUT", patience=self.patience
            ).response()
        return channel_id

    def ask(
        self,
        channel_id: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        query: str = "",
        patience: float | None = None,
    ) -> SentRequest:
        """Send a subscriber's request, by default for the oldest message."""
        return SentRequest(
            self.find_url(self.subscriber, channel_id, query),
            method,
            {**EPOCH, **(headers or {})},
            patience=self.patience if patience is None else patience,
        )

    def find_url(
        self, location: SubscriberLocation, channel_id: str, query: str = ""
    ) -> str:
        """Return the public URL of a channel, with a token if the location has them."""
        url = self.base + build_path(location.url, channel_id) + query
        if not location.signed:
            return url
        token = make_token(location.store, (channel_id,))
        return f"{url}{'&' if query else '?'}token={token}"

    @property
    def origin(self) -> str:
        """The origin of the site's pages."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    def open(
        self,
        kind: type[Opened],
        location: SubscriberLocation,
        channel_id: str,
        seen: dict[str, str] | None = None,
        *,
        origin: bool = False,
    ) -> Opened:
        """Send the request for a stream.

        Args:
            kind: The class of the stream.
            location: The location.
            channel_id: The channel.
            seen: The headers of the last message to skip, None for none.
            origin: Whether to send the origin of the site's pages.
        """
        return kind(
            self.find_url(location, channel_id),
            {**(seen or EPOCH), **({"Origin": self.origin} if origin else {})},
            patience=self.patience,
        )

    def post(
        self, channel_id: str, source: str | None = None, *, body: bytes | None = None
    ) -> SentRequest:
        """Publish at the public URL, as any client might."""
        url = self.base + build_path(self.publisher.url, channel_id)
        if not self.publisher.create_on_post:
            # Otherwise a 404 would hide whether publishing is refused.
            SentRequest(url, "PUT", patience=self.patience, source=source).response()
        return SentRequest(
            url,
            "POST",
            {"Content-Type": "application/json"},
            json.dumps(PADDING).encode() if body is None else body,
            patience=self.patience,
            source=source,
        )

    def send(self, channel_id: str, data: Any = PADDING, **options: Any) -> Receipt:
        """Publish by send_update(), as the site does."""
        receipt = send_update(channel_id, data, **options)
        if receipt is None:
            raise Failure(
                "A failure to publish was ignored (PUSH_SERVER_IGNORE_ERRORS).",
                "Its reason is in the log.",
            )
        return receipt

    def publish(self, channel_id: str, data: Any = PADDING) -> None:
        """Publish by send_update() or at the public URL, whichever works."""
        if not (self.cannot_send or self.sends_elsewhere):
            with suppress(PublishError, Failure):
                self.send(channel_id, data)
                return
        body = json.dumps(data).encode()
        if self.post(channel_id, body=body).response().status not in ACCEPTED:
            raise NotChecked(
                "Nothing can be published: not by send_update() of this process, and"
                " not at the public URL."
            )

    def require_shared_messages(self) -> None:
        """Raise ``NotChecked`` if processes do not share their messages."""
        if self.is_split:
            raise NotChecked("It depends on which process answers.")

    def require_response(self) -> Response:
        """Return the first response with a message, or raise ``NotChecked``."""
        self.require_shared_messages()
        if self.first_response is None:
            raise NotChecked("No message is received at the public URL.")
        return self.first_response

    def message_id_headers(self, response: Response) -> dict[str, str]:
        """Return the request headers that name the message of a response.

        Raises:
            NotChecked: The id does not arrive as it was sent, so it names another
                message or none.
        """
        date, tag = response.headers["Last-Modified"], response.headers["Etag"]
        if date is None or tag is None or not tag.isdigit():
            raise NotChecked("The id of a message does not arrive as it was sent.")
        return {"If-Modified-Since": date, "If-None-Match": tag}

    def clean_up(self) -> None:
        """Delete the channels that were used."""
        for channel_id in self._channels:
            url = publisher_url(channel_id)
            if not SentRequest(url, "DELETE", patience=self.patience).response().status:
                break  # The server removes them after channel_timeout.


def is_message(response: Response) -> bool:
    """Return whether a response holds a message of the probe."""
    if response.status != 200:
        return False
    try:
        return bool(json.loads(response.body) == PADDING)
    except ValueError:
        return False
