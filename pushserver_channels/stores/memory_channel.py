"""A channel in the memory of this process, and what it takes there."""

from __future__ import annotations

from collections import deque

from pushserver_channels.messages import Message, MessageId

#: The bytes that a kept message takes besides its body, as measured: the message and
#: its id, their numbers, and a Content-Type.
MESSAGE_OVERHEAD = 300

#: The bytes that a channel with messages takes besides them, as measured.
CHANNEL_OVERHEAD = 1500


class MemoryChannel:
    """One channel.

    Args:
        channel_id: Its id.
        now: When it is created, in seconds of Unix time.
        floor: The id that counts as the one before its first message, None for none.
            Its own ids are newer.

    Attributes:
        messages: The kept messages, oldest first, None if there is none.
        last_id: The id of its last message, kept or not, None before the first one.
        used_at: When it was last used.
        requested_at: When a subscriber last asked for it, None if none did.
        size: The bytes that it takes if it has messages, by the two constants above.
        size_class: For :class:`ChannelsBySize`.
        expiry_due: Whether the expiry of its oldest message is scheduled.
        next_end: The last second of the message that ends next of those with a time
            limit of their own, None if there is none.
    """

    __slots__ = (
        "expiry_due",
        "floor",
        "id",
        "last_id",
        "messages",
        "next_end",
        "requested_at",
        "size",
        "size_class",
        "used_at",
    )

    def __init__(self, channel_id: str, now: float, floor: MessageId | None) -> None:
        self.id = channel_id
        self.messages: deque[Message] | None = None  # An empty deque takes 600 bytes.
        self.last_id: MessageId | None = None
        self.floor = floor
        self.used_at = now
        self.requested_at: float | None = None
        self.expiry_due = False
        self.next_end: float | None = None
        self.size = self.size_class = 0

    def next_id(self, second: int) -> MessageId:
        """Return the id of its next message, published in a second of Unix time."""
        newest = self.last_id or self.floor
        if newest is None or newest.time < second:
            return MessageId(second, 0)
        return MessageId(newest.time, newest.tag + 1)
