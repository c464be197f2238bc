"""Channels on which the processes of a site tell each other something.

They are in a store of their own, beside one of the site's. So a message reaches all
processes in order and without loss, as far as such a store promises it, and is kept for
as long as a token may be valid.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from logging import Logger

from pushserver.conf import StoreSettings, get_settings

from .exceptions import PushError, ServerStopping, StoreUnavailable
from .hub import Heard, Hub, InternalCursor, hubs
from .messages import START, Message, MessageId

#: Seconds that messages are kept longer than tokens, for clocks that differ.
MARGIN = 60.0

#: Seconds after which a store that did not answer is asked again.
RETRY_DELAY = 1.0


def find_store(name: str) -> StoreSettings:
    """Return the settings of the store beside another one."""
    settings = get_settings()
    store = settings.store[name]
    kept = settings.token_max_age + MARGIN
    return store.beside(store.revocations_namespace, message_timeout=kept)


def find_hub(name: str) -> Hub:
    """Return the hub of the store beside another one, for the running event loop."""
    return hubs.get(name, settings=find_store(name))


class Follower(InternalCursor):
    """Reads all messages of a channel of the processes, one after the other.

    All methods are called on the event loop of the server.

    Args:
        store: The name of the store beside which the channel is.
        channel_id: The channel.
        logger: The logger of errors.

    Attributes:
        hub: The hub of the channel, None before it is followed.
        is_read: Has a result when what there was at first has been read.
    """

    __slots__ = (
        "__weakref__",
        "_has_begun",
        "_is_behind",
        "_logger",
        "_reading",
        "_store",
        "hub",
        "is_read",
    )

    def __init__(self, store: str, channel_id: str, logger: Logger) -> None:
        super().__init__(channel_id)
        self._store = store
        self._logger = logger
        self._reading: asyncio.Task[None] | None = None
        self._has_begun = self._is_behind = False
        self.hub: Hub | None = None

    @abstractmethod
    def apply(self, body: bytes) -> None:
        """Do what a message says. It must not raise."""

    def stop(self) -> None:
        """Note that the server stops."""

    async def find_start(self, hub: Hub) -> MessageId:
        """Return the id after which the messages are read.

        May raise :class:`~pushserver_channels.exceptions.StoreUnavailable`.
        """
        return START

    def follow(self) -> bool:
        """Read the messages from now on; return False if they are read already."""
        loop = asyncio.get_running_loop()
        if self.hub is not None and self.hub.loop is loop:
            return False
        self.hub = find_hub(self._store)
        self.is_read: asyncio.Future[None] = loop.create_future()
        self._begin()
        return True

    def hear(self, message: Message) -> Heard:
        self._start_reading()
        return Heard.TAKEN

    def end(self, error: PushError | None) -> None:
        """Begin again if the channel was deleted; note that the server stops."""
        if isinstance(error, ServerStopping):
            self.stop()
        else:
            self._begin()

    def _begin(self) -> None:
        """Enter the hub, and read what the store has."""
        assert self.hub is not None, "By follow()."
        self._has_begun = False
        self.hub.enter(self)
        self._start_reading()

    def _start_reading(self) -> None:
        """Read what the store has, unless that is under way."""
        self._is_behind = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        """Read the messages until there is no more, however often that fails."""
        hub = self.hub
        assert hub is not None, "By follow()."
        while self._is_behind and not hub.stopping:
            self._is_behind = False
            try:
                page = await self._read_page(hub)
            except StoreUnavailable:
                self._is_behind = True
                await asyncio.sleep(RETRY_DELAY)
                continue
            except Exception:
                extra = {"reason": "failed"}
                self._logger.exception(
                    "The %s cannot be read", self.channel_id, extra=extra
                )
                self._is_behind = True
                await asyncio.sleep(RETRY_DELAY)
                continue
            for message in page:
                self.seen = message.id
                self.apply(message.body)
                self._is_behind = True
            await asyncio.sleep(0)  # Let other tasks run.
        if not self._is_behind and not self.is_read.done():
            self.is_read.set_result(None)

    async def _read_page(self, hub: Hub) -> list[Message]:
        """Return the next messages."""
        if not self._has_begun:
            self.seen = await self.find_start(hub)
            self._has_begun = True
        return await hub.store.page(self.channel_id, self.seen, 100)
