"""Messages in the memory of each process, with a channel layer between them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from itertools import count
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from pushserver.conf import ChannelLayerStoreSettings
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import StoreUnavailable, TooManyChannels
from pushserver_channels.messages import START, ChannelInfo, Message, MessageId

from .base import Appended, Audience
from .fields import pack_fields
from .layer_events import EventCounts, read_message
from .layer_group import GroupOwner, LayerGroup
from .memory import MemoryStore
from .memory_channel import MemoryChannel

#: Seconds that a message may take from one process to another.
TRANSIT_TIME = 0.25

#: Seconds after which a process delivers its own message that the layer has not
#: returned to it.
ECHO_TIMEOUT = 1.0

#: The most channels per second of which a process tells the others that a subscriber
#: asked for them. Anybody can ask for any number, and the queues of a layer are short.
MAX_ANNOUNCED = 20

#: Seconds after which it tells them again. They remember it for EMPTY_TIMEOUT.
ANNOUNCE_INTERVAL = 30.0

#: The number of different process numbers in ids. Each process has a random one.
PROCESSES = 10_000


class ChannelLayerStore(MemoryStore):
    """Keeps messages in each process, and sends them to the others by a Channels layer.

    All processes are members of one group of the layer. Each message is sent to this
    group, and each process keeps the messages that it receives. This works with any
    layer, and has the limits of layers, which a store in Redis does not have:

    * A layer delivers at most once. If it drops a message, because a process is too
      slow or the layer is unavailable, that process does not have the message.
    * A process has no messages and no channels from before its first request. It
      answers that a channel does not exist if the channel has not been used since.
    * A channel on which nobody has published is known to other processes for a minute
      after a subscriber asked for it, and not at all if subscribers ask for more than
      :data:`MAX_ANNOUNCED` such channels per second.
    * Messages that processes publish on one channel at the same time are ordered by
      the clocks of the processes. If a process receives a message after a newer one,
      subscribers that have the newer one do not get it.
    * If a client moves to another process, and its last message arrives there more than
      :data:`TRANSIT_TIME` seconds later, it gets this message twice.
    * 201 and the channel info consider subscribers of the publisher's process only. A
      process without a push server does not know whether its messages are delivered,
      and does not number its events: a process that misses one of them reports no gap
      until a process with a push server publishes on that channel.

    Loss is not silent, but may be reported late. Each message has the id of the
    previous one, and each process numbers its events, so a process that missed an event
    sends ``Push-Gap`` with its next message. So does a process that has just started or
    that received a message late, unless the publisher's process knows the previous id.

    The tags of ids are not consecutive. They consist of microseconds of the publisher's
    clock and of a number of its process, so that no two processes give the same id.

    Args:
        settings: The layer, and the limits.
        clock: Returns seconds of Unix time; it may be set back.
        is_late: Whether other processes may have published before this one started.
            False in tests only.
    """

    is_shared = True

    def __init__(
        self,
        settings: ChannelLayerStoreSettings,
        clock: Callable[[], float] = time.time,
        is_late: bool = True,
    ) -> None:
        super().__init__(settings, clock)
        self._group = LayerGroup(settings.alias, settings.group, self)
        #: Whether channels may have had messages that this process never received.
        self._is_late = is_late
        #: Channels of which this process missed a message, or received it too late.
        self._incomplete: set[str] = set()
        self._sender_id = secrets.token_hex(8)
        self._number = 1 + secrets.randbelow(PROCESSES - 1)
        # The ids of the last messages that this process has sent on each channel, and
        # futures for those that the layer has not returned yet.
        self._sent: dict[str, MessageId] = {}
        self._echoes: dict[tuple[str, MessageId], asyncio.Future[Appended]] = {}
        # By channel: an event that is set when a message arrives, if a task waits.
        self._arrivals: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        # When each channel without messages was announced to other processes, and a
        # second with the number of those that were announced in it.
        self._announced: dict[str, float] = {}
        self._announcing = (0, 0)
        self._count = count()
        self._counts = EventCounts()
        self._is_attached = False
        self._sending = asyncio.Lock()
        self._groups: list[LayerGroup] = []
        self._observer: tuple[str, Callable[[str, Message], None]] | None = None

    def attach(self, audience: Audience) -> None:
        super().attach(audience)
        self._is_attached = True

    def observe(self, prefix: str, observe: Callable[[str, Message], None]) -> None:
        """Have a function called with messages, whether subscribers wait or not.

        Args:
            prefix: What the ids of the channels begin with.
            observe: Called with the channel and each message that subscribers of this
                process get.
        """
        self._observer = prefix, observe
        self._group.start()

    def open_group(self, name: str, owner: GroupOwner) -> LayerGroup:
        """Return another group of the processes of this store, closed with it."""
        settings = self._settings
        assert isinstance(settings, ChannelLayerStoreSettings), "By __init__()."
        group = LayerGroup(settings.alias, f"{settings.group}\0{name}", owner)
        self._groups.append(group)
        return group

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        channel_id = update.channel_id
        if self._is_attached:
            await self._group.join()
        loop = asyncio.get_running_loop()
        echo: asyncio.Future[Appended] = loop.create_future()
        # One at a time, so that they arrive in the order of their ids.
        async with self._sending:
            now = self._clock()
            channel = None
            if self._is_attached:
                channel = self._find(channel_id, now, create=create)
            last_id = self._sent.get(channel_id)
            message_id = self._next_id(channel_id, now)
            message = Message.of(update, message_id, last_id)
            message = message._replace(previous=self._previous(channel, message))
            self._sent[channel_id] = message.id
            if self._is_attached:
                self._echoes[channel_id, message.id] = echo
            try:
                await self._send(
                    "message",
                    channel_id,
                    message=message[:4],
                    fields=pack_fields(update),
                    keep=keep,
                )
            except StoreUnavailable:
                self._echoes.pop((channel_id, message.id), None)
                raise
            finally:
                # Also if the publisher is cancelled: the message may have been sent.
                if self._is_attached:
                    loop.call_later(
                        ECHO_TIMEOUT,
                        self._deliver_unreturned,
                        channel_id,
                        message,
                        keep,
                    )
        if not self._is_attached:
            return Appended(message, ChannelInfo(0, -1, MessageId(0, 0)), False)
        # It is delivered when the layer returns it, after earlier events of others.
        return await echo

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        await self._group.join()
        if create:
            await self._announce(channel_id)
        await self._wait_for(channel_id, after)
        return await super().next(channel_id, after, create=create)

    async def page(
        self, channel_id: str, after: MessageId, limit: int, *, create: bool = True
    ) -> list[Message]:
        await self._group.join()
        await self._wait_for(channel_id, after)
        return await super().page(channel_id, after, limit, create=create)

    async def position(
        self, channel_id: str, newest: int, *, create: bool = True
    ) -> MessageId:
        await self._group.join()
        if create:
            await self._announce(channel_id)
        return await super().position(channel_id, newest, create=create)

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        return False  # A message of another process may be in transit.

    async def info(self, channel_id: str) -> ChannelInfo:
        await self._group.join()
        return await super().info(channel_id)

    async def create(self, channel_id: str) -> ChannelInfo:
        await self._group.join()
        self._find(channel_id, self._clock(), create=True)
        await self._send_event("creation", channel_id)
        return await super().create(channel_id)

    async def delete(self, channel_id: str) -> ChannelInfo:
        await self._group.join()
        # Even if this process does not know the channel, because others may.
        await self._send_event("deletion", channel_id)
        return await super().delete(channel_id)

    @property
    def errors(self) -> int:
        return self._group.errors

    async def check_health(self) -> None:
        await self._group.join()

    def listen(self, channel_id: str) -> None:
        super().listen(channel_id)
        self._group.start()

    def close(self) -> None:
        super().close()
        for group in (*self._groups, self._group):
            group.close()

    async def aclose(self) -> None:
        super().close()
        for group in (*self._groups, self._group):
            await group.aclose()

    # Messages

    def _next_id(self, channel_id: str, now: float) -> MessageId:
        """Return an id that no other process gives, newer than all known ids."""
        second = self._tick(now)
        tag = int(now % 1 * 1_000_000) if second == int(now) else 0
        newest = max(
            self._newest(channel_id),
            self._sent.get(channel_id, START),
            self._floor or START,
        )
        if newest >= (second, tag * PROCESSES):
            second, tag = newest.time, newest.tag // PROCESSES + 1
        return MessageId(second, tag * PROCESSES + self._number)

    def _newest(self, channel_id: str) -> MessageId:
        """Return the id of the newest message of a channel that was received."""
        channel = self.channels.get(channel_id)
        return (channel and channel.last_id) or START

    def _deliver_own(self, channel_id: str, message: Message, keep: bool) -> None:
        """Deliver a message of this process, unless that was done already."""
        echo = self._echoes.pop((channel_id, message.id), None)
        if echo is None:
            return
        try:
            appended = self._deliver(channel_id, message, keep)
        except TooManyChannels as error:
            appended, failure = None, error
        if echo.done():
            return  # The publisher's task was cancelled.
        if appended is None:
            echo.set_exception(failure)
        else:
            echo.set_result(appended)

    def _deliver_unreturned(
        self, channel_id: str, message: Message, keep: bool
    ) -> None:
        """Deliver a message of this process that the layer has not returned in time."""
        if (channel_id, message.id) in self._echoes:
            # Perhaps the layer has dropped this process from the group.
            self.note_loss()
            self._group.rejoin_soon()
            self._deliver_own(channel_id, message, keep)

    def _deliver(self, channel_id: str, message: Message, keep: bool) -> Appended:
        """Keep a message and deliver it, with the previous id as far as it is known."""
        now = self._clock()
        channel = self._find(channel_id, now, create=True)
        channel.used_at = now
        message = message._replace(previous=self._previous(channel, message))
        if message.id <= self._newest(channel_id):
            # It is not delivered to subscribers that already have a newer one.
            self._incomplete.add(channel_id)
            self._insert(channel, message, keep)
            delivered = False
        else:
            self._incomplete.discard(channel_id)
            channel.last_id = message.id
            if keep:
                self._keep(channel, message)
            delivered = self._audience.deliver(channel_id, message)
            if self._observer is not None and channel_id.startswith(self._observer[0]):
                self._observer[1](channel_id, message)
        self._expire(channel, now)
        arrival = self._arrivals.pop(channel_id, None)
        if arrival is not None:
            arrival.set()
        return Appended(message, self._describe(channel, now), delivered)

    def _previous(
        self, channel: MemoryChannel | None, message: Message
    ) -> MessageId | None:
        """Return the previous id, or one just before the message's if in doubt."""
        if channel is None:
            return None
        just_before = MessageId(message.id.time, message.id.tag - 1)
        if channel.id in self._incomplete and message.id > self._newest(channel.id):
            return just_before
        before = (channel.last_id, message.previous)
        known = [each for each in before if each is not None and each < message.id]
        if not known and self._is_late:
            return just_before
        if not known and channel.floor is not None:
            return min(channel.floor, just_before)
        return max(known, default=None)

    def _insert(self, channel: MemoryChannel, message: Message, keep: bool) -> None:
        """Keep a message at its place in the order of ids.

        Even if it is not kept, those after it follow it now, so that it is missed.
        """
        if keep:
            self._keep(channel, message)
        messages = channel.messages
        if messages:
            kept = sorted(messages, key=attrgetter("id"))
            messages.clear()
            for each in kept:
                if each.id > message.id:
                    before = messages[-1].id if messages else START
                    previous = max(each.previous or START, before, message.id)
                    each = each._replace(previous=previous)
                messages.append(each)

    def _forget(self, channel: MemoryChannel) -> None:
        super()._forget(channel)
        self._sent.pop(channel.id, None)
        self._incomplete.discard(channel.id)
        self._announced.pop(channel.id, None)

    async def _wait_for(self, channel_id: str, message_id: MessageId) -> None:
        """Wait up to :data:`TRANSIT_TIME` seconds for a message that is in transit."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TRANSIT_TIME
        # An older message has arrived by now, or will never arrive.
        is_young = 0 <= self._clock() - message_id.time < 10
        while is_young and self._newest(channel_id) < message_id:
            arrival = self._arrivals.setdefault(channel_id, asyncio.Event())
            try:
                await asyncio.wait_for(arrival.wait(), deadline - loop.time())
            except asyncio.TimeoutError:
                return

    # Events

    async def _announce(self, channel_id: str) -> None:
        """Create a channel that a subscriber asked for, and tell other processes."""
        if channel_id in self.channels:
            return
        now = self._clock()
        self._find_empty(channel_id, now, create=True)
        if now - self._announced.get(channel_id, float("-inf")) < ANNOUNCE_INTERVAL:
            return
        if int(now) != self._announcing[0]:
            self._announcing = (int(now), 0)
        second, announced = self._announcing
        if announced < MAX_ANNOUNCED:
            self._announcing = (second, announced + 1)
            self._announced[channel_id] = now
            await self._send_event("creation", channel_id, requested=True)

    async def _send_event(self, what: str, channel_id: str = "", **event: Any) -> None:
        """Send an event after those that are being sent."""
        async with self._sending:
            await self._send(what, channel_id, **event)

    async def _send(self, what: str, channel_id: str, **event: Any) -> None:
        """Send an event to all processes. Raises :class:`StoreUnavailable`."""
        event |= {
            "type": f"push.{what}",
            "channel_id": channel_id,
            "sender": self._sender_id,
        }
        if self._is_attached:
            event["count"] = next(self._count)
        await self._group.send(event, channel_id)

    async def announce(self) -> None:
        await self._send_event("presence")

    def note_loss(self) -> None:
        self._is_late = True
        self._incomplete.update(self.channels, self.empty)

    def handle_event(self, event: dict[str, Any]) -> None:
        sender, channel_id = event["sender"], event["channel_id"]
        is_own = sender == self._sender_id
        if "count" in event:
            is_known, is_late = self._counts.take(sender, event["count"])
            if is_known:
                return
            if is_late:
                self.note_loss()
        try:
            if event["type"] == "push.message":
                deliver = self._deliver_own if is_own else self._deliver
                deliver(channel_id, read_message(event), event["keep"])
            elif is_own or event["type"] == "push.presence":
                pass  # This process has done it already, or there is nothing to do.
            elif event["type"] == "push.creation":
                # (The previous release does not say which were only requested.)
                if not event.get("requested"):
                    self._find(channel_id, self._clock(), create=True)
                elif channel_id not in self.channels:
                    self._find_empty(channel_id, self._clock(), create=True)
            elif (channel := self.find_existing(channel_id)) is not None:
                self._tick(self._clock())
                self._remove(channel)
                self._audience.drop(channel_id)
        except TooManyChannels:
            pass  # The event is ignored.
