"""Messages in Redis, for any number of processes and machines."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.stores.base import Appended, Audience, Store

from .channels import Channel, Ear, Found, Part
from .lines import (
    ANSWER_TIMEOUT,
    Line,
    LineLost,
    LineSilent,
    Misplaced,
    Push,
    Refused,
)
from .network import RETRY_AFTER, Network
from .replies import (
    Reply,
    add_fields,
    range_after,
    read_entry,
    read_fields,
    read_id,
    read_reply,
)
from .scripts import GRACE, make_scripts
from .servers import find_servers

logger = logging.getLogger(__name__)

#: Older than all that Redis keeps.
NOTHING = MessageId(0, 0)

#: A subscriber's request is noted once in so many seconds for each channel.
NOTED = 1.0

#: Channels with subscribers are used at least so often, or they would be forgotten.
USED = GRACE / 2


class Unanswered(StoreUnavailable):
    """Redis has done what it was asked, or has not and will not."""

    def __str__(self) -> str:
        return "The message store did not answer; it may have done what it was asked."


class RedisStore(Store):
    """Keeps each channel in a stream, and hears of new messages by pub/sub.

    All that a process says to a server goes over one connection, and so happens in one
    order: it subscribes to a channel's bell when somebody begins to wait there, then
    looks, then waits. What was published before the look is found by it, what is
    published after it comes after its answer. A message comes with its bell, once to
    each process, however many wait there.

    Who waits goes on waiting while Redis is away, and is then handed what it missed.
    A message is accepted when Redis has said so. If the connection ends before, it is
    sent once more, with a token by which Redis knows whether it has it already. If
    there is no answer in time the publisher is told, and Redis publishes nothing when
    it comes to its turn later.

    Channel info counts each other process that has subscribers as one: how many they
    are is known to that process only.

    Args:
        settings: Where Redis is, and the limits.
        clock: Returns seconds of Unix time, for tests. Without it the clock of Redis
            counts, the one that all processes share.
    """

    def __init__(
        self,
        settings: RedisStoreSettings,
        clock: Callable[[], float] | None = None,
    ) -> None:
        servers = find_servers(settings.address)
        sharded = servers.sharded
        self._scripts = make_scripts(settings, sharded=sharded)
        self._subscribe = "SSUBSCRIBE" if sharded else "SUBSCRIBE"
        self._unsubscribe = "SUNSUBSCRIBE" if sharded else "UNSUBSCRIBE"
        self._clock = clock
        self._audience: Audience
        self._network = Network(
            servers, settings.key_prefix, self._hear, self._open_all, self._give_up
        )
        self._database = servers.database
        self._ears: dict[bytes, Ear] = {}
        # What this process publishes and will hear itself, by its token: whether
        # somebody here was handed it.
        self._echoes: dict[str, asyncio.Future[bool]] = {}
        self._token = secrets.token_hex(8)
        self._count = count()
        self._timer: asyncio.TimerHandle | None = None
        self._refusal = ""

    @classmethod
    def check(cls, settings: RedisStoreSettings) -> None:
        find_servers(settings.address)

    def attach(self, audience: Audience) -> None:
        self._audience = audience

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        channel = self._find(update.channel_id)
        token = self._make_token()
        written = add_fields(token, update)
        kind = b"" if update.content_type is None else b"=" + update.content_type
        give_up = time.monotonic() + ANSWER_TIMEOUT
        attempts = 0
        since = 0  # Redis may have it already, from this second on; 0 if not.
        while True:
            attempts += 1
            try:
                line = await self._network.line(channel.part)
                # What it has already will not be heard a second time.
                with self._echo(channel, token, expected=not since) as echo:
                    deadline = self._server_time(line) + ANSWER_TIMEOUT
                    words = f"{deadline:.6f} {create:d} {keep:d} {written} {since}"
                    reply = await self._run(
                        line, "append", channel, words, kind, update.body
                    )
                    if reply.status == b"ok":
                        here = echo is not None and await echo
                        message = Message.of(
                            update, reply.info.last_message_id, read_id(reply.previous)
                        )
                        others = reply.info.subscribers > 0
                        return Appended(message, reply.info, here or others)
            except LineLost as error:
                # One that is not kept cannot be told from one that never came.
                if not keep or isinstance(error, LineSilent):
                    raise Unanswered from error
                since = since or int(self._server_time(line)) - ANSWER_TIMEOUT - 1
            except (Misplaced, StoreUnavailable) as error:
                if not since and (attempts > 1 or isinstance(error, StoreUnavailable)):
                    raise StoreUnavailable from error
            else:
                if reply.status == b"none":
                    raise ChannelNotFound
                # It came too late, unless the clock of Redis was set, as is known now.
                if attempts > 1:
                    raise Unanswered if since else StoreUnavailable
            if time.monotonic() > give_up:
                raise Unanswered
            if since:
                # Redis knows what became of it, as soon as it can be asked.
                wait = channel.part.down_until - time.monotonic()
                await asyncio.sleep(max(wait, RETRY_AFTER[0]))

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        channel = self._find(channel_id)
        while True:
            ear = self._ears.get(channel.bell)
            if ear is None:
                return (await self._look(channel, after, create)).message
            if (
                ear.is_open
                and after == ear.newest
                and self._now() - ear.asked_at < NOTED
            ):
                return None
            found = await self._look_together(ear, after, create)
            if found.message is not None or self._ears.get(channel.bell) is not ear:
                return found.message
            if not ear.is_open:
                # What others are still handed, this one may have had elsewhere.
                await asyncio.shield(ear.opened)
            elif found.heard == ear.heard:
                return None
            # Something came since; after an id of the future, that is next.
            after = min(after, found.newest)

    async def page(
        self, channel_id: str, after: MessageId, limit: int
    ) -> list[Message]:
        words = f"1 {range_after(after)} {limit}"
        reply = await self._ask("next", self._find(channel_id), words)
        return [read_entry(entry) for entry in reply.entries]

    async def info(self, channel_id: str) -> ChannelInfo:
        return (await self._ask("info", self._find(channel_id))).info

    async def create(self, channel_id: str) -> ChannelInfo:
        return (await self._ask("create", self._find(channel_id))).info

    async def delete(self, channel_id: str) -> ChannelInfo:
        channel = self._find(channel_id)
        token = self._make_token()
        line = await self._network.line(channel.part)
        try:
            with self._echo(channel, token) as echo:
                reply = await self._run(line, "delete", channel, token)
                if reply.status == b"ok" and echo is not None:
                    await echo
        except LineLost as error:
            # Asked twice, it would say that there is no such channel.
            raise Unanswered from error
        except Misplaced as error:
            raise StoreUnavailable from error
        if reply.status == b"none":
            raise ChannelNotFound
        return reply.info

    def listen(self, channel_id: str) -> None:
        channel = self._find(channel_id)
        part = channel.part
        ear = self._ears[channel.bell] = Ear(channel)
        part.ears.add(ear)
        if part.line is not None:
            self._open(ear, part.line)
        else:
            self._network.restore(part)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(USED, self._use_all)

    def unlisten(self, channel_id: str) -> None:
        ear = self._ears.pop(self._find(channel_id).bell, None)
        if ear is None:
            return
        ear.let_go()
        part = ear.channel.part
        part.ears.discard(ear)
        if part.line is not None:
            part.line.ask(self._unsubscribe, ear.channel.bell, confirmed=True)
            if self._now() - ear.used_at > NOTED:
                self._use(ear)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._network.close()

    async def aclose(self) -> None:
        await self._network.aclose()
        self.close()

    # Asking

    def _find(self, channel_id: str) -> Channel:
        parts = self._network.parts
        part = parts[crc32(channel_id.encode()) % len(parts)]
        messages = f"{part.prefix}:messages:{channel_id}"
        known = f"{part.prefix}:channel:{channel_id}"
        bell = f"{part.prefix}:bell:{self._database}:{channel_id}".encode()
        return Channel(channel_id, part, (messages, known, part.mark), bell)

    def _make_token(self) -> str:
        return f"{self._token}{next(self._count):x}"

    def _now(self) -> float:
        return self._clock() if self._clock else time.monotonic()

    def _told_clock(self) -> str:
        """Return the time for a script, ``now`` for the clock of Redis."""
        return f"{self._clock():.6f}" if self._clock else "now"

    def _server_time(self, line: Line) -> float:
        """Return the time as scripts have it, as far as is known here."""
        return self._clock() if self._clock else line.clock

    async def _ask(
        self,
        script: str,
        channel: Channel,
        words: str = "",
        then: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """Return what a script answers that may just as well run twice."""
        for last in (False, True):
            line = await self._network.line(channel.part)
            try:
                reply = await self._run(line, script, channel, words, then=then)
            except (LineLost, Misplaced) as error:
                if last or isinstance(error, LineSilent):
                    raise StoreUnavailable from error
            else:
                if reply.status == b"none":
                    raise ChannelNotFound
                return reply
        raise AssertionError("the second attempt returns or raises")

    async def _run(
        self,
        line: Line,
        script: str,
        channel: Channel,
        words: str,
        *arguments: bytes,
        then: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """Return what a script answers, once ``then`` has heard it.

        Raises :class:`LineLost`, :class:`Misplaced` or :class:`StoreUnavailable`.
        """
        ear = self._ears.get(channel.bell)
        # Who asks for the first time keeps no channel alive by that.
        uncounted = ear is not None and ear.newest is None

        def read(answer: Any) -> Reply:
            reply = read_reply(line, answer, heard_here=ear is not None)
            if then is not None:
                then(reply)
            return reply

        try:
            reply: Reply = await line.run(
                self._scripts[script],
                channel.keys,
                channel.bell,
                f"{self._told_clock()} {uncounted:d} {line.run_id} {words}",
                *arguments,
                then=read,
            )
        except Refused as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                logger.error("Redis refuses what it is asked: %s", error)
            raise StoreUnavailable from error
        self._refusal = ""
        return reply

    async def _look(
        self,
        channel: Channel,
        after: MessageId,
        create: bool,
        ear: Ear | None = None,
    ) -> Found:
        """Return the oldest kept message after an id. Counts as a request."""
        heard = 0

        def note(reply: Reply) -> None:
            nonlocal heard
            if ear is None or reply.status != b"ok":
                return
            heard = ear.heard
            ear.asked_at = ear.used_at = self._now()
            if ear.is_open:
                ear.newest = reply.info.last_message_id

        words = f"{create:d} {range_after(after)} 1"
        reply = await self._ask("next", channel, words, then=note)
        message = read_entry(reply.entries[0]) if reply.entries else None
        return Found(message, reply.info.last_message_id, heard)

    async def _look_together(self, ear: Ear, after: MessageId, create: bool) -> Found:
        """Look, or wait for another's look that finds the same."""
        look = ear.looks.get((after, create))
        if look is not None:
            try:
                return await asyncio.shield(look)
            except ChannelNotFound:
                pass  # It was too early, perhaps.
        look = self._network.start(self._look_once(ear, after, create))
        ear.looks[after, create] = look
        return await asyncio.shield(look)

    async def _look_once(self, ear: Ear, after: MessageId, create: bool) -> Found:
        try:
            return await self._look(ear.channel, after, create, ear)
        finally:
            # Before anybody goes on, who may have to look again.
            ear.looks.pop((after, create), None)

    # Hearing

    def _open_all(self, part: Part, line: Line) -> None:
        """Hear that a part can be reached: who waits there wants to hear again."""
        for ear in part.ears:
            self._open(ear, line)

    def _give_up(self) -> None:
        """Hear that a connection has ended: what was published on it is not heard."""
        for echo in self._echoes.values():
            if not echo.done():
                echo.set_result(False)

    def _open(self, ear: Ear, line: Line) -> None:
        """Subscribe to a channel's bell, and see what was missed since it was heard."""

        def confirm(answer: object) -> None:
            if ear.newest is None:
                ear.open()

        line.ask(self._subscribe, ear.channel.bell, confirmed=True, then=confirm)
        if ear.newest is not None and not ear.is_catching_up:
            self._network.start(self._catch_up(ear))

    async def _catch_up(self, ear: Ear) -> None:
        """Hand on what was published while the bell was not heard."""

        def note(reply: Reply) -> None:
            if not reply.entries:
                newest, start = reply.info.last_message_id, ear.newest or NOTHING
                if start <= max(newest, read_id(reply.previous) or NOTHING):
                    ear.open()

        ear.is_catching_up = True
        try:
            while ear in ear.channel.part.ears and not ear.is_open:
                words = f"1 {range_after(ear.newest or NOTHING)} 1"
                try:
                    reply = await self._ask("next", ear.channel, words, then=note)
                except StoreUnavailable:
                    if ear.channel.part.line is None:
                        break  # It goes on when there is a connection.
                    # Redis refuses for now, as one that is busy does.
                    await asyncio.sleep(RETRY_AFTER[1])
                    continue
                if reply.entries:
                    message = read_entry(reply.entries[0])
                    ear.newest = message.id
                    ear.heard += 1
                    self._audience.deliver(ear.channel.id, message)
                elif not ear.is_open:
                    # The store lost what it had; what it was given since was missed.
                    ear.newest = read_id(reply.previous)
        finally:
            ear.is_catching_up = False

    def _hear(self, push: Push) -> None:
        """Hand on what was published on a bell."""
        _, bell, content = push
        end = content.find(b"\n")
        event, token, *more = content[: end if end >= 0 else None].split(b" ")
        ear = self._ears.get(bell)
        handed = False
        # (What a later release may say besides is not for this one.)
        if ear is not None and event == b"deletion":
            ear.newest = None
            ear.heard += 1
            self._audience.drop(ear.channel.id)
        elif ear is not None and event == b"message" and ear.is_open:
            message_id, previous, size, *_ = more
            start = end + 1 + int(size)
            message = Message(
                MessageId(*map(int, message_id.split(b"-"))),
                content[start:],
                content[end + 2 : start] if start > end + 1 else None,
                read_id(previous),
                **read_fields(token),
            )
            ear.newest = message.id
            ear.heard += 1
            ear.used_at = self._now()
            handed = self._audience.deliver(ear.channel.id, message)
        echo = self._echoes.get(token.partition(b";")[0].decode())
        if echo is not None and not echo.done():
            echo.set_result(handed)

    @contextmanager
    def _echo(
        self, channel: Channel, token: str, *, expected: bool = True
    ) -> Iterator[asyncio.Future[bool] | None]:
        """Provide whether somebody here was handed what is published with a token.

        None if this process does not hear the channel.
        """
        if not expected or channel.bell not in self._ears:
            yield None
            return
        echo = asyncio.get_running_loop().create_future()
        self._echoes[token] = echo
        try:
            yield echo
        finally:
            del self._echoes[token]

    def _use(self, ear: Ear) -> None:
        """Note that a channel is used, without waiting for an answer."""
        channel, line = ear.channel, ear.channel.part.line
        if line is not None:
            ear.used_at = self._now()
            touch = self._scripts["touch"]
            words = f"{self._told_clock()} 0 {line.run_id}"
            self._network.start(line.run(touch, channel.keys, channel.bell, words))

    def _use_all(self) -> None:
        """Note that the channels are used on which somebody has waited for long."""
        self._timer = None
        for ear in self._ears.values():
            if self._now() - ear.used_at > USED:
                self._use(ear)
        if self._ears:
            self._timer = asyncio.get_running_loop().call_later(USED, self._use_all)
