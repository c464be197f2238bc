"""What a subscriber receives."""

from __future__ import annotations

import re
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pushserver.media_types import is_text, read_data

from .events import Event

#: The type that a server names for bytes without one.
OCTETS = "application/octet-stream"

_QUOTED = re.compile(r"%(0D|0A|00)")


@dataclass(frozen=True)
class Received:
    """A message that was received.

    Attributes:
        body: The message's bytes. On streams the ends of its lines are LF.
        id: Where a listener that begins after it continues: ``listen(url, after=id)``.
        content_type: Its Content-Type, empty if it has none.
        channel_id: The channel, None if the URL has one, and for polls of several.
        event: The name of its event, None for none, and for polls.
        missed: The id of the newest message that was missed before it, None for none.
    """

    body: bytes
    id: str
    content_type: str = ""
    channel_id: str | None = None
    event: str | None = None
    missed: str | None = None

    @property
    def data(self) -> Any:
        """The message as a page gets it (JSON parsed, other text a str, else bytes)."""
        return read_data(self.body, self.content_type)


def read_event(event: Event, position: str, missed: str | None) -> Received:
    """Return the message in an event.

    Args:
        event: The event.
        position: The position after it.
        missed: What was missed before it, None for nothing.
    """
    return Received(
        body=_read_body(event),
        id=position,
        content_type=event.content_type,
        channel_id=None if event.channel is None else _unquote(event.channel),
        event=event.name or None,
        missed=missed,
    )


def _read_body(event: Event) -> bytes:
    """Return the body of a message, decoded if the event has it in base64.

    Text may look the same. But what is text is sent as it is if it is UTF-8.
    """
    data = event.data or ""
    start = f"data:{event.content_type or OCTETS};base64,"
    if data.startswith(start):
        with suppress(ValueError):
            body = b64decode(data[len(start) :], validate=True)
            if not (is_text(event.content_type) and _is_utf8(body)):
                return body
    return data.encode()


def _unquote(channel_id: str) -> str:
    """Return a channel id as it is: a stream has CR, LF and NUL percent-encoded."""
    return _QUOTED.sub(lambda match: chr(int(match[1], 16)), channel_id)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
