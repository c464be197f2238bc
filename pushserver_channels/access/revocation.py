"""One revocation, as it is published."""

from __future__ import annotations

import json
from math import isfinite
from typing import NamedTuple

from pushserver.access.permissions import Permission


class Revocation(NamedTuple):
    """The end of a right to listen.

    Attributes:
        user: The key of the user whose right has ended, None for all.
        channel_id: The channel, None for all.
        session: The digest of the session, None for all.
        time: The Unix time at which it was revoked, in seconds.
        ends_session: Whether the session itself has ended.
    """

    user: str | None
    channel_id: str | None
    session: str | None
    time: float
    ends_session: bool = False

    @classmethod
    def parse(cls, body: bytes) -> Revocation:
        """Return a revocation from a message. Raises ``ValueError``."""
        try:
            record = json.loads(body)
            names = [record[each] for each in ("user", "channel", "session")]
            at = float(record["time"])
            ends_session = bool(record.get("ends_session"))
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no revocation in {len(body)} bytes") from error
        are_texts = all(each is None or isinstance(each, str) for each in names)
        if not are_texts or not any(each is not None for each in names):
            raise ValueError(f"no revocation in {len(body)} bytes")
        if not isfinite(at):
            raise ValueError(f"no time in {len(body)} bytes")
        user, channel_id, session = names
        return cls(user, channel_id, session, at, ends_session)

    def ends(self, permission: Permission, channel_id: str) -> bool:
        """Return whether it ends a permission for a channel that was given before.

        A token may be from after it, where it is read late.
        """
        return (
            self.user in (None, permission.user)
            and self.session in (None, permission.session)
            and self.channel_id in (None, channel_id)
            and (not permission.is_signed or permission.issued_at <= self.time)
        )
