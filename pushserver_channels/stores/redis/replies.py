"""What the scripts answer, as the store wants it."""

from __future__ import annotations

from typing import Any, NamedTuple

from pushserver_channels.messages import ChannelInfo, Message, MessageId

from .lines import Line


class Reply(NamedTuple):
    """What a script answers.

    Attributes:
        status: ``ok``, ``none`` if there is no such channel, ``late`` if it came to its
            turn too late to know what became of it, or to matter.
        info: What is known of the channel.
        previous: The id before that of an appended message; where nothing was found in
            the stream, the store's mark.
        entry: What was found in the stream.
    """

    status: bytes
    info: ChannelInfo
    previous: bytes = b""
    entry: list[Any] | None = None


def read_id(text: bytes) -> MessageId | None:
    """Return the id of a stream, None if it is empty."""
    if not text:
        return None
    second, tag = text.split(b"-")
    return MessageId(int(second), int(tag))


def read_entry(entry: list[Any]) -> Message:
    """Return the message of a stream's entry."""
    name, (_, _, _, previous, _, kind, _, body) = entry
    message_id = read_id(name)
    assert message_id is not None
    return Message(message_id, body, kind[1:] if kind else None, read_id(previous))


def read_reply(line: Line, answer: bytes | list[Any], *, heard_here: bool) -> Reply:
    """Return what a script answered; the line learns the time from it."""
    head, entry = (answer, None) if isinstance(answer, bytes) else answer
    status, clock, *known = head.split(b" ")
    line.set_clock(float(clock))
    if not known:
        return Reply(status, ChannelInfo(0, -1, MessageId(0, 0)))
    heard_by, messages, requested, second, tag, *previous = known
    info = ChannelInfo(
        messages=int(messages),
        requested=int(requested),
        last_message_id=MessageId(int(second), int(tag)),
        subscribers=max(int(heard_by) - heard_here, 0),
    )
    return Reply(status, info, previous[0] if previous else b"", entry)


def range_after(message_id: MessageId) -> str:
    """Return where a stream goes on after an id."""
    if message_id.time < 0:
        return "-"
    if message_id.tag < 0:
        return f"{message_id.time}-0"
    return f"({message_id.time}-{message_id.tag}"
