"""End requests and streams when the right to listen ends."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from math import inf

from pushserver.access.permissions import Permission
from pushserver_channels.exceptions import (
    AccessDenied,
    AuthorizationUnavailable,
    GrantExpired,
    PushError,
)
from pushserver_channels.hub import Cursor
from pushserver_channels.types import Scope

from .revocation import Revocation
from .revocations import Revocations
from .right_index import RightIndex

logger = logging.getLogger("pushserver.access")

#: Asks the site's function again about a subscriber and a channel.
AskAgain = Callable[[Scope, str], Awaitable[Permission | None]]


class Lease:
    """The right of one cursor to listen, which ends or has to be confirmed.

    Args:
        cursor: The cursor.
        permission: Its permission.
        ask_again: Asks the site's function again.
        interval: Seconds after which it is asked again, 0 for never.
        index: The cursors that wait, by their permissions.
        subject: The channel on whose right that of the cursor's channel depends.
    """

    __slots__ = (
        "_ask_again",
        "_cursor",
        "_index",
        "_interval",
        "_task",
        "_timer",
        "permission",
        "subject",
    )

    def __init__(
        self,
        cursor: Cursor,
        permission: Permission,
        ask_again: AskAgain,
        interval: float,
        index: RightIndex[Cursor],
        subject: str,
    ) -> None:
        self.permission = permission
        self.subject = subject
        self._index = index
        index.add(cursor, permission, subject)
        self._cursor = cursor
        self._ask_again = ask_again
        self._interval = 0 if permission.is_signed else interval
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._schedule()

    def release(self) -> None:
        """Do nothing more, because the cursor does not listen any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._index.remove(self._cursor, self.permission, self.subject)

    def end(self, error: PushError) -> None:
        """End the request or stream."""
        self._cursor.end(error)

    def _schedule(self) -> None:
        """Set the timer for the end of the right, or for the next question."""
        left = self.permission.until - time.time()
        # Not all at once, after a restart at which all came at once.
        interval = self._interval * random.uniform(0.8, 1.0) or inf
        if min(left, interval) < inf:
            loop = asyncio.get_running_loop()
            is_end = left <= interval
            self._timer = loop.call_later(
                max(min(left, interval), 0), self._expire if is_end else self._confirm
            )

    def _expire(self) -> None:
        if self.permission.until > time.time():
            self._schedule()  # The clock was set back.
        else:
            self.end(GrantExpired())

    def _confirm(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """Ask the site's function, and end the request or stream if it denies."""
        cursor = self._cursor
        try:
            permission = await self._ask_again(cursor.scope, cursor.channel_id)
        except AuthorizationUnavailable:
            self._schedule()  # The right that was granted is valid until it ends.
            return
        self._task = None
        if permission is None:
            self.end(AccessDenied())
        else:
            self._index.remove(cursor, self.permission, self.subject)
            self.permission = permission
            self._index.add(cursor, permission, self.subject)
            self._schedule()


class Leases:
    """Watches the rights of the cursors that wait: an observer of the hub.

    Args:
        ask_again: Asks the site's function again.
        interval: Seconds after which it is asked again, 0 for never.
        revocations: The revocations for the store of the cursors.
        find_subject: Returns the channel on whose right that of a channel depends.
    """

    def __init__(
        self,
        ask_again: AskAgain,
        interval: float,
        revocations: Revocations,
        find_subject: Callable[[str], str],
    ) -> None:
        self._find_subject = find_subject
        self._ask_again = ask_again
        self._interval = interval
        self._revocations = revocations
        self._leases: dict[Cursor, Lease] = {}
        self._index: RightIndex[Cursor] = RightIndex()
        revocations.callbacks.append(self._revoke)

    def join(self, cursor: Cursor) -> Callable[[], None]:
        """Watch the right of a cursor; return a function that stops that."""
        permission = cursor.permission
        assert permission is not None, "It was let in."
        subject = self._find_subject(cursor.channel_id)
        lease = Lease(
            cursor, permission, self._ask_again, self._interval, self._index, subject
        )
        self._leases[cursor] = lease
        if self._revocations.refuses(permission, subject):
            # It was revoked after the decision.
            asyncio.get_running_loop().call_soon(cursor.end, AccessDenied())

        def leave() -> None:
            lease.release()
            del self._leases[cursor]

        return leave

    def _revoke(self, revocation: Revocation) -> None:
        """End the requests and streams to which a revocation applies."""
        user, channel_id, session, *_ = revocation
        for cursor in self._index.find(user, session, channel_id):
            lease = self._leases.get(cursor)
            if lease is not None and revocation.ends(lease.permission, lease.subject):
                lease.end(AccessDenied())

    async def drain_before_exit(self) -> None:
        """Do nothing, because no request is pending at the end."""
