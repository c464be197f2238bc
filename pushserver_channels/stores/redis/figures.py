"""Look at the channels in Redis without being one of their subscribers.

Nothing is written, and no command keeps Redis busy for longer than a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pushserver.conf import RedisStoreSettings
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.stores.base import PAGE_SIZE
from pushserver_channels.stores.figures import (
    BATCH,
    ChannelFigures,
    Matches,
    RateWindow,
)

from .commands import Commands
from .connection import Connection
from .errors import CommandError, UnknownScript
from .lua import read_lua
from .replies import read_entry
from .scripts import Script

#: The most messages that one command reads.
_PIECE = 10

#: Measures channels, without writing.
MEASURE = Script("#!lua flags=no-writes,allow-oom\n" + read_lua("measure"))


class _Names(NamedTuple):
    """What the keys of a channel consist of.

    Attributes:
        prefix: The prefix of its shard.
        id: Its id.
    """

    prefix: bytes
    id: str


class RedisFigures:
    """Reads which channels there are, and what they keep.

    Args:
        commands: The commands of the store.
        settings: The limits of the store.

    All methods raise :class:`~pushserver_channels.exceptions.StoreUnavailable`.
    """

    def __init__(self, commands: Commands, settings: RedisStoreSettings) -> None:
        self._commands = commands
        self._network = commands.network
        self._prefix = settings.key_prefix
        self._timeout = settings.channel_timeout
        self._window = RateWindow.of(settings)

    async def scan(
        self, matches: Matches, *, rates: bool = True
    ) -> AsyncIterator[list[ChannelFigures]]:
        """Yield the figures of all channels whose ids match, some at a time.

        As with Redis's own SCAN, one may be yielded twice, and one that is created
        meanwhile may be missing.

        Args:
            matches: Returns whether an id matches.
            rates: Whether their rates are wanted.
        """
        glob = f"{_escape(self._prefix)}{{??}}:channel:*"
        for connection in await self._connect_all():
            words = ("MATCH", glob, "COUNT", 2 * BATCH)
            scanning = connection.send("SCAN", 0, *words)
            while True:
                cursor, keys = await _wait_for(scanning)
                if cursor != b"0":  # Redis goes on while the figures are read.
                    scanning = connection.send("SCAN", cursor, *words)
                names = [each for each in self._read(keys) if matches(each.id)]
                if found := await self._measure_all(connection, names, rates):
                    yield found
                if cursor == b"0":
                    break

    async def measure(self, channel_ids: Sequence[str]) -> list[ChannelFigures]:
        """Return the figures of those channels that exist."""
        # By the connection to their server. (The cache of the keys is for channels that
        # are published on.)
        servers: dict[Connection, list[_Names]] = {}
        for channel_id in channel_ids:
            shard = self._commands.find(channel_id).shard
            connection = await self._network.connect(shard)
            servers.setdefault(connection, []).append(
                _Names(shard.prefix.encode(), channel_id)
            )
        found = []
        for connection, names in servers.items():
            found += await self._measure_all(connection, names, True)
        return found

    async def newest(self, channel_id: str, limit: int) -> list[Message]:
        """Return the newest kept messages, oldest first, as :meth:`Store.newest`."""
        channel = self._commands.find(channel_id)
        connection = await self._network.connect(channel.shard)
        messages: list[Message] = []
        end, size = b"+", 0
        while len(messages) < limit and size < PAGE_SIZE:
            count = min(limit - len(messages), _PIECE)
            command = ("XREVRANGE", channel.keys[0], end, "-", "COUNT", count)
            entries = await _wait_for(connection.send(*command))
            found = [read_entry(each) for each in entries]
            messages += found
            if len(found) < count:
                break
            size += sum(len(each.body) for each in found)
            end = b"(" + entries[-1][0]
        return messages[::-1]

    async def _connect_all(self) -> list[Connection]:
        """Return a connection to each server that holds channels."""
        shards = self._network.shards
        found = [await self._network.connect(each) for each in shards]
        return list(dict.fromkeys(found))

    def _read(self, keys: Iterable[bytes]) -> Iterator[_Names]:
        """Yield the names of the channels with some hashes."""
        end = len(f"{self._prefix}{{00}}".encode())
        start = end + len(b":channel:")
        for key in dict.fromkeys(keys):
            yield _Names(key[:end], key[start:].decode(errors="replace"))

    async def _measure_all(
        self, connection: Connection, names: Sequence[_Names], rates: bool
    ) -> list[ChannelFigures]:
        """Return the figures of those channels of a server that exist."""
        # Those of a shard at once: in a cluster a script has the keys of one.
        shards: dict[bytes, list[_Names]] = {}
        for each in names:
            shards.setdefault(each.prefix, []).append(each)
        found = await asyncio.gather(
            *(
                self._measure(connection, some[start : start + BATCH], rates)
                for some in shards.values()
                for start in range(0, len(some), BATCH)
            )
        )
        return [figures for some in found for figures in some]

    async def _measure(
        self, connection: Connection, names: Sequence[_Names], rates: bool
    ) -> list[ChannelFigures]:
        packed = [b"$%d\r\n%d\r\n" % (len(str(2 * len(names))), 2 * len(names))]
        for each in names:
            channel_id = each.id.encode()
            for kind in (b":messages:", b":channel:"):
                key = each.prefix + kind + channel_id
                packed.append(b"$%d\r\n%b\r\n" % (len(key), key))
        limit = self._window.messages if rates else 0
        words = (self._commands.fixed_time(), self._window.seconds, limit)
        arguments = [str(each).encode() for each in (*words, self._timeout)]
        keys, count = b"".join(packed), len(packed)
        try:
            told = await connection.run(MEASURE, keys, count, *arguments)
        except UnknownScript:
            told = await _wait_for(connection.run(MEASURE, keys, count, *arguments))
        except CommandError as error:
            raise StoreUnavailable from error
        *lines, now = told
        return [
            self._read_line(each.id, line, float(now))
            for each, line in zip(names, lines, strict=True)
            if line
        ]

    def _read_line(self, channel_id: str, line: bytes, now: float) -> ChannelFigures:
        messages, second, tag, recent, oldest = map(int, line.split(b" "))
        rate = self._window.rate(now, recent, oldest or now) if recent else 0.0
        return ChannelFigures(channel_id, messages, MessageId(second, tag), rate)


async def _wait_for(answer: Awaitable[Any]) -> Any:
    """Return an answer of Redis. Raises :class:`StoreUnavailable`."""
    try:
        return await answer
    except CommandError as error:
        raise StoreUnavailable from error


def _escape(text: str) -> str:
    """Return a glob pattern that matches a text only."""
    return "".join(f"\\{each}" if each in "*?[]^\\" else each for each in text)
