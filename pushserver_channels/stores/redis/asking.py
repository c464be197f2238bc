"""Connections to the servers of a store for sync code, and how they fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver.passwords import SecretText, mask
from pushserver.publishers.connections import Connections
from pushserver.publishers.deadline import Deadline
from pushserver_channels.exceptions import StoreUnavailable

from .blocking import BlockingConnection, find_blocking_servers
from .channels import Shard
from .errors import load

logger = logging.getLogger("pushserver.store")

#: Seconds after which an idle connection is not used again, because a firewall or NAT
#: on the way may have dropped it.
MAX_IDLE = 60.0


class NotSent(Exception):
    """Redis could not be reached; the text says why."""


class Lost(Exception):
    """The connection ended before the answer: Redis may have the message.

    Attributes:
        clock: The time when it ended, by the clock of Redis.
    """

    def __init__(self, reason: str, clock: float) -> None:
        super().__init__(reason)
        self.clock = clock


class Refused(Exception):
    """Redis answered with an error, and did nothing."""


class MovedAway(Exception):
    """The server does not have the key, or not yet, and did nothing."""


class ChannelNames(NamedTuple):
    """The names of a channel in Redis.

    Attributes:
        shard: Its shard.
        keys: The keys of its messages, of its hash, and of its shard's mark.
        topic: The name under which its messages are published.
    """

    shard: Shard
    keys: tuple[str, str, str]
    topic: str


class BlockingStore:
    """Asks the servers of a store, from any thread or greenlet.

    Args:
        settings: The address of Redis.

    Raises ``ImproperlyConfigured``.

    Attributes:
        servers: The servers.
        connections: The connections, which are kept open.
    """

    def __init__(self, settings: RedisStoreSettings) -> None:
        self.servers = find_blocking_servers(SecretText(settings.address))
        self.connections: Connections[BlockingConnection] = Connections()
        self._shards = [
            Shard(settings.key_prefix, number) for number in range(self.servers.shards)
        ]
        self._logged_fault = ""

    def find(self, channel_id: str) -> ChannelNames:
        """Return the names of a channel."""
        shard = self._shards[crc32(channel_id.encode()) % len(self._shards)]
        messages = f"{shard.prefix}:messages:{channel_id}"
        state = f"{shard.prefix}:channel:{channel_id}"
        # Releases that share a Redis use this name, so it cannot change.
        topic = f"{shard.prefix}:bell:{self.servers.database}:{channel_id}"
        return ChannelNames(shard, (messages, state, shard.mark), topic)

    def connect(self, shard: Shard, deadline: Deadline) -> BlockingConnection:
        """Return a connection to a shard. Raises :class:`NotSent`."""
        try:
            address = self.servers.locate(shard.mark, deadline)
            connection = self.connections.take(address, MAX_IDLE)
            if connection is None:
                connection = self.servers.connect(address, deadline)
                connection.address = address
        except Exception as error:
            self.servers.forget()
            reason = mask(str(error) or repr(error))
            self._log_fault("Redis cannot be reached: %s", reason)
            # Not from the error itself: its traceback has frames of redis-py, which
            # contain the password.
            raise NotSent(reason) from None
        connection.set_deadline(deadline)
        return connection

    def limit(self, connection: BlockingConnection, deadline: Deadline) -> float:
        """Return the deadline by the clock of Redis, in seconds of Unix time.

        Raises :class:`NotSent` if it has passed.
        """
        try:
            return connection.clock + (deadline.left() or 0)
        except TimeoutError as error:
            self.connections.keep(connection.address, connection, MAX_IDLE)
            raise NotSent(str(error)) from None

    @contextmanager
    def asking(self, connection: BlockingConnection) -> Iterator[None]:
        """Keep a connection on which Redis was asked, and close it after an error.

        Raises :class:`Lost`, :class:`MovedAway` or :class:`Refused`.
        """
        errors = load("redis.exceptions")
        try:
            yield
        except (
            errors.AskError,
            errors.BusyLoadingError,
            errors.ClusterDownError,
            errors.ReadOnlyError,  # MovedError is an AskError.
            errors.TryAgainError,
        ) as error:
            self._give_up(connection)
            raise MovedAway(str(error)) from None
        except errors.ResponseError as error:
            self.connections.keep(connection.address, connection, MAX_IDLE)
            self._log_fault("Redis refuses what it is asked: %s", str(error))
            raise Refused(str(error)) from None
        except (errors.RedisError, OSError) as error:
            self._give_up(connection)
            raise Lost(str(error), connection.clock) from None
        except BaseException:
            # For example a greenlet was killed. The next command on this connection
            # would get the answer to this one.
            connection.close()
            raise
        self.connections.keep(connection.address, connection, MAX_IDLE)
        self._logged_fault = ""

    def _give_up(self, connection: BlockingConnection) -> None:
        """Close a connection, and all idle ones."""
        connection.close()
        self.connections.close()
        self.servers.forget()

    def _log_fault(self, sentence: str, reason: str) -> None:
        """Log a fault of Redis, once until it changes."""
        if reason != self._logged_fault:
            self._logged_fault = reason
            extra = {"reason": StoreUnavailable.reason}
            logger.error(sentence, reason, extra=extra)
