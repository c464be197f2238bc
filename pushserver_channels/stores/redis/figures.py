"""Look at the channels in Redis without being one of their subscribers.

Nothing is written, and no command keeps Redis busy for longer than a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

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

from .channels import ChannelKeys, Shard
from .commands import Commands
from .connection import Connection
from .errors import CommandError, UnknownScript
from .replies import read_entry
from .resp import pack
from .scripts import Script

#: The most messages that one command reads.
_PIECE = 10

# Gets two keys for each channel: that of its messages and that of its hash; the time
# (or "now" for the server's clock), and the window of the rate. A channel that does not
# exist, or that the next request would remove, has an empty answer.
_MEASURE = """#!lua flags=no-writes,allow-oom
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local timeout = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local start = string.format('%d', math.max(math.floor(now - window) + 1, 0))
local found = {}
for index = 1, #KEYS, 2 do
  local messages = KEYS[index]
  local fields = redis.call('HMGET', KEYS[index + 1], 'made', 'used', 'time', 'tag')
  local count = redis.call('XLEN', messages)
  local used = tonumber(fields[2] or 0)
  local told = ''
  if count > 0 or (fields[1] and (timeout == 0 or now - used < timeout)) then
    local time, recent, oldest = tonumber(fields[3] or 0), 0, 0
    if time >= tonumber(start) then
      local entries =
        redis.call('XREVRANGE', messages, '+', start, 'COUNT', limit)
      recent = #entries
      oldest = recent > 0 and string.match(entries[recent][1], '^%d+') or 0
    end
    told = count .. ' ' .. string.format('%d', time) .. ' ' .. (fields[4] or 0)
      .. ' ' .. recent .. ' ' .. oldest
  end
  found[#found + 1] = told
end
found[#found + 1] = string.format('%.3f', now)
return found
"""

MEASURE = Script(_MEASURE)


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

    async def scan(self, matches: Matches) -> AsyncIterator[list[ChannelFigures]]:
        """Yield the figures of all channels whose ids match, some at a time.

        As with Redis's own SCAN, one may be yielded twice, and one that is created
        meanwhile may be missing.
        """
        glob = f"{_escape(self._prefix)}{{??}}:channel:*"
        for connection in await self._connect_all():
            cursor = b"0"
            while True:
                cursor, keys = await self._send(
                    connection, "SCAN", cursor, "MATCH", glob, "COUNT", BATCH
                )
                ids = filter(matches, self._read_ids(keys))
                if figures := await self.measure(list(dict.fromkeys(ids))):
                    yield figures
                if cursor == b"0":
                    break

    async def measure(self, channel_ids: Sequence[str]) -> list[ChannelFigures]:
        """Return the figures of those channels that exist."""
        # Those of a shard at once: in a cluster a script has the keys of one.
        shards: dict[Shard, list[ChannelKeys]] = {}
        for channel_id in channel_ids:
            channel = self._commands.find(channel_id)
            shards.setdefault(channel.shard, []).append(channel)
        pieces = [
            (shard, some[start : start + BATCH])
            for shard, some in shards.items()
            for start in range(0, len(some), BATCH)
        ]
        found = await asyncio.gather(*(self._measure(*each) for each in pieces))
        return [figures for some in found for figures in some]

    async def newest(self, channel_id: str, limit: int) -> list[Message]:
        """Return the newest kept messages, oldest first, as :meth:`Store.newest`."""
        channel = self._commands.find(channel_id)
        connection = await self._network.connect(channel.shard)
        messages: list[Message] = []
        end, size = b"+", 0
        while len(messages) < limit and size < PAGE_SIZE:
            count = min(limit - len(messages), _PIECE)
            entries = await self._send(
                connection, "XREVRANGE", channel.keys[0], end, "-", "COUNT", count
            )
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

    async def _measure(
        self, shard: Shard, channels: Sequence[ChannelKeys]
    ) -> list[ChannelFigures]:
        connection = await self._network.connect(shard)
        keys = [key for each in channels for key in each.keys[:2]]
        packed = pack(len(keys), *keys)
        clock = self._commands.fixed_time()
        words = (clock, self._window.seconds, self._window.messages, self._timeout)
        arguments = [str(each).encode() for each in words]
        count = 1 + len(keys)
        try:
            try:
                told = await connection.run(MEASURE, packed, count, *arguments)
            except UnknownScript:
                told = await connection.run(MEASURE, packed, count, *arguments)
        except CommandError as error:
            raise StoreUnavailable from error
        *lines, now = told
        return [
            self._read(channel.id, line, float(now))
            for channel, line in zip(channels, lines, strict=True)
            if line
        ]

    def _read(self, channel_id: str, line: bytes, now: float) -> ChannelFigures:
        messages, second, tag, recent, oldest = map(int, line.split(b" "))
        return ChannelFigures(
            channel_id,
            messages,
            MessageId(second, tag),
            self._window.rate(now, recent, oldest or now),
        )

    def _read_ids(self, keys: Iterable[bytes]) -> Iterable[str]:
        """Yield the channel ids in the keys of hashes."""
        start = len(f"{self._prefix}{{00}}:channel:".encode())
        for key in keys:
            yield key[start:].decode(errors="replace")

    async def _send(self, connection: Connection, *command: str | bytes | int) -> Any:
        try:
            return await connection.send(*command)
        except CommandError as error:
            raise StoreUnavailable from error


def _escape(text: str) -> str:
    """Return a glob pattern that matches a text only."""
    return "".join(f"\\{each}" if each in "*?[]^\\" else each for each in text)
