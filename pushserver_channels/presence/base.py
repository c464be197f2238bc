"""The base class of what keeps who is on the channels of a store."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import MessageId
from pushserver_channels.stores import Store

#: The id of the state of a channel of which no change is known, at an unknown time.
NO_CHANGE = MessageId(0, 1)

#: How the member of a user begins; the rest is the key of the user.
USER = "u"

#: How an anonymous member begins.
ANONYMOUS = "a"

#: Of more members than the limit only the number is told, until there are at most this
#: share of it. So a number around the limit does not send all names again and again.
NAMED_AGAIN = 0.9

#: The least number of seconds between two messages with changes.
INTERVAL = 1.0

#: Seconds for which a change is kept. A client that was away for longer is given the
#: state. Visitors cause changes, which must not stay as long as a site's messages may.
LIFETIME = 600.0


async def find_newest(store: Store, channel_id: str) -> MessageId:
    """Return the id of the newest change on a presence channel.

    Without a change it is one of this second that is older than any message.
    """
    unchanged = MessageId(0, int(time.time()))
    try:
        info = await store.info(channel_id)
    except ChannelNotFound:
        return unchanged
    return max(info.last_message_id, unchanged)


class Change(NamedTuple):
    """What this process has to tell the store about a member.

    Attributes:
        member: The member.
        grace: Seconds for which it stays when this process ends without a word; None
            if it is not here any more.
        info: What is told about it, as JSON; None if that has not changed.
    """

    member: str
    grace: float | None
    info: str | None


class Transition(NamedTuple):
    """A member that has come, as the first of its connections, or gone.

    Attributes:
        member: The member.
        has_joined: Whether it has come.
        info: What is told about it, as JSON.
    """

    member: str
    has_joined: bool
    info: str


class Applied(NamedTuple):
    """The result of telling the store what has changed.

    Attributes:
        transitions: The members that have come or gone, over all processes.
        flush_in: Seconds after which changes that wait may be told, None if none wait.
        entries: How many members of the channel the store has of this process.
        has_lost: Whether the store has lost data lately. Otherwise members of which it
            does not know have been told to leave.
    """

    transitions: Sequence[Transition]
    flush_in: float | None
    entries: int
    has_lost: bool = False


class Snapshot(NamedTuple):
    """Who is on a channel.

    Attributes:
        newest: The id of the last message with changes. If there was none, an id
            without a time whose tag is the Unix time of the snapshot in seconds.
        members: What is told about each named member, as JSON; None if there are too
            many.
        named: How many named members there are.
        others: How many anonymous ones there are.
    """

    newest: MessageId
    members: dict[str, str] | None
    named: int
    others: int


class PresenceOwner(Protocol):
    """What a store needs of the presence of this process, its :class:`.Changes`."""

    @property
    def channel_ids(self) -> Collection[str]:
        """The channels on which this process has members."""

    def refresh(self, channel_id: str) -> None:
        """Have a channel's waiting changes told, and its expired members removed."""

    def tell_again(self, channel_ids: Iterable[str], *, is_known: bool) -> None:
        """Tell the store all members of channels again.

        Args:
            channel_ids: The channels.
            is_known: Whether the store has lost them, so that they have not left.
        """


class PresenceStore(ABC):
    """Keeps who is on the channels of a store, over all processes that share it.

    It publishes the changes on the presence channels.
    """

    def start(self, owner: PresenceOwner) -> None:  # noqa: B027 (memory needs nothing)
        """Start to keep the members of this process from expiring."""

    def was_away(self, channel_id: str, seconds: float) -> bool:
        """Return whether the store could not be reached at some time lately.

        Nobody leaves then: who polls could not have come back.

        Args:
            channel_id: The channel of which something would be told.
            seconds: The last seconds that count.
        """
        return False

    @abstractmethod
    async def apply(
        self, channel_id: str, changes: Sequence[Change], limit: int | None
    ) -> Applied:
        """Apply changes of one channel, and publish them, or later if that was lately.

        Applying a change again does nothing.

        Args:
            channel_id: The channel.
            changes: The changes; there may be none.
            limit: The most members that are named, 0 for no limit; None for the last
                one that was given.

        Raises :class:`~pushserver_channels.exceptions.PushError`.
        """

    @abstractmethod
    async def read(self, channel_id: str, *, for_page: bool) -> Snapshot:
        """Return who is on a channel.

        Args:
            channel_id: The channel.
            for_page: Whether members are left out above the limit.

        Raises :class:`~pushserver_channels.exceptions.StoreUnavailable`.
        """

    @abstractmethod
    async def count(self, channel_id: str) -> int:
        """Return how many members there are, named and not. Raises as :meth:`read`."""

    @abstractmethod
    async def has(self, channel_id: str, member: str) -> bool:
        """Return whether a member is on a channel. Raises as :meth:`read` does."""
