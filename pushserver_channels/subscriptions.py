"""Who waits in this process, and how messages reach them."""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task
from collections.abc import Awaitable, Iterable
from typing import Any

from .deadlines import Deadlines
from .exceptions import ChannelGone, ClientDisconnected, Conflict, ServerStopping
from .messages import ChannelInfo, Message, MessageId
from .stores import Store
from .types import Receive

#: How a held request ends: with a message, an error, or neither when its time is up.
Outcome = Message | Exception | None

#: Seconds for which a server that stops waits for its last answers.
STOP_TIMEOUT = 10.0

#: Seconds for which a client may be held before it is looked whether it has left. In a
#: channel where much happens most are answered sooner, and to look costs as much as all
#: the rest of holding a request.
WATCH_AFTER = 1.0


async def receive_nothing() -> dict[str, Any]:
    """Wait for ever: the ``receive`` of who has no client that could leave."""
    nothing: asyncio.Future[dict[str, Any]]
    nothing = asyncio.get_running_loop().create_future()
    return await nothing


def uncancel() -> None:
    """Let the running task go on, which was cancelled only because its wait ended.

    Or in the same moment; a publisher may have been told that the message was sent.
    """
    if sys.version_info >= (3, 11):
        task = current_task()
        assert task is not None, "It runs."
        task.uncancel()


class Subscription:
    """One subscriber's place on a channel.

    Arm, then look, then wait: it hears what is published from :meth:`enter` on, so
    nothing is lost between looking into the store and waiting.

    Attributes:
        hub: Hands it what is published.
        channel_id: The channel.
        task: The task that waits for it, None if nothing does but a future.
        looks_after: The id after which the store looks at the moment.
        set_aside: A message that was published meanwhile, and not after that id.
        ended: Whether the wait has ended, so that there is an outcome.
    """

    __slots__ = (
        "_deadlines",
        "_news",
        "_outcome",
        "_timeout",
        "_watches",
        "channel_id",
        "ended",
        "hub",
        "looks_after",
        "set_aside",
        "task",
    )

    channel_id: str
    _outcome: Outcome
    _timeout: float

    def enter(self, hub: Hub) -> None:
        """Begin to hear the channel."""
        self.hub = hub
        self.task: asyncio.Task[Any] | None = None
        self.looks_after: MessageId | None = None
        self.set_aside: Message | None = None
        self.ended = False
        self._deadlines = hub.newcomers
        self._news: asyncio.Future[None] | None = None
        self._watches = False
        waiting = hub.waiting.get(self.channel_id)
        if waiting is None:
            waiting = hub.listen(self.channel_id)
        waiting[self] = None

    def is_entered(self) -> bool:
        """Return whether it ever began to hear its channel."""
        return hasattr(self, "hub")

    def leave(self) -> None:
        """Hear the channel no more; twice does no harm."""
        self._deadlines.discard(self)
        if self.channel_id in self.hub.waiting:
            self.hub.remove(self)

    def look(
        self, after: MessageId, *, create: bool = True
    ) -> Awaitable[Message | None]:
        """Return the next kept message after an id: :meth:`Store.next`.

        Until the wait begins, a message up to that id is set aside: it may be one that
        the client was sent by another process, and is only on its way to this one. If
        the channel has not come to that id, the client's id is from the future, and the
        message is what it waits for.
        """
        self.task = current_task()
        self.looks_after = after
        return self.hub.store.next(self.channel_id, after, create=create)

    async def wait(
        self, receive: Receive = receive_nothing, timeout: float = 0
    ) -> Message | None:
        """Return the next message published, None if the wait ended without one.

        The request waits for its client to leave, and what ends the wait interrupts
        that: a future to wait for, and a task beside it that watches the client, would
        cost more than all the rest of holding a request.

        Args:
            receive: The request's, which tells when the client has left.
            timeout: Seconds after which the wait ends without a message, 0 for never.

        Raises the error that ended it, such as
        :class:`~pushserver_channels.exceptions.ChannelGone`.
        """
        if self.set_aside is not None and not self.ended:
            await self._reconsider(self.set_aside)
        self.looks_after = None
        if timeout:
            self._expire_in(timeout)
        if not self.ended:
            self.task = current_task()
            self._watches = True
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass  # The rest of a body is nothing to us.
            except asyncio.CancelledError:
                if not self.ended:
                    raise
                uncancel()
            finally:
                self._watches = False
            self.end(ClientDisconnected())
        return self.outcome()

    def hold(self, timeout: float) -> asyncio.Future[None]:
        """Return what is done when the wait has ended, or is to be a :meth:`wait`.

        For who is most often answered soon: the client is not watched at first.

        Args:
            timeout: Seconds after which the wait ends without a message, 0 for never;
                more than :data:`WATCH_AFTER`.
        """
        self.looks_after = None
        self._news = news = self.hub.loop.create_future()
        if self.ended:
            news.set_result(None)
        else:
            self._timeout = timeout
            self._deadlines.add(self)
        return news

    def is_over(self) -> bool:
        """Return whether :meth:`hold` was asked for, and the wait has ended."""
        return self.is_entered() and self._news is not None and self.ended

    def hold_no_more(self) -> None:
        """Let the client be watched from now on."""
        if self._timeout:
            self._expire_in(self._timeout - WATCH_AFTER)
        news = self._news
        if news is not None and not news.done():
            news.set_result(None)

    def outcome(self) -> Message | None:
        """Return the message that ended the wait, or raise the error that did, once."""
        outcome = self._outcome
        if not isinstance(outcome, Exception):
            return outcome
        # An error knows the frames it was raised through, and so all that is here: kept
        # here or there, it would be left to the garbage collector with the request.
        self._outcome = None
        try:
            raise outcome
        finally:
            del outcome

    def end(self, outcome: Outcome) -> bool:
        """End the wait, and return whether this is what ended it."""
        if self.ended:
            return False
        self.ended = True
        self._outcome = outcome
        news = self._news
        if self._watches and self.task is not None:
            self.task.cancel()
        elif news is not None and not news.done():  # The server may have cancelled it.
            news.set_result(None)
        return True

    async def _reconsider(self, message: Message) -> None:
        """Take a message that was set aside, if the client's id is from the future."""
        info = await self.hub.info(self.channel_id)
        if self.looks_after is not None and info.last_message_id < self.looks_after:
            self.end(message)

    def _expire_in(self, seconds: float) -> None:
        self._deadlines = self.hub.deadlines(seconds)
        self._deadlines.add(self)


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
        self.stopping = stopping
        self._deadlines: dict[float, Deadlines[Subscription]] = {}
        #: Who waits on each channel, in the order in which they came.
        self.waiting: dict[str, dict[Subscription, None]] = {}
        # Who is held, but not watched yet.
        self.newcomers = Deadlines(WATCH_AFTER, Subscription.hold_no_more)

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
        if channel_id not in self.waiting:
            return False
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
        self.stopping = True
        # Each is waited for by a task as soon as it goes on, as some were about to.
        self.newcomers.expire_all()
        await asyncio.sleep(0)
        tasks = []
        for channel_id in list(self.waiting):
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
        if self.stopping:
            raise ServerStopping
        if concurrency == "broadcast" or newcomer.ended:
            return
        waiting = self.waiting.get(newcomer.channel_id, ())
        others = [each for each in waiting if each is not newcomer]
        if concurrency == "first" and others:
            raise Conflict
        for other in others:
            self.remove(other)
            other.end(Conflict())

    def listen(self, channel_id: str) -> dict[Subscription, None]:
        """Hear a channel, and return those who wait on it: none yet."""
        waiting = self.waiting[channel_id] = {}
        self.store.listen(channel_id)
        return waiting

    def remove(self, subscription: Subscription) -> None:
        """Let a subscription hear its channel no more; twice does no harm."""
        waiting = self.waiting.get(subscription.channel_id, {})
        if subscription in waiting:
            del waiting[subscription]
            if not waiting:
                del self.waiting[subscription.channel_id]
                self.store.unlisten(subscription.channel_id)

    def _take_all(
        self, channel_id: str, news: Message | None = None
    ) -> Iterable[Subscription]:
        """Return who waits on a channel, and let them hear it no more.

        Args:
            channel_id: The channel.
            news: The message that they hear; who looks for a later one sets it aside.
        """
        waiting = self.waiting.pop(channel_id, None)
        if waiting is None:
            return ()
        others = []
        if news is not None:
            others = [
                each
                for each in waiting
                if each.looks_after is not None and each.looks_after >= news.id
            ]
        if others:
            for each in others:
                # The first one: what follows it can still be asked for.
                each.set_aside = each.set_aside or news
                del waiting[each]
            self.waiting[channel_id] = dict.fromkeys(others)
        else:
            self.store.unlisten(channel_id)
        return waiting

    def _count(self, channel_id: str) -> int:
        return len(self.waiting.get(channel_id, ()))


def _with_subscribers(info: ChannelInfo, waiting: int) -> ChannelInfo:
    """Return channel info that also counts who waits in this process."""
    if not waiting:
        return info
    return info._replace(subscribers=info.subscribers + waiting)
