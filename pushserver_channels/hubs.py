"""Who waits in this process, and how messages reach them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from django.core.signals import setting_changed

from pushserver.conf import Host, get_settings

from .deadlines import Deadlines
from .exceptions import ChannelGone, ClientDisconnected, Conflict, ServerStopping
from .messages import START, ChannelInfo, Message, MessageId
from .shutdown import call_before_shutdown
from .stores import Store, make_store
from .types import Receive

#: How a held request ends: with a message, an error, or neither when its time is up.
Outcome = Message | Exception | None

#: Seconds for which a server that stops waits for its last answers.
STOP_TIMEOUT = 10.0


async def receive_nothing() -> dict[str, Any]:
    """Wait for ever: the ``receive`` of who has no client that could leave."""
    nothing: asyncio.Future[dict[str, Any]]
    nothing = asyncio.get_running_loop().create_future()
    return await nothing


class Subscription:
    """One subscriber's place on a channel, taken for the time of a ``with`` block.

    Arm, then look, then wait: it hears what is published from the start of the block,
    so nothing is lost between looking into the store and waiting. It belongs to the
    task that makes it.
    """

    __slots__ = (
        "_deadlines",
        "_ended",
        "_hub",
        "_outcome",
        "_waits",
        "channel_id",
        "looks_after",
        "set_aside",
        "task",
    )

    def __init__(self, hub: Hub, channel_id: str) -> None:
        self.channel_id = channel_id
        self.looks_after: MessageId | None = None
        self.set_aside: Message | None = None
        self.task = asyncio.current_task(hub.loop)
        self._hub = hub
        self._deadlines: Deadlines[Subscription] | None = None
        self._waits = False
        self._ended = False
        self._outcome: Outcome = None

    def __enter__(self) -> Subscription:
        self._hub.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hub.leave(self)
        if self._deadlines is not None:
            self._deadlines.discard(self)

    async def next(self, after: MessageId, *, create: bool = True) -> Message | None:
        """Return the next kept message after an id: :meth:`Store.next`.

        While the store looks, a message up to that id is set aside: it may be one that
        the client was sent by another process, and is only on its way to this one. If
        the channel has not come to that id, the client's id is from the future, and the
        message is what it waits for.
        """
        self.looks_after = after
        try:
            message = await self._hub.store.next(self.channel_id, after, create=create)
        finally:
            self.looks_after = None
        if message is None and self.set_aside is not None:
            info = await self._hub.info(self.channel_id)
            if info.last_message_id < after:
                self.end(self.set_aside)
        return message

    def end(self, outcome: Outcome) -> bool:
        """End the wait, and return whether this is what ended it."""
        if self._ended:
            return False
        self._ended = True
        self._outcome = outcome
        if self._waits and self.task is not None:
            self.task.cancel()
        return True

    def end_after(self, seconds: float) -> None:
        """Let the wait end without a message when so much time has passed."""
        self._deadlines = self._hub.deadlines(seconds)
        self._deadlines.add(self)

    async def wait(self, receive: Receive = receive_nothing) -> Message | None:
        """Return the next message published, None if the wait ended without one.

        The request waits for its client to leave, and what ends the wait interrupts
        that: a future to wait for, and a task beside it that watches the client, would
        cost more than all the rest of holding a request.

        Args:
            receive: The request's, which tells when the client has left.

        Raises the error that ended it, such as
        :class:`~pushserver_channels.exceptions.ChannelGone`.
        """
        if not self._ended:
            self._waits = True
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass  # The rest of a body is nothing to us.
            except asyncio.CancelledError:
                # If the server cancels the request in the same moment, it has ended all
                # the same: a publisher may have been told that this was sent.
                if not self._ended:
                    raise
                _uncancel(self.task)
            finally:
                self._waits = False
            self.end(ClientDisconnected())
        outcome = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _uncancel(task: asyncio.Task[Any] | None) -> None:
    """Tell a task that its cancellation was meant for what it waited for only."""
    if sys.version_info >= (3, 11) and task is not None:
        task.uncancel()


class Hub:
    """The subscribers of one store in this process.

    A message is read once and handed to all who wait; no subscriber has a queue of its
    own, because what it missed is in the store.

    Args:
        store: Keeps the messages.
        loop: The event loop that serves; all methods are called on it.
        stopping: Whether the server stops already, so that nobody is held.
    """

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, *, stopping: bool = False
    ) -> None:
        self.store = store
        self.loop = loop
        store.attach(self)
        self._stopping = stopping
        self._deadlines: dict[float, Deadlines[Subscription]] = {}
        # Who waits on each channel, in the order in which they came.
        self._waiting: dict[str, dict[Subscription, None]] = {}

    async def publish(
        self,
        channel_id: str,
        body: bytes,
        content_type: bytes | None,
        *,
        keep: bool = True,
        create: bool = True,
    ) -> tuple[bool, ChannelInfo]:
        """Publish a message; return whether somebody was sent it, and the channel.

        The info counts those who waited before. Raises as :meth:`Store.append` does.
        """
        waiting = self._count(channel_id)
        appended = await self.store.append(
            channel_id, body, content_type, keep=keep, create=create
        )
        return appended.delivered, _with_subscribers(appended.info, waiting)

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the next kept message after an id: :meth:`Store.next`."""
        return await self.store.next(channel_id, after, create=create)

    def subscription(self, channel_id: str) -> Subscription:
        """Return a place on a channel, to be entered."""
        return Subscription(self, channel_id)

    def deadlines(self, seconds: float) -> Deadlines[Subscription]:
        """Return what ends the waits that have a time limit."""
        deadlines = self._deadlines.get(seconds)
        if deadlines is None:
            deadlines = Deadlines(seconds, lambda subscription: subscription.end(None))
            self._deadlines[seconds] = deadlines
        return deadlines

    async def info(self, channel_id: str) -> ChannelInfo:
        """Return what is known of a channel: :meth:`Store.info`."""
        info = await self.store.info(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def create(self, channel_id: str) -> ChannelInfo:
        """Create a channel if there is none: :meth:`Store.create`."""
        info = await self.store.create(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def delete(self, channel_id: str) -> ChannelInfo:
        """End all waits with 410 and drop the channel; return what it was."""
        waiting = self._count(channel_id)
        info = await self.store.delete(channel_id)
        return _with_subscribers(info, waiting)

    def deliver(self, channel_id: str, message: Message) -> bool:
        """Hand a message to all who wait on its channel; return whether one did."""
        waiting = self._take_all(channel_id, message)
        # A list, because any() of a generator stops at the first.
        return any([each.end(message) for each in waiting])  # noqa: C419

    def drop(self, channel_id: str) -> None:
        """Tell all who wait on a channel that it was deleted."""
        for each in self._take_all(channel_id):
            # To each an error of its own: one raised in many tasks piles up tracebacks.
            each.end(ChannelGone())

    async def stop(self) -> None:
        """End all waits with 503, and return when they have been answered."""
        self._stopping = True
        tasks = []
        for channel_id in list(self._waiting):
            for each in self._take_all(channel_id):
                each.end(ServerStopping())
                if each.task is not None:
                    tasks.append(each.task)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT)

    def settle(self, newcomer: Subscription, concurrency: str) -> None:
        """Let a newcomer wait beside others, or instead of them, or not at all.

        Args:
            newcomer: The subscription that is about to wait.
            concurrency: ``broadcast``, ``last`` or ``first``: the location's setting.

        Raises :class:`~pushserver_channels.exceptions.Conflict` for the newcomer, or
        :class:`~pushserver_channels.exceptions.ServerStopping`.
        """
        if self._stopping:
            raise ServerStopping
        if concurrency == "broadcast":
            return
        waiting = self._waiting.get(newcomer.channel_id, ())
        others = [each for each in waiting if each is not newcomer]
        if concurrency == "first" and others:
            raise Conflict
        for other in others:
            self.leave(other)
            other.end(Conflict())

    def enter(self, subscription: Subscription) -> None:
        """Let a subscription hear its channel."""
        waiting = self._waiting.get(subscription.channel_id)
        if waiting is None:
            waiting = self._waiting[subscription.channel_id] = {}
            self.store.listen(subscription.channel_id)
        waiting[subscription] = None

    def leave(self, subscription: Subscription) -> None:
        """Let a subscription hear its channel no more; twice does no harm."""
        waiting = self._waiting.get(subscription.channel_id, {})
        if subscription in waiting:
            del waiting[subscription]
            if not waiting:
                del self._waiting[subscription.channel_id]
                self.store.unlisten(subscription.channel_id)

    def _take_all(
        self, channel_id: str, news: Message | None = None
    ) -> Iterable[Subscription]:
        """Return who waits on a channel, and let them hear it no more.

        Args:
            channel_id: The channel.
            news: The message that they hear; who looks for a later one sets it aside.
        """
        waiting = self._waiting.pop(channel_id, None)
        if waiting is None:
            return ()
        others = []
        if news is not None:
            others = [
                each for each in waiting if (each.looks_after or START) >= news.id
            ]
        if others:
            for each in others:
                each.set_aside = news
                del waiting[each]
            self._waiting[channel_id] = dict.fromkeys(others)
        else:
            self.store.unlisten(channel_id)
        return waiting

    def _count(self, channel_id: str) -> int:
        return len(self._waiting.get(channel_id, ()))


def _with_subscribers(info: ChannelInfo, waiting: int) -> ChannelInfo:
    """Return channel info that also counts who waits in this process."""
    if not waiting:
        return info
    return info._replace(subscribers=info.subscribers + waiting)


class HubRegistry:
    """The hubs of this process, by the name of their store, made when first asked for.

    They live on the event loop that serves. A second server in the same process, on a
    loop of its own, would not hear the first one's messages, so it is refused; when a
    loop has stopped, the next one starts with empty stores.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hubs: dict[str, Hub] = {}
        self._hubs_of_parent: dict[str, Hub] = {}
        self._stopping: asyncio.AbstractEventLoop | None = None
        self._address: Sequence[Any] | None = None  # The last one.
        self._addresses: set[tuple[Any, ...]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that serves, None if no server runs in this process."""
        if self._loop is not None and self._loop.is_running():
            return self._loop
        return None

    def serve(self, address: Sequence[Any] | None = None) -> None:
        """Take the running event loop for the one that serves, if there is none yet.

        Args:
            address: The host and the port where it was asked, if the server tells.
        """
        running = asyncio.get_running_loop()
        if self._loop is not running and self.loop is None:
            self.reset()
            self._loop = running
            self._address = None
            self._addresses = set()
            call_before_shutdown(self.stop)
        if address != self._address and address is not None:
            self._address = address
            self._addresses.add(tuple(address))

    def serves_at(self, host: Host) -> bool:
        """Return whether it is the server of this process that is at a host.

        Only what it was asked at is sure, so this may be False at first.
        """
        url = urlsplit(host.url)
        port = url.port or (443 if host.secure else 80)
        names = ("127.0.0.1", "::1") if url.hostname == "localhost" else (url.hostname,)
        return self.loop is not None and any(
            (name, port) in self._addresses for name in names
        )

    def get(self, store: str) -> Hub:
        """Return the hub of a named store, on the running event loop.

        Raises ``RuntimeError`` if another loop of this process serves.
        """
        hub = self._hubs.get(store)
        running = asyncio.get_running_loop()
        if hub is not None and hub.loop is running:
            return hub
        self.serve()
        if self._loop is not running:
            raise RuntimeError(
                "A push server runs in this process already, on another event loop."
                " Run each server in a process of its own."
            )
        hub = Hub(
            make_store(get_settings().store[store]),
            running,
            stopping=self._stopping is running,
        )
        self._hubs[store] = hub
        return hub

    async def stop(self) -> None:
        """End all held requests, because the server stops, and hold no more."""
        self._stopping = asyncio.get_running_loop()
        await asyncio.gather(*(hub.stop() for hub in self._hubs.values()))

    def reset(self) -> None:
        """Forget all hubs and what their stores hold."""
        for hub in self._hubs.values():
            if not hub.loop.is_closed():
                hub.store.close()
        self._hubs = {}

    def leave_to_parent(self) -> None:
        """Hear that this is a child process, where nobody runs its parent's loop.

        The parent's hubs are kept as they are: to let go of them could take the
        parent's connections out of what both wait with.
        """
        self._hubs_of_parent, self._hubs = self._hubs, {}
        self._loop = None


hubs = HubRegistry()
if hasattr(os, "register_at_fork"):  # Windows has none.
    os.register_at_fork(after_in_child=hubs.leave_to_parent)


def _reset(**change: Any) -> None:
    if change["setting"] == "PUSH_SERVER":
        hubs.reset()


setting_changed.connect(_reset)
