"""The channels that only requests of subscribers created."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from pushserver_channels.counters import counters
from pushserver_channels.exceptions import TooManyEmptyChannels
from pushserver_channels.paced_log import PacedLog

logger = logging.getLogger("pushserver.store")

#: The most seconds for which such a channel exists after its last use.
EMPTY_TIMEOUT = 60.0


class Used(Protocol):
    """A channel with the time of its last use, in seconds."""

    used_at: float


Channel = TypeVar("Channel", bound=Used)


class EmptyChannels(Generic[Channel]):
    """The channels that subscribers asked for and on which nobody has published.

    Anybody who may subscribe can create any number of them, so they have a limit and a
    timeout of their own. Beyond the limit, the one that was idle for the longest time
    is removed. A channel on which subscribers wait is never removed.

    Args:
        limit: The most channels, 0 for no limit.
        channel_timeout: The store's ``channel_timeout``, 0 for none. A channel ends
            after :data:`EMPTY_TIMEOUT` seconds at the latest.
        is_awaited: Returns whether subscribers wait on a channel.
    """

    def __init__(
        self,
        limit: int,
        channel_timeout: float,
        is_awaited: Callable[[str], bool],
    ) -> None:
        self._limit = limit
        self._timeout = min(channel_timeout or EMPTY_TIMEOUT, EMPTY_TIMEOUT)
        self._is_awaited = is_awaited
        # The longest idle first. (Removing the first key of a dict again and again
        # would take time for each key that was removed before.)
        self._idle: OrderedDict[str, Channel] = OrderedDict()
        # Those found to be awaited, so that they are not looked at again.
        self._awaited: dict[str, Channel] = {}
        self._removals = PacedLog(
            logger,
            "%d channels on which nobody has published were removed for others, the"
            f" longest idle first: there are at most {limit} (max_empty_channels).",
        )
        self._refusals = PacedLog(
            logger,
            "%d requests were refused, because subscribers wait on all of the"
            f" {limit} channels on which nobody has published (max_empty_channels).",
        )

    def __len__(self) -> int:
        return len(self._idle) + len(self._awaited)

    def __iter__(self) -> Iterator[str]:
        return chain(self._idle, self._awaited)

    def get(self, channel_id: str) -> Channel | None:
        """Return a channel, or None."""
        return self._idle.get(channel_id) or self._awaited.get(channel_id)

    def is_current(self, channel: Channel, now: float) -> bool:
        """Return whether the time of a channel is not up."""
        return now - channel.used_at < self._timeout

    def add(self, channel_id: str, channel: Channel) -> Channel | None:
        """Add a channel, and return the one that was removed for it, if any.

        Raises :class:`~pushserver_channels.exceptions.TooManyEmptyChannels` if
        subscribers wait on all others.
        """
        removed = None
        if 0 < self._limit <= len(self):
            longest_idle = self._find_longest_idle()
            if longest_idle is None:
                counters.limits["max_empty_channels"] += 1
                self._refusals.add(extra={"reason": TooManyEmptyChannels.reason})
                raise TooManyEmptyChannels(self._limit)
            removed = self._idle.pop(longest_idle)
            self._removals.add(extra={"reason": TooManyEmptyChannels.reason})
        self._idle[channel_id] = channel
        return removed

    def use(self, channel_id: str, now: float) -> None:
        """Record that a channel is used, or that subscribers have left it."""
        channel = self._idle.get(channel_id)
        if channel is not None:
            self._idle.move_to_end(channel_id)
        else:
            channel = self._awaited.pop(channel_id, None)
            if channel is None:
                return
            self._idle[channel_id] = channel
        channel.used_at = now

    def pop(self, channel_id: str) -> Channel | None:
        """Remove a channel and return it, or None."""
        return self._idle.pop(channel_id, None) or self._awaited.pop(channel_id, None)

    def pop_expired(self, now: float) -> Channel | None:
        """Remove a channel whose time is up and return it, or None."""
        channel_id = self._find_longest_idle()
        if channel_id is None or self.is_current(self._idle[channel_id], now):
            return None
        return self._idle.pop(channel_id)

    def _find_longest_idle(self) -> str | None:
        """Return the longest idle channel on which no subscriber waits, or None."""
        while self._idle:
            channel_id = next(iter(self._idle))
            if not self._is_awaited(channel_id):
                return channel_id
            self._awaited[channel_id] = self._idle.pop(channel_id)
        return None
