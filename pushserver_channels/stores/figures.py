"""The figures of a channel, for people who look at a list of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pushserver.conf import StoreSettings
from pushserver_channels.messages import Message, MessageId

#: The most channels that are measured before other tasks run.
BATCH = 200

#: The most seconds, and the most messages, from which a rate is derived.
RATE_WINDOW = 60.0
RATE_MESSAGES = 100

#: Whether a search finds a channel id.
Matches = Callable[[str], bool]


class ChannelFigures(NamedTuple):
    """The figures of a channel.

    Attributes:
        channel_id: The channel.
        messages: The number of messages kept.
        last_message_id: The id of the newest message, 0:0 if there was none.
        per_minute: How many messages are published in a minute, as far as those tell
            that are kept.
    """

    channel_id: str
    messages: int
    last_message_id: MessageId
    per_minute: float


class RateWindow(NamedTuple):
    """The newest messages from which a rate is derived.

    No publish is counted for it: the ids of the kept messages tell it.

    Attributes:
        seconds: The most seconds since they were published.
        messages: The most messages.
    """

    seconds: float
    messages: int

    @classmethod
    def of(cls, settings: StoreSettings) -> RateWindow:
        """Return what a store with these limits certainly keeps."""
        return cls(
            min(settings.message_timeout or RATE_WINDOW, RATE_WINDOW),
            min(settings.max_messages or RATE_MESSAGES, RATE_MESSAGES),
        )

    def rate(self, now: float, count: int, oldest: float) -> float:
        """Return the messages of a minute.

        Args:
            now: Seconds of Unix time.
            count: How many messages are in the window.
            oldest: The time in the id of the oldest of them.
        """
        if count < self.messages:
            return count * 60 / self.seconds
        return count * 60 / max(now - oldest, 1.0)


def measure(
    channel_id: str,
    messages: Sequence[Message],
    last_id: MessageId | None,
    now: float,
    window: RateWindow,
) -> ChannelFigures:
    """Return the figures of a channel in memory.

    Args:
        channel_id: The channel.
        messages: Its kept messages, oldest first.
        last_id: The id of its last message, None if there was none.
        now: Seconds of Unix time.
        window: From which messages the rate is derived.
    """
    start, count, oldest = now - window.seconds, 0, now
    if last_id is not None and last_id.time > start:
        for message in reversed(messages):
            if message.id.time <= start or count == window.messages:
                break
            count += 1
            oldest = message.id.time
    return ChannelFigures(
        channel_id,
        len(messages),
        last_id or MessageId(0, 0),
        window.rate(now, count, oldest),
    )
