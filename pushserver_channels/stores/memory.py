"""Messages in the memory of this process."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count, islice
from operator import attrgetter

from pushserver.conf import StoreSettings
from pushserver.publishers.update import Update
from pushserver_channels.counters import counters
from pushserver_channels.exceptions import ChannelNotFound, TooManyChannels
from pushserver_channels.messages import ChannelInfo, Message, MessageId

from .base import PAGE_SIZE, Appended, Audience, Store
from .empty import EmptyChannels
from .expiring import find_end
from .figures import BATCH, ChannelFigures, Matches, RateWindow, measure
from .kept_messages import KeptMessages
from .memory_channel import MemoryChannel

#: Seconds between two sweeps. A message expires at the end of a whole second, so more
#: frequent sweeps would free nothing earlier.
SWEEP_INTERVAL = 1.0

#: The most channels that are checked before the event loop runs other tasks.
SWEEP_BATCH = 1000

#: The start of this process as an id, with the microseconds as its tag. An earlier
#: process that was killed in the same second has given lower ids.
STARTED = MessageId(*divmod(time.time_ns() // 1000, 1_000_000))

NO_MESSAGE = MessageId(0, 0)

_by_id = attrgetter("id")


def _is_never(channel_id: str) -> bool:
    return False


class MemoryStore(Store):
    """Keeps messages in a deque per channel.

    A heap has the times at which messages expire and channels may be removed. Each
    channel has at most two entries in it, and a few for messages with a time limit of
    their own, so the cost does not grow with the number of channels, and memory is
    freed without a request for the channel.

    For all channels that were removed or deleted, the store keeps one id: the newest
    that any of them had, at first the start of this process. A channel that is created
    begins after this id, so a client of an earlier channel with the same name is told
    of a gap, even if only other channels had messages in between.

    The channels that only requests of subscribers created are in a structure of their
    own, with its own limit. They join the others when somebody publishes there.

    Args:
        settings: Its limits.
        clock: Returns seconds of Unix time, for tests; it may be set back. With it, it
            is assumed that there was no process before this one.

    Attributes:
        channels: The channels by their ids, but for those in ``empty``.
        empty: The channels on which nobody has published, and that no publisher has
            created.
        kept: What counts the messages of all channels, and limits the memory for them.
    """

    def __init__(
        self, settings: StoreSettings, clock: Callable[[], float] | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock or time.time
        self._floor: MessageId | None = STARTED if clock is None else None
        self._audience: Audience
        self.channels: dict[str, MemoryChannel] = {}
        self._listened: set[str] = set()
        self._is_exempt: Matches = _is_never
        self._exempt = 0  # How many of the channels do not count for max_channels.
        self.empty: EmptyChannels[MemoryChannel] = EmptyChannels(
            settings.max_empty_channels,
            settings.channel_timeout,
            self._listened.__contains__,
        )
        self.kept = KeptMessages(settings)
        self._rate_window = RateWindow.of(settings)
        self._second = 0  # The newest second in an id; the clock may be behind it.
        self._due: list[
            tuple[float, int, Callable[[MemoryChannel, float], None], MemoryChannel]
        ]
        self._due = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, audience: Audience) -> None:
        self._audience = audience

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        channel_id = update.channel_id
        now = self._clock()
        channel = self.channels.get(channel_id)
        if channel is None:
            channel = self._find(channel_id, now, create=create)
        channel.used_at = now
        message_id = channel.next_id(self._tick(now))
        message = Message.of(update, message_id, channel.last_id or channel.floor)
        channel.last_id = message_id
        if keep:
            self._keep(channel, message)
        self._expire(channel, now)
        delivered = self._audience.deliver(channel_id, message)
        return Appended(message, self._describe(channel, now), delivered)

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        messages = self._ask(channel_id, create=create).messages
        if messages is None or after >= messages[-1].id:
            return None
        if after < messages[0].id:
            return messages[0]
        return messages[bisect_right(messages, after, key=_by_id)]

    async def page(
        self, channel_id: str, after: MessageId, limit: int, *, create: bool = True
    ) -> list[Message]:
        messages = self._ask(channel_id, create=create).messages
        if messages is None:
            return []
        start = bisect_right(messages, after, key=_by_id)
        return list(islice(messages, start, start + limit))

    async def position(
        self, channel_id: str, newest: int, *, create: bool = True
    ) -> MessageId:
        channel = self._ask(channel_id, create=create)
        messages = channel.messages
        if not newest:
            return channel.last_id or NO_MESSAGE
        if messages is None or len(messages) < newest:
            return NO_MESSAGE
        return messages[-newest].previous or NO_MESSAGE

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        channel = self.channels.get(channel_id)
        if channel is None or channel.last_id is None or after < channel.last_id:
            return False
        channel.used_at = channel.requested_at = self._clock()
        return True

    async def info(self, channel_id: str) -> ChannelInfo:
        now = self._clock()
        channel = self.find_existing(channel_id)
        if channel is None:
            raise ChannelNotFound
        channel.used_at = now
        self.empty.use(channel_id, now)
        self._expire(channel, now)
        return self._describe(channel, now)

    async def create(self, channel_id: str) -> ChannelInfo:
        self._find(channel_id, self._clock(), create=True)
        return await self.info(channel_id)

    async def delete(self, channel_id: str) -> ChannelInfo:
        info = await self.info(channel_id)
        channel = self.find_existing(channel_id)
        assert channel is not None, "It exists, as it was just described."
        self._remove(channel)
        self._audience.drop(channel_id)
        return info

    async def scan(
        self, matches: Matches, *, rates: bool = True
    ) -> AsyncIterator[list[ChannelFigures]]:
        ids = [*self.channels, *self.empty]
        for start in range(0, len(ids), BATCH):
            yield await self.measure(list(filter(matches, ids[start : start + BATCH])))
            await asyncio.sleep(0)  # Let other tasks run.

    async def measure(self, channel_ids: Sequence[str]) -> list[ChannelFigures]:
        now, window = self._clock(), self._rate_window
        found = []
        for channel_id in channel_ids:
            channel = self.find_existing(channel_id)
            if channel is not None:
                self._expire(channel, now)
                kept = channel.messages or ()
                found.append(measure(channel_id, kept, channel.last_id, now, window))
        return found

    async def newest(self, channel_id: str, limit: int) -> list[Message]:
        channel = self.find_existing(channel_id)
        if channel is None:
            return []
        self._expire(channel, self._clock())
        messages: list[Message] = []
        size = 0
        for message in islice(reversed(channel.messages or ()), limit):
            messages.append(message)
            size += len(message.body)
            if size >= PAGE_SIZE:
                break
        return messages[::-1]

    def listen(self, channel_id: str) -> None:
        self._listened.add(channel_id)

    def unlisten(self, channel_id: str) -> None:
        self._listened.discard(channel_id)
        channel = self.channels.get(channel_id)
        if channel is not None:
            channel.used_at = self._clock()
        elif self.empty:
            self.empty.use(channel_id, self._clock())

    def exempt(self, matches: Matches) -> None:
        self._is_exempt = matches
        self._exempt = sum(map(matches, self.channels))

    def count_kept(self) -> tuple[int, int]:
        return len(self.channels) + len(self.empty), self.kept.count

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # Channels

    def find_existing(self, channel_id: str) -> MemoryChannel | None:
        """Return a channel of either kind, None if it does not exist."""
        return self.channels.get(channel_id) or self.empty.get(channel_id)

    def _find(self, channel_id: str, now: float, *, create: bool) -> MemoryChannel:
        """Return a channel for a publisher, who may create it."""
        channel = self.channels.get(channel_id)
        if channel is not None:
            return channel
        channel = self.empty.get(channel_id)
        if channel is None and not create:
            raise ChannelNotFound
        if channel_id not in self._listened:
            # (What subscribers wait for is always accepted.)
            self._check_max_channels(channel_id)
        if channel is None:
            channel = MemoryChannel(channel_id, now, self._floor)
        else:
            self.empty.pop(channel_id)
        self.channels[channel_id] = channel
        self._exempt += self._is_exempt(channel_id)
        if self._settings.channel_timeout:
            self._schedule(
                now + self._settings.channel_timeout, self._check_idle, channel
            )
        return channel

    def _ask(self, channel_id: str, *, create: bool) -> MemoryChannel:
        """Return a channel for a subscriber, and record the request."""
        now = self._clock()
        channel = self.channels.get(channel_id)
        if channel is None:
            channel = self._find_empty(channel_id, now, create=create)
        channel.used_at = channel.requested_at = now
        self._expire(channel, now)
        return channel

    def _find_empty(
        self, channel_id: str, now: float, *, create: bool
    ) -> MemoryChannel:
        """Return a channel on which nobody has published; perhaps create it."""
        channel = self.empty.get(channel_id)
        if channel is not None:
            self.empty.use(channel_id, now)
            return channel
        if not create:
            raise ChannelNotFound
        self._check_max_channels(channel_id)  # Nobody could publish on it.
        channel = MemoryChannel(channel_id, now, self._floor)
        removed = self.empty.add(channel_id, channel)
        if removed is not None:
            self._forget(removed)
        if self._timer is None:
            self._sweep_in(SWEEP_INTERVAL)
        return channel

    def _check_max_channels(self, channel_id: str) -> None:
        limit = self._settings.max_channels
        counted = len(self.channels) - self._exempt
        if 0 < limit <= counted and not self._is_exempt(channel_id):
            counters.limits["max_channels"] += 1
            raise TooManyChannels(limit)

    def _remove(self, channel: MemoryChannel) -> None:
        if self.channels.pop(channel.id, None) is None:
            self.empty.pop(channel.id)
        else:
            self._exempt -= self._is_exempt(channel.id)
        self._forget(channel)
        # Entries of removed channels are dropped when they are the majority.
        if len(self._due) > 4 * len(self.channels) + SWEEP_BATCH:
            self._due = [entry for entry in self._due if self._exists(entry[3])]
            heapify(self._due)

    def _forget(self, channel: MemoryChannel) -> None:
        """Free what is kept for a channel that was removed, but for its last id."""
        self.kept.forget(channel)
        if channel.last_id is not None:
            self._floor = max(self._floor or channel.last_id, channel.last_id)

    def _exists(self, channel: MemoryChannel) -> bool:
        return self.channels.get(channel.id) is channel

    def _describe(self, channel: MemoryChannel, now: float) -> ChannelInfo:
        asked = channel.requested_at
        return ChannelInfo(
            len(channel.messages or ()),
            -1 if asked is None else max(int(now - asked), 0),
            channel.last_id or NO_MESSAGE,
        )

    def _tick(self, now: float) -> int:
        """Return the second for new ids: that of the clock, but never an earlier one.

        All channels share it, so the ids of a new channel are never older than those of
        a deleted one.
        """
        self._second = max(self._second, int(now))
        return self._second

    # Messages

    def _keep(self, channel: MemoryChannel, message: Message) -> None:
        if not self.kept.add(channel, message):
            return
        if not channel.expiry_due:
            self._schedule_expiry(channel)
        if message.expires is not None:
            self._schedule_end(channel, find_end(message))

    def _expire(self, channel: MemoryChannel, now: float) -> None:
        """Drop expired messages.

        ``message_timeout`` does not apply to the newest min_messages.
        """
        if channel.next_end is not None and int(now) > channel.next_end:
            self._drop_ended(channel, now)
        timeout = self._settings.message_timeout
        if not timeout:
            return
        while (
            (messages := channel.messages) is not None
            and len(messages) > self._settings.min_messages
            and int(now) > messages[0].id.time + timeout
        ):
            self.kept.drop_oldest(channel)

    # Expiry

    def _schedule_expiry(self, channel: MemoryChannel) -> None:
        messages, timeout = channel.messages, self._settings.message_timeout
        if not timeout or messages is None:
            return
        if len(messages) > self._settings.min_messages:
            channel.expiry_due = True
            # It can be delivered until the end of the second in which it expires.
            due = int(messages[0].id.time + timeout) + 1
            self._schedule(due, self._check_expired, channel)

    def _schedule_end(self, channel: MemoryChannel, end: float | None) -> None:
        """Schedule the end of a message, unless another one ends before it."""
        if end is not None and (channel.next_end is None or end < channel.next_end):
            channel.next_end = end
            self._schedule(int(end) + 1, self._check_ended, channel)

    def _drop_ended(self, channel: MemoryChannel, now: float) -> None:
        """Drop the messages whose own time limit has passed."""
        channel.next_end = None
        self._schedule_end(channel, self.kept.drop_ended(channel, now))

    def _check_ended(self, channel: MemoryChannel, now: float) -> None:
        self._expire(channel, now)
        if self._is_idle(channel, now):
            self._remove(channel)

    def _check_expired(self, channel: MemoryChannel, now: float) -> None:
        channel.expiry_due = False
        self._expire(channel, now)
        self._schedule_expiry(channel)
        if self._is_idle(channel, now):
            self._remove(channel)

    def _check_idle(self, channel: MemoryChannel, now: float) -> None:
        if self._is_idle(channel, now):
            self._remove(channel)
            return
        timeout = self._settings.channel_timeout
        due = channel.used_at + timeout
        self._schedule(due if due > now else now + timeout, self._check_idle, channel)

    def _is_idle(self, channel: MemoryChannel, now: float) -> bool:
        timeout = self._settings.channel_timeout
        return (
            0 < timeout <= now - channel.used_at
            and channel.messages is None
            and channel.id not in self._listened
        )

    def _schedule(
        self,
        due: float,
        check: Callable[[MemoryChannel, float], None],
        channel: MemoryChannel,
    ) -> None:
        heappush(self._due, (due, next(self._order), check, channel))
        if self._timer is None:
            self._sweep_in(SWEEP_INTERVAL)

    def _sweep_in(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self.sweep)

    def sweep(self) -> None:
        """Free what has expired, and schedule the next sweep if anything is left."""
        now = self._clock()
        delay = SWEEP_INTERVAL
        for _ in range(SWEEP_BATCH):
            if not self._due or self._due[0][0] > now:
                break
            _, _, check, channel = heappop(self._due)
            if self._exists(channel):
                check(channel, now)
        else:
            delay = 0
        for _ in range(SWEEP_BATCH):
            removed = self.empty.pop_expired(now)
            if removed is None:
                break
            self._forget(removed)
        else:
            delay = 0
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._due or self.empty:
            self._sweep_in(delay)
