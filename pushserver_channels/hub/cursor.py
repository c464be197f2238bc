"""A subscriber's position on a channel: the interface between hub and consumers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from pushserver.access.permissions import Permission
from pushserver_channels.exceptions import PushError
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.types import Scope


class Heard(Enum):
    """What a cursor did with a message that the hub delivered."""

    #: It sends the message, and waits for the next one.
    TAKEN = auto()
    #: It sends the message, and stops waiting.
    TAKEN_AND_LEAVES = auto()
    #: It does not send the message, and goes on waiting.
    NOT_MINE = auto()


class Cursor:
    """A subscriber's position on a channel.

    A connection that subscribes to several channels has a cursor for each. The
    attributes are slots, because thousands of cursors may wait at once.

    Attributes:
        channel_id: The channel.
        seen: The id of the last message that the subscriber has.
        scope: The ASGI scope of the subscriber's request.
        observers: Notified when the cursor is admitted and when it leaves.
        task: The task that answers the subscriber, None if a callback of a future
            answers it.
        permission: The right to listen, None where everybody has it.
    """

    __slots__ = ("channel_id", "observers", "permission", "scope", "seen", "task")

    channel_id: str
    seen: MessageId
    scope: Scope
    observers: Sequence[Observer]
    task: asyncio.Task[Any] | None
    permission: Permission | None

    @abstractmethod
    def hear(self, message: Message) -> Heard:
        """Handle a message of the channel, and return what was done with it.

        The hub calls it for each message, in the order of their ids. It must not block
        and must not raise.
        """

    @abstractmethod
    def end(self, error: PushError | None) -> None:
        """End the wait with an error, or without one because its time is up.

        It must not block and must not raise.
        """


class InternalCursor(Cursor):
    """A position of this process itself, which no request has and nobody is told of.

    Args:
        channel_id: The channel.
    """

    __slots__ = ()

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.seen = START
        self.scope = {}
        self.observers = ()
        self.task = None
        self.permission = None


class Observer(Protocol):
    """Notified of the subscribers that start and stop waiting."""

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Note that a subscriber waits, because there was no message for it yet.

        Return a function that the hub calls once, when the subscriber stops waiting.
        """

    async def drain_before_exit(self) -> None:
        """Finish the pending work, because the server stops."""
