"""The calls of a store's scripts in Redis, and what several classes need for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from pushserver.conf import RedisStoreSettings
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable

from .channels import ChannelKeys, KeyFinder, Listener
from .connection import Connection
from .errors import AnswerTimeout, ConnectionLost, Moved, Refused, UnknownScript
from .network import Network
from .replies import Reply, read_reply
from .scripts import make_scripts
from .servers import find_servers

logger = logging.getLogger("pushserver.store")


class Commands:
    """Runs the scripts of a store on the server of a channel.

    Args:
        settings: The address of Redis, and the limits of the store.
        clock: Returns seconds of Unix time, for tests. None for the clock of Redis,
            which all processes share.

    Attributes:
        network: The connections.
        find: A function that returns the keys of a channel.
        listeners: The channels that this process listens to, by topic.
        subscribe: The name of Redis's command: SUBSCRIBE, or SSUBSCRIBE in a cluster.
        unsubscribe: The same for UNSUBSCRIBE.
    """

    def __init__(
        self, settings: RedisStoreSettings, clock: Callable[[], float] | None
    ) -> None:
        servers = find_servers(settings.address)
        self.network = Network(servers, settings.key_prefix)
        self.find = KeyFinder(self.network.shards, servers.database).find
        self.listeners: dict[bytes, Listener] = {}
        self.subscribe = "SSUBSCRIBE" if servers.sharded else "SUBSCRIBE"
        self.unsubscribe = "SUNSUBSCRIBE" if servers.sharded else "UNSUBSCRIBE"
        self._scripts = make_scripts(settings, sharded=servers.sharded)
        self._clock = clock
        self._refusal = ""

    def now(self) -> float:
        """Return a time in seconds, to measure intervals."""
        return self._clock() if self._clock else time.monotonic()

    def fixed_time(self) -> str:
        """Return the time that scripts use, ``now`` for the clock of Redis."""
        return f"{self._clock():.6f}" if self._clock else "now"

    def server_time(self, connection: Connection) -> float:
        """Return the time that a script would use now, as this process estimates it."""
        return self._clock() if self._clock else connection.clock

    async def ask(
        self,
        script: str,
        channel: ChannelKeys,
        words: str = "",
        on_reply: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """Run an idempotent script, and return its reply.

        If the connection ends before the reply, or if the channel has moved to another
        server, the script is run once more.

        Args:
            script: The name of the script.
            channel: The channel.
            words: The arguments of this script, separated by spaces.
            on_reply: Called with the reply before anything else that Redis sent is
                processed.

        Raises :class:`ChannelNotFound` and :class:`StoreUnavailable`.
        """
        for last in (False, True):
            connection = await self.network.connect(channel.shard)
            try:
                reply = await self.run(
                    connection, script, channel, words, on_reply=on_reply
                )
            except (ConnectionLost, Moved) as error:
                if last or isinstance(error, AnswerTimeout):
                    raise StoreUnavailable from error
            else:
                if reply.status == b"none":
                    raise ChannelNotFound
                return reply
        raise AssertionError("the second attempt returns or raises")

    async def run(
        self,
        connection: Connection,
        script: str,
        channel: ChannelKeys,
        words: str,
        *arguments: bytes,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """Run a script once, and return its reply.

        The arguments are those of :meth:`ask`, the connection to the channel's server,
        and binary arguments of the script.

        Raises :class:`ConnectionLost`, :class:`Moved` and :class:`StoreUnavailable`.
        """
        listener = self.listeners.get(channel.topic)
        listens = listener is not None

        def convert(answer: Any) -> Reply:
            reply = read_reply(connection, answer, listens=listens)
            if on_reply is not None:
                on_reply(reply)
            return reply

        begin = self._build_words(connection, listener, words)
        call = (self._scripts[script], channel.packed, channel.packed_count)
        try:
            try:
                reply = await connection.run(*call, begin, *arguments, convert=convert)
            except UnknownScript:
                # Now the connection sends the whole script.
                reply = await connection.run(*call, begin, *arguments, convert=convert)
        except Refused as error:
            self.network.errors += 1
            if str(error) != self._refusal:
                self._refusal = str(error)
                extra = {"reason": StoreUnavailable.reason}
                logger.error("Redis refuses what it is asked: %s", error, extra=extra)
            raise StoreUnavailable from error
        self._refusal = ""
        return reply  # type: ignore[no-any-return]

    def touch(self, channel: ChannelKeys, connection: Connection) -> None:
        """Record that a channel is used now, without waiting for an answer."""
        begin = self._build_words(connection, self.listeners.get(channel.topic), "")
        script = self._scripts["touch"]
        connection.run(script, channel.packed, channel.packed_count, begin)

    def _build_words(
        self, connection: Connection, listener: Listener | None, words: str
    ) -> bytes:
        """Return the arguments of a script: those of all scripts, and its own.

        They are one string, separated by spaces.
        """
        # A listener without a lookup or without subscribers does not keep the channel
        # from being removed.
        uncounted = listener is not None and (
            listener.newest is None or not listener.is_wanted
        )
        now = self.fixed_time()
        return f"{now} {uncounted:d} {connection.run_id} {words}".encode()
