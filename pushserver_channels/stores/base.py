"""The base class of stores."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, ChannelInfo, Message, MessageId

from .figures import ChannelFigures, Matches

#: The size of a page, in bytes. Its last message may exceed it.
PAGE_SIZE = 262_144


class Audience(Protocol):
    """The subscribers waiting in this process, as a store sees them."""

    def deliver(self, channel_id: str, message: Message) -> bool:
        """Deliver a message to all waiting subscribers; return whether there were any.

        A store calls this once for each message of a channel that it listens to, in the
        order of the ids.
        """

    def drop(self, channel_id: str) -> None:
        """End the wait of all subscribers of a channel, because it was deleted."""


class Entry(NamedTuple):
    """A message to be appended.

    Attributes:
        update: The message and its channel.
        keep: Whether subscribers can get it later.
        create: Whether to create the channel if there is none.
        key: Its idempotency key, None for none.
    """

    update: Update
    keep: bool
    create: bool
    key: str | None = None


class Appended(NamedTuple):
    """The result of appending a message.

    Attributes:
        message: The message with its id.
        info: The channel info after it.
        delivered: Whether it was delivered to a waiting subscriber in any process.
        is_repeated: Whether nothing was appended, because a message had the same
            idempotency key. The rest is then that of the first one; its info also
            counts the subscribers that the appending process had.
    """

    message: Message
    info: ChannelInfo
    delivered: bool
    is_repeated: bool = False


class AppendCancelled(asyncio.CancelledError):
    """The task was cancelled while a message was appended, perhaps already.

    Attributes:
        finish: Appends it unless it was, and returns the result as
            :meth:`Store.append` does. It may be called by the task if it goes on.
    """

    def __init__(self, finish: Callable[[], Awaitable[Appended]]) -> None:
        super().__init__()
        self.finish = finish


class Store(ABC):
    """Keeps the messages of channels and gives them their ids.

    The ids of a channel only increase, also if the clock is set back, after a deletion,
    and over all processes that share the store. A channel whose messages are all gone
    still exists; it is removed when it has had no message, no subscriber and no request
    for ``channel_timeout`` seconds. One on which nobody has published, and that only
    requests of subscribers created, ends earlier: see :mod:`.empty`.

    Each method may raise :class:`~pushserver_channels.exceptions.StoreUnavailable`, and
    if it creates a channel :class:`~pushserver_channels.exceptions.TooManyChannels`.

    The argument of a store is its settings, an instance of the dataclass in the table
    of store types. The ``subscribers`` in its channel info are those of other processes
    only.

    Attributes:
        is_shared: Whether processes share its messages.
    """

    is_shared: ClassVar[bool] = False

    @classmethod  # noqa: B027 (most stores need nothing)
    def check(cls, settings: Any) -> None:
        """Raise ``ImproperlyConfigured`` if a store cannot be made from settings."""

    @abstractmethod
    def attach(self, audience: Audience) -> None:
        """Set the audience to which messages are delivered. Called once, first."""

    @abstractmethod
    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        """Give a message its id, keep it and deliver it to all waiting subscribers.

        Args:
            update: The message and its channel.
            keep: Whether subscribers can get it later. It has an id in any case.
            create: Whether to create the channel if there is none; if not,
                :class:`~pushserver_channels.exceptions.ChannelNotFound` is raised.

        A store that can find out later whether it has the message raises
        :class:`AppendCancelled` if the task is cancelled.
        """

    @abstractmethod
    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the oldest kept message newer than an id, None if there is none yet.

        If there is none and the store listens to the channel, messages published after
        the lookup are delivered to the audience, perhaps before this returns. The call
        counts as a subscriber's request. Raises
        :class:`~pushserver_channels.exceptions.ChannelNotFound` if there is no such
        channel and ``create`` is false.
        """

    async def page(
        self, channel_id: str, after: MessageId, limit: int, *, create: bool = True
    ) -> list[Message]:
        """Return the oldest kept messages newer than an id, at most ``limit``.

        This is for subscribers that have fallen behind. It calls :meth:`next` for each
        message; a store may have a faster implementation. The page ends with the
        message by which its bodies have :data:`PAGE_SIZE` bytes. Raises
        :class:`~pushserver_channels.exceptions.ChannelNotFound` as :meth:`next` does.
        """
        messages: list[Message] = []
        size = 0
        while len(messages) < limit and size < PAGE_SIZE:
            message = await self.next(channel_id, after, create=create)
            if message is None:
                break
            messages.append(message)
            size += len(message.body)
            after = message.id
        return messages

    async def position(
        self, channel_id: str, newest: int, *, create: bool = True
    ) -> MessageId:
        """Return the id after which a number of the newest kept messages follow.

        It is ``0:0`` if fewer messages are kept.

        Args:
            channel_id: The channel.
            newest: The number of messages, 0 for the id of the last message.
            create: Whether to create the channel if there is none; if not,
                :class:`~pushserver_channels.exceptions.ChannelNotFound` is raised.
        """
        try:
            info = await self.info(channel_id)
        except ChannelNotFound:
            if not create:
                raise
            info = await self.create(channel_id)
        if not newest:
            return info.last_message_id
        last: deque[Message] = deque(maxlen=newest)
        while page := await self.page(channel_id, last[-1].id if last else START, 100):
            last.extend(page)
        if len(last) < newest:
            return MessageId(0, 0)
        return last[0].previous or MessageId(0, 0)

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        """Return True if :meth:`next` is known to return None, without a lookup.

        Then the call counts as a subscriber's request. False means that the caller has
        to use :meth:`next`.
        """
        return False

    @abstractmethod
    async def info(self, channel_id: str) -> ChannelInfo:
        """Return the channel info.

        Raises :class:`~pushserver_channels.exceptions.ChannelNotFound`.
        """

    @abstractmethod
    async def create(self, channel_id: str) -> ChannelInfo:
        """Create a channel if there is none, and return its channel info."""

    @abstractmethod
    async def delete(self, channel_id: str) -> ChannelInfo:
        """Delete a channel with its messages, and return its last channel info.

        The wait of its subscribers ends. Raises
        :class:`~pushserver_channels.exceptions.ChannelNotFound`.
        """

    # The next three are for people who look on: they are no requests of subscribers,
    # and change nothing. A store that lacks them shows no channels.

    async def scan(
        self, matches: Matches, *, rates: bool = True
    ) -> AsyncIterator[list[ChannelFigures]]:
        """Yield the figures of all channels whose ids match, some at a time.

        Other tasks run between. Channels that are created or deleted meanwhile may be
        missing, and one may be yielded twice.

        Args:
            matches: Returns whether an id matches.
            rates: Whether their rates are wanted, which may take longer.
        """
        none: list[list[ChannelFigures]] = []
        for some in none:
            yield some

    async def measure(self, channel_ids: Sequence[str]) -> list[ChannelFigures]:
        """Return the figures of those of some channels that exist."""
        return []

    async def newest(self, channel_id: str, limit: int) -> list[Message]:
        """Return the newest kept messages, oldest first, at most ``limit``.

        There are fewer if their bodies have more than :data:`PAGE_SIZE` bytes, and none
        if there is no such channel.
        """
        return []

    @property
    def errors(self) -> int:
        """How often the store has failed, because what it needs has not answered."""
        return 0

    def exempt(self, matches: Matches) -> None:  # noqa: B027 (only memory has limits)
        """Do not limit the number of some channels, nor count them for the limit.

        Args:
            matches: Returns whether a channel is one of them. The push server itself
                publishes there.
        """

    def count_kept(self) -> tuple[int, int] | None:
        """Return how many channels there are, and how many messages are kept.

        None if the store would have to look at all channels.
        """
        return None

    async def check_health(self) -> None:  # noqa: B027 (most stores need nothing)
        """Return when the store has answered.

        Raises :class:`~pushserver_channels.exceptions.StoreUnavailable`.
        """

    @abstractmethod
    def listen(self, channel_id: str) -> None:
        """Listen to a channel, because a subscriber now waits on it in this process."""

    @abstractmethod
    def unlisten(self, channel_id: str) -> None:
        """Stop listening to a channel, on which no subscriber here waits any more."""

    @abstractmethod
    def close(self) -> None:
        """Stop background work; the store is not used again."""

    async def aclose(self) -> None:
        """Close the store, and return when it is closed."""
        self.close()


class CommonStore(Store):
    """A store that also has the receipts and the metrics of all its processes.

    With another one, each process keeps the receipts of its own.
    """

    is_shared = True

    @abstractmethod
    async def append_once(
        self,
        update: Update,
        key: str,
        waiting: int,
        *,
        keep: bool = True,
        create: bool = True,
    ) -> Appended:
        """Append a message as :meth:`append` does, unless its key is known.

        Args:
            update: The message and its channel.
            key: Its idempotency key.
            waiting: The number of subscribers that wait in this process.
            keep: As of :meth:`append`.
            create: As of :meth:`append`.
        """

    @abstractmethod
    async def count_listening(self, channel_ids: Sequence[str]) -> dict[str, int]:
        """Return how many processes have subscribers on each channel."""

    @abstractmethod
    async def write_snapshot(self, process: str, data: bytes, seconds: int) -> None:
        """Show the metrics of a process to others.

        Args:
            process: The name of the process.
            data: Its metrics.
            seconds: How long they count.
        """

    @abstractmethod
    async def read_snapshots(self) -> dict[str, bytes]:
        """Return what processes show, by their names."""
