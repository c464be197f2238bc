"""Messages in Redis, for any number of processes and machines."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from itertools import count

from pushserver.conf import RedisStoreSettings
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.stores.base import (
    PAGE_SIZE,
    AppendCancelled,
    Appended,
    Audience,
    CommonStore,
)
from pushserver_channels.stores.figures import ChannelFigures, Matches

from .asked import AskedChannels
from .channels import ChannelKeys, Listener, Lookup
from .commands import Commands
from .connection import ANSWER_TIMEOUT, Connection
from .errors import AnswerTimeout, ConnectionLost, Moved, Unanswered
from .figures import RedisFigures
from .listening import RECORD_INTERVAL, Listening
from .listening_counts import count_listening
from .network import RECONNECT_DELAYS
from .replies import Reply, add_fields, add_key, range_after, read_entry, read_id
from .servers import find_servers
from .snapshots import read_snapshots, write_snapshot


class RedisStore(CommonStore):
    """Keeps each channel in a stream, and publishes new messages on a topic.

    A process sends all commands for a server over one connection, so they run in order:
    it subscribes to a channel's topic when a subscriber begins to wait, then looks for
    messages, then waits. A message that was published before the lookup is found by it,
    and one that is published later is received after its answer. Each process receives
    a message once, however many subscribers wait there.

    Subscribers go on waiting while Redis is unavailable, and then get the messages that
    they missed. A message is accepted when Redis has answered. If the connection ends
    before, the message is sent once more, with a token by which Redis knows whether it
    has it. If no answer comes in time, the publisher gets an error, and Redis does not
    publish the message if it runs the script later.

    A subscriber's request writes nothing for a channel on which nobody has published.
    For publishers it exists as long as subscribers wait there, and in this process for
    a while longer.

    Channel info counts each other process that listens to a channel as one subscriber,
    and a message as delivered that such a process received. A process listens until
    :data:`~.listening.LINGER` seconds after its last subscriber has left.

    Args:
        settings: The address of Redis, and the limits.
        clock: Returns seconds of Unix time, for tests. None for the clock of Redis,
            which all processes share.

    Attributes:
        commands: Runs the scripts of this store.
        asked: The channels without keys that subscribers asked for.
    """

    def __init__(
        self,
        settings: RedisStoreSettings,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.commands = Commands(settings, clock)
        self._network = self.commands.network
        self._find = self.commands.find
        self._listeners = self.commands.listeners
        self.asked = AskedChannels(settings, self.commands.now, self._is_awaited)
        self._listening = Listening(self.commands, self.asked)
        self._figures = RedisFigures(self.commands, settings)
        self._token = secrets.token_hex(8)
        self._count = count()

    @classmethod
    def check(cls, settings: RedisStoreSettings) -> None:
        find_servers(settings.address)

    def attach(self, audience: Audience) -> None:
        self._listening.audience = audience

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        return await self._append(update, keep, create)

    async def append_once(
        self,
        update: Update,
        key: str,
        waiting: int,
        *,
        keep: bool = True,
        create: bool = True,
    ) -> Appended:
        return await self._append(update, keep, create, key, waiting)

    async def _append(
        self,
        update: Update,
        keep: bool,
        create: bool,
        key: str | None = None,
        waiting: int = 0,
        *,
        token: str = "",
        since: int = 0,
    ) -> Appended:
        """Append a message; repeat it if it is not known whether Redis has it.

        Args:
            update: As of :meth:`append`.
            keep: As of :meth:`append`.
            create: As of :meth:`append`.
            key: As of :meth:`append_once`.
            waiting: As of :meth:`append_once`.
            token: The token of the message, empty for a new one.
            since: The second from which on Redis may have the message already, 0 if it
                cannot have it.
        """
        channel = self._find(update.channel_id)
        token = token or self._make_token()
        give_up = time.monotonic() + ANSWER_TIMEOUT
        attempts = 0
        connection: Connection | None = None
        while True:
            attempts += 1
            try:
                connection = await self._network.connect(channel.shard)
                once = add_key(key, waiting, listens=channel.topic in self._listeners)
                appended = await self._try_to_append(
                    connection, channel, update, token, keep, create, since, once
                )
                if appended is not None:
                    if key is not None and waiting:
                        # As its receipt says, which was written before they took it.
                        appended = appended._replace(delivered=True)
                    return appended
            except ConnectionLost as error:
                # Redis cannot know whether it had a message that is not kept.
                is_known = keep or key is not None
                if not is_known or isinstance(error, AnswerTimeout):
                    raise Unanswered from error
                assert connection is not None, "It was lost."
                since = since or self._find_first_second(connection)
            except asyncio.CancelledError as error:
                if connection is None or not (keep or key is not None):
                    raise
                since = since or self._find_first_second(connection)
                words = update, keep, create, key, waiting
                raise AppendCancelled(
                    partial(self._append, *words, token=token, since=since)
                ) from error
            except (Moved, StoreUnavailable) as error:
                if not since and (attempts > 1 or isinstance(error, StoreUnavailable)):
                    raise StoreUnavailable from error
            else:
                # It came too late. Perhaps the clock of Redis was set; if so, this
                # process knows it now.
                if attempts > 1:
                    raise Unanswered if since else StoreUnavailable
            if time.monotonic() > give_up:
                raise Unanswered
            if since:
                # Redis knows whether it has the message, as soon as it answers.
                wait = channel.shard.down_until - time.monotonic()
                await asyncio.sleep(max(wait, RECONNECT_DELAYS[0]))

    def _find_first_second(self, connection: Connection) -> int:
        """Return the first second in which Redis may have got what was sent just now.

        Args:
            connection: The connection on which it was sent.
        """
        return int(self.commands.server_time(connection)) - ANSWER_TIMEOUT - 1

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        channel = self._find(channel_id)
        while True:
            listener = self._listeners.get(channel.topic)
            if listener is None:
                return (await self._look_up(channel, after, create)).message
            if (
                after == listener.newest
                and listener.is_live
                and self.commands.now() - listener.requested_at < RECORD_INTERVAL
            ):
                return None
            lookup = await self._share_lookup(listener, after, create)
            if (
                lookup.message is not None
                or self._listeners.get(channel.topic) is not listener
            ):
                return lookup.message
            if not listener.is_live:
                # While other subscribers catch up, this client may already have a
                # message that is still to be delivered to them.
                await asyncio.shield(listener.live)
            elif lookup.received == listener.received:
                return None
            # A message was received since. It is the next one even for a future id.
            after = min(after, lookup.newest)

    async def page(
        self, channel_id: str, after: MessageId, limit: int, *, create: bool = True
    ) -> list[Message]:
        words = f"{range_after(after)} {limit} {PAGE_SIZE}"
        reply = await self._ask("next", self._find(channel_id), create, words)
        return [read_entry(entry) for entry in reply.entries]

    async def position(
        self, channel_id: str, newest: int, *, create: bool = True
    ) -> MessageId:
        channel = self._find(channel_id)
        reply = await self._ask("position", channel, create, f"{newest}")
        if not newest:
            return reply.info.last_message_id
        return read_id(reply.previous) or MessageId(0, 0)

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        listener = self._listeners.get(self._find(channel_id).topic)
        if listener is None or after != listener.newest or not listener.is_live:
            return False
        now = self.commands.now()
        if not listener.is_wanted and self.asked.has_ended(channel_id, now):
            return False
        if now - listener.requested_at >= RECORD_INTERVAL:
            listener.requested_at = now
            self.asked.ask(channel_id, now)
            self._network.start_task(self._record_request(listener, after))
        return True

    async def info(self, channel_id: str) -> ChannelInfo:
        age = self.asked.age(channel_id)
        reply = await self.commands.ask("info", self._find(channel_id), age)
        self.asked.use(channel_id)
        return reply.info

    async def create(self, channel_id: str) -> ChannelInfo:
        age = self.asked.age(channel_id)
        reply = await self.commands.ask("create", self._find(channel_id), age)
        self.asked.pop(channel_id)
        return reply.info

    async def delete(self, channel_id: str) -> ChannelInfo:
        channel = self._find(channel_id)
        token = self._make_token()
        words = f"{token} {self.asked.age(channel_id)}"
        connection = await self._network.connect(channel.shard)
        try:
            with self._listening.expect_echo(channel, token.encode()) as echo:
                reply = await self.commands.run(connection, "delete", channel, words)
                if reply.status == b"ok" and echo is not None:
                    await echo
        except ConnectionLost as error:
            # Deleted twice, the channel would not be found the second time.
            raise Unanswered from error
        except Moved as error:
            raise StoreUnavailable from error
        self.asked.pop(channel_id)
        if reply.status == b"none":
            raise ChannelNotFound
        return reply.info

    def scan(
        self, matches: Matches, *, rates: bool = True
    ) -> AsyncIterator[list[ChannelFigures]]:
        return self._figures.scan(matches, rates=rates)

    async def measure(self, channel_ids: Sequence[str]) -> list[ChannelFigures]:
        return await self._figures.measure(channel_ids)

    async def newest(self, channel_id: str, limit: int) -> list[Message]:
        return await self._figures.newest(channel_id, limit)

    async def count_listening(self, channel_ids: Sequence[str]) -> dict[str, int]:
        return await count_listening(self.commands, channel_ids)

    @property
    def errors(self) -> int:
        return self._network.errors

    async def write_snapshot(self, process: str, data: bytes, seconds: int) -> None:
        await write_snapshot(self._network, process, data, seconds)

    async def read_snapshots(self) -> dict[str, bytes]:
        return await read_snapshots(self._network)

    async def check_health(self) -> None:
        await self._network.check_health()

    def listen(self, channel_id: str) -> None:
        self._listening.listen(self._find(channel_id))

    def unlisten(self, channel_id: str) -> None:
        self._listening.unlisten(self._find(channel_id))

    def close(self) -> None:
        self._listening.close()
        self.asked.close()
        self._network.close()

    async def aclose(self) -> None:
        await self._network.aclose()
        self.close()

    def _is_awaited(self, channel_id: str) -> bool:
        """Return whether subscribers in this process wait on a channel."""
        listener = self._listeners.get(self._find(channel_id).topic)
        return listener is not None and listener.is_wanted

    # Appending

    def _make_token(self) -> str:
        """Return a token that no other message has."""
        return f"{self._token}{next(self._count):x}"

    async def _try_to_append(
        self,
        connection: Connection,
        channel: ChannelKeys,
        update: Update,
        token: str,
        keep: bool,
        create: bool,
        since: int,
        once: str,
    ) -> Appended | None:
        """Append a message once. Return None if the script ran too late.

        Args:
            connection: The connection.
            channel: The channel.
            update: The message.
            token: The token of the message.
            keep: As of :meth:`append`.
            create: As of :meth:`append`.
            since: The second from which on Redis may have the message already, 0 if it
                cannot have it.
            once: The end of the script's words, as of :func:`add_key`.
        """
        kind = b"" if update.content_type is None else b"=" + update.content_type
        deadline = self.commands.server_time(connection) + ANSWER_TIMEOUT
        fields = add_fields(token, update)
        creates = f"{create:d}"
        if self.asked:
            creates += f":{self.asked.age(channel.id)}"
        words = f"{deadline:.6f} {creates} {keep:d} {fields} {since}{once}"
        here = False
        arguments = (connection, "append", channel, words, kind, update.body)
        if since or channel.topic not in self._listeners:
            # What Redis has already is not published a second time.
            reply = await self.commands.run(*arguments)
        else:
            with self._listening.expect_echo(channel, token.encode()) as echo:
                reply = await self.commands.run(*arguments)
                if reply.status == b"ok" and echo is not None:
                    here = await echo
        if reply.status == b"none":
            raise ChannelNotFound
        if reply.status not in (b"ok", b"again"):
            return None
        self.asked.pop(channel.id)
        info = reply.info
        message = Message.of(update, info.last_message_id, read_id(reply.previous))
        delivered = here or info.subscribers > 0
        return Appended(message, info, delivered, reply.status == b"again")

    # Lookups

    async def _ask(
        self,
        script: str,
        channel: ChannelKeys,
        create: bool,
        words: str,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """Run a script for a subscriber, as :meth:`Commands.ask` does."""
        now = self.commands.now()
        create = self.asked.ask(channel.id, now) or create
        words = f"{create:d} {words}"
        reply = await self.commands.ask(script, channel, words, on_reply)
        self.asked.record(channel.id, reply.info, now)
        return reply

    async def _record_request(self, listener: Listener, newest: MessageId) -> None:
        """Record a subscriber's request that needed no lookup."""
        try:
            await self._look_up(listener.channel, newest, False, listener)
        except ChannelNotFound:
            # Redis was emptied. The next subscriber may create it.
            listener.newest = None
        except StoreUnavailable:
            pass  # Subscribers go on waiting.

    async def _look_up(
        self,
        channel: ChannelKeys,
        after: MessageId,
        create: bool,
        listener: Listener | None = None,
    ) -> Lookup:
        """Look for the oldest kept message after an id, as a subscriber's request."""
        received = 0

        def take(reply: Reply) -> None:
            nonlocal received
            if listener is None or reply.status != b"ok":
                return
            received = listener.received
            listener.requested_at = listener.used_at = self.commands.now()
            if listener.is_live:
                listener.newest = reply.info.last_message_id

        words = f"{range_after(after)} 1 0"
        reply = await self._ask("next", channel, create, words, take)
        message = read_entry(reply.entries[0]) if reply.entries else None
        return Lookup(message, reply.info.last_message_id, received)

    async def _share_lookup(
        self, listener: Listener, after: MessageId, create: bool
    ) -> Lookup:
        """Look for a message, or wait for a running lookup that finds the same."""
        lookup = listener.lookups.get((after, create))
        if lookup is not None:
            try:
                return await asyncio.shield(lookup)
            except ChannelNotFound:
                pass  # Perhaps it was created since.
        lookup = self._network.start_task(self._look_up_once(listener, after, create))
        listener.lookups[after, create] = lookup
        return await asyncio.shield(lookup)

    async def _look_up_once(
        self, listener: Listener, after: MessageId, create: bool
    ) -> Lookup:
        try:
            return await self._look_up(listener.channel, after, create, listener)
        finally:
            # Before the waiting tasks go on, which may have to look again.
            listener.lookups.pop((after, create), None)
