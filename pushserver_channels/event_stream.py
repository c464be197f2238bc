"""The frames of server-sent events, as bytes. Source: streams, section 3."""

from __future__ import annotations

import json
import random
import re
from base64 import b64encode
from typing import NamedTuple

from pushserver.events import find_event_fault

from .messages import Message, MessageId
from .payloads import OCTETS, read_payload

#: Milliseconds after which a client reconnects: the least and the most.
RETRY = (1000, 3000)

#: The same if the server stops. The clients reconnect to another one, or to the same
#: one after its restart, so the range is wider.
RETRY_AFTER_STOP = (500, 10_000)

#: A comment, so that proxies do not close the connection as idle.
KEEP_ALIVE = b":\n\n"

_LINE_END = re.compile(r"\r\n|\r|\n")
_UNSAFE = re.compile(r"[\r\n\0]")


def quote_field(text: str) -> str:
    """Return a text for a field, with CR, LF and NUL percent-encoded."""
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", text)


def build_retry(bounds: tuple[int, int] = RETRY) -> bytes:
    """Return the field ``retry`` with a random time within bounds, in milliseconds."""
    return b"retry: %d\n" % random.randint(*bounds)


def build_head(position: str) -> bytes:
    """Return the beginning of a stream: the time to reconnect, and the position."""
    return build_retry() + b"id: %s\n: hi\n\n" % position.encode()


def build_position_frame(position: str) -> bytes:
    """Return a frame that has the position and no message."""
    return b"id: %s\n: hi\n\n" % position.encode()


def build_event(name: str, **data: object) -> bytes:
    """Return an event of the server itself, with JSON data."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def build_gap(channel_id: str, missed: MessageId) -> bytes:
    """Return the event that names the newest message that a client missed."""
    return build_event("push-gap", channel=channel_id, missed=str(missed))


def build_unavailable(seconds: int) -> bytes:
    """Return the event that tells a client to reconnect after some seconds."""
    retry = b"retry: %d\n" % (seconds * 1000)
    return retry + build_event("push-unavailable", retry_after=seconds)


class Frame(NamedTuple):
    """A message as a server-sent event, except for its position.

    Attributes:
        before: The bytes before the position.
        after: The bytes after it.
    """

    before: bytes
    after: bytes

    def with_position(self, position: str) -> bytes:
        """Return the whole event, with a position as its id."""
        return b"%sid: %s\n%s" % (self.before, position.encode(), self.after)


def build_frame(
    message: Message, channel_id: str, *, names_channel: bool, event: str | None
) -> Frame:
    """Return a message as a server-sent event.

    Args:
        message: The message.
        channel_id: Its channel.
        names_channel: Whether the event names the channel.
        event: The name of the event, None for the publisher's.
    """
    name = message.event if event is None else event
    before = ""
    if name and find_event_fault(name) is None:
        before = f"event: {name}\n"
    text, body, content_type = read_payload(message)
    lines = []
    if names_channel:
        lines.append(f"channel: {quote_field(channel_id)}\n")
    if message.exclude is not None:
        lines.append(f"exclude: {message.exclude}\n")
    if content_type is not None:
        lines.append(f"content-type: {quote_field(content_type)}\n")
    if text is None:
        data = b64encode(body).decode()
        lines.append(
            f"data: data:{quote_field(content_type or OCTETS)};base64,{data}\n\n"
        )
    else:
        lines += [f"data: {line}\n" for line in _LINE_END.split(text)]
        lines.append("\n")
    return Frame(before.encode(), "".join(lines).encode())
