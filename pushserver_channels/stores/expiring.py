"""Messages that expire before the limits of their store."""

from __future__ import annotations

from collections import deque

from pushserver_channels.messages import Message


def find_end(message: Message) -> float | None:
    """Return the last second in which a message is delivered, None if it has none."""
    return None if message.expires is None else message.id.time + message.expires


def drop_ended(messages: deque[Message], now: float) -> float | None:
    """Remove the messages that have ended; return when the next one ends.

    Args:
        messages: The messages of a channel.
        now: Seconds of Unix time.
    """
    second = int(now)
    kept = [
        each for each in messages if (end := find_end(each)) is None or second <= end
    ]
    if len(kept) < len(messages):
        messages.clear()
        messages.extend(kept)
    return min(
        (end for each in kept if (end := find_end(each)) is not None), default=None
    )
