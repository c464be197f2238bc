"""The messages that a store keeps in the memory of this process, and their limits."""

from __future__ import annotations

import logging
import sys
from collections import deque

from pushserver.conf import StoreSettings
from pushserver_channels.counters import counters
from pushserver_channels.messages import Message
from pushserver_channels.paced_log import PacedLog

from .expiring import drop_ended
from .memory_channel import CHANNEL_OVERHEAD, MESSAGE_OVERHEAD, MemoryChannel
from .sizes import ChannelsBySize

logger = logging.getLogger("pushserver.store")


class KeptMessages:
    """Adds messages to channels and drops them, so that they take a limited memory.

    A channel has at most ``max_messages``. If all messages take more than
    ``max_bytes``, the oldest messages of the largest channels are dropped, also those
    that ``min_messages`` would keep. Sizes that differ by less than a factor of two
    count as equal. Each message counts with its body and :data:`MESSAGE_OVERHEAD`, and
    each channel that has messages with :data:`CHANNEL_OVERHEAD`. A message that is
    larger than ``max_bytes`` by itself is not kept.

    Args:
        settings: The limits of the store.

    Attributes:
        count: How many messages are kept.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.count = 0
        self._size = 0  # The bytes that all messages take.
        self._max_messages = settings.max_messages or sys.maxsize
        self._max_size = settings.max_bytes or sys.maxsize
        self._max_body = self._max_size - CHANNEL_OVERHEAD - MESSAGE_OVERHEAD
        self._by_size: ChannelsBySize[MemoryChannel] = ChannelsBySize()
        self._evictions = PacedLog(
            logger,
            "%d messages were dropped, the oldest of the largest channels, because the"
            f" kept ones take more than {settings.max_bytes} bytes (max_bytes).",
        )

    def add(self, channel: MemoryChannel, message: Message) -> bool:
        """Keep the newest message of a channel; return False if it is too large."""
        size = len(message.body)
        if size > self._max_body:
            return False
        messages = channel.messages
        if messages is None:
            messages = channel.messages = deque()
            size += CHANNEL_OVERHEAD
        messages.append(message)
        if len(messages) > self._max_messages:
            size -= len(messages.popleft().body)
        else:
            size += MESSAGE_OVERHEAD
            self.count += 1
        self._size = total = self._size + size
        channel.size = size = channel.size + size
        if size >> channel.size_class:
            self._by_size.add(channel)
        if total > self._max_size:
            self._drop_excess(channel)
        return True

    def drop_oldest(self, channel: MemoryChannel) -> None:
        """Drop the oldest message of a channel that has one."""
        assert channel.messages is not None, "It has a message."
        message = channel.messages.popleft()
        self._count_removed(channel, 1, len(message.body))

    def drop_ended(self, channel: MemoryChannel, now: float) -> float | None:
        """Drop the messages whose own time limit has passed.

        Return the last second of the one that ends next, None if there is none.

        Args:
            channel: The channel.
            now: Seconds of Unix time.
        """
        if channel.messages is None:
            return None
        dropped, next_end = drop_ended(channel.messages, now)
        if dropped:
            size = sum(len(each.body) for each in dropped)
            self._count_removed(channel, len(dropped), size)
        return next_end

    def forget(self, channel: MemoryChannel) -> None:
        """Drop all messages of a channel that was removed."""
        self._size -= channel.size
        self.count -= len(channel.messages or ())
        self._by_size.remove(channel)
        channel.messages = None

    def _drop_excess(self, newest: MemoryChannel) -> None:
        """Drop the oldest messages of the largest channels until the rest may be kept.

        Args:
            newest: The channel whose last message was just kept, which is not dropped.
        """
        dropped = 0
        while self._size > self._max_size:
            channel = self._by_size.find_largest()
            assert channel is not None, "A single message is not larger than the limit."
            assert channel.messages is not None, "Its size is not 0."
            if channel is newest and len(channel.messages) == 1:
                self._by_size.remove(channel)
                continue
            self.drop_oldest(channel)
            dropped += 1
        if newest.size >> newest.size_class:
            self._by_size.add(newest)
        counters.limits["max_bytes"] += dropped
        self._evictions.add(count=dropped, extra={"reason": "limited"})

    def _count_removed(self, channel: MemoryChannel, count: int, size: int) -> None:
        """Subtract what messages took that were removed from a channel.

        Args:
            channel: The channel.
            count: The number of messages.
            size: The bytes of their bodies.
        """
        size += count * MESSAGE_OVERHEAD
        if not channel.messages:
            channel.messages = None
            size += CHANNEL_OVERHEAD
        self.count -= count
        self._size -= size
        channel.size -= size
