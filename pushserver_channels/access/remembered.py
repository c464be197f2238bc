"""The permissions that the site's function granted, for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping

from pushserver.access.permissions import Permission

from .revocation import Revocation
from .right_index import RightIndex

#: The most permissions that are remembered.
MAX_REMEMBERED = 20_000

#: What identifies a subscriber, and a channel.
_Key = tuple[bytes, str]


class RememberedPermissions:
    """Remembers what was granted to a subscriber on a channel.

    Args:
        seconds: For how long, 0 for not at all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # When each is forgotten, by the monotonic clock; in this order.
        self._permissions: OrderedDict[_Key, tuple[float, Permission]] = OrderedDict()
        self._index: RightIndex[_Key] = RightIndex()

    def __len__(self) -> int:
        return len(self._permissions)

    def find(self, digest: bytes, channel_id: str) -> Permission | None:
        """Return a permission that is still valid, None if there is none.

        Args:
            digest: What identifies the subscriber.
            channel_id: The channel.
        """
        remembered = self._permissions.get((digest, channel_id))
        if remembered is None:
            return None
        forgotten_at, permission = remembered
        if time.monotonic() < forgotten_at and time.time() < permission.until:
            return permission
        self._remove((digest, channel_id))
        return None

    def add(self, digest: bytes, answers: Mapping[str, Permission | None]) -> None:
        """Remember what was granted to a subscriber, by channel."""
        if not self._seconds:
            return
        now = time.monotonic()
        while self._permissions:
            key, (forgotten_at, _) = next(iter(self._permissions.items()))
            if forgotten_at > now and len(self._permissions) < MAX_REMEMBERED:
                break
            self._remove(key)
        for channel_id, permission in answers.items():
            if permission is not None:
                key = (digest, channel_id)
                self._remove(key)
                self._permissions[key] = now + self._seconds, permission
                self._index.add(key, permission, channel_id)

    def revoke(self, revocation: Revocation) -> None:
        """Forget what was revoked."""
        user, channel_id, session, *_ = revocation
        for key in self._index.find(user, session, channel_id):
            _, permission = self._permissions[key]
            if revocation.ends(permission, key[1]):
                self._remove(key)

    def _remove(self, key: _Key) -> None:
        remembered = self._permissions.pop(key, None)
        if remembered is not None:
            self._index.remove(key, remembered[1], key[1])
