"""Connections to Redis for sync code, which waits for each answer.

redis-py makes them, as it makes those of the store itself. A deadline limits each
operation as a whole, from the name lookup to the end of the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pushserver.publishers.deadline import Deadline
from pushserver.publishers.sockets import TimedSocket, open_socket

from .errors import ConnectionLost, load
from .runs import read_run_id
from .servers import (
    CONNECT_TIMEOUT,
    Address,
    ClusterServers,
    OneServer,
    SentinelServers,
    Servers,
    SeveralHosts,
)


class BlockingConnection:
    """One open connection, for one command at a time.

    Args:
        connection: A connection of redis-py.
        durable: Whether a server with an append-only file loses nothing.

    Raises errors of redis-py, as its methods do.

    Attributes:
        address: The address of the server, empty if there is only one.
        run_id: The run of Redis, as in :class:`.connection.Connection`.
    """

    address: Address = ()

    def __init__(self, connection: Any, durable: bool) -> None:
        self._connection = connection
        self._clock_offset = 0.0
        self.run_id = "-"
        try:
            connection.connect()
            seconds, microseconds = self.ask("TIME")
            self.set_clock(int(seconds) + int(microseconds) / 1_000_000)
            self._read_run_id(durable)
        except BaseException:
            self.close()
            raise

    def _read_run_id(self, durable: bool) -> None:
        try:
            facts = self.ask("INFO", "server") + self.ask("INFO", "persistence")
        except load("redis.exceptions").ResponseError:
            return  # For example because the user may not use INFO.
        try:
            self.run_id = read_run_id(facts, durable=durable)
        except ConnectionLost as error:
            # Redis is loading its data.
            raise load("redis.exceptions").ConnectionError(str(error)) from error

    @property
    def clock(self) -> float:
        """The server's time in seconds, estimated from its last answer."""
        return time.monotonic() + self._clock_offset

    def set_clock(self, now: float) -> None:
        """Set :attr:`clock` to the server's time, in seconds of Unix time."""
        self._clock_offset = now - time.monotonic()

    def ask(self, *command: str | bytes | int) -> Any:
        """Send a command and return the answer."""
        self._connection.send_command(*command, check_health=False)
        return self._connection.read_response(disable_decoding=True)

    def ask_several(
        self, commands: Sequence[Sequence[str | bytes | int]]
    ) -> Iterator[Any]:
        """Send commands at once, and yield the answer of each.

        An answer that is an error is yielded, not raised.
        """
        packed = self._connection.pack_commands(commands)
        self._connection.send_packed_command(packed, check_health=False)
        for _ in commands:
            try:
                yield self._connection.read_response(disable_decoding=True)
            except load("redis.exceptions").ResponseError as error:
                yield error

    def set_deadline(self, deadline: Deadline) -> None:
        """Set the deadline of the following operations."""
        self._connection.timed.start(deadline)

    def is_quiet(self) -> bool:
        """Return whether the connection is open and nothing can be read from it."""
        return bool(self._connection.timed.is_quiet())

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


@cache
def _timed_class(name: str) -> Any:
    """Return a connection class of redis-py, extended by a deadline."""
    kind: Any = getattr(load("redis.connection"), name)

    class TimedConnection(kind):
        """A connection whose socket has a deadline."""

        def __init__(self, deadline: Deadline, **options: Any) -> None:
            self._deadline = deadline
            super().__init__(**options)

        def _connect(self) -> TimedSocket:
            # redis-py's own limit applies to each address of a host.
            if name == "UnixDomainSocketConnection":
                connection = super()._connect()
            else:
                connection = open_socket(self.host, self.port, self._deadline)
                if name == "SSLConnection":
                    connection = self._secure(connection)
            self.timed = TimedSocket(connection, self._deadline)
            return self.timed

        def _secure(self, connection: Any) -> Any:
            try:
                return self._wrap_socket_with_ssl(connection)
            except BaseException:
                connection.close()
                raise

    return TimedConnection


class BlockingServers(Servers):
    """The servers that hold the channels of a store, for sync code."""

    def locate(self, key: str, deadline: Deadline) -> Address:
        """Return the address of the server of a key, empty if there is only one.

        Raises errors of redis-py.
        """
        return ()

    def connect(self, address: Address, deadline: Deadline) -> BlockingConnection:
        """Return an open connection to a server. Raises errors of redis-py."""
        left = deadline.left()
        limit = CONNECT_TIMEOUT if left is None else min(CONNECT_TIMEOUT, left)
        options = {
            **self._options,
            "socket_connect_timeout": limit,
            "protocol": 2,  # It receives no pushes.
            # redis-py's own retries could publish a message twice.
            "retry": load("redis.retry").Retry(load("redis.backoff").NoBackoff(), 0),
        }
        if address:
            options["host"], options["port"] = address
        kind = _timed_class(self._class.__name__)
        # Servers with addresses have replicas, which may lag behind.
        return BlockingConnection(kind(deadline, **options), durable=not address)

    def _step(self, deadline: Deadline, steps: int) -> float:
        """Return the time limit in seconds for one of several steps."""
        left = deadline.left(steps)
        return CONNECT_TIMEOUT if left is None else min(CONNECT_TIMEOUT, left)


class BlockingOneServer(BlockingServers, OneServer):
    """One Redis."""


class BlockingSentinelServers(BlockingServers, SentinelServers):
    """The master that Sentinel names."""

    def connect(self, address: Address, deadline: Deadline) -> BlockingConnection:
        limit = self._step(deadline, 2 * len(self.hosts))
        options = {
            **self.sentinel_options,
            "socket_timeout": limit,
            "socket_connect_timeout": limit,
        }
        sentinel = load("redis.sentinel").Sentinel(self.hosts, sentinel_kwargs=options)
        try:
            address = sentinel.discover_master(self.service)
        finally:
            for client in sentinel.sentinels:
                client.close()
        return super().connect(address, deadline)


class BlockingClusterServers(BlockingServers, ClusterServers):
    """The masters of a cluster."""

    def locate(self, key: str, deadline: Deadline) -> Address:
        cluster = self._cluster
        if cluster is None:
            cluster = self._cluster = self._discover(deadline)
        node = cluster.get_node_from_key(key)
        if node is None:
            raise load("redis.exceptions").ClusterDownError(
                f"No server of the cluster has the key {key}."
            )
        return (node.host, node.port)

    def _discover(self, deadline: Deadline) -> Any:
        """Return a client that has asked the cluster which node has which keys."""
        redis = load("redis.cluster")
        limit = self._step(deadline, 2 * len(self.hosts))
        options = {**self._options, "protocol": 2}
        options |= {"socket_timeout": limit, "socket_connect_timeout": limit}
        for name in ("host", "port", "db"):
            options.pop(name, None)
        if self._is_secure():
            options["ssl"] = True
        nodes = [redis.ClusterNode(host, port) for host, port in self.hosts]
        cluster = redis.RedisCluster(startup_nodes=nodes, **options)
        cluster.close()  # Its nodes remain known.
        known = [(node.host, node.port) for node in cluster.get_nodes()]
        self.hosts = list(dict.fromkeys([*self.hosts, *known]))
        return cluster


def find_blocking_servers(url: str) -> BlockingServers:
    """Return the servers that a URL names. Raises ``ImproperlyConfigured``."""
    several = SeveralHosts.parse(url)
    if several is None:
        return BlockingOneServer(url)
    if several.kind == "sentinel":
        return BlockingSentinelServers(several)
    return BlockingClusterServers(several)
