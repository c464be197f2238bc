"""One subscriber's place on one channel: the contract between hub and consumers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from pushserver_channels.exceptions import PushError
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.types import Scope


class Heard(Enum):
    """What a cursor did with a message that was handed to it."""

    #: It was sent, or will be; the cursor waits for the next message.
    TAKEN = auto()
    #: It was sent, or will be; the cursor waits no more.
    TAKEN_AND_LEAVES = auto()
    #: The cursor did not take it, and stays where it is.
    NOT_MINE = auto()


class Cursor:
    """One subscriber's place on one channel.

    A connection that hears several channels has a cursor on each of them. The
    attributes are slots, because thousands of cursors may wait at once.

    Attributes:
        channel_id: The channel.
        seen: The id of the last message that the subscriber has.
        scope: The ASGI scope of the subscriber's request.
        observers: Told when the cursor is admitted and when it has left.
        task: The task that answers the subscriber, None if that is woken by a future
            and answers at once.
    """

    __slots__ = ("channel_id", "observers", "scope", "seen", "task")

    channel_id: str
    seen: MessageId
    scope: Scope
    observers: Sequence[Observer]
    task: asyncio.Task[Any] | None

    @abstractmethod
    def hear(self, message: Message) -> Heard:
        """Take the next message of the channel, or leave it.

        Called by the hub for each message, in the order of their ids. It does not wait
        and does not raise.
        """

    @abstractmethod
    def end(self, error: PushError | None) -> None:
        """End the wait, because of an error or because its time is over.

        It does not wait and does not raise.
        """


class Observer(Protocol):
    """Looks on who waits and who leaves."""

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Note that a subscriber waits: it was not answered at once.

        Returns what is called once when it waits no more.
        """

    async def drain_before_exit(self) -> None:
        """Return when all of it was noted, because the server stops."""
