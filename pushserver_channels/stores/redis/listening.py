"""Listens to the channels on which subscribers in this process wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pushserver_channels.deadlines import Deadlines
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.stores.base import Audience

from .asked import AskedChannels
from .channels import ChannelKeys, Listener, Shard
from .commands import Commands
from .connection import Connection, Push
from .network import RECONNECT_DELAYS
from .replies import Reply, range_after, read_entry, read_fields, read_id
from .scripts import GRACE

#: Older than all messages in Redis.
NOTHING = MessageId(0, 0)

#: Seconds for which a process listens to a channel after its last subscriber has left.
#: Subscribers that were answered ask again, which then needs no commands to subscribe
#: and to look up messages.
LINGER = 1.5

#: Seconds between two records of the use of a channel, and of subscribers' requests.
RECORD_INTERVAL = 1.0

#: The most seconds between two records of the use of a channel with subscribers.
#: Otherwise the channel would be removed.
USE_INTERVAL = GRACE / 2


class Listening:
    """Subscribes to topics, and delivers the messages that are published there.

    A process subscribes when the first subscriber waits on a channel. It unsubscribes
    :data:`LINGER` seconds after the last one has left. When a connection is restored,
    it subscribes again and delivers the messages that were published meanwhile.

    Args:
        commands: The commands of the store.
        asked: The channels without keys.

    Attributes:
        audience: Receives the messages.
    """

    audience: Audience

    def __init__(self, commands: Commands, asked: AskedChannels) -> None:
        self._commands = commands
        self._asked = asked
        self._network = commands.network
        self._network.receiver = self
        self._listeners = commands.listeners
        self._unwanted: Deadlines[Listener] | None = None
        # By token: whether a message of this process was delivered in this process.
        self._echoes: dict[bytes, asyncio.Future[bool]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, channel: ChannelKeys) -> None:
        """Listen to a channel, because a subscriber waits on it."""
        listener = self._listeners.get(channel.topic)
        if listener is not None:
            listener.is_wanted = True
            if self._unwanted is not None:
                self._unwanted.discard(listener)
            return
        shard = channel.shard
        listener = self._listeners[channel.topic] = Listener(channel)
        shard.listeners.add(listener)
        if shard.connection is not None:
            self._subscribe(listener, shard.connection)
        else:
            self._network.restore(shard)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(USE_INTERVAL, self._record_all)

    def unlisten(self, channel: ChannelKeys) -> None:
        """Stop listening after :data:`LINGER` seconds: no subscriber waits any more."""
        listener = self._listeners.get(channel.topic)
        if listener is None or not listener.is_wanted:
            return
        listener.is_wanted = False
        self._asked.use(channel.id)
        if self._commands.now() - listener.used_at > RECORD_INTERVAL:
            self._record_use(listener)
        if not listener.is_live or listener.newest is None:
            # (Without a lookup, to linger would tell others that a subscriber waits.)
            self._unsubscribe(listener)
            return
        if self._unwanted is None:
            self._unwanted = Deadlines(LINGER, self._unsubscribe)
        self._unwanted.add(listener)

    def close(self) -> None:
        """Cancel the timers."""
        if self._timer is not None:
            self._timer.cancel()
        if self._unwanted is not None:
            self._unwanted.close()

    @contextmanager
    def expect_echo(
        self, channel: ChannelKeys, token: bytes
    ) -> Iterator[asyncio.Future[bool] | None]:
        """Provide a future that says whether a message is delivered in this process.

        It is None if this process does not listen to the channel.

        Args:
            channel: The channel.
            token: The token with which the message is published.
        """
        if channel.topic not in self._listeners:
            yield None
            return
        echo = asyncio.get_running_loop().create_future()
        self._echoes[token] = echo
        try:
            yield echo
        finally:
            del self._echoes[token]

    # Callbacks of the network

    def subscribe_all(self, shard: Shard, connection: Connection) -> None:
        """Subscribe to the topics of a shard on its new connection."""
        for listener in shard.listeners:
            self._subscribe(listener, connection)

    def lose_connection(self) -> None:
        """End the wait for echoes, which will not arrive any more."""
        for echo in self._echoes.values():
            if not echo.done():
                echo.set_result(False)

    def receive(self, push: Push) -> None:
        """Deliver a message that was published on a topic."""
        _, topic, content = push
        end = content.find(b"\n")
        event, token, *more = content[: end if end >= 0 else None].split(b" ")
        listener = self._listeners.get(topic)
        delivered = False
        # (Later releases may publish other events, and more words.)
        if listener is not None and event == b"deletion":
            listener.newest = None
            listener.received += 1
            self._asked.pop(listener.channel.id)
            self.audience.drop(listener.channel.id)
        elif listener is not None and event == b"message" and listener.is_live:
            message_id, previous, size, *_ = more
            start = end + 1 + int(size)
            message = Message(
                MessageId(*map(int, message_id.split(b"-"))),
                content[start:],
                content[end + 2 : start] if start > end + 1 else None,
                read_id(previous),
                **read_fields(token),
            )
            listener.newest = message.id
            listener.received += 1
            listener.used_at = self._commands.now()
            delivered = self.audience.deliver(listener.channel.id, message)
        if self._echoes:
            echo = self._echoes.get(token.partition(b";")[0])
            if echo is not None and not echo.done():
                echo.set_result(delivered)

    # Subscriptions

    def _subscribe(self, listener: Listener, connection: Connection) -> None:
        """Subscribe to a topic, and start to deliver the messages that were missed."""

        def confirm(answer: object) -> None:
            if listener.newest is None:
                listener.set_live()

        command = (self._commands.subscribe, listener.channel.topic)
        connection.send(*command, answered_by_push=True, convert=confirm)
        if listener.newest is not None and not listener.is_catching_up:
            self._network.start_task(self._catch_up(listener))

    def _unsubscribe(self, listener: Listener) -> None:
        """Stop listening to a channel."""
        channel = listener.channel
        del self._listeners[channel.topic]
        channel.shard.listeners.discard(listener)
        listener.release()
        connection = channel.shard.connection
        if connection is not None:
            command = (self._commands.unsubscribe, channel.topic)
            connection.send(*command, answered_by_push=True)

    async def _catch_up(self, listener: Listener) -> None:
        """Deliver the messages that were published while there was no connection."""
        channel = listener.channel

        def take(reply: Reply) -> None:
            if not reply.entries:
                newest, seen = reply.info.last_message_id, listener.newest or NOTHING
                if seen <= max(newest, read_id(reply.previous) or NOTHING):
                    listener.set_live()

        listener.is_catching_up = True
        try:
            while listener in channel.shard.listeners and not listener.is_live:
                words = f"1 {range_after(listener.newest or NOTHING)} 1 0"
                try:
                    reply = await self._commands.ask("next", channel, words, take)
                except StoreUnavailable:
                    if channel.shard.connection is None:
                        break  # The next connection starts this again.
                    # Redis refuses the command for now, for example while it is busy.
                    await asyncio.sleep(RECONNECT_DELAYS[1])
                    continue
                if reply.entries:
                    message = read_entry(reply.entries[0])
                    listener.newest = message.id
                    listener.received += 1
                    self.audience.deliver(channel.id, message)
                elif not listener.is_live:
                    # Redis lost its data. All new ids follow its mark.
                    listener.newest = read_id(reply.previous)
        finally:
            listener.is_catching_up = False

    # Use of channels

    def _record_use(self, listener: Listener) -> None:
        connection = listener.channel.shard.connection
        if connection is not None:
            listener.used_at = self._commands.now()
            self._commands.touch(listener.channel, connection)

    def _record_all(self) -> None:
        """Record the use of channels whose subscribers have waited for long."""
        self._timer = None
        for listener in self._listeners.values():
            if self._commands.now() - listener.used_at > USE_INTERVAL:
                self._record_use(listener)
        if self._listeners:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(USE_INTERVAL, self._record_all)
