"""Whether the body of a message is text or bytes, for transports that differ."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from pushserver.media_types import is_text

from .messages import Message

OCTETS = "application/octet-stream"


class Payload(NamedTuple):
    """The body of a message as a stream sends it.

    Attributes:
        text: The text, None if the body is binary.
        body: The bytes.
        content_type: The content type, None if the message has none.
    """

    text: str | None
    body: bytes
    content_type: str | None


def read_payload(message: Message) -> Payload:
    """Return the body of a message, decoded if it is text.

    It is text if its content type is that of a text, or is missing, and the bytes are
    valid UTF-8. A body with a content encoding, such as gzip, is binary.
    """
    kind = message.content_type
    content_type = None if kind is None else kind.decode("latin-1")
    text = None
    if is_text(content_type) and message.content_encoding is None:
        with suppress(UnicodeDecodeError):
            text = message.body.decode()
    return Payload(text, message.body, content_type)
