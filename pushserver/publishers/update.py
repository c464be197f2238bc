"""The update: a message on its way from a publisher to a store."""

from __future__ import annotations

from typing import NamedTuple
from urllib.request import Request

from pushserver.conf import PublisherLocation


class Update(NamedTuple):
    """A message that is not published yet, and so has no id.

    Attributes:
        channel_id: The channel.
        body: The message's bytes.
        content_type: Its Content-Type, byte for byte; None for none.
        content_encoding: Its Content-Encoding, byte for byte; None for none.
        event: The name of its event, None for none.
        expires: Seconds after which it expires, None for the store's limit.
        exclude: The id of the page that is not to hear of it, None for none.
    """

    channel_id: str
    body: bytes
    content_type: bytes | None = None
    content_encoding: bytes | None = None
    event: str | None = None
    expires: float | None = None
    exclude: str | None = None


class Publication(NamedTuple):
    """An update, and where and how it is published.

    Attributes:
        update: The message and its channel.
        location: The publisher location, whose store keeps the message.
        keep: Whether subscribers can get the message later, if the location stores
            messages. If not, it goes to those only who wait now.
        key: The idempotency key: if a message of the channel had it within the last
            five minutes, nothing is published, and its receipt is returned.
        request: The POST request for publishing over HTTP. Receivers of
            ``pre_send_update`` may have added headers. None if there are no receivers.
    """

    update: Update
    location: PublisherLocation
    keep: bool = True
    key: str | None = None
    request: Request | None = None
