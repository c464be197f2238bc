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

#: Milliseconds after which a client comes back whose stream has ended.
RETRY = (1000, 3000)

#: The same for those whom a server sends away that stops: they come back to another
#: one, or to the same one when it has started again.
RETRY_AFTER_STOP = (500, 10_000)

#: A comment, so that nothing on the way takes the connection for dead.
KEEP_ALIVE = b":\n\n"

_LINE_END = re.compile(r"\r\n|\r|\n")
_UNSAFE = re.compile(r"[\r\n\0]")


def quote_field(text: str) -> str:
    """Return a text as it stands in a field: CR, LF and NUL percent-encoded."""
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", text)


def build_retry(bounds: tuple[int, int] = RETRY) -> bytes:
    """Return the field that says when a client comes back, at random."""
    return b"retry: %d\n" % random.randint(*bounds)


def build_head(position: str) -> bytes:
    """Return the beginning of a stream: when to come back, and where it stands."""
    return build_retry() + b"id: %s\n: hi\n\n" % position.encode()


def build_place(position: str) -> bytes:
    """Return a frame without a message, which tells where the client stands."""
    return b"id: %s\n: hi\n\n" % position.encode()


def build_event(name: str, **data: object) -> bytes:
    """Return an event of the server itself."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def build_gap(channel_id: str, missed: MessageId) -> bytes:
    """Return the event that says what a client missed."""
    return build_event("push-gap", channel=channel_id, missed=str(missed))


def build_unavailable(seconds: int) -> bytes:
    """Return what a client is told that is to come back after some seconds."""
    retry = b"retry: %d\n" % (seconds * 1000)
    return retry + build_event("push-unavailable", retry_after=seconds)


class Frame(NamedTuple):
    """A message as it is sent.

    Attributes:
        before: What is before the position.
        after: What is behind it.
    """

    before: bytes
    after: bytes

    def at(self, position: str) -> bytes:
        """Return the whole frame."""
        return b"%sid: %s\n%s" % (self.before, position.encode(), self.after)


def build_frame(
    message: Message, channel_id: str, *, names_channel: bool, event: str | None
) -> Frame:
    """Return a message as it is sent.

    Args:
        message: The message.
        channel_id: Its channel.
        names_channel: Whether the frame tells the channel.
        event: The name of the event, None for the one that the publisher gave.
    """
    name = message.event if event is None else event
    before = ""
    if name and find_event_fault(name) is None:
        before = f"event: {name}\n"
    text, body, content_type = read_payload(message)
    lines = []
    if names_channel:
        lines.append(f"channel: {quote_field(channel_id)}\n")
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
