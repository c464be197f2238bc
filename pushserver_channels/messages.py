"""Messages, their ids, and channel info."""

from __future__ import annotations

from typing import NamedTuple

from pushserver.publishers.update import Update


class MessageId(NamedTuple):
    """The id of a message in its channel. The ids of a channel only increase.

    Attributes:
        time: Unix time, in whole seconds.
        tag: The number of the message within that second.
    """

    time: int
    tag: int

    def __str__(self) -> str:
        return f"{self.time}:{self.tag}"


#: An id before every message, for a client that has none yet.
START = MessageId(-1, -1)


class Message(NamedTuple):
    """A published message.

    Attributes:
        id: The id.
        body: The body as it was published.
        content_type: The publisher's Content-Type, byte for byte; None if it sent none.
        previous: The id of the message before it in its channel, None for the first.
        content_encoding: The publisher's Content-Encoding, byte for byte, or None.
        event: The name of the event, or None.
        expires: Seconds after which the message expires, None for the store's limit.
        exclude: The id of the page that is not to hear of it, None for none.
    """

    id: MessageId
    body: bytes
    content_type: bytes | None
    previous: MessageId | None
    content_encoding: bytes | None = None
    event: str | None = None
    expires: float | None = None
    exclude: str | None = None

    @classmethod
    def of(
        cls, update: Update, message_id: MessageId, previous: MessageId | None
    ) -> Message:
        """Return the message for an update, with the id that the store gave it."""
        return cls(message_id, update.body, update.content_type, previous, *update[3:])

    def gap_after(self, last_seen: MessageId) -> MessageId | None:
        """Return the id of the newest message that a client missed, None if none.

        A client missed nothing if its last message is the one before this one. Any
        other id is older, or no message of this channel has had it since the channel
        was deleted, the store lost its messages, or the store's clock was ahead. A date
        alone is a time and no id: a client that names a time before this message, and
        after the previous one, missed nothing.

        Args:
            last_seen: The id that the client sent. Without a time (no id, or the
                epoch) the client is new, and missed nothing.

        Source: protocol, "Loss is never silent".
        """
        previous = self.previous
        if previous is None or previous == last_seen or last_seen.time <= 0:
            return None
        if last_seen.tag < 0 and previous < last_seen:
            return None
        return previous


class ChannelInfo(NamedTuple):
    """The state of a channel, which is sent to publishers.

    Attributes:
        messages: The number of messages kept.
        requested: Seconds since the last subscriber's request, -1 if there was none.
        last_message_id: The id of the newest message, 0:0 if there was none.
        subscribers: The number of held requests.
    """

    messages: int
    requested: int
    last_message_id: MessageId
    subscribers: int = 0
