"""The channels without keys in Redis that subscribers in this process asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pushserver.conf import RedisStoreSettings
from pushserver_channels.messages import ChannelInfo
from pushserver_channels.stores.empty import EmptyChannels

#: Seconds between two sweeps for channels whose time is up.
SWEEP_INTERVAL = 1.0

#: The most channels that are removed before the event loop runs other tasks.
SWEEP_BATCH = 1000


class _AskedChannel:
    """A channel without keys.

    Args:
        now: When it was asked for, in seconds.

    Attributes:
        used_at: When it was last used.
        requested_at: When a subscriber last asked for it.
    """

    __slots__ = ("requested_at", "used_at")

    def __init__(self, now: float) -> None:
        self.used_at = self.requested_at = now


class AskedChannels:
    """Remembers the channels that subscribers asked for and nobody has published on.

    Their requests write nothing to Redis, so for publishers such a channel exists only
    in this process, as it does in a store in memory.

    Args:
        settings: The limits of the store.
        now: Returns a time in seconds.
        is_awaited: Returns whether subscribers in this process wait on a channel.
    """

    def __init__(
        self,
        settings: RedisStoreSettings,
        now: Callable[[], float],
        is_awaited: Callable[[str], bool],
    ) -> None:
        self._now = now
        self._is_awaited = is_awaited
        self._channels: EmptyChannels[_AskedChannel] = EmptyChannels(
            settings.max_empty_channels, settings.channel_timeout, is_awaited
        )
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._channels)

    def record(self, channel_id: str, info: ChannelInfo, now: float) -> None:
        """Record a subscriber's request, unless Redis has recorded it.

        Args:
            channel_id: The channel.
            info: The channel info in Redis's answer, without the time of a request if
                Redis has not recorded it.
            now: The time of the request.

        Raises :class:`~pushserver_channels.exceptions.TooManyEmptyChannels`.
        """
        if info.requested >= 0:
            if self._channels:
                self._channels.pop(channel_id)
            return
        channel = self._channels.get(channel_id)
        if channel is None:
            self._channels.add(channel_id, _AskedChannel(now))
            if self._timer is None:
                self._sweep_in(SWEEP_INTERVAL)
        else:
            channel.requested_at = now
            self._channels.use(channel_id, now)

    def ask(self, channel_id: str, now: float) -> bool:
        """Return whether a channel exists, and if so record a request that begins."""
        channel = self._find(channel_id, now)
        if channel is None:
            return False
        channel.requested_at = now
        return True

    def has_ended(self, channel_id: str, now: float) -> bool:
        """Return whether the time of a channel is up that was asked for."""
        known = self._channels.get(channel_id)
        return known is not None and self._find(channel_id, now) is None

    def age(self, channel_id: str) -> str:
        """Return the seconds since a channel was asked for, as a word of a script.

        It is ``-`` if the channel does not exist in this process.
        """
        now = self._now()
        channel = self._find(channel_id, now)
        return "-" if channel is None else f"{now - channel.requested_at:.6f}"

    def _find(self, channel_id: str, now: float) -> _AskedChannel | None:
        """Return a channel, None if it does not exist in this process."""
        channel = self._channels.get(channel_id)
        if channel is not None and (
            self._is_awaited(channel_id) or self._channels.is_current(channel, now)
        ):
            return channel
        return None

    def use(self, channel_id: str) -> None:
        """Record that a channel is used, or that subscribers have left it."""
        if self._channels:
            self._channels.use(channel_id, self._now())

    def pop(self, channel_id: str) -> None:
        """Forget a channel: it was deleted, or has keys now."""
        self._channels.pop(channel_id)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep_in(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self.sweep)

    def sweep(self) -> None:
        """Forget the channels whose time is up."""
        delay = SWEEP_INTERVAL
        for _ in range(SWEEP_BATCH):
            if self._channels.pop_expired(self._now()) is None:
                break
        else:
            delay = 0
        self.close()
        self._timer = None
        if self._channels:
            self._sweep_in(delay)
