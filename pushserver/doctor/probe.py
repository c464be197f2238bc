"""The way from this process to subscribers, and how it is tried."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

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
from .requests import Response, SentRequest

#: Makes the answers long enough for a proxy to think of compressing them.
PADDING = "All of this is here to be compressed. " * 60

#: What a publisher is answered whose message was taken.
ACCEPTED = (201, 202)

EPOCH = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}


class Probe:
    """Asks and publishes, and knows what is known so far.

    Args:
        url: The public URL of the site.
        publisher: Where this process publishes.
        subscriber: Where that can be received.
        store: The store of both.
        patience: Seconds in which an answer has to come that is not held.
        delay: Seconds that a message may take to a waiting subscriber.

    Attributes:
        channel: The channel of a message that was received,
        first: and the answer that held it.
        sends_elsewhere: Whether what this process sends does not arrive.
        cannot_send: Whether this process cannot publish by send_update().
        is_split: Whether several processes answer that do not share their messages.
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
    ) -> None:
        self.base = url.rstrip("/")
        self.publisher = publisher
        self.subscriber = subscriber
        self.store = store
        self.patience = patience
        self.delay = delay
        self.channel = ""
        self.first_response: Response | None = None
        self.sends_elsewhere = False
        self.cannot_send = False
        self.is_split = False
        self._channels: list[str] = []

    def new_channel(self, channel_id: str | None = None) -> str:
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
        patience: float | None = None,
    ) -> SentRequest:
        """Ask the subscriber location, for the oldest message if nothing is said."""
        return SentRequest(
            self.base + build_path(self.subscriber.url, channel_id),
            method,
            {**EPOCH, **(headers or {})},
            patience=self.patience if patience is None else patience,
        )

    def post(
        self, channel_id: str, source: str | None = None, *, body: bytes | None = None
    ) -> SentRequest:
        """Publish as the world might."""
        url = self.base + build_path(self.publisher.url, channel_id)
        if not self.publisher.create_on_post:
            # Or a 404 would not tell whether publishing is refused.
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
        """Publish as the site does."""
        receipt = send_update(channel_id, data, **options)
        if receipt is None:
            raise Failure(
                "A failure to publish was ignored (PUSH_SERVER_IGNORE_ERRORS).",
                "Its reason is in the log.",
            )
        return receipt

    def publish(self, channel_id: str) -> None:
        """Publish in any way that arrives, so that more can be found out."""
        if not (self.cannot_send or self.sends_elsewhere):
            with suppress(PublishError, Failure):
                self.send(channel_id)
                return
        if self.post(channel_id).response().status not in ACCEPTED:
            raise NotChecked(
                "Nothing can be published: not by send_update() of this process, and"
                " not at the public URL."
            )

    def require_shared_messages(self) -> None:
        """Raise ``NotChecked`` if not each request finds the same messages."""
        if self.is_split:
            raise NotChecked("It depends on which process answers.")

    def require_response(self) -> Response:
        """Return the answer to a subscriber for whom there was a message."""
        self.require_shared_messages()
        if self.first_response is None:
            raise NotChecked("No message is received at the public URL.")
        return self.first_response

    def message_id_headers(self, response: Response) -> dict[str, str]:
        """Return the headers that name an answer's message."""
        date, tag = response.headers["Last-Modified"], response.headers["Etag"]
        if date is None or tag is None:
            raise NotChecked("The id of a message does not arrive.")
        return {"If-Modified-Since": date, "If-None-Match": tag}

    def clean_up(self) -> None:
        """Delete the channels that were made."""
        for channel_id in self._channels:
            url = publisher_url(channel_id)
            if not SentRequest(url, "DELETE", patience=self.patience).response().status:
                break  # They are forgotten in time.


def is_message(response: Response) -> bool:
    """Return whether an answer is the message that is published here."""
    if response.status != 200:
        return False
    try:
        return bool(json.loads(response.body) == PADDING)
    except ValueError:
        return False
