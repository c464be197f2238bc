"""Publishing into Redis from a process that serves no subscribers.

A worker of WSGI or of Celery, a shell or a script only appends: it runs the same script
as the store, by its name, in one round trip over a connection that is kept.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, NamedTuple
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver.passwords import SecretText, mask
from pushserver.publishers.connections import Connections, NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo

from .blocking import BlockingConnection, find_blocking_servers
from .channels import Shard
from .connection import ANSWER_TIMEOUT
from .errors import Unanswered, load
from .network import RETRY_AFTER
from .replies import Reply, add_fields, read_reply
from .scripts import make_scripts

logger = logging.getLogger(__name__)

#: Seconds after which an idle connection is not used again: something on the way may
#: have forgotten it.
MAX_IDLE = 60.0


class _NotSent(Exception):
    """Redis cannot be reached; the text says why."""


class _Lost(Exception):
    """The connection ended before the answer: Redis has the message or not.

    Attributes:
        clock: When, by the clock of Redis.
    """

    def __init__(self, reason: str, clock: float) -> None:
        super().__init__(reason)
        self.clock = clock


class _Refused(Exception):
    """Redis answered with an error, and did nothing."""


class _Moved(Exception):
    """This server is not the one to ask, and did nothing."""


class _Channel(NamedTuple):
    """What Redis calls a channel.

    Attributes:
        shard: Where it is.
        keys: Those of its messages, of what else is known of it, and of its shard.
        notices: The name under which its messages are published.
    """

    shard: Shard
    keys: tuple[str, str, str]
    notices: str


class RedisPublishing:
    """Appends messages to the streams of a store, from any thread or greenlet.

    As in a ``RedisStore``, a message is accepted when Redis has said so. If a
    connection ends before, the message is sent once more, with a token by which Redis
    knows whether it has it already. If there is no answer in time, Redis publishes
    nothing when it comes to its turn later.

    Args:
        settings: Where Redis is, and the limits.

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
        self._complaint = ""

    def append(
        self, update: Update, deadline: Deadline, *, keep: bool, create: bool
    ) -> tuple[bool, ChannelInfo]:
        """Append a message; return whether somebody was sent it, and the channel.

        Args:
            update: The message and its channel.
            deadline: When to give up; in any case after :data:`ANSWER_TIMEOUT` seconds.
            keep: Whether it can be asked for later.
            create: Whether to create the channel if there is none.

        Raises :class:`~pushserver_channels.exceptions.ChannelNotFound`,
        :class:`~pushserver_channels.exceptions.StoreUnavailable`, and
        :class:`~pushserver.publishers.connections.NoConnectionFree` at the deadline.
        """
        try:
            left = deadline.left()
        except TimeoutError:
            raise NoConnectionFree from None
        if left is None or left > ANSWER_TIMEOUT:
            deadline = Deadline(ANSWER_TIMEOUT)
        with self._connections.use(deadline):
            reply = self._append(update, deadline, keep=keep, create=create)
        if reply.status == b"none":
            raise ChannelNotFound
        return reply.info.subscribers > 0, reply.info

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _append(
        self, update: Update, deadline: Deadline, *, keep: bool, create: bool
    ) -> Reply:
        """Append a message and return what Redis answers, ``ok`` or ``none``."""
        channel = self._find(update.channel_id)
        written = add_fields(secrets.token_hex(8), update)
        kind = b"" if update.content_type is None else b"=" + update.content_type
        attempts = 0
        since = 0  # Redis may have it already, from this second on; 0 if not.
        while True:
            attempts += 1
            try:
                connection = self._connect(channel.shard, deadline)
                give_up = connection.clock + (deadline.left() or 0)
                words = (
                    f"now 0 {connection.run_id}"
                    f" {give_up:.6f} {create:d} {keep:d} {written} {since}"
                )
                reply = self._run(connection, channel, words, kind, update.body)
            except _Lost as error:
                # One that is not kept cannot be told from one that never came.
                if not keep or deadline.is_over:
                    raise Unanswered from error
                since = since or int(error.clock) - ANSWER_TIMEOUT - 1
            except (_NotSent, _Refused, _Moved) as error:
                may_try_again = attempts == 1 and isinstance(error, _Moved)
                if not (since or may_try_again):
                    raise StoreUnavailable from error
            else:
                if reply.status != b"late":
                    return reply
                # It came too late, unless the clock of Redis was set, as is known now.
                if attempts > 1:
                    raise Unanswered if since else StoreUnavailable
            if deadline.is_over:
                raise Unanswered if since else StoreUnavailable
            if attempts > 1:
                # Redis knows what became of it, as soon as it can be asked.
                time.sleep(RETRY_AFTER[0])

    def _find(self, channel_id: str) -> _Channel:
        shard = self._shards[crc32(channel_id.encode()) % len(self._shards)]
        messages = f"{shard.prefix}:messages:{channel_id}"
        known = f"{shard.prefix}:channel:{channel_id}"
        notices = f"{shard.prefix}:bell:{self._servers.database}:{channel_id}"
        return _Channel(shard, (messages, known, shard.mark), notices)

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
            self._complain("Redis cannot be reached: %s", reason)
            # Not from the error itself: frames of redis-py, which its traceback has,
            # hold the password.
            raise _NotSent(reason) from None
        connection.set_deadline(deadline)
        return connection

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
        errors = load("redis.exceptions")
        keys = (len(channel.keys), *channel.keys)
        call: tuple[str | bytes | int, ...]
        call = (*keys, channel.notices, words, *arguments)
        try:
            try:
                answer = connection.ask("EVALSHA", self._script.digest, *call)
            except errors.NoScriptError:
                answer = connection.ask("EVAL", self._script.text, *call)
            clock: Any = connection  # It is told the time, as a line of the store is.
            reply = read_reply(clock, answer, listens=False)
        except (
            errors.AskError,
            errors.ClusterDownError,
            errors.ReadOnlyError,  # MovedError is an AskError.
            errors.TryAgainError,
        ) as error:
            self._give_up(connection)
            raise _Moved(str(error)) from None
        except errors.ResponseError as error:
            self._connections.keep(connection.address, connection, MAX_IDLE)
            self._complain("Redis refuses what it is asked: %s", str(error))
            raise _Refused(str(error)) from None
        except (errors.RedisError, OSError) as error:
            self._give_up(connection)
            raise _Lost(str(error), connection.clock) from None
        except BaseException:
            # As a greenlet is ended: the answer would be taken for that of the next.
            connection.close()
            raise
        self._connections.keep(connection.address, connection, MAX_IDLE)
        self._complaint = ""
        return reply

    def _give_up(self, connection: BlockingConnection) -> None:
        """Close a connection, and others that lead where it led."""
        connection.close()
        self._connections.close()
        self._servers.forget()

    def _complain(self, sentence: str, reason: str) -> None:
        """Log what is wrong with Redis, once until that changes."""
        if reason != self._complaint:
            self._complaint = reason
            logger.error(sentence, reason)
