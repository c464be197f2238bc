"""What the scripts answer, as the store wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pushserver.publishers.update import Update
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.stores.fields import pack_fields, unpack_fields

from .lines import Line


class Reply(NamedTuple):
    """What a script answers.

    Attributes:
        status: ``ok``, ``none`` if there is no such channel, ``late`` if it came to its
            turn too late to know what became of it, or to matter.
        info: What is known of the channel.
        previous: The id before that of an appended message; where nothing was found in
            the stream, the store's mark.
        entries: What was found in the stream.
    """

    status: bytes
    info: ChannelInfo
    previous: bytes = b""
    entries: Sequence[list[Any]] = ()


def read_id(text: bytes) -> MessageId | None:
    """Return the id of a stream, None if it is empty."""
    if not text:
        return None
    second, tag = text.split(b"-")
    return MessageId(int(second), int(tag))


def read_entry(entry: list[Any]) -> Message:
    """Return the message of a stream's entry."""
    name, pairs = entry
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    kind, token = fields[b"type"], fields[b"token"]
    message_id = read_id(name)
    assert message_id is not None, "A stream's entry has an id."
    return Message(
        message_id,
        fields[b"body"],
        kind[1:] if kind else None,
        read_id(fields[b"previous"]),
        **read_fields(token),
    )


def add_fields(token: str, update: Update) -> str:
    """Return a token with the optional fields of a message behind it.

    The release before this one knows no other place for them: it takes whatever stands
    there for a token, and counts on four fields in an entry and four words in a notice.
    """
    fields = pack_fields(update)
    return f"{token};{fields}" if fields else token


def read_fields(token: bytes) -> dict[str, Any]:
    """Return the optional fields of a message, which stand behind its token."""
    _, _, fields = token.partition(b";")
    return unpack_fields(fields.decode("latin-1")) if fields else {}


def read_reply(line: Line, answer: bytes | list[Any], *, heard_here: bool) -> Reply:
    """Return what a script answered; the line learns the time from it."""
    if isinstance(answer, bytes):
        answer = [answer]
    head, *entries = answer
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
    return Reply(status, info, previous[0] if previous else b"", entries)


def range_after(message_id: MessageId) -> str:
    """Return where a stream goes on after an id."""
    if message_id.time < 0:
        return "-"
    if message_id.tag < 0:
        return f"{message_id.time}-0"
    return f"({message_id.time}-{message_id.tag}"
