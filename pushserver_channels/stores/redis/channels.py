"""What a process knows of the channels of a store in Redis."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import Message, MessageId

from .lines import Line


class Found(NamedTuple):
    """What a look found.

    Attributes:
        message: The message looked for, None if there is none yet.
        newest: The id of the channel's last message.
        heard: What the ear had heard by then.
    """

    message: Message | None
    newest: MessageId
    heard: int


class Part:
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
        self.ears: set[Ear] = set()


class Channel(NamedTuple):
    """What Redis calls a channel.

    Attributes:
        id: Its id.
        part: Where it is.
        keys: Those of its messages, of what else is known of it, and of its part.
        bell: The name under which its messages are published.
    """

    id: str
    part: Part
    keys: tuple[str, str, str]
    bell: bytes


class Ear:
    """A channel on which somebody in this process waits.

    Attributes:
        channel: The channel.
        is_open: Whether what is published from now on is heard and handed on.
        opened: Done when it is; fails when the connection ends before.
        is_catching_up: Whether what was missed is being handed on.
        newest: The id of the last message that was heard or seen, None before a look.
        heard: Counts what was heard.
        asked_at: When a subscriber's request was last noted.
        used_at: When the channel was last used.
        looks: Looks under way, by what they look for.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.is_open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_catching_up = False
        self.newest: MessageId | None = None
        self.heard = 0
        self.asked_at = self.used_at = float("-inf")
        self.looks: dict[tuple[MessageId, bool], asyncio.Task[Found]] = {}

    def open(self) -> None:
        """Hear that all that is published from now on will be heard."""
        self.is_open = True
        self.let_go()

    def shut(self) -> None:
        """Hear that there is no connection any more."""
        self.is_open = False
        if not self.opened.done():
            self.opened.set_exception(StoreUnavailable())
            self.opened.exception()  # Perhaps nobody waits for it.
        self.opened = asyncio.get_running_loop().create_future()

    def let_go(self) -> None:
        """Let those go on who wait until it is open."""
        if not self.opened.done():
            self.opened.set_result(None)
