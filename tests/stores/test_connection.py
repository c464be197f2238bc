"""A Redis connection to a server whose answers a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pushserver_channels.stores.redis.connection import Connection, Push
from pushserver_channels.stores.redis.errors import CommandError, ConnectionLost, Moved
from pushserver_channels.stores.redis.resp import pack


class Streams:
    """A fake connection of redis-py that is open already."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def connect(self) -> None:
        """Do nothing, since the connection is open."""

    async def disconnect(self, nowait: bool) -> None:
        self._writer.close()


@dataclass
class World:
    """A connection and the server's end of it."""

    connection: Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pushes: list[Push] = field(default_factory=list)
    ends: list[CommandError] = field(default_factory=list)


@asynccontextmanager
async def connected() -> AsyncIterator[World]:
    """Open a connection to a server and provide both ends."""
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()
    pushes: list[Push] = []
    ends: list[CommandError] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result((reader, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = Connection(
            Streams(writer), pushes.append, lambda ended, error: ends.append(error)
        )
        mine = await accepted
        try:
            yield World(connection, *mine, pushes, ends)
        finally:
            connection.close(ConnectionLost("The test is over."))
            await connection.wait_closed()
            mine[1].close()
            await mine[1].wait_closed()


async def test_commands_are_sent_in_order() -> None:
    """Commands are sent in order, in one write or several."""
    async with connected() as world:
        answers = [world.connection.send("ECHO", number) for number in range(10)]
        await asyncio.sleep(0)
        answers += [world.connection.send("ECHO", number) for number in range(10, 20)]
        expected = b"".join(b"*2\r\n" + pack("ECHO", number) for number in range(20))
        assert await world.reader.readexactly(len(expected)) == expected
        world.writer.write(b"".join(pack(number) for number in range(20)))
        assert await asyncio.gather(*answers) == [b"%d" % each for each in range(20)]


async def test_pushes_are_not_taken_for_responses() -> None:
    """Published messages and unknown pushes are not taken for a command's answer."""
    async with connected() as world:
        answer = world.connection.send("GET", "a")
        world.writer.write(
            b">3\r\n+MOVING\r\n:1\r\n+host\r\n"
            b">3\r\n$7\r\nmessage\r\n+topic\r\n+text\r\n"
            # This answer is not a push, but looks like one.
            b"*3\r\n$7\r\nmessage\r\n+topic\r\n+text\r\n"
        )
        assert await answer == [b"message", b"topic", b"text"]
        assert world.pushes == [[b"message", b"topic", b"text"]]
        assert not world.ends


async def test_push_confirms_a_subscription() -> None:
    """A push confirms SUBSCRIBE; an unexpected one means that a topic moved."""
    async with connected() as world:
        confirmation = b">3\r\n+ssubscribe\r\n+topic\r\n:1\r\n"
        answer = world.connection.send("SSUBSCRIBE", "topic", answered_by_push=True)
        world.writer.write(confirmation)
        assert await answer == [b"ssubscribe", b"topic", 1]
        waiting = world.connection.send("GET", "a")
        world.writer.write(confirmation.replace(b"+s", b"+sun"))
        with pytest.raises(Moved):
            await waiting
        assert [type(error) for error in world.ends] == [Moved]


async def test_unreadable_response_ends_the_connection() -> None:
    """An unreadable answer ends the connection; its command and later ones fail."""

    def convert(answer: object) -> object:
        raise ValueError("unreadable")

    async with connected() as world:
        first = world.connection.send("GET", "a", convert=convert)
        second = world.connection.send("GET", "b")
        world.writer.write(b"+OK\r\n+OK\r\n")
        for answer in (first, second):
            with pytest.raises(ConnectionLost, match="unreadable"):
                await answer
        assert len(world.ends) == 1


async def test_pending_commands_fail_when_the_connection_ends() -> None:
    """Pending commands fail when the server ends the connection."""
    async with connected() as world:
        answer = world.connection.send("GET", "a")
        await world.reader.readuntil(b"\r\na\r\n")
        world.writer.write(b"$5\r\nhal")
        world.writer.close()
        with pytest.raises(ConnectionLost, match="closed by server"):
            await answer
        with pytest.raises(ConnectionLost):
            await world.connection.send("GET", "a")
        assert len(world.ends) == 1
