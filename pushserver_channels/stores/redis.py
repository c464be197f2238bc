"""Messages in Redis, for any number of processes and machines."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, NamedTuple
from zlib import crc32

from pushserver.conf import RedisStoreSettings
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import START, ChannelInfo, Message, MessageId

from .base import Appended, Audience, Store
from .redis_lines import (
    ANSWER_TIMEOUT,
    Address,
    Line,
    LineError,
    LineLost,
    Misplaced,
    Push,
    Refused,
    find_servers,
)
from .redis_scripts import GRACE, Script, make_scripts

logger = logging.getLogger(__name__)

#: Seconds between two tries to reach a server, the first and the longest wait.
RETRY = (0.1, 1.0)

#: Seconds for which it is known that subscribers ask; only then it is noted again.
REQUEST_NOTED = 1.0


class Unanswered(StoreUnavailable):
    """Redis may have done what it was asked, or not."""

    def __str__(self) -> str:
        return (
            "The message store did not answer; what was asked for may have happened."
        )


class _Reply(NamedTuple):
    """What a script tells of a channel, and what is its own."""

    info: ChannelInfo
    heard_by: int
    more: list[Any]


class _Found(NamedTuple):
    """What a look into a channel found.

    Attributes:
        message: The message asked for, None if there is none yet.
        newest: The id of the channel's last message.
        heard: How much its ear had heard by then.
    """

    message: Message | None
    newest: MessageId
    heard: int


class _Ear:
    """A channel on which somebody in this process waits.

    Attributes:
        channel_id: The channel.
        part: Where it is.
        bell: The name under which its messages are published.
        open: Whether each message published from now on will be heard.
        newest: The id of the channel's last message, None if not known yet.
        heard: Counts what was heard.
        asked_at: When it was last noted that somebody asked.
        looks: Looks under way, by what they look for.
    """

    __slots__ = (
        "asked_at",
        "bell",
        "channel_id",
        "heard",
        "looks",
        "newest",
        "open",
        "part",
    )

    def __init__(self, channel_id: str, part: _Part) -> None:
        self.channel_id = channel_id
        self.part = part
        self.bell = part.bell(channel_id)
        self.open = False
        self.newest: MessageId | None = None
        self.heard = 0
        self.asked_at: float | None = None
        self.looks: dict[tuple[MessageId, bool], asyncio.Task[_Found]] = {}


class _Part:
    """The channels that are on one server, and the way to it.

    Attributes:
        line: The connection, None if there is none.
        ears: The channels on which somebody in this process waits, by their bells.
        connecting: The attempt to connect that is under way.
        restoring: What tries to connect as long as somebody waits.
        down_until: When the next attempt makes sense.
    """

    def __init__(self, prefix: str, number: int) -> None:
        # What is in braces tells a cluster which keys are on one server.
        self._prefix = f"{prefix}{{{number:x}}}"
        self.mark = f"{self._prefix}:mark"
        self.line: Line | None = None
        self.ears: dict[bytes, _Ear] = {}
        self.connecting: asyncio.Task[Line] | None = None
        self.restoring: asyncio.Task[None] | None = None
        self.failures = 0
        self.down_until = 0.0

    def keys(self, channel_id: str) -> tuple[str, str, str]:
        """Return the keys of a channel: its messages, its hash, and the part's mark."""
        return (
            f"{self._prefix}:messages:{channel_id}",
            f"{self._prefix}:channel:{channel_id}",
            self.mark,
        )

    def bell(self, channel_id: str) -> bytes:
        """Return the name under which a channel's messages are published."""
        return f"{self._prefix}:bell:{channel_id}".encode()


class RedisStore(Store):
    """Keeps each channel in a stream, and hears of new messages by pub/sub.

    All that a process says goes over one connection to each server, so that it is done
    and heard in one order: a process subscribes to a channel's bell when somebody waits
    there, then looks, then waits, and what was published after the look comes after the
    look's answer. A message comes with its bell, once for each process.

    What a fault costs is in the documentation; the rules are these. A message is
    accepted when Redis has said so. If the connection ends before that, the message is
    sent once more, with a token by which Redis knows whether it has it already. If
    Redis does not answer in time the publisher is told so, and Redis, should it come to
    it later, publishes nothing. Who waits goes on waiting while Redis is away, and is
    handed what was published meanwhile.

    Channel info counts each other process with subscribers as one subscriber: how many
    it has only that process knows.

    Args:
        settings: Where Redis is, and the limits.
        clock: Returns seconds of Unix time, for tests; None for the clock of Redis,
            which is the one that all processes share.
    """

    def __init__(
        self,
        settings: RedisStoreSettings,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._servers = find_servers(settings.address)
        self._scripts = make_scripts(settings, sharded=self._servers.sharded)
        self._clock = clock
        self._audience: Audience | None = None
        self._parts = [
            _Part(settings.key_prefix, number) for number in range(self._servers.parts)
        ]
        self._lines: dict[Address, Line] = {}
        self._dialing: dict[Address, asyncio.Task[Line]] = {}
        # Whether somebody here was handed a message or a deletion of this process.
        self._rung: dict[bytes, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._token = secrets.token_hex(8)
        self._count = count()
        self._timer: asyncio.TimerHandle | None = None
        self._complaint = ""
        self._closed = False
        words = "SSUBSCRIBE SUNSUBSCRIBE" if self._servers.sharded else (
            "SUBSCRIBE UNSUBSCRIBE"
        )
        self._subscribe, self._unsubscribe = words.split()

    def attach(self, audience: Audience) -> None:
        self._audience = audience
