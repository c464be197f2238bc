"""The update: a message on its way from a publisher to a store."""

from __future__ import annotations

from typing import NamedTuple


class Update(NamedTuple):
    """A message that is not published yet, and so has no id.

    Attributes:
        channel_id: The channel.
        body: The message's bytes.
        content_type: Its Content-Type, byte for byte; None for none.
        content_encoding: Its Content-Encoding, byte for byte; None for none.
        event: The name of its event, None for none.
        expires: Seconds after which it expires, None for the store's limit.
    """

    channel_id: str
    body: bytes
    content_type: bytes | None = None
    content_encoding: bytes | None = None
    event: str | None = None
    expires: float | None = None
