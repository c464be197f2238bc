"""The messages on a WebSocket, by subprotocol. Source: streams, section 4."""

from __future__ import annotations

from urllib.parse import quote

from .event_stream import quote_field
from .messages import Message, MessageId
from .payloads import read_payload
from .types import ASGIMessage

NCHAN = "ws+meta.nchan"
PUSHSERVER = "ws+meta.pushserver"

#: The subprotocols that the server knows.
SUBPROTOCOLS = (PUSHSERVER, NCHAN)


def choose_subprotocol(offered: list[str]) -> str | None:
    """Return the first known subprotocol that a client offers, None if none is."""
    return next((each for each in offered if each in SUBPROTOCOLS), None)


def build_position_frame(position: str) -> ASGIMessage:
    """Return a message that has the position and no body."""
    return _make_event(f"id: {position}\n\n", "", b"")


def build_fault_event(name: str, channel_id: str) -> ASGIMessage:
    """Return the event that reports the fault of one of several channels."""
    head = f"channel: {quote(channel_id, safe='')}\nevent: {name}\n\n"
    return _make_event(head, "", b"")


def build_bare(message: Message) -> ASGIMessage:
    """Return a message as its body alone."""
    text, body, _ = read_payload(message)
    return _make_event("", text, body)


def build_nchan(message: Message, position: str) -> ASGIMessage:
    """Return a message in the subprotocol ``ws+meta.nchan``."""
    text, body, content_type = read_payload(message)
    head = f"id: {position}\n{_build_type(content_type)}\n"
    return _make_event(head, text, body)


def build_pushserver(
    message: Message, channel_id: str | None, gap: MessageId | None
) -> ASGIMessage:
    """Return a message in the subprotocol ``ws+meta.pushserver``.

    Args:
        message: The message.
        channel_id: Its channel, None if the socket has only one.
        gap: The id of the newest message that was missed before it, None if none was.
    """
    text, body, content_type = read_payload(message)
    head = "".join(
        (
            "" if channel_id is None else f"channel: {quote(channel_id, safe='')}\n",
            f"id: {message.id}\n",
            f"event: {quote_field(message.event)}\n" if message.event else "",
            f"exclude: {message.exclude}\n" if message.exclude else "",
            _build_type(content_type),
            "" if gap is None else f"push-gap: {gap}\n",
            "\n",
        )
    )
    return _make_event(head, text, body)


def _build_type(content_type: str | None) -> str:
    return "" if content_type is None else f"content-type: {content_type}\n"


def _make_event(head: str, text: str | None, body: bytes) -> ASGIMessage:
    """Return the ASGI event of a text message, or of a binary one if text is None."""
    if text is None:
        return {"type": "websocket.send", "bytes": head.encode() + body}
    return {"type": "websocket.send", "text": head + text}
