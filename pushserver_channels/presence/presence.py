"""Who is on the channels of one store in this process."""

from __future__ import annotations

import json
import logging
import secrets
from functools import partial
from itertools import count
from typing import Any

from pushserver_channels.deadlines import Deadlines
from pushserver_channels.hub import Hub
from pushserver_channels.paced_log import PacedLog

from .base import ANONYMOUS, USER, PresenceStore
from .changes import Changes
from .members import Connection, Member, PresenceLimits, Room
from .telling import Teller

logger = logging.getLogger("pushserver.presence")

#: The most bytes of what is told about a member.
MAX_INFO = 4096

NO_INFO = "null"

#: Seconds after which a member is looked at again that may not leave yet, because the
#: store was away.
RETRY_INTERVAL = 1.0


class Presence:
    """Counts the connections of the members of one hub's channels.

    A member comes with its first connection, and goes a while after the last one has
    ended: so whoever polls again, or reloads a page, is there all the time, and the
    store need not be told. All methods are called on one event loop.

    Args:
        hub: The hub.
        store: Keeps the members of all processes.
        teller: Sends the signals.

    Attributes:
        changes: The members of which the store has to be told.
    """

    def __init__(self, hub: Hub, store: PresenceStore, teller: Teller) -> None:
        self.hub = hub
        self.store = store
        self._rooms: dict[str, Room] = {}
        # By the seconds that members have, and those after which they are looked at.
        self._lingering: dict[tuple[float, float], Deadlines[Member]] = {}
        self.changes = Changes(self._rooms, store, teller, self._forget)
        self._prefix = f"{ANONYMOUS}{secrets.token_hex(6)}."
        self._numbers = count()
        self._bad_infos = PacedLog(
            logger,
            "The info of %d subscribers is not told by presence, because it is no JSON"
            f" of up to {MAX_INFO} bytes; the last one was of the user %r.",
        )

    # Connections

    def enter(
        self,
        channel_id: str,
        user: str | None,
        session: str | None,
        info: Any,
        limits: PresenceLimits,
        *,
        is_hidden: bool,
    ) -> Connection:
        """Note a new connection, and return it.

        Args:
            channel_id: The channel.
            user: The key of the user, None for an anonymous visitor.
            session: What tells an anonymous visitor from others, None for nothing.
            info: What is told about the user.
            limits: The settings of the location.
            is_hidden: Whether the page is hidden.
        """
        room = self._rooms.get(channel_id)
        if room is None:
            room = self._rooms[channel_id] = Room()
        room.limit = limits.limit
        packed = NO_INFO if user is None else self._pack(info, user)
        member = self._find_member(room, channel_id, user, session, packed, limits)
        if member.lingering is not None:
            member.lingering.discard(member)
            member.lingering = None
        member.connections += 1
        member.hidden += is_hidden
        member.info = packed
        connection = Connection(member, limits, is_hidden)
        self._set_grace(member, limits)
        return connection

    def leave(self, connection: Connection) -> None:
        """Note the end of a connection. Calling it again does nothing."""
        limits = connection.limits
        self._end(
            connection, limits.hidden_grace if connection.is_hidden else limits.grace
        )

    def set_hidden(self, connection: Connection, is_hidden: bool) -> None:
        """Note that a page is hidden now, or is not any more."""
        if connection.is_hidden != is_hidden and not connection.has_ended:
            connection.is_hidden = is_hidden
            connection.member.hidden += 1 if is_hidden else -1
            self._set_grace(connection.member, connection.limits)

    def keep(self, connection: Connection) -> None:
        """Keep the member of a new connection for the grace of a hidden page.

        The connection ends by itself.
        """
        member, limits = connection.member, connection.limits
        if member.is_nameless:
            self.leave(connection)
            return
        if member.kept is not None:
            timer, kept = member.kept
            timer.cancel()
            self._end(kept, limits.grace)
        seconds = limits.hidden_grace - limits.grace
        timer = self.hub.loop.call_later(seconds, self._end_keeping, connection)
        member.kept = timer, connection

    def _end_keeping(self, connection: Connection) -> None:
        connection.member.kept = None
        self._end(connection, connection.limits.grace)

    def _end(self, connection: Connection, seconds: float) -> None:
        """End a connection; if it is the last, the member stays for some seconds."""
        if connection.has_ended:
            return
        connection.has_ended = True
        member = connection.member
        member.connections -= 1
        member.hidden -= connection.is_hidden
        if member.connections:
            self._set_grace(member, connection.limits)
        elif not self.hub.stopping:  # The next process has it within the grace.
            self._linger(member, seconds)

    def _find_member(
        self,
        room: Room,
        channel_id: str,
        user: str | None,
        session: str | None,
        info: str,
        limits: PresenceLimits,
    ) -> Member:
        """Return the member of a new connection, which may be new as well."""
        is_nameless = user is None and session is None
        if user is not None:
            key = USER + user
        elif session is not None:
            key = f"{ANONYMOUS}-{session}"
        elif room.nameless:
            member = next(reversed(room.nameless))
            del room.nameless[member]
            return member
        else:
            key = f"{self._prefix}{next(self._numbers):x}"
        found = room.members.get(key)
        if found is None:
            found = Member(channel_id, key, info, limits.grace, is_nameless=is_nameless)
            room.members[key] = found
        return found

    def _pack(self, info: Any, user: str) -> str:
        """Return what is told about a user as JSON."""
        if info is None:
            return NO_INFO
        try:
            packed = json.dumps(info, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            packed = ""
        if not packed or len(packed) > MAX_INFO:
            self._bad_infos.add(user, extra={"reason": "invalid"})
            return NO_INFO
        return packed

    def _set_grace(self, member: Member, limits: PresenceLimits) -> None:
        """Set the grace of a member that has a connection."""
        member.grace = limits.hidden_grace if member.hidden else limits.grace
        if member.told != (member.grace, member.info):
            self.changes.add(member)

    def _linger(
        self, member: Member, seconds: float, look_in: float | None = None
    ) -> None:
        """Remove a member after a number of seconds, unless it is back before.

        Args:
            member: The member.
            seconds: The seconds that it has.
            look_in: Seconds after which to see whether it has had them; None for these.
        """
        look_in = seconds if look_in is None else look_in
        lingering = self._lingering.get((seconds, look_in))
        if lingering is None:
            remove = partial(self._remove, seconds)
            lingering = Deadlines(look_in, remove)
            self._lingering[seconds, look_in] = lingering
        member.lingering = lingering
        lingering.add(member)
        room = self._rooms.get(member.channel_id)
        if member.is_nameless and room is not None:
            room.nameless[member] = None

    def _remove(self, seconds: float, member: Member) -> None:
        """Remove a member that has left, unless it could not have come back.

        Args:
            seconds: The seconds that it had for that.
            member: The member.
        """
        if self.hub.stopping:
            return
        if self.store.was_away(member.channel_id, seconds):
            self._linger(member, seconds, look_in=RETRY_INTERVAL)
            return
        self._forget(member)
        self.changes.add(member)

    def _forget(self, member: Member) -> None:
        """Forget a member, of which the store need not be told."""
        if member.lingering is not None:
            member.lingering.discard(member)
            member.lingering = None
        room = self._rooms[member.channel_id]
        del room.members[member.key]
        room.nameless.pop(member, None)
        if not room.members:
            del self._rooms[member.channel_id]
