"""Read the answers of the scripts, and write the fields of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pushserver.publishers.idempotency import find_lifetime
from pushserver.publishers.update import Update
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.stores.fields import pack_fields, unpack_fields

from .connection import Connection

#: The info of a channel that does not exist.
NO_INFO = ChannelInfo(0, -1, MessageId(0, 0))


class Reply(NamedTuple):
    """The answer of a script.

    Attributes:
        status: ``ok``; ``none`` if there is no such channel; ``late`` if the script ran
            after the deadline of its message, or so late that it is unknown whether the
            message was appended before; ``again`` if a message had the same idempotency
            key, whose info this is.
        info: The channel info.
        previous: The id before that of an appended message. If a lookup found nothing,
            the id of the shard's mark.
        entries: The entries of the stream that were found.
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
    """Return the message in an entry of a stream."""
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
    """Return a token followed by the optional fields of a message.

    The previous release accepts no other place for them: it reads the whole as a token,
    and expects four fields in an entry and four words in a published message.
    """
    fields = pack_fields(update)
    return f"{token};{fields}" if fields else token


def read_fields(token: bytes) -> dict[str, Any]:
    """Return the optional fields of a message, which follow its token."""
    _, _, fields = token.partition(b";")
    return unpack_fields(fields.decode("latin-1")) if fields else {}


def read_reply(
    connection: Connection, answer: bytes | list[Any], *, listens: bool
) -> Reply:
    """Return the answer of a script, and set the connection's clock by it.

    Args:
        connection: The connection on which it came.
        answer: The answer.
        listens: Whether this process is subscribed to the channel. If so, Redis has
            counted it as a subscriber, and it is subtracted.
    """
    parts: list[Any] = answer if isinstance(answer, list) else [answer]
    head, *entries = parts
    status, clock, *known = head.split(b" ")
    connection.set_clock(float(clock))
    if not known:
        return Reply(status, NO_INFO)
    listeners, messages, requested, second, tag, *previous = known
    if status == b"again":
        listens = False  # It was subtracted when the message was appended.
    info = ChannelInfo(
        int(messages),
        int(requested),
        MessageId(int(second), int(tag)),
        max(int(listeners) - listens, 0),
    )
    return Reply(status, info, previous[0] if previous else b"", entries)


def add_key(key: str | None, waiting: int = 0, *, listens: bool = False) -> str:
    """Return the end of the words of a message: its idempotency key, if it has one.

    Args:
        key: The key, None for none.
        waiting: The number of subscribers that wait in this process.
        listens: Whether this process is subscribed to the channel, so that Redis counts
            it as a subscriber.
    """
    return "" if key is None else f" {find_lifetime(key)} {waiting - listens} {key}"


def range_after(message_id: MessageId) -> str:
    """Return the start of the range of a stream that follows an id."""
    if message_id.time < 0:
        return "-"
    if message_id.tag < 0:
        return f"{message_id.time}-0"
    return f"({message_id.time}-{message_id.tag}"
