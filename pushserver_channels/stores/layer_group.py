"""This process as a member of a group of a channel layer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from hashlib import sha256
from typing import Any, Protocol

from channels.layers import get_channel_layer

from pushserver_channels.exceptions import StoreUnavailable

logger = logging.getLogger("pushserver.store")

#: Seconds after which a process joins its group again, because a layer may drop
#: members, and sends an event, so that others notice events that they missed.
JOIN_INTERVAL = 5.0

#: Seconds before a layer that failed is tried again.
RECONNECT_DELAY = 1.0


class GroupOwner(Protocol):
    """What uses a group."""

    def handle_event(self, event: dict[str, Any]) -> None:
        """Process an event of any process, including this one."""

    def note_loss(self) -> None:
        """Note that any event may have been missed."""

    async def announce(self) -> None:
        """Send an event by which others notice that they missed some."""


class LayerGroup:
    """Sends events to all processes of a group, and receives those of all.

    Args:
        alias: The name of the layer in ``CHANNEL_LAYERS``.
        name: The name of the group, of any length.
        owner: What uses the group.

    Attributes:
        errors: How often the layer has failed.
        is_closed: Whether the group was closed.
    """

    def __init__(self, alias: str, name: str, owner: GroupOwner) -> None:
        self._layer: Any = get_channel_layer(alias)
        # Hashed, because names of groups must be short and ASCII.
        self._name = f"push.{sha256(name.encode()).hexdigest()[:32]}"
        self._owner = owner
        self.errors = 0
        self.is_closed = False
        self._channel = ""
        self._is_refused = self._has_failed = False  # Until it changes, for the log.
        self._joined: asyncio.Future[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._rejoining: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, event: dict[str, Any], channel_id: str) -> None:
        """Send an event to all processes. Raises :class:`StoreUnavailable`.

        Args:
            event: The event.
            channel_id: The channel that it is about, for the log.
        """
        try:
            await self._layer.group_send(self._name, event)
        except Exception as error:
            self.errors += 1
            if not self._is_refused:
                extra = {"reason": StoreUnavailable.reason, "channel_id": channel_id}
                text = "The channel layer takes no message: %r"
                logger.error(text, error, extra=extra)
            self._is_refused = True
            raise StoreUnavailable from error
        if self._is_refused:
            self._is_refused = False
            extra = {"reason": StoreUnavailable.reason}
            logger.warning("The channel layer takes messages again", extra=extra)

    async def join(self) -> None:
        """Return when this process has joined the group, or raise StoreUnavailable."""
        if self.is_closed:
            raise StoreUnavailable
        await asyncio.shield(self.start())

    def start(self) -> asyncio.Future[None]:
        """Start to receive; return what ends when this process has joined."""
        loop = asyncio.get_running_loop()
        if self._joined is None:
            self._joined = loop.create_future()
        if self._loop_task is None:
            self._loop_task = loop.create_task(self._receive_all())
        return self._joined

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that is cancelled when the group is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # The event loop keeps only weak references.
        task.add_done_callback(self._tasks.discard)

    def rejoin_soon(self) -> None:
        """Join the group again, because the layer may have dropped this process."""
        self._rejoining = asyncio.get_running_loop().create_task(self._rejoin())

    def close(self) -> None:
        """Stop to receive."""
        self.is_closed = True
        self._fail()
        for task in (self._loop_task, self._rejoining, *self._tasks):
            if task is not None:
                task.cancel()

    async def aclose(self) -> None:
        """Stop to receive, and return when this process has left the group."""
        self.is_closed = True
        if self._loop_task is not None:
            with suppress(Exception):
                # Cancelling a layer's receive() may take long.
                await self._layer.send(self._channel, {"type": "push.end"})
        self.close()
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task])

    async def _receive_all(self) -> None:
        """Receive events until the group is closed."""
        # Cancelling is not enough, because a layer may catch CancelledError.
        while not self.is_closed:
            try:
                self._channel = await self._layer.new_channel("push")
                await self._layer.group_add(self._name, self._channel)
                self._set_joined()
                if self._has_failed:
                    self._has_failed = False
                    extra = {"reason": StoreUnavailable.reason}
                    logger.warning("The channel layer is back", extra=extra)
                await self._receive_until_error()
            except Exception as error:
                self.errors += 1
                if not self._has_failed:
                    extra = {"reason": StoreUnavailable.reason}
                    logger.error("The channel layer has failed: %r", error, extra=extra)
                self._has_failed = True
                self._fail()
                await asyncio.sleep(RECONNECT_DELAY)

    async def _receive_until_error(self) -> None:
        loop = asyncio.get_running_loop()
        rejoining = loop.create_task(self._rejoin_regularly())
        try:
            while not self.is_closed:
                event = await self._layer.receive(self._channel)
                if event["type"] != "push.end":
                    self._owner.handle_event(event)
        finally:
            rejoining.cancel()
            await self._layer.group_discard(self._name, self._channel)

    async def _rejoin_regularly(self) -> None:
        """Join the group again at regular intervals, and send an event."""
        while True:
            await asyncio.sleep(JOIN_INTERVAL)
            await self._rejoin()

    async def _rejoin(self) -> None:
        with suppress(Exception):
            await self._layer.group_add(self._name, self._channel)
            await self._owner.announce()

    def _set_joined(self) -> None:
        """Wake the tasks that wait until this process has joined the group."""
        if self._joined is None:
            self._joined = asyncio.get_running_loop().create_future()
        if not self._joined.done():
            self._joined.set_result(None)

    def _fail(self) -> None:
        """End the wait for the layer with an error; events may have been missed."""
        self._owner.note_loss()
        if self._joined is not None and not self._joined.done():
            self._joined.set_exception(StoreUnavailable())
            self._joined.exception()
        self._joined = None
