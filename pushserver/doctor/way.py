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
from .findings import Failure, NotTried
from .visits import Answer, Visit

#: Makes the answers long enough for a proxy to think of compressing them.
PADDING = "All of this is here to be compressed. " * 60

#: What a publisher is answered whose message was taken.
TAKEN = (201, 202)

EPOCH = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}


class Way:
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
        self.first: Answer | None = None
        self.sends_elsewhere = False
        self.cannot_send = False
        self.is_split = False
        self._channels: list[str] = []

    def new_channel(self, channel_id: str | None = None) -> str:
        channel_id = channel_id or make_channel_id()
        self._channels.append(channel_id)
        if not self.publisher.create_on_post:
            Visit(publisher_url(channel_id), "PUT", patience=self.patience).answer()
        return channel_id

    def ask(
        self,
        channel_id: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        patience: float | None = None,
    ) -> Visit:
        """Ask the subscriber location, for the oldest message if nothing is said."""
        return Visit(
            self.base + build_path(self.subscriber.url, channel_id),
            method,
            {**EPOCH, **(headers or {})},
            patience=self.patience if patience is None else patience,
        )

    def post(
        self, channel_id: str, source: str | None = None, *, body: bytes | None = None
    ) -> Visit:
        """Publish as the world might."""
        url = self.base + build_path(self.publisher.url, channel_id)
        if not self.publisher.create_on_post:
            # Or a 404 would not tell whether publishing is refused.
            Visit(url, "PUT", patience=self.patience, source=source).answer()
        return Visit(
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
        if self.post(channel_id).answer().status not in TAKEN:
            raise NotTried(
                "Nothing can be published: not by send_update() of this process, and"
                " not at the public URL."
            )

    def check_same_messages(self) -> None:
        """Raise ``NotTried`` if not each request finds the same messages."""
        if self.is_split:
            raise NotTried("It depends on which process answers.")

    def received(self) -> Answer:
        """Return the answer to a subscriber for whom there was a message."""
        self.check_same_messages()
        if self.first is None:
            raise NotTried("No message is received at the public URL.")
        return self.first

    def name(self, answer: Answer) -> dict[str, str]:
        """Return the headers that name an answer's message.

        Raises:
            NotTried: The id does not arrive as it was sent, so it names another message
                or none.
        """
        date, tag = answer.headers["Last-Modified"], answer.headers["Etag"]
        if date is None or tag is None or not tag.isdigit():
            raise NotTried("The id of a message does not arrive as it was sent.")
        return {"If-Modified-Since": date, "If-None-Match": tag}

    def clean_up(self) -> None:
        """Delete the channels that were made."""
        for channel_id in self._channels:
            url = publisher_url(channel_id)
            if not Visit(url, "DELETE", patience=self.patience).answer().status:
                break  # They are forgotten in time.


def is_message(answer: Answer) -> bool:
    """Return whether an answer is the message that is published here."""
    if answer.status != 200:
        return False
    try:
        return bool(json.loads(answer.body) == PADDING)
    except ValueError:
        return False
