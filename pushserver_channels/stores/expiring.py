"""Messages that expire before the limits of their store."""

from __future__ import annotations

from collections import deque

from pushserver_channels.messages import Message


def find_end(message: Message) -> float | None:
    """Return the last second in which a message is delivered, None if it has none."""
    return None if message.expires is None else message.id.time + message.expires


def drop_ended(
    messages: deque[Message], now: float
) -> tuple[list[Message], float | None]:
    """Remove and return the messages that have ended, and when the next one ends.

    Args:
        messages: The messages of a channel.
        now: Seconds of Unix time.
    """
    second = int(now)
    ended = [
        each
        for each in messages
        if (end := find_end(each)) is not None and second > end
    ]
    if ended:
        gone = {each.id for each in ended}
        kept = [each for each in messages if each.id not in gone]
        messages.clear()
        messages.extend(kept)
    next_end = min(
        (end for each in messages if (end := find_end(each)) is not None), default=None
    )
    return ended, next_end
