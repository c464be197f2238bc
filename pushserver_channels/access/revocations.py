"""The revocations of rights to listen, which all processes read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from pushserver.access.permissions import Permission
from pushserver_channels.exceptions import AuthorizationUnavailable
from pushserver_channels.followers import MARGIN, RETRY_DELAY, Follower

from .revocation import Revocation

logger = logging.getLogger("pushserver.access")

#: The channel of the revocations.
CHANNEL = "revocations"


class _Known(NamedTuple):
    """What is known of the revocations that are about the same.

    Attributes:
        time: The Unix time of the newest, in seconds.
        number: How many revocations had been read with it.
        ended_at: The Unix time at which the session ended, None if it goes on.
    """

    time: float
    number: int
    ended_at: float | None


class Revocations(Follower):
    """The revocations for one store, as this process knows them.

    All methods are called on the event loop of the server.

    Args:
        store: The name of the store.
        max_age: Seconds for which a token is valid; revocations are known for
            :data:`MARGIN` seconds more.

    Attributes:
        count: How many revocations were read.
        callbacks: Called with each revocation.
        stop_callbacks: Called when the server stops.
        is_stopping: Whether it does.
    """

    __slots__ = (
        "_known",
        "_max_age",
        "callbacks",
        "count",
        "is_stopping",
        "stop_callbacks",
    )

    def __init__(self, store: str, max_age: float) -> None:
        super().__init__(store, CHANNEL, logger)
        self._max_age = max_age + MARGIN
        # By what they are about, in the order in which they were read.
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self.count = 0
        self.callbacks: list[Callable[[Revocation], None]] = []
        self.stop_callbacks: list[Callable[[], None]] = []
        self.is_stopping = False

    async def start(self) -> None:
        """Read the revocations so far, and from now on. Later calls do nothing.

        Raises :class:`AuthorizationUnavailable` if they cannot be read.
        """
        if self.follow():
            self.is_stopping = False
        if not self.is_read.done():
            await asyncio.wait([self.is_read], timeout=RETRY_DELAY)
        if not self.is_read.done():
            raise AuthorizationUnavailable

    def refuses(self, permission: Permission, channel_id: str) -> bool:
        """Return whether a permission for a channel was revoked after it was given."""
        if self.is_of_ended_session(permission):
            return True
        for key in _list_keys(permission, channel_id):
            known = self._known.get(key)
            if known is None:
                continue
            if permission.is_signed:
                if permission.issued_at <= known.time:
                    return True
            elif permission.known < known.number:
                return True
        return False

    def is_of_ended_session(self, permission: Permission) -> bool:
        """Return whether a permission is of a session that has ended.

        The function must not decide: it may not know yet, because a session is deleted
        after its end was told, or with the transaction of that request.
        """
        if permission.session is None:
            return False
        known = self._known.get((None, None, permission.session))
        if known is None or known.ended_at is None:
            return False
        return time.time() < known.ended_at + MARGIN

    def stop(self) -> None:
        self.is_stopping = True
        for callback in self.stop_callbacks:
            callback()

    def apply(self, body: bytes) -> None:
        """Remember a revocation, and tell the callbacks."""
        try:
            revocation = Revocation.parse(body)
        except ValueError as error:
            text = "A revocation cannot be read: %s"
            logger.error(text, error, extra={"reason": "invalid"})
            return
        self.count += 1
        key = revocation.user, revocation.channel_id, revocation.session
        at = revocation.time
        ended_at = at if revocation.ends_session else None
        known = self._known.pop(key, None)
        if known is not None:
            # The clock of the process that published it may be behind.
            at = max(at, known.time)
            ended_at = ended_at or known.ended_at
        self._known[key] = _Known(at, self.count, ended_at)
        oldest = time.time() - self._max_age
        while next(iter(self._known.values())).time < oldest:
            self._known.popitem(last=False)
            if not self._known:
                break
        for callback in self.callbacks:
            callback(revocation)


def _list_keys(permission: Permission, channel_id: str) -> Iterator[Hashable]:
    """Yield what revocations that apply to a permission may be about."""
    for user in dict.fromkeys((None, permission.user)):
        for channel in (None, channel_id):
            for session in dict.fromkeys((None, permission.session)):
                yield user, channel, session
