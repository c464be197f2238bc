"""Note the subscribers of a location with presence: an observer of the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pushserver.access.permissions import Permission
from pushserver.conf import SubscriberLocation
from pushserver.presence.names import is_presence_channel
from pushserver_channels.exceptions import BadRequest
from pushserver_channels.hub import Cursor
from pushserver_channels.positions import read_parameter

from .members import Connection, PresenceLimits
from .registry import find_presence, teller

#: What a page that is hidden adds to its URL, and its value.
HIDDEN = "hidden"

_NOBODY = Permission()


class LocationPresence:
    """Notes who is on the channels of one location.

    Args:
        location: The location.
    """

    def __init__(self, location: SubscriberLocation) -> None:
        self._store = location.store
        self._limits = PresenceLimits.of(location)
        self._connections: dict[Cursor, Connection] = {}

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Note a subscriber; return a function that notes its end.

        Whoever watches a presence channel is not on any channel by that.
        """
        if is_presence_channel(cursor.channel_id):
            return _do_nothing
        presence = find_presence(self._store, cursor.scope.get("server")).presence
        query = cursor.scope.get("query_string", b"")
        connection = self._connections[cursor] = self._enter(
            cursor.channel_id, cursor.permission, is_hidden=says_hidden(query)
        )

        def leave() -> None:
            del self._connections[cursor]
            presence.leave(connection)

        return leave

    def set_hidden(self, cursors: Iterable[Cursor], is_hidden: bool) -> None:
        """Note that the page of some cursors is hidden now, or is not any more."""
        presence = find_presence(self._store).presence
        for cursor in cursors:
            connection = self._connections.get(cursor)
            if connection is not None:
                presence.set_hidden(connection, is_hidden)

    def keep(self, channel_id: str, permission: Permission | None) -> None:
        """Keep a subscriber, whose page says that it is hidden."""
        if not is_presence_channel(channel_id):
            connection = self._enter(channel_id, permission, is_hidden=True)
            find_presence(self._store).presence.keep(connection)

    def _enter(
        self, channel_id: str, permission: Permission | None, *, is_hidden: bool
    ) -> Connection:
        permission = permission or _NOBODY
        return find_presence(self._store).presence.enter(
            channel_id,
            permission.user,
            permission.session,
            permission.info,
            self._limits,
            is_hidden=is_hidden,
        )

    async def drain_before_exit(self) -> None:
        """Wait until the signals were sent, because the server stops."""
        await teller.drain()


def says_hidden(query: bytes) -> bool:
    """Return whether the query of a request says that its page is hidden."""
    try:
        return read_parameter(query, HIDDEN) == "1"
    except BadRequest:  # There are too many parameters.
        return False


def _do_nothing() -> None:
    """Note nothing, because the subscriber was not noted."""
