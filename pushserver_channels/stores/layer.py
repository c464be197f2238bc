"""Messages in the memory of each process, with a channel layer between them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import count
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from channels.layers import get_channel_layer

from pushserver.conf import ChannelLayerStoreSettings
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import StoreUnavailable, TooManyChannels
from pushserver_channels.messages import START, ChannelInfo, Message, MessageId

from .base import Appended, Audience
from .fields import pack_fields, unpack_fields
from .memory import MemoryStore, _Channel

logger = logging.getLogger(__name__)

#: Seconds after which a process joins its group again, which a layer may forget, and
#: shows the others that it is there.
STAY = 5.0

#: Seconds before a layer that failed is tried again.
RETRY_AFTER = 1.0

#: Seconds for which a message may be under way from one process to another.
UNDER_WAY = 0.25

#: Seconds after which a process hands on a message of its own that has not come back.
COME_BACK = 1.0

#: How many processes get a number of their own, with luck.
PROCESSES = 10_000


class ChannelLayerStore(MemoryStore):
    """Keeps messages in each process, and passes them on by any Channels layer.

    All processes are in one group of the layer, in which each message is sent, and each
    keeps what arrives. That works wherever a layer does, and is no more than a layer
    is. What it cannot promise, and a store in Redis can:

    * A layer delivers at most once. What it drops, because a process is too slow or the
      layer was away, that process does not have.
    * The history of a process begins with its first request. Its channels, too: of one
      that nobody has used since, it says that there is none.
    * What processes publish on one channel at the same moment has one order for all:
      that of their clocks. A message that comes to a process after a younger one is too
      late for those who have that already.
    * A client that moves to a process which gets the message it has only later than in
      :data:`UNDER_WAY` seconds is sent it twice.
    * 201 tells of subscribers of the publisher's process only, and so does the channel
      info. A process without a push server publishes blindly, and does not number what
      it sends: if that does not come to a process, nothing is told there until a
      process with one publishes on that channel too.

    Loss is not silent, though it may be told late: each message says which one was
    before it, and what a process sends is numbered, so that a process to which
    something did not come says ``Push-Gap`` with its next message. So does one that has
    started, or that got a message late, unless the publisher's process knows better.

    The tags of ids do not count: they are microseconds of the publisher's clock, and
    then a number of its process, so that no two processes give the same id.

    Args:
        settings: The layer, and the limits.
        clock: Returns seconds of Unix time; it may step.
        is_late: Whether others may have published before it, as is so but in tests.
    """

    def __init__(
        self,
        settings: ChannelLayerStoreSettings,
        clock: Callable[[], float] = time.time,
        is_late: bool = True,
    ) -> None:
        super().__init__(settings, clock)
        self._layer: Any = get_channel_layer(settings.alias)
        # Names of groups are short, and ASCII.
        self._group = f"push.{sha256(settings.group.encode()).hexdigest()[:32]}"
        #: Whether channels may have had messages before this process was there.
        self._is_late = is_late
        #: Channels of which messages did not come here, or too late for those who wait.
        self._spoilt: set[str] = set()
        self._me = secrets.token_hex(8)
        self._number = 1 + secrets.randbelow(PROCESSES - 1)
        # The ids of the last messages that this process has sent on each channel, and
        # what becomes of those that are still to come back.
        self._sent: dict[str, MessageId] = {}
        self._echoes: dict[tuple[str, MessageId], asyncio.Future[Appended]] = {}
        # Rung by what arrives, as long as somebody waits for it.
        self._arrivals: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._channel = ""
        # Events are numbered, so that those who miss one know when the next one comes.
        self._count = count()
        self._counts: dict[str, int] = {}
        self._is_attached = False
        self._is_closed = False
        self._joined: asyncio.Future[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._rejoining: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    def attach(self, audience: Audience) -> None:
        super().attach(audience)
        self._is_attached = True

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        channel_id = update.channel_id
        if self._is_attached:
            await self._join()
        loop = asyncio.get_running_loop()
        echo: asyncio.Future[Appended] = loop.create_future()
        # One after the other, or they would arrive in another order than that of ids.
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
                # Also if its publisher leaves meanwhile, as it may have been sent.
                if self._is_attached:
                    loop.call_later(
                        COME_BACK, self._take_lost, channel_id, message, keep
                    )
        if not self._is_attached:
            return Appended(message, ChannelInfo(0, -1, MessageId(0, 0)), False)
        # It is taken when it comes back, after what others have sent before it.
        return await echo

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        await self._join()
        if create and channel_id not in self._channels:
            self._find(channel_id, self._clock(), create=True)
            await self._tell("creation", channel_id)
        await self._wait_for(channel_id, after)
        return await super().next(channel_id, after, create=create)

    async def page(
        self, channel_id: str, after: MessageId, limit: int
    ) -> list[Message]:
        await self._join()
        await self._wait_for(channel_id, after)
        return await super().page(channel_id, after, limit)

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        return False  # Others may have sent what is on its way.

    async def info(self, channel_id: str) -> ChannelInfo:
        await self._join()
        return await super().info(channel_id)

    async def create(self, channel_id: str) -> ChannelInfo:
        await self._join()
        self._find(channel_id, self._clock(), create=True)
        await self._tell("creation", channel_id)
        return await super().create(channel_id)

    async def delete(self, channel_id: str) -> ChannelInfo:
        await self._join()
        # Also if this process does not know it: others may.
        await self._tell("deletion", channel_id)
        return await super().delete(channel_id)

    def listen(self, channel_id: str) -> None:
        super().listen(channel_id)
        self._start()

    def close(self) -> None:
        super().close()
        self._is_closed = True
        self._fail()
        for task in (self._loop_task, self._rejoining):
            if task is not None:
                task.cancel()

    async def aclose(self) -> None:
        self._is_closed = True
        if self._loop_task is not None:
            with suppress(Exception):
                # A layer may take long to be interrupted.
                await self._layer.send(self._channel, {"type": "push.end"})
        self.close()
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task])

    # Messages

    def _next_id(self, channel_id: str, now: float) -> MessageId:
        """Return an id that no other process gives, newer than all that are known."""
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
        """Return the id of the newest message of a channel that came here."""
        channel = self._channels.get(channel_id)
        return (channel and channel.last_id) or START

    def _take_own(self, channel_id: str, message: Message, keep: bool) -> None:
        """Take a message that this process has sent, if it has not done so."""
        echo = self._echoes.pop((channel_id, message.id), None)
        if echo is None:
            return
        try:
            appended = self._take(channel_id, message, keep)
        except TooManyChannels as error:
            appended, failure = None, error
        if echo.done():
            return  # Its publisher has left.
        if appended is None:
            echo.set_exception(failure)
        else:
            echo.set_result(appended)

    def _take_lost(self, channel_id: str, message: Message, keep: bool) -> None:
        """Take a message of this process that should have come back by now."""
        if (channel_id, message.id) in self._echoes:
            # Perhaps the layer has forgotten who is there.
            self._miss()
            self._rejoining = asyncio.get_running_loop().create_task(self._show())
            self._take_own(channel_id, message, keep)

    def _take(self, channel_id: str, message: Message, keep: bool) -> Appended:
        """Keep a message and hand it on, with the one before it as far as is known."""
        now = self._clock()
        channel = self._find(channel_id, now, create=True)
        channel.used_at = now
        message = message._replace(previous=self._previous(channel, message))
        if message.id <= self._newest(channel_id):
            # Who has seen a younger one already would go back by it.
            self._spoilt.add(channel_id)
            if keep:
                self._insert(channel, message)
            delivered = False
        else:
            self._spoilt.discard(channel_id)
            channel.last_id = message.id
            if keep:
                self._keep(channel, message)
            delivered = self._audience.deliver(channel_id, message)
        self._expire(channel, now)
        arrival = self._arrivals.pop(channel_id, None)
        if arrival is not None:
            arrival.set()
        return Appended(message, self._describe(channel, now), delivered)

    def _previous(self, channel: _Channel | None, message: Message) -> MessageId | None:
        """Return the id before a message's, of messages that came here or did not."""
        if channel is None:
            return None
        just_before = MessageId(message.id.time, message.id.tag - 1)
        if channel.id in self._spoilt and message.id > self._newest(channel.id):
            return just_before
        before = (channel.last_id, message.previous)
        known = [each for each in before if each is not None and each < message.id]
        if not known and self._is_late:
            return just_before
        if not known and channel.floor is not None:
            return min(channel.floor, just_before)
        return max(known, default=None)

    def _insert(self, channel: _Channel, message: Message) -> None:
        """Keep a message at its place in the order of ids."""
        self._keep(channel, message)
        messages = channel.messages
        if messages:
            kept = sorted(messages, key=attrgetter("id"))
            messages.clear()
            for each in kept:
                if messages and each.id > message.id:
                    # Now it has another one before it.
                    previous = max(each.previous or START, messages[-1].id)
                    each = each._replace(previous=previous)
                messages.append(each)

    def _forget(self, channel: _Channel) -> None:
        super()._forget(channel)
        self._sent.pop(channel.id, None)
        self._spoilt.discard(channel.id)

    async def _wait_for(self, channel_id: str, message_id: MessageId) -> None:
        """Wait for a message that is only on its way here, but not for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + UNDER_WAY
        # An older one has arrived, or never will.
        is_young = 0 <= self._clock() - message_id.time < 10
        while is_young and self._newest(channel_id) < message_id:
            arrival = self._arrivals.setdefault(channel_id, asyncio.Event())
            try:
                await asyncio.wait_for(arrival.wait(), deadline - loop.time())
            except asyncio.TimeoutError:
                return

    # The layer

    async def _tell(self, what: str, channel_id: str = "") -> None:
        """Send an event in its turn."""
        async with self._sending:
            await self._send(what, channel_id)

    async def _send(self, what: str, channel_id: str, **event: Any) -> None:
        """Send an event to all processes. Raises :class:`StoreUnavailable`."""
        event |= {"type": f"push.{what}", "channel_id": channel_id, "sender": self._me}
        if self._is_attached:
            event["count"] = next(self._count)
        try:
            await self._layer.group_send(self._group, event)
        except Exception as error:
            logger.error("The channel layer takes no message: %r", error)
            raise StoreUnavailable from error

    async def _join(self) -> None:
        """Return when what others send comes here, or raise StoreUnavailable."""
        if self._is_closed:
            raise StoreUnavailable
        await asyncio.shield(self._start())

    def _start(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._joined is None:
            self._joined = loop.create_future()
        if self._loop_task is None:
            self._loop_task = loop.create_task(self._receive_all())
        return self._joined

    async def _receive_all(self) -> None:
        """Take what arrives, for as long as the store is used."""
        # Cancelling is not enough: a layer may take it for its own.
        while not self._is_closed:
            try:
                self._channel = await self._layer.new_channel("push")
                await self._layer.group_add(self._group, self._channel)
                self._begin()
                await self._receive_some()
            except Exception as error:
                logger.error("The channel layer has failed: %r", error)
                self._fail()
                await asyncio.sleep(RETRY_AFTER)

    async def _receive_some(self) -> None:
        loop = asyncio.get_running_loop()
        stay = loop.create_task(self._stay())
        try:
            while not self._is_closed:
                event = await self._layer.receive(self._channel)
                if event["type"] != "push.end":
                    self._hear(event)
        finally:
            stay.cancel()
            await self._layer.group_discard(self._group, self._channel)

    async def _stay(self) -> None:
        """Join again and again, and show that this process is there."""
        while True:
            await asyncio.sleep(STAY)
            await self._show()

    async def _show(self) -> None:
        with suppress(Exception):
            await self._layer.group_add(self._group, self._channel)
            await self._tell("presence")

    def _begin(self) -> None:
        """Let those go on who wait until what is sent comes here."""
        if self._joined is None:
            self._joined = asyncio.get_running_loop().create_future()
        if not self._joined.done():
            self._joined.set_result(None)

    def _fail(self) -> None:
        """Let those who wait for the layer wait no more; note what may be missed."""
        self._miss()
        if self._joined is not None and not self._joined.done():
            self._joined.set_exception(StoreUnavailable())
            self._joined.exception()
        self._joined = None

    def _miss(self) -> None:
        """Note that something did not come here, of whatever channel."""
        self._is_late = True
        self._spoilt.update(self._channels)

    def _hear(self, event: dict[str, Any]) -> None:
        """Take what a process sent, this one too."""
        sender, channel_id = event["sender"], event["channel_id"]
        is_own = sender == self._me
        if "count" in event:
            last = self._counts.get(sender, event["count"] - 1)
            if event["count"] == last:
                return  # A layer that was away may have sent it again.
            if event["count"] > last + 1:
                self._miss()
            self._counts[sender] = max(event["count"], last)
        try:
            if event["type"] == "push.message":
                take = self._take_own if is_own else self._take
                take(channel_id, _read_message(event), event["keep"])
            elif is_own or event["type"] == "push.presence":
                pass  # What this process did, it has done.
            elif event["type"] == "push.creation":
                self._find(channel_id, self._clock(), create=True)
            elif channel_id in self._channels:
                self._tick(self._clock())
                self._forget(self._channels[channel_id])
                self._audience.drop(channel_id)
        except TooManyChannels:
            pass  # As if it had not come.


def _read_message(event: Mapping[str, Any]) -> Message:
    """Return a message as it comes from a layer, which knows plain lists only.

    The release before this one reads a list of exactly four, so what came later stands
    beside it.
    """
    message_id, body, content_type, previous, *_ = event["message"]
    return Message(
        MessageId(*message_id),
        body,
        content_type,
        None if previous is None else MessageId(*previous),
        **unpack_fields(event.get("fields", "")),
    )
