"""A publisher for the tests of a site: it records messages in place of sending them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.core import mail

from pushserver.media_types import read_data
from pushserver.test_environment import live_server

from .base import PublishError, Receipt
from .update import Publication

#: The id of the last message of a channel that has had none.
_NO_MESSAGE = "0:0"


@dataclass(frozen=True)
class SentUpdate:
    """A message that was published in a test.

    Attributes:
        channel_id: The channel.
        body: The message's bytes.
        content_type: Its Content-Type, empty if it has none.
        event: The name of its event, None for none.
        location: The name of the publisher location, None if it has none.
        keep: Whether it is kept for subscribers that come later.
        expires: Seconds after which it expires, None for the store's limit.
    """

    channel_id: str
    body: bytes
    content_type: str = ""
    event: str | None = None
    location: str | None = None
    keep: bool = True
    expires: float | None = None

    @property
    def data(self) -> Any:
        """The message as a page gets it (JSON parsed, other text a str, else bytes)."""
        return read_data(self.body, self.content_type)


class Outbox:
    """The messages that were published in the current test.

    Django's test cases begin with a new ``mail.outbox``, so this begins anew with it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._mail: object = None
        self._sent: list[SentUpdate] = []
        self._captures: list[list[SentUpdate]] = []
        self._last_ids: dict[str, str] = {}
        # By channel and idempotency key.
        self._receipts: dict[tuple[str, str | None], Receipt] = {}
        self._tag = 0

    def read(self) -> list[SentUpdate]:
        """Return the list of the messages, oldest first."""
        outbox = getattr(mail, "outbox", None)
        if outbox is not self._mail:
            self._mail = outbox
            self.clear()
        return self._sent

    def clear(self) -> None:
        """Forget the messages, as at the start of a test."""
        self._sent = []
        self._last_ids = {}
        self._receipts = {}

    def record(self, publication: Publication) -> Receipt:
        """Record a message; return the receipt of a channel without subscribers.

        One whose idempotency key was used in the test is not recorded again.
        """
        sent = _describe(publication)
        once = (sent.channel_id, publication.key)
        with self._lock:
            messages = self.read()
            if once in self._receipts:
                return self._receipts[once]
            for each in (messages, *self._captures):
                each.append(sent)
            receipt = self._make_receipt(sent.channel_id)
            if publication.key is not None:
                self._receipts[once] = receipt
        return receipt

    def _make_receipt(self, channel_id: str) -> Receipt:
        self._tag += 1
        last_id = f"{int(time.time())}:{self._tag}"
        self._last_ids[channel_id] = last_id
        info = {
            "messages": sum(each.channel_id == channel_id for each in self._sent),
            "requested": -1,
            "subscribers": 0,
            "last_message_id": last_id,
        }
        return Receipt(202, info)

    def find_last_ids(self, channel_ids: Sequence[str]) -> list[str]:
        """Return the id of the last message of each channel."""
        with self._lock:
            self.read()
            return [self._last_ids.get(each, _NO_MESSAGE) for each in channel_ids]

    @contextmanager
    def capturing(self) -> Iterator[list[SentUpdate]]:
        """Give a list to which messages are also added, while the context lasts."""
        captured: list[SentUpdate] = []
        self._captures.append(captured)
        try:
            yield captured
        finally:
            self._captures = [each for each in self._captures if each is not captured]


def _describe(publication: Publication) -> SentUpdate:
    """Return a message as tests see it."""
    update = publication.update
    return SentUpdate(
        channel_id=update.channel_id,
        body=update.body,
        content_type=(update.content_type or b"").decode("latin-1"),
        event=update.event,
        location=publication.location.name,
        keep=publication.keep,
        expires=update.expires,
    )


outbox = Outbox()


class LocmemPublisher:
    """Records messages, and sends them to the live server of a test if there is one."""

    def publish_sync(self, publication: Publication) -> Receipt:
        receipt = outbox.record(publication)
        if live_server.publisher is None:
            return receipt
        return live_server.publisher.publish_sync(publication)

    async def publish(self, publication: Publication) -> Receipt:
        receipt = outbox.record(publication)
        if live_server.publisher is None:
            return receipt
        return await live_server.publisher.publish(publication)

    def publish_several_sync(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        receipts: list[Receipt | PublishError] = [*map(outbox.record, publications)]
        if live_server.publisher is None:
            return receipts
        return live_server.publisher.publish_several_sync(publications)

    async def publish_several(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        receipts: list[Receipt | PublishError] = [*map(outbox.record, publications)]
        if live_server.publisher is None:
            return receipts
        return await live_server.publisher.publish_several(publications)

    def find_last_ids_sync(self, channel_ids: Sequence[str]) -> list[str]:
        if live_server.publisher is None:
            return outbox.find_last_ids(channel_ids)
        return live_server.publisher.find_last_ids_sync(channel_ids)

    async def find_last_ids(self, channel_ids: Sequence[str]) -> list[str]:
        if live_server.publisher is None:
            return outbox.find_last_ids(channel_ids)
        return await live_server.publisher.find_last_ids(channel_ids)
