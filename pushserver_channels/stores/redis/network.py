"""The connections of a process to the servers of its store."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from pushserver.passwords import mask
from pushserver_channels.exceptions import StoreUnavailable

from .channels import Shard
from .connection import ANSWER_TIMEOUT, Connection, Push
from .errors import CommandError, ConnectionLost
from .servers import Address, Servers

logger = logging.getLogger("pushserver.store")

Result = TypeVar("Result")

#: Seconds before the next attempt to connect, after one failure and after many.
RECONNECT_DELAYS = (0.1, 1.0)


class Receiver(Protocol):
    """The callbacks for the events on the connections of a network."""

    def receive(self, push: Push) -> None:
        """Process a published message."""

    def subscribe_all(self, shard: Shard, connection: Connection) -> None:
        """Subscribe to the topics of a shard on its new connection."""

    def lose_connection(self) -> None:
        """Note that a connection has ended, so its messages are not received."""


class Network:
    """Makes one connection to each server, and reconnects when it ends.

    Args:
        servers: The servers.
        prefix: The prefix of all keys.

    Attributes:
        shards: The shards among which the channels are distributed.
        receiver: The object whose methods are called when a message arrives or a
            connection begins or ends. It must be set before the first use.
        connections: The open connections, by the addresses of their servers.
        errors: How many attempts to connect have failed, and connections and commands.
    """

    receiver: Receiver

    def __init__(self, servers: Servers, prefix: str) -> None:
        self.shards = [Shard(prefix, number) for number in range(servers.shards)]
        self._servers = servers
        self.connections: dict[Address, Connection] = {}
        self._opening: dict[Address, asyncio.Task[Connection]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.errors = 0

    async def connect(self, shard: Shard) -> Connection:
        """Return the connection to a shard. Raises :class:`StoreUnavailable`."""
        if shard.connection is not None:
            return shard.connection
        if shard.connecting is None:
            if self._closed or time.monotonic() < shard.down_until:
                raise StoreUnavailable
            shard.connecting = self.start_task(self._connect(shard))
        return await asyncio.shield(shard.connecting)

    def restore(self, shard: Shard) -> None:
        """Try to connect to a shard repeatedly, while it has listeners."""
        if shard.restoring is None:
            shard.restoring = self.start_task(self._restore(shard))

    def start_task(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a task that is cancelled when the store is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # The event loop keeps only weak references.
        task.add_done_callback(self._finish_task)
        return task

    async def check_health(self) -> None:
        """Return when all servers have answered. Raises :class:`StoreUnavailable`."""
        connections = {await self.connect(each) for each in self.shards}
        try:
            await asyncio.gather(*(each.send("PING") for each in connections))
        except CommandError as error:
            raise StoreUnavailable from error

    def close(self) -> None:
        """Close all connections, and cancel all tasks."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for connection in list(self.connections.values()):
            connection.close(ConnectionLost("The store is closed."))

    async def aclose(self) -> None:
        """Close all connections, and wait until they are closed."""
        connections = list(self.connections.values())
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in connections:
            await connection.wait_closed()

    async def _connect(self, shard: Shard) -> Connection:
        try:
            connection = await asyncio.wait_for(self._reach(shard), ANSWER_TIMEOUT)
            if connection.error is not None:
                raise connection.error
        except Exception as error:
            self.errors += 1
            reason = mask(str(error) or repr(error))
            self._servers.forget()
            delay = min(RECONNECT_DELAYS[0] * 2**shard.failures, RECONNECT_DELAYS[1])
            shard.down_until = time.monotonic() + delay * random.uniform(0.5, 1.0)
            shard.failures = min(shard.failures + 1, 10)
            if shard.failures == 1:
                extra = {"reason": StoreUnavailable.reason}
                logger.error("Redis cannot be reached: %s", reason, extra=extra)
            # Not from the error itself: its traceback has frames of redis-py, which
            # contain the password.
            raise StoreUnavailable from ConnectionLost(reason)
        finally:
            shard.connecting = None
        if shard.failures:
            extra = {"reason": StoreUnavailable.reason}
            logger.warning("Redis is reached again", extra=extra)
        shard.failures = 0
        shard.connection = connection
        self.receiver.subscribe_all(shard, connection)
        return connection

    async def _reach(self, shard: Shard) -> Connection:
        """Return the connection to the server of a shard, which shards may share."""
        address = await self._servers.find(shard.mark)
        connection = self.connections.get(address)
        if connection is None:
            opening = self._opening.get(address)
            if opening is None:
                opening = self._opening[address] = self.start_task(self._open(address))
            connection = await asyncio.shield(opening)
        return connection

    async def _open(self, address: Address) -> Connection:
        opening = Connection.open(
            self._servers.connection(address),
            self.receiver.receive,
            self._take_end,
            # Servers with addresses have replicas, which may lag behind.
            durable=not address,
        )
        try:
            connection = await asyncio.wait_for(opening, ANSWER_TIMEOUT)
        finally:
            del self._opening[address]
        if self._closed:  # A cancellation may come too late.
            error = ConnectionLost("The store is closed.")
            connection.close(error)
            raise error
        self.connections[address] = connection
        return connection

    def _take_end(self, ended: Connection, error: CommandError) -> None:
        """Note that a connection has ended."""
        was_used = ended in self.connections.values()
        self.connections = {
            address: each
            for address, each in self.connections.items()
            if each is not ended
        }
        self._servers.forget()
        self.receiver.lose_connection()
        if self._closed:
            return
        if was_used:
            self.errors += 1
            extra = {"reason": StoreUnavailable.reason}
            logger.warning("The connection to Redis has ended: %s", error, extra=extra)
        for shard in self.shards:
            if shard.connection is ended:
                shard.connection = None
                for listener in shard.listeners:
                    listener.disconnect()
                if shard.listeners:
                    self.restore(shard)

    async def _restore(self, shard: Shard) -> None:
        try:
            while shard.listeners and shard.connection is None:
                try:
                    await self.connect(shard)
                except StoreUnavailable:
                    delay = shard.down_until - time.monotonic()
                    await asyncio.sleep(max(delay, 0))
        finally:
            shard.restoring = None

    def _finish_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # So that asyncio logs nothing if it is not awaited.
