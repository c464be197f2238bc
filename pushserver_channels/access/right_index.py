"""Find the rights to listen that a revocation may end, without looking at all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from pushserver.access.permissions import Permission

Item = TypeVar("Item", bound=Hashable)


class RightIndex(Generic[Item]):
    """Items by the user, the session and the channel of their right to listen."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[Item, None]] = {}

    def __len__(self) -> int:
        """Return how many users, sessions and channels there are."""
        return len(self._items)

    def add(self, item: Item, permission: Permission, channel_id: str) -> None:
        """Add an item, once."""
        for key in _list_keys(permission.user, permission.session, channel_id):
            self._items.setdefault(key, {})[item] = None

    def remove(self, item: Item, permission: Permission, channel_id: str) -> None:
        """Remove an item that was added with the same permission and channel."""
        for key in _list_keys(permission.user, permission.session, channel_id):
            items = self._items[key]
            del items[item]
            if not items:
                del self._items[key]

    def find(
        self, user: str | None, session: str | None, channel_id: str | None
    ) -> list[Item]:
        """Return the items that have the most special of the given properties.

        The caller looks at the other ones.

        Args:
            user: The key of a user, None for all.
            session: The digest of a session, None for all.
            channel_id: A channel, None for all.
        """
        for key in _list_keys(user, session, channel_id):
            return list(self._items.get(key, ()))
        return []


def _list_keys(
    user: str | None, session: str | None, channel_id: str | None
) -> Iterator[tuple[str, str]]:
    """Yield the properties that are given, the one that the fewest have first."""
    if session is not None:
        yield "session", session
    if user is not None:
        yield "user", user
    if channel_id is not None:
        yield "channel", channel_id
