"""The messages of a channel, as a page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushserver_channels.messages import Message, MessageId
from pushserver_channels.payloads import read_payload

#: The most characters of a text, and bytes of other bodies, that are shown.
MAX_TEXT = 1000
MAX_BYTES = 64


def describe_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return what a page shows of messages.

    Args:
        messages: Some of the messages of a channel, oldest first.

    Returns them newest first. A message has a gap if the one before it is missing.
    """
    described = []
    before: MessageId | None = None
    for index, message in enumerate(messages):
        entry = _describe(message)
        previous = message.previous
        if previous is not None and previous.time > 0 and previous != before:
            entry["missed"] = str(previous)
            # What was before the first one may be kept, and not shown.
            entry["is_first"] = index == 0
        described.append(entry)
        before = message.id
    return described[::-1]


def _describe(message: Message) -> dict[str, Any]:
    payload = read_payload(message)
    if payload.text is None:
        body = message.body[:MAX_BYTES].hex(" ")
        is_cut = len(message.body) > MAX_BYTES
    else:
        body = payload.text[:MAX_TEXT]
        is_cut = len(payload.text) > MAX_TEXT
    encoding = message.content_encoding
    return {
        "id": str(message.id),
        "time": message.id.time,
        "size": len(message.body),
        "content_type": payload.content_type,
        "encoding": None if encoding is None else encoding.decode("latin-1"),
        "event": message.event,
        "expires": message.expires,
        "body": body,
        "is_text": payload.text is not None,
        "is_cut": is_cut,
        "missed": None,
        "is_first": False,
    }
