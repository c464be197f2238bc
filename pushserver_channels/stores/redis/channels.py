"""The keys, shards and listeners of channels."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import Message, MessageId

from .connection import Connection
from .resp import pack

#: The most channels whose keys are cached. Building them takes as long as sending them.
MAX_CACHED = 1024


class Shard:
    """The channels that are on one server, and the connection to it.

    Attributes:
        prefix: The prefix of the keys of its channels.
        mark: The key of the shard's mark, by which scripts detect that Redis has lost
            messages: see :mod:`.scripts`.
        connection: The connection, None if there is none.
        connecting: The attempt to connect that is running, None if there is none.
        restoring: The task that reconnects while there are listeners, None if there is
            none.
        failures: How many attempts to connect have failed since the last connection.
        down_until: When the next attempt is made, by ``time.monotonic()``.
        listeners: Its channels that this process listens to.
    """

    def __init__(self, prefix: str, number: int) -> None:
        # A cluster puts keys with the same text in braces on one server.
        self.prefix = f"{prefix}{{{number:02x}}}"
        self.mark = f"{self.prefix}:mark"
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[Connection] | None = None
        self.restoring: asyncio.Task[None] | None = None
        self.failures = 0
        self.down_until = 0.0
        self.listeners: set[Listener] = set()


@dataclass(frozen=True, eq=False)
class ChannelKeys:
    """The names of a channel in Redis.

    Attributes:
        id: The channel id.
        shard: Its shard.
        keys: The keys of its messages, of its hash, and of its shard's mark.
        topic: The name under which its messages are published.
        packed: What each script of the channel gets first, in Redis's format: the
            number of keys, the keys, and the topic.
        packed_count: How many values these are.
    """

    id: str
    shard: Shard
    keys: tuple[str, str, str]
    topic: bytes
    packed: bytes = field(init=False, repr=False)
    packed_count: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = (len(self.keys), *self.keys, self.topic)
        object.__setattr__(self, "packed", pack(*words))
        object.__setattr__(self, "packed_count", len(words))


class KeyFinder:
    """Returns the names of channels.

    Args:
        shards: The shards among which the channels are distributed.
        database: The number of the database. Topics are shared by all databases.
    """

    def __init__(self, shards: list[Shard], database: int) -> None:
        self._shards = shards
        self._database = database
        self.find = lru_cache(MAX_CACHED)(self._build)

    def _build(self, channel_id: str) -> ChannelKeys:
        shard = self._shards[crc32(channel_id.encode()) % len(self._shards)]
        prefix = shard.prefix
        keys = (f"{prefix}:messages:{channel_id}", f"{prefix}:channel:{channel_id}")
        # Releases that share a Redis use this name, so it cannot change.
        topic = f"{prefix}:bell:{self._database}:{channel_id}".encode()
        return ChannelKeys(channel_id, shard, (*keys, shard.mark), topic)


class Lookup(NamedTuple):
    """The result of looking for the next message of a channel.

    Attributes:
        message: The message, None if there is none yet.
        newest: The id of the channel's last message.
        received: How many messages the listener had received by then.
    """

    message: Message | None
    newest: MessageId
    received: int


class Listener:
    """A channel that this process listens to.

    Attributes:
        channel: The channel.
        is_wanted: Whether a subscriber in this process waits. If none does, the
            listener is kept for a moment, because subscribers that were answered ask
            again.
        is_live: Whether every message published from now on is received and delivered.
        live: A future that has a result when the listener is live, and an exception if
            the connection has ended.
        is_catching_up: Whether messages that were missed are being delivered.
        newest: The id of the last message that was received or looked up, None before
            the first.
        received: Counts the messages received.
        requested_at: When a subscriber's request was last recorded in Redis.
        used_at: When use of the channel was last recorded in Redis.
        lookups: The running lookups, by the id after which they look and by whether
            they create the channel.
    """

    def __init__(self, channel: ChannelKeys) -> None:
        self.channel = channel
        self.is_wanted = True
        self.is_live = False
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_catching_up = False
        self.newest: MessageId | None = None
        self.received = 0
        self.requested_at = self.used_at = float("-inf")
        self.lookups: dict[tuple[MessageId, bool], asyncio.Task[Lookup]] = {}

    def set_live(self) -> None:
        """Note that everything published from now on will be received."""
        self.is_live = True
        self.release()

    def disconnect(self) -> None:
        """Note that the connection has ended."""
        self.is_live = False
        if not self.live.done():
            self.live.set_exception(StoreUnavailable())
            self.live.exception()  # So that asyncio logs nothing if no task waits.
        self.live = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Let the tasks go on that wait until the listener is live."""
        if not self.live.done():
            self.live.set_result(None)
