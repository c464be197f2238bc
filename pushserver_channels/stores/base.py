"""The contract of a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

from pushserver.publishers.update import Update
from pushserver_channels.messages import ChannelInfo, Message, MessageId


class Audience(Protocol):
    """Who waits in this process, as a store sees it."""

    def deliver(self, channel_id: str, message: Message) -> bool:
        """Hand a message to all who wait on its channel; return whether one did.

        A store calls it once for each message of a channel that is listened to, in the
        order of their ids.
        """

    def drop(self, channel_id: str) -> None:
        """Tell all who wait on a channel that it was deleted, so that none waits."""


class Appended(NamedTuple):
    """What became of a message.

    Attributes:
        message: The message with its id.
        info: What is known of the channel after it.
        delivered: Whether somebody, in whatever process, waited and was handed it.
    """

    message: Message
    info: ChannelInfo
    delivered: bool


class Store(ABC):
    """Keeps the messages of channels and gives them their ids.

    Ids of a channel only grow: when the clock steps back, after a deletion, and over
    all processes that share the store. A channel whose messages are all gone still
    exists; it is forgotten when it had no message, no listener and no request for
    ``channel_timeout`` seconds.

    Each method may raise :class:`~pushserver_channels.exceptions.StoreUnavailable`, and
    where it creates a channel :class:`~pushserver_channels.exceptions.TooManyChannels`.

    It is made with its settings, of the dataclass that the table of store types names.
    The ``subscribers`` of its channel info are those of other processes.
    """

    @classmethod  # noqa: B027 (most stores need nothing)
    def check(cls, settings: Any) -> None:
        """Raise ``ImproperlyConfigured`` if a store cannot be made from settings."""

    @abstractmethod
    def attach(self, audience: Audience) -> None:
        """Hear who waits in this process; called once, before anything else."""

    @abstractmethod
    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        """Give a message its id, keep it and hand it to all who wait.

        Args:
            update: The message and its channel.
            keep: Whether it can be asked for later; if not it has an id all the same.
            create: Whether to create the channel if there is none; if not,
                :class:`~pushserver_channels.exceptions.ChannelNotFound` is raised.
        """

    @abstractmethod
    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the oldest kept message newer than an id, None if there is none yet.

        If there is none and the channel is listened to, what is published from the look
        on is handed to the audience, also before this returns. It counts as a
        subscriber's request. Raises
        :class:`~pushserver_channels.exceptions.ChannelNotFound` if there is no such
        channel and ``create`` is false.
        """

    async def page(
        self, channel_id: str, after: MessageId, limit: int
    ) -> list[Message]:
        """Return the oldest kept messages newer than an id, at most so many.

        For who has fallen behind. As :meth:`next`, which a store may do better than
        one message at a time.
        """
        messages: list[Message] = []
        while len(messages) < limit:
            message = await self.next(channel_id, after)
            if message is None:
                break
            messages.append(message)
            after = message.id
        return messages

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        """Return whether :meth:`next` would return None, if that is known at once.

        If so it counts as a subscriber's request. Where it is not known, it is to be
        looked up.
        """
        return False

    @abstractmethod
    async def info(self, channel_id: str) -> ChannelInfo:
        """Return what is known of a channel.

        Raises :class:`~pushserver_channels.exceptions.ChannelNotFound`.
        """

    @abstractmethod
    async def create(self, channel_id: str) -> ChannelInfo:
        """Create a channel if there is none, and return what is known of it."""

    @abstractmethod
    async def delete(self, channel_id: str) -> ChannelInfo:
        """Drop a channel with its messages, and return what was known of it.

        All who wait on it are told. Raises
        :class:`~pushserver_channels.exceptions.ChannelNotFound`.
        """

    @abstractmethod
    def listen(self, channel_id: str) -> None:
        """Hear that this process now has somebody waiting on a channel."""

    @abstractmethod
    def unlisten(self, channel_id: str) -> None:
        """Hear that this process has nobody waiting on a channel any more."""

    @abstractmethod
    def close(self) -> None:
        """Stop background work; the store is not used again."""

    async def aclose(self) -> None:
        """Close the store, and return when that is done."""
        self.close()
