"""Messages in Redis, for any number of processes and machines."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo, Message, MessageId

from .base import Appended, Audience, Store
from .redis_lines import (
    ANSWER_TIMEOUT,
    Address,
    Line,
    LineError,
    LineLost,
    LineSilent,
    Misplaced,
    Push,
    Refused,
    find_servers,
)
from .redis_scripts import GRACE, make_scripts

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Seconds before the next try to reach a server, after the first and after many.
RETRY_AFTER = (0.1, 1.0)

#: A subscriber's request is noted once in so many seconds for each channel.
NOTED = 1.0

#: Channels with subscribers are used at least so often, or they would be forgotten.
USED = GRACE / 2


class Unanswered(StoreUnavailable):
    """Redis has done what it was asked, or has not and will not."""

    def __str__(self) -> str:
        return "The message store did not answer; it may have done what it was asked."


class _Part:
    """The channels that are on one server, and the way there.

    Attributes:
        mark: A key of this part.
        line: The connection, None if there is none.
        connecting: The attempt to connect that is under way.
        restoring: What goes on trying as long as somebody waits.
        failures: How many attempts in a row have failed.
        down_until: When the next attempt makes sense.
        ears: The channels on which somebody in this process waits.
    """

    def __init__(self, prefix: str, number: int) -> None:
        # What stands in braces tells a cluster which keys belong on one server.
        self.prefix = f"{prefix}{{{number:02x}}}"
        self.mark = f"{self.prefix}:mark"
        self.line: Line | None = None
        self.connecting: asyncio.Task[Line] | None = None
        self.restoring: asyncio.Task[None] | None = None
        self.failures = 0
        self.down_until = 0.0
        self.ears: set[_Ear] = set()


class _Channel(NamedTuple):
    """What Redis calls a channel.

    Attributes:
        id: Its id.
        part: Where it is.
        keys: Those of its messages, of what else is known of it, and of its part.
        bell: The name under which its messages are published.
    """

    id: str
    part: _Part
    keys: tuple[str, str, str]
    bell: bytes


class _Ear:
    """A channel on which somebody in this process waits.

    Attributes:
        channel: The channel.
        is_open: Whether what is published from now on is heard and handed on.
        is_catching_up: Whether what was missed is being handed on.
        newest: The id of the last message that was heard or seen, None before a look.
        heard: Counts what was heard.
        asked_at: When a subscriber's request was last noted.
        used_at: When the channel was last used.
        looks: Looks under way, by what they look for.
    """

    def __init__(self, channel: _Channel) -> None:
        self.channel = channel
        self.is_open = False
        self.is_catching_up = False
        self.newest: MessageId | None = None
        self.heard = 0
        self.asked_at = self.used_at = float("-inf")
        self.looks: dict[tuple[MessageId, bool], asyncio.Task[_Found]] = {}


class _Reply(NamedTuple):
    """What a script answers.

    Attributes:
        status: ``ok``, ``none`` if there is no such channel, ``late`` if it came to its
            turn too late.
        info: What is known of the channel.
        more: What else the script tells.
    """

    status: bytes
    info: ChannelInfo
    more: list[Any]


class _Found(NamedTuple):
    """What a look found.

    Attributes:
        message: The message looked for, None if there is none yet.
        newest: The id of the channel's last message.
        heard: What the ear had heard by then.
    """

    message: Message | None
    newest: MessageId
    heard: int


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
        self._servers = find_servers(settings.address)
        sharded = self._servers.sharded
        self._scripts = make_scripts(settings, sharded=sharded)
        self._subscribe = "SSUBSCRIBE" if sharded else "SUBSCRIBE"
        self._unsubscribe = "SUNSUBSCRIBE" if sharded else "UNSUBSCRIBE"
        self._clock = clock
        self._audience: Audience
        self._parts = [
            _Part(settings.key_prefix, number) for number in range(self._servers.parts)
        ]
        self._ears: dict[bytes, _Ear] = {}
        self._lines: dict[Address, Line] = {}
        self._dialing: dict[Address, asyncio.Task[Line]] = {}
        # What this process publishes and will hear itself, by its token: whether
        # somebody here was handed it.
        self._echoes: dict[bytes, asyncio.Future[bool]] = {}
        self._token = secrets.token_hex(8)
        self._count = count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._refusal = ""
        self._closed = False

    def attach(self, audience: Audience) -> None:
        self._audience = audience

    async def append(
        self,
        channel_id: str,
        body: bytes,
        content_type: bytes | None,
        *,
        keep: bool = True,
        create: bool = True,
    ) -> Appended:
        channel = self._find(channel_id)
        token = self._make_token()
        kind = b"" if content_type is None else b"=" + content_type
        again = False  # Whether Redis may have it already.
        for last in (False, True):
            try:
                line = await self._line(channel.part)
                # What it has already will not be heard a second time.
                with self._echo(channel, token, expected=not again) as echo:
                    reply = await self._run(
                        line,
                        "append",
                        channel,
                        "" if self._clock else f"{line.clock + ANSWER_TIMEOUT:.6f}",
                        int(create),
                        int(keep),
                        token,
                        int(again),
                        kind,
                        body,
                    )
                    if reply.status == b"ok":
                        here = echo is not None and await echo
                        message = Message(
                            reply.info.last_message_id,
                            body,
                            content_type,
                            _read_id(reply.more[0]),
                        )
                        others = reply.info.subscribers > 0
                        return Appended(message, reply.info, here or others)
            except LineLost as error:
                # One that is not kept cannot be told from one that never came.
                if last or not keep or isinstance(error, LineSilent):
                    raise Unanswered from error
                again = True
            except (Misplaced, StoreUnavailable) as error:
                if last or isinstance(error, StoreUnavailable):
                    raise (Unanswered if again else StoreUnavailable) from error
            else:
                if reply.status == b"none":
                    raise ChannelNotFound
                # It came too late, unless the clock of Redis was set, as is known now.
        raise StoreUnavailable

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
            if found.heard == ear.heard:
                return None
            # Something came since; after an id of the future, that is next.
            after = min(after, found.newest)

    async def info(self, channel_id: str) -> ChannelInfo:
        return (await self._ask("info", self._find(channel_id))).info

    async def create(self, channel_id: str) -> ChannelInfo:
        return (await self._ask("create", self._find(channel_id))).info

    async def delete(self, channel_id: str) -> ChannelInfo:
        channel = self._find(channel_id)
        token = self._make_token()
        line = await self._line(channel.part)
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
        ear = self._ears[channel.bell] = _Ear(channel)
        part.ears.add(ear)
        if part.line is not None:
            self._open(ear, part.line)
        else:
            self._restore_soon(part)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(USED, self._use_all)

    def unlisten(self, channel_id: str) -> None:
        ear = self._ears.pop(self._find(channel_id).bell, None)
        if ear is None:
            return
        part = ear.channel.part
        part.ears.discard(ear)
        if part.line is not None:
            part.line.ask(self._unsubscribe, ear.channel.bell, confirmed=True)
            if self._now() - ear.used_at > NOTED:
                self._use(ear)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for line in list(self._lines.values()):
            line.end(LineLost("The store is closed."))

    async def aclose(self) -> None:
        lines = list(self._lines.values())
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in lines:
            await line.wait_closed()

    # Asking

    def _find(self, channel_id: str) -> _Channel:
        part = self._parts[0]
        if len(self._parts) > 1:
            part = self._parts[crc32(channel_id.encode()) % len(self._parts)]
        messages = f"{part.prefix}:messages:{channel_id}"
        known = f"{part.prefix}:channel:{channel_id}"
        bell = f"{part.prefix}:bell:{channel_id}".encode()
        return _Channel(channel_id, part, (messages, known, part.mark), bell)

    def _make_token(self) -> bytes:
        return f"{self._token}{next(self._count):x}".encode()

    def _now(self) -> float:
        return self._clock() if self._clock else time.monotonic()

    def _told_clock(self) -> str:
        """Return the time for a script, empty for the clock of Redis."""
        return f"{self._clock():.6f}" if self._clock else ""

    async def _ask(
        self,
        script: str,
        channel: _Channel,
        *arguments: str | int,
        then: Callable[[_Reply], None] | None = None,
    ) -> _Reply:
        """Return what a script answers that may just as well run twice."""
        for last in (False, True):
            line = await self._line(channel.part)
            try:
                reply = await self._run(line, script, channel, *arguments, then=then)
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
        channel: _Channel,
        *arguments: str | bytes | int,
        then: Callable[[_Reply], None] | None = None,
    ) -> _Reply:
        """Return what a script answers, once ``then`` has heard it.

        Raises :class:`LineLost`, :class:`Misplaced` or :class:`StoreUnavailable`.
        """
        ear = self._ears.get(channel.bell)

        def read(answer: list[Any]) -> _Reply:
            reply = _read_reply(line, answer, heard_here=ear is not None)
            if then is not None:
                then(reply)
            return reply

        try:
            reply: _Reply = await line.run(
                self._scripts[script],
                channel.keys,
                self._told_clock(),
                channel.bell,
                # Who asks for the first time keeps no channel alive by that.
                int(ear is not None and ear.newest is None),
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
        channel: _Channel,
        after: MessageId,
        create: bool,
        ear: _Ear | None = None,
    ) -> _Found:
        """Return the oldest kept message after an id. Counts as a request."""
        heard = 0

        def note(reply: _Reply) -> None:
            nonlocal heard
            if ear is None or reply.status != b"ok":
                return
            heard = ear.heard
            ear.asked_at = ear.used_at = self._now()
            if ear.is_open:
                ear.newest = reply.info.last_message_id

        reply = await self._ask(
            "next", channel, int(create), _range_after(after), then=note
        )
        message = _read_entry(reply.more[0]) if reply.more else None
        return _Found(message, reply.info.last_message_id, heard)

    async def _look_together(self, ear: _Ear, after: MessageId, create: bool) -> _Found:
        """Look, or wait for another's look that finds the same."""
        look = ear.looks.get((after, create))
        if look is not None:
            try:
                return await asyncio.shield(look)
            except ChannelNotFound:
                pass  # It was too early, perhaps.
        look = self._start(self._look_once(ear, after, create))
        ear.looks[after, create] = look
        return await asyncio.shield(look)

    async def _look_once(self, ear: _Ear, after: MessageId, create: bool) -> _Found:
        try:
            return await self._look(ear.channel, after, create, ear)
        finally:
            # Before anybody goes on, who may have to look again.
            ear.looks.pop((after, create), None)

    # Hearing

    def _open(self, ear: _Ear, line: Line) -> None:
        """Subscribe to a channel's bell, and see what was missed since it was heard."""

        def confirm(answer: object) -> None:
            if ear.newest is None:
                ear.is_open = True

        line.ask(self._subscribe, ear.channel.bell, confirmed=True, then=confirm)
        if ear.newest is not None and not ear.is_catching_up:
            self._start(self._catch_up(ear))

    async def _catch_up(self, ear: _Ear) -> None:
        """Hand on what was published while the bell was not heard."""

        def note(reply: _Reply) -> None:
            newest = reply.info.last_message_id
            ear.is_open = not reply.more and newest >= _id(ear.newest)

        ear.is_catching_up = True
        try:
            while ear in ear.channel.part.ears and not ear.is_open:
                after = _range_after(_id(ear.newest))
                reply = await self._ask("next", ear.channel, 1, after, then=note)
                if reply.more:
                    message = _read_entry(reply.more[0])
                    ear.newest = message.id
                    ear.heard += 1
                    self._audience.deliver(ear.channel.id, message)
                elif not ear.is_open:
                    # The store lost what it had; all that it has now was missed.
                    ear.newest = MessageId(0, 0)
        except StoreUnavailable:
            pass  # It goes on when there is a connection.
        finally:
            ear.is_catching_up = False

    def _hear(self, push: Push) -> None:
        """Hand on what was published on a bell."""
        _, bell, content = push
        end = content.find(b"\n")
        event, token, *more = content[: end if end >= 0 else None].split(b" ")
        ear = self._ears.get(bell)
        handed = False
        if ear is not None and event == b"deletion":
            ear.newest = None
            ear.heard += 1
            self._audience.drop(ear.channel.id)
        elif ear is not None and ear.is_open:
            message_id, previous, size = more
            start = end + 1 + int(size)
            message = Message(
                MessageId(*map(int, message_id.split(b"-"))),
                content[start:],
                content[end + 2 : start] if start > end + 1 else None,
                _read_id(previous),
            )
            ear.newest = message.id
            ear.heard += 1
            ear.used_at = self._now()
            handed = self._audience.deliver(ear.channel.id, message)
        echo = self._echoes.get(token)
        if echo is not None and not echo.done():
            echo.set_result(handed)

    @contextmanager
    def _echo(
        self, channel: _Channel, token: bytes, *, expected: bool = True
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

    def _use(self, ear: _Ear) -> None:
        """Note that a channel is used, without waiting for an answer."""
        channel, line = ear.channel, ear.channel.part.line
        if line is not None:
            ear.used_at = self._now()
            touch = self._scripts["touch"]
            self._start(
                line.run(touch, channel.keys, self._told_clock(), channel.bell, 0)
            )

    def _use_all(self) -> None:
        """Note that the channels are used on which somebody has waited for long."""
        self._timer = None
        for ear in self._ears.values():
            if self._now() - ear.used_at > USED:
                self._use(ear)
        if self._ears:
            self._timer = asyncio.get_running_loop().call_later(USED, self._use_all)

    # Connecting

    async def _line(self, part: _Part) -> Line:
        """Return the connection to a part. Raises :class:`StoreUnavailable`."""
        if part.line is not None:
            return part.line
        if part.connecting is None:
            if self._closed or time.monotonic() < part.down_until:
                raise StoreUnavailable
            part.connecting = self._start(self._connect(part))
        return await asyncio.shield(part.connecting)

    async def _connect(self, part: _Part) -> Line:
        try:
            line = await asyncio.wait_for(self._reach(part), ANSWER_TIMEOUT)
            if line.error is not None:
                raise line.error
        except Exception as error:
            self._servers.forget()
            delay = min(RETRY_AFTER[0] * 2**part.failures, RETRY_AFTER[1])
            part.down_until = time.monotonic() + delay * random.uniform(0.5, 1.0)
            part.failures = min(part.failures + 1, 10)
            if part.failures == 1:
                logger.error("Redis cannot be reached: %s", str(error) or repr(error))
            raise StoreUnavailable from error
        finally:
            part.connecting = None
        if part.failures:
            logger.warning("Redis is reached again")
        part.failures = 0
        part.line = line
        for ear in part.ears:
            self._open(ear, line)
        return line

    async def _reach(self, part: _Part) -> Line:
        address = await self._servers.find(part.mark)
        line = self._lines.get(address)
        if line is None:
            dialing = self._dialing.get(address)
            if dialing is None:
                dialing = self._dialing[address] = self._start(self._dial(address))
            line = await asyncio.shield(dialing)
        return line

    async def _dial(self, address: Address) -> Line:
        opening = Line.open(
            self._servers.connection(address), self._hear, self._hang_up
        )
        try:
            line = await asyncio.wait_for(opening, ANSWER_TIMEOUT)
        finally:
            del self._dialing[address]
        self._lines[address] = line
        return line

    def _hang_up(self, line: Line, error: LineError) -> None:
        """Hear that a connection has ended."""
        self._lines = {
            address: each for address, each in self._lines.items() if each is not line
        }
        self._servers.forget()
        for echo in self._echoes.values():
            if not echo.done():
                echo.set_result(False)
        if self._closed:
            return
        logger.warning("The connection to Redis has ended: %s", error)
        for part in self._parts:
            if part.line is line:
                part.line = None
                for ear in part.ears:
                    ear.is_open = False
                if part.ears:
                    self._restore_soon(part)

    def _restore_soon(self, part: _Part) -> None:
        if part.restoring is None:
            part.restoring = self._start(self._restore(part))

    async def _restore(self, part: _Part) -> None:
        """Connect, however long it takes, as long as somebody waits."""
        try:
            while part.ears and part.line is None:
                try:
                    await self._line(part)
                except StoreUnavailable:
                    await asyncio.sleep(max(part.down_until - time.monotonic(), 0))
        finally:
            part.restoring = None

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # The loop itself keeps no task alive.
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever asked may have left.


def _id(message_id: MessageId | None) -> MessageId:
    return message_id or MessageId(0, 0)


def _read_id(text: bytes) -> MessageId | None:
    """Return the id of a stream, None if it is empty."""
    if not text:
        return None
    second, tag = text.split(b"-")
    return MessageId(int(second), int(tag))


def _read_entry(entry: list[Any]) -> Message:
    """Return the message of a stream's entry."""
    name, (_, _, _, previous, _, kind, _, body) = entry
    message_id = _read_id(name)
    assert message_id is not None
    return Message(message_id, body, kind[1:] if kind else None, _read_id(previous))


def _read_reply(line: Line, answer: list[Any], *, heard_here: bool) -> _Reply:
    """Return what a script answered; the line learns the time from it."""
    status, clock, *more = answer
    line.set_clock(float(clock))
    if status != b"ok":
        return _Reply(status, ChannelInfo(0, -1, MessageId(0, 0)), [])
    heard_by, messages, requested, second, tag, *more = more
    info = ChannelInfo(
        messages=messages,
        requested=requested,
        last_message_id=MessageId(int(second), int(tag)),
        subscribers=max(heard_by - heard_here, 0),
    )
    return _Reply(status, info, more)


def _range_after(message_id: MessageId) -> str:
    """Return where a stream goes on after an id."""
    if message_id.time < 0:
        return "-"
    if message_id.tag < 0:
        return f"{message_id.time}-0"
    return f"({message_id.time}-{message_id.tag}"
