"""The members of a channel in this process, and their connections."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from pushserver.conf import SubscriberLocation
from pushserver_channels.deadlines import Deadlines


class PresenceLimits(NamedTuple):
    """The settings of a location with presence, as of ``SubscriberLocation``."""

    grace: float
    hidden_grace: float
    limit: int

    @classmethod
    def of(cls, location: SubscriberLocation) -> PresenceLimits:
        """Return the limits of a location. A hidden page has at least the grace."""
        grace = location.presence_grace
        hidden_grace = max(grace, location.presence_hidden_grace)
        return cls(grace, hidden_grace, location.presence_limit)


class Member:
    """Somebody who is on a channel in this process.

    Attributes:
        channel_id: The channel.
        key: The name of the member in the store.
        info: What is told about it, as JSON.
        connections: How many connections and held requests it has.
        hidden: How many of them are of hidden pages.
        grace: Seconds for which it stays when the last of them has ended.
        lingering: What removes it after that, None while it has a connection.
        kept: What keeps it for a hidden page that has asked for it, and the timer that
            ends that; None for none.
        told: The grace and the info that the store knows, None if it does not know it.
        is_known: Whether its arrival was told before the store lost it.
        is_nameless: Whether nothing tells it from other anonymous members.
    """

    __slots__ = (
        "channel_id",
        "connections",
        "grace",
        "hidden",
        "info",
        "is_known",
        "is_nameless",
        "kept",
        "key",
        "lingering",
        "told",
    )

    def __init__(
        self, channel_id: str, key: str, info: str, grace: float, *, is_nameless: bool
    ) -> None:
        self.channel_id = channel_id
        self.key = key
        self.info = info
        self.connections = 0
        self.hidden = 0
        self.grace = grace
        self.lingering: Deadlines[Member] | None = None
        self.kept: tuple[asyncio.TimerHandle, Connection] | None = None
        self.told: tuple[float, str] | None = None
        self.is_known = False
        self.is_nameless = is_nameless


class Connection:
    """A connection or a held request of a member.

    Attributes:
        member: The member.
        limits: The settings of its location.
        is_hidden: Whether its page is hidden.
        has_ended: Whether it has ended.
    """

    __slots__ = ("has_ended", "is_hidden", "limits", "member")

    def __init__(self, member: Member, limits: PresenceLimits, is_hidden: bool) -> None:
        self.member = member
        self.limits = limits
        self.is_hidden = is_hidden
        self.has_ended = False


class Room:
    """The members of one channel in this process.

    Attributes:
        members: The members by key.
        nameless: The nameless ones without a connection, one of which the next nameless
            connection becomes: otherwise each new poll would count as a visitor.
        limit: The most members that are named, as its last location says.
    """

    __slots__ = ("limit", "members", "nameless")

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.nameless: dict[Member, None] = {}
        self.limit = 0
