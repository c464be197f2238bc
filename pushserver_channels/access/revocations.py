"""The revocations of rights to listen, which all processes read.

They are messages on a channel of a store of their own, beside the store whose channels
they concern. So they reach all processes in order and without loss, as far as such a
store promises it, and are kept for as long as a token may be valid.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import NamedTuple

from pushserver.access.permissions import Permission
from pushserver.conf import StoreSettings, get_settings
from pushserver_channels.exceptions import (
    AuthorizationUnavailable,
    PushError,
    ServerStopping,
    StoreUnavailable,
)
from pushserver_channels.hub import Cursor, Heard, Hub, hubs
from pushserver_channels.messages import START, Message

from .revocation import Revocation

logger = logging.getLogger("pushserver.access")

#: The channel of the revocations.
CHANNEL = "revocations"

#: Seconds that revocations are kept longer than tokens, for clocks that differ.
MARGIN = 60.0

#: Seconds after which a store that did not answer is asked again.
RETRY_DELAY = 1.0


def find_store(name: str) -> StoreSettings:
    """Return the settings of the store that has the revocations of another one."""
    settings = get_settings()
    store = settings.store[name]
    names = {}
    if store.namespace_setting:
        names[store.namespace_setting] = store.revocations_namespace
    return replace(
        store,
        **names,
        min_messages=0,
        max_messages=0,
        message_timeout=settings.token_max_age + MARGIN,
        channel_timeout=0,
        max_channels=0,
        max_empty_channels=0,
        max_bytes=0,
    )


def find_hub(name: str) -> Hub:
    """Return the hub of the revocations of a store, for the running event loop."""
    return hubs.get(name, settings=find_store(name))


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


class Revocations(Cursor):
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
        "__weakref__",
        "_hub",
        "_is_behind",
        "_known",
        "_max_age",
        "_reading",
        "_ready",
        "_store",
        "callbacks",
        "count",
        "is_stopping",
        "stop_callbacks",
    )

    def __init__(self, store: str, max_age: float) -> None:
        self._store = store
        self._max_age = max_age + MARGIN
        # By what they are about, in the order in which they were read.
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._hub: Hub | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_behind = False
        self.count = 0
        self.callbacks: list[Callable[[Revocation], None]] = []
        self.stop_callbacks: list[Callable[[], None]] = []
        self.is_stopping = False
        self.channel_id = CHANNEL
        self.observers = ()
        self.scope = {}
        self.task = None
        self.permission = None
        self.seen = START

    async def start(self) -> None:
        """Read the revocations so far, and from now on. Later calls do nothing.

        Raises :class:`AuthorizationUnavailable` if they cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._hub is None or self._hub.loop is not loop:
            self._hub = find_hub(self._store)
            self._ready: asyncio.Future[None] = loop.create_future()
            self.is_stopping = False
            self._begin()
        if not self._ready.done():
            await asyncio.wait([self._ready], timeout=RETRY_DELAY)
        if not self._ready.done():
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

    def hear(self, message: Message) -> Heard:
        self._start_reading()
        return Heard.TAKEN

    def end(self, error: PushError | None) -> None:
        """Begin again if the channel was deleted; note that the server stops."""
        assert self._hub is not None, "By start()."
        if not isinstance(error, ServerStopping):
            self._begin()
            return
        self.is_stopping = True
        for callback in self.stop_callbacks:
            callback()

    def _begin(self) -> None:
        """Enter the hub, and read all revocations that the store has."""
        assert self._hub is not None, "By start()."
        self.seen = START
        self._hub.enter(self)
        self._start_reading()

    def _start_reading(self) -> None:
        """Read what the store has, unless that is under way."""
        self._is_behind = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        """Read the revocations until there is no more, however often that fails."""
        hub = self._hub
        assert hub is not None, "By start()."
        while self._is_behind and not hub.stopping:
            self._is_behind = False
            try:
                page = await hub.store.page(CHANNEL, self.seen, 100)
            except StoreUnavailable:
                self._is_behind = True
                await asyncio.sleep(RETRY_DELAY)
                continue
            except Exception:
                logger.exception("The revocations cannot be read")
                self._is_behind = True
                await asyncio.sleep(RETRY_DELAY)
                continue
            for message in page:
                self.seen = message.id
                self._apply(message.body)
                self._is_behind = True
            await asyncio.sleep(0)  # Let other tasks run.
        if not self._is_behind and not self._ready.done():
            self._ready.set_result(None)

    def _apply(self, body: bytes) -> None:
        """Remember a revocation, and tell the callbacks."""
        try:
            revocation = Revocation.parse(body)
        except ValueError as error:
            logger.error("A revocation cannot be read: %s", error)
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
