"""Publishing into Redis from a process that serves no subscribers.

A WSGI or Celery worker, a shell or a script only appends messages. It runs the same Lua
script as the store, by its digest, in one round trip on a connection that is kept open.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver.passwords import SecretText, mask
from pushserver.publishers.connections import Connections, NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo, MessageId

from .blocking import BlockingConnection, find_blocking_servers
from .channels import Shard
from .connection import ANSWER_TIMEOUT
from .errors import Unanswered, load
from .network import RECONNECT_DELAYS
from .replies import Reply, add_fields, add_key, read_reply
from .scripts import make_scripts

logger = logging.getLogger(__name__)

#: Seconds after which an idle connection is not used again, because a firewall or NAT
#: on the way may have dropped it.
MAX_IDLE = 60.0


class _NotSent(Exception):
    """Redis could not be reached; the text says why."""


class _Lost(Exception):
    """The connection ended before the answer: Redis may have the message.

    Attributes:
        clock: The time when it ended, by the clock of Redis.
    """

    def __init__(self, reason: str, clock: float) -> None:
        super().__init__(reason)
        self.clock = clock


class _Refused(Exception):
    """Redis answered with an error, and did nothing."""


class _Moved(Exception):
    """The server does not have the key, or not yet, and did nothing."""


class _Channel(NamedTuple):
    """The names of a channel in Redis.

    Attributes:
        shard: Its shard.
        keys: The keys of its messages, of its hash, and of its shard's mark.
        topic: The name under which its messages are published.
    """

    shard: Shard
    keys: tuple[str, str, str]
    topic: str


class RedisPublishing:
    """Appends messages to the streams of a store, from any thread or greenlet.

    As in a ``RedisStore``, a message is accepted when Redis has answered. If the
    connection ends before, the message is sent once more, with a token by which Redis
    knows whether it has it already. If no answer comes in time, Redis does not publish
    the message if it runs the script later.

    Args:
        settings: The address of Redis, and the limits of the store.

    Raises ``ImproperlyConfigured``.
    """

    def __init__(self, settings: RedisStoreSettings) -> None:
        self._servers = find_blocking_servers(SecretText(settings.address))
        scripts = make_scripts(settings, sharded=self._servers.sharded)
        self._script = scripts["append"]
        self._shards = [
            Shard(settings.key_prefix, number) for number in range(self._servers.shards)
        ]
        self._connections: Connections[BlockingConnection] = Connections()
        self._logged_fault = ""

    def append(
        self,
        update: Update,
        deadline: Deadline,
        *,
        keep: bool,
        create: bool,
        key: str | None = None,
    ) -> tuple[bool, ChannelInfo]:
        """Append a message; return whether it was delivered, and the channel info.

        Args:
            update: The message and its channel.
            deadline: The deadline, at most :data:`ANSWER_TIMEOUT` seconds from now.
            keep: Whether subscribers can get it later.
            create: Whether to create the channel if there is none.
            key: Its idempotency key, None for none.

        Raises :class:`~pushserver_channels.exceptions.ChannelNotFound`,
        :class:`~pushserver_channels.exceptions.StoreUnavailable`, and
        :class:`~pushserver.publishers.connections.NoConnectionFree` at the deadline.
        """
        deadline = _cut(deadline)
        with self._connections.use(deadline):
            reply = self._append(update, deadline, keep=keep, create=create, key=key)
        if reply.status == b"none":
            raise ChannelNotFound
        return reply.info.subscribers > 0, reply.info

    def find_last_id(self, channel_id: str, deadline: Deadline) -> MessageId | None:
        """Return the id of the last message of a channel, None if it had none.

        Args:
            channel_id: The channel.
            deadline: The deadline, at most :data:`ANSWER_TIMEOUT` seconds from now.

        Raises as :meth:`append` does, but for ``ChannelNotFound``.
        """
        channel = self._find(channel_id)
        deadline = _cut(deadline)
        with self._connections.use(deadline):
            for is_last in (False, True):
                try:
                    connection = self._connect(channel.shard, deadline)
                    with self._asking(connection):
                        second, tag = connection.ask(
                            "HMGET", channel.keys[1], "time", "tag"
                        )
                except (_NotSent, _Moved, _Lost, _Refused) as error:
                    if is_last or deadline.is_over or isinstance(error, _Refused):
                        raise StoreUnavailable from error
                else:
                    return None if second is None else MessageId(int(second), int(tag))
        raise AssertionError("the second attempt returns or raises")

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _append(
        self,
        update: Update,
        deadline: Deadline,
        *,
        keep: bool,
        create: bool,
        key: str | None,
    ) -> Reply:
        """Append a message; return the reply ``ok``, ``again`` or ``none``."""
        channel = self._find(update.channel_id)
        written = add_fields(secrets.token_hex(8), update)
        kind = b"" if update.content_type is None else b"=" + update.content_type
        attempts = 0
        # The Unix time from which on Redis may have the message, 0 if it has not.
        since = 0
        while True:
            attempts += 1
            try:
                connection = self._connect(channel.shard, deadline)
                give_up = self._limit(connection, deadline)
                words = (
                    f"now 0 {connection.run_id}"
                    f" {give_up:.6f} {create:d} {keep:d} {written} {since}"
                    f"{add_key(key)}"
                )
                reply = self._run(connection, channel, words, kind, update.body)
            except _Lost as error:
                # Redis cannot know whether it had a message that is not kept.
                is_known = keep or key is not None
                if not is_known or deadline.is_over:
                    raise Unanswered from error
                since = since or int(error.clock) - ANSWER_TIMEOUT - 1
            except (_NotSent, _Refused, _Moved) as error:
                may_try_again = attempts == 1 and isinstance(error, _Moved)
                if not (since or may_try_again):
                    raise StoreUnavailable from error
            else:
                if reply.status != b"late":
                    return reply
                # The script ran after its deadline. Perhaps the clock of Redis was set;
                # if so, this reply has corrected the connection's estimate of it.
                if attempts > 1:
                    raise Unanswered if since else StoreUnavailable
            if deadline.is_over:
                raise Unanswered if since else StoreUnavailable
            if attempts > 1:
                # Redis knows whether it has the message, as soon as it answers.
                time.sleep(RECONNECT_DELAYS[0])

    def _find(self, channel_id: str) -> _Channel:
        shard = self._shards[crc32(channel_id.encode()) % len(self._shards)]
        messages = f"{shard.prefix}:messages:{channel_id}"
        state = f"{shard.prefix}:channel:{channel_id}"
        # Releases that share a Redis use this name, so it cannot change.
        topic = f"{shard.prefix}:bell:{self._servers.database}:{channel_id}"
        return _Channel(shard, (messages, state, shard.mark), topic)

    def _connect(self, shard: Shard, deadline: Deadline) -> BlockingConnection:
        """Return a connection to a shard. Raises :class:`_NotSent`."""
        try:
            address = self._servers.locate(shard.mark, deadline)
            connection = self._connections.take(address, MAX_IDLE)
            if connection is None:
                connection = self._servers.connect(address, deadline)
                connection.address = address
        except Exception as error:
            self._servers.forget()
            reason = mask(str(error) or repr(error))
            self._log_fault("Redis cannot be reached: %s", reason)
            # Not from the error itself: its traceback has frames of redis-py, which
            # contain the password.
            raise _NotSent(reason) from None
        connection.set_deadline(deadline)
        return connection

    def _limit(self, connection: BlockingConnection, deadline: Deadline) -> float:
        """Return the deadline by the clock of Redis, in seconds of Unix time.

        Raises :class:`_NotSent` if it has passed.
        """
        try:
            return connection.clock + (deadline.left() or 0)
        except TimeoutError as error:
            self._connections.keep(connection.address, connection, MAX_IDLE)
            raise _NotSent(str(error)) from None

    def _run(
        self,
        connection: BlockingConnection,
        channel: _Channel,
        words: str,
        *arguments: bytes,
    ) -> Reply:
        """Run the script, and keep the connection.

        Raises :class:`_Lost`, :class:`_Moved` or :class:`_Refused`.
        """
        keys = (len(channel.keys), *channel.keys)
        call: tuple[str | bytes | int, ...]
        call = (*keys, channel.topic, words, *arguments)
        with self._asking(connection):
            try:
                answer = connection.ask("EVALSHA", self._script.digest, *call)
            except load("redis.exceptions").NoScriptError:
                answer = connection.ask("EVAL", self._script.text, *call)
            clock: Any = connection  # read_reply() only sets its clock.
            return read_reply(clock, answer, listens=False)

    @contextmanager
    def _asking(self, connection: BlockingConnection) -> Iterator[None]:
        """Keep a connection on which Redis was asked, and close it after an error.

        Raises :class:`_Lost`, :class:`_Moved` or :class:`_Refused`.
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
            raise _Moved(str(error)) from None
        except errors.ResponseError as error:
            self._connections.keep(connection.address, connection, MAX_IDLE)
            self._log_fault("Redis refuses what it is asked: %s", str(error))
            raise _Refused(str(error)) from None
        except (errors.RedisError, OSError) as error:
            self._give_up(connection)
            raise _Lost(str(error), connection.clock) from None
        except BaseException:
            # For example a greenlet was killed. The next command on this connection
            # would get the answer to this one.
            connection.close()
            raise
        self._connections.keep(connection.address, connection, MAX_IDLE)
        self._logged_fault = ""

    def _give_up(self, connection: BlockingConnection) -> None:
        """Close a connection, and all idle ones."""
        connection.close()
        self._connections.close()
        self._servers.forget()

    def _log_fault(self, sentence: str, reason: str) -> None:
        """Log a fault of Redis, once until it changes."""
        if reason != self._logged_fault:
            self._logged_fault = reason
            logger.error(sentence, reason)


def _cut(deadline: Deadline) -> Deadline:
    """Return a deadline that is at most :data:`ANSWER_TIMEOUT` seconds from now.

    Raises ``NoConnectionFree`` if it is over.
    """
    try:
        left = deadline.left()
    except TimeoutError:
        raise NoConnectionFree from None
    if left is None or left > ANSWER_TIMEOUT:
        return Deadline(ANSWER_TIMEOUT)
    return deadline
