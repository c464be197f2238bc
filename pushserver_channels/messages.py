"""What is published: messages, their ids, and what is known of a channel."""

from __future__ import annotations

from typing import NamedTuple

from pushserver.publishers.update import Update


class MessageId(NamedTuple):
    """The name of a message in its channel; ids of a channel only grow.

    Attributes:
        time: Whole seconds of Unix time.
        tag: Counts messages inside that second.
    """

    time: int
    tag: int

    def __str__(self) -> str:
        return f"{self.time}:{self.tag}"


#: Before every message: what a client has that names no message.
START = MessageId(-1, -1)


class Message(NamedTuple):
    """A published message.

    Attributes:
        id: Its name.
        body: Bytes, as they were published.
        content_type: The publisher's Content-Type, byte for byte; None if it sent none.
        previous: The id of the message before it in its channel, None for the first.
        content_encoding: The publisher's Content-Encoding, byte for byte, or None.
        event: The name of its event, None for none.
        expires: Seconds after which it is of no use any more, None for the store's
            limit.
    """

    id: MessageId
    body: bytes
    content_type: bytes | None
    previous: MessageId | None
    content_encoding: bytes | None = None
    event: str | None = None
    expires: float | None = None

    @classmethod
    def of(
        cls, update: Update, message_id: MessageId, previous: MessageId | None
    ) -> Message:
        """Return the message that an update becomes with its id."""
        _, body, content_type, content_encoding, event, expires = update
        return cls(
            message_id, body, content_type, previous, content_encoding, event, expires
        )

    def gap_after(self, last_seen: MessageId) -> MessageId | None:
        """Return the newest message that a client missed, None if it missed none.

        A client missed nothing if it has the message before this one. Any other id is
        older, or was never given in this history of the channel: the channel was
        deleted, or the store lost its messages, or its clock was ahead.

        Args:
            last_seen: The id that the client named. One without a time (no id, or the
                epoch) is a client's that starts, which missed nothing.

        Source: protocol, "Loss is never silent".
        """
        previous = self.previous
        if previous is None or previous == last_seen or last_seen.time <= 0:
            return None
        if previous < last_seen < self.id and last_seen.tag <= 0:
            return None  # A moment, not a message: ``time:0``, or a date alone.
        if last_seen.tag < 0 and last_seen >= self.id:
            return None  # A date names no message that could have another after it.
        return previous


class ChannelInfo(NamedTuple):
    """What is known of a channel.

    Attributes:
        messages: How many are kept.
        requested: Seconds since a subscriber last asked, -1 if none ever did.
        last_message_id: The newest one's, 0:0 if there was none.
        subscribers: How many requests are held.
    """

    messages: int
    requested: int
    last_message_id: MessageId
    subscribers: int = 0
