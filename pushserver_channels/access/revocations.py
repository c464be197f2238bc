"""The revocations of rights to listen, which all processes read.

They are messages on a channel of a store of their own, beside the store whose channels
they concern. So they reach all processes in order and without loss, as far as such a
store promises it, and are kept for as long as a token may be valid.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import NamedTuple

from pushserver.access.permissions import Permission
from pushserver.conf import RedisStoreSettings, StoreSettings, get_settings
from pushserver_channels.exceptions import (
    AuthorizationUnavailable,
    PushError,
    StoreUnavailable,
)
from pushserver_channels.hub import Cursor, Heard, Hub, hubs
from pushserver_channels.messages import START, Message

logger = logging.getLogger(__name__)

#: The channel of the revocations, and what the names of their stores end with.
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
    if isinstance(store, RedisStoreSettings):
        names["key_prefix"] = f"{store.key_prefix}{CHANNEL}:"
    elif store.namespace_setting:
        namespace = getattr(store, store.namespace_setting)
        names[store.namespace_setting] = f"{namespace}.{CHANNEL}"
    return replace(
        store,
        **names,
        min_messages=0,
        max_messages=0,
        message_timeout=settings.token_max_age + MARGIN,
        channel_timeout=0,
        max_channels=0,
    )


def find_hub(name: str) -> Hub:
    """Return the hub of the revocations of a store, for the running event loop."""
    return hubs.get(f"{name}.{CHANNEL}", settings=find_store(name))


class Revocation(NamedTuple):
    """The end of a right to listen.

    Attributes:
        user: The key of the user whose right has ended, None for all.
        channel_id: The channel, None for all.
        session: The digest of the session, None for all.
        time: The Unix time at which it was revoked, in seconds.
    """

    user: str | None
    channel_id: str | None
    session: str | None
    time: float

    @classmethod
    def parse(cls, body: bytes) -> Revocation:
        """Return a revocation from a message. Raises ``ValueError``."""
        record = json.loads(body)
        try:
            return cls(
                record["user"], record["channel"], record["session"], record["time"]
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no revocation: {body!r}") from error

    def applies_to(self, permission: Permission, channel_id: str) -> bool:
        """Return whether it is about a permission for a channel."""
        return (
            self.user in (None, permission.user)
            and self.session in (None, permission.session)
            and self.channel_id in (None, channel_id)
        )


class Revocations(Cursor):
    """The revocations for one store, as this process knows them.

    All methods are called on the event loop of the server.

    Args:
        store: The name of the store.
        max_age: Seconds after which a revocation is forgotten.

    Attributes:
        count: How many revocations were read.
        callbacks: Called with each revocation.
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
    )

    def __init__(self, store: str, max_age: float) -> None:
        self._store = store
        self._max_age = max_age
        # By what they are about: the time of the newest, and the count by then.
        self._known: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._hub: Hub | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_behind = False
        self.count = 0
        self.callbacks: list[Callable[[Revocation], None]] = []
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
            self.seen = START
            self._hub.enter(self)
            self._start_reading()
        if not self._ready.done():
            await asyncio.wait([self._ready], timeout=RETRY_DELAY)
        if not self._ready.done():
            raise AuthorizationUnavailable

    def refuses(self, permission: Permission, channel_id: str) -> bool:
        """Return whether a permission for a channel was revoked after it was given."""
        for key in _list_keys(permission, channel_id):
            known = self._known.get(key)
            if known is None:
                continue
            time, count = known
            if permission.is_signed:
                if permission.issued_at <= time:
                    return True
            elif permission.known < count:
                return True
        return False

    def hear(self, message: Message) -> Heard:
        self._start_reading()
        return Heard.TAKEN

    def end(self, error: PushError | None) -> None:
        """Do nothing, because the server stops."""

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
            for message in page:
                self.seen = message.id
                self._apply(message.body)
                self._is_behind = True
        if not self._ready.done():
            self._ready.set_result(None)

    def _apply(self, body: bytes) -> None:
        """Remember a revocation, and tell the callbacks."""
        try:
            revocation = Revocation.parse(body)
        except ValueError as error:
            logger.error("A revocation cannot be read: %s", error)
            return
        self.count += 1
        key = revocation[:3]
        self._known.pop(key, None)
        self._known[key] = revocation.time, self.count
        oldest = revocation.time - self._max_age
        while next(iter(self._known.values()))[0] < oldest:
            self._known.popitem(last=False)
        for callback in self.callbacks:
            callback(revocation)


def _list_keys(permission: Permission, channel_id: str) -> Iterator[Hashable]:
    """Yield what revocations that apply to a permission may be about."""
    for user in dict.fromkeys((None, permission.user)):
        for channel in (None, channel_id):
            for session in dict.fromkeys((None, permission.session)):
                yield user, channel, session
