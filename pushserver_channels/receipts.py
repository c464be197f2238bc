"""The receipts of messages with an idempotency key, in the memory of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent import futures

from pushserver.publishers.idempotency import find_lifetime

from .messages import ChannelInfo

#: The most receipts that are kept for keys of each lifetime. The oldest are dropped.
MAX_RECEIPTS = 10_000


#: What a publisher was told: whether the message was sent to a waiting subscriber, and
#: the channel info after it.
StoredReceipt = tuple[bool, ChannelInfo]

#: A channel and a key.
Name = tuple[str, str]


class Receipts:
    """Keeps receipts for as long as their keys count; threads may share it.

    Args:
        clock: Returns seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By lifetime: each receipt with the time at which it ends, the next one first.
        self._kept: dict[int, OrderedDict[Name, tuple[float, StoredReceipt]]] = {}
        # The names that are being published, each with the futures of those who wait.
        self._running: dict[Name, list[futures.Future[None]]] = {}

    def find(self, channel_id: str, key: str) -> StoredReceipt | None:
        """Return the receipt of a key on a channel, None if there is none any more."""
        with self._lock:
            kept = self._kept.get(find_lifetime(key))
            found = None if kept is None else kept.get((channel_id, key))
            return found[1] if found is not None and self._clock() < found[0] else None

    def keep(self, channel_id: str, key: str, receipt: StoredReceipt) -> None:
        """Keep a receipt."""
        lifetime, now = find_lifetime(key), self._clock()
        with self._lock:
            kept = self._kept.setdefault(lifetime, OrderedDict())
            kept.pop((channel_id, key), None)
            kept[channel_id, key] = (now + lifetime, receipt)
            while len(kept) > MAX_RECEIPTS or next(iter(kept.values()))[0] <= now:
                kept.popitem(last=False)

    async def publish_once(
        self, channel_id: str, key: str, publish: Callable[[], Awaitable[StoredReceipt]]
    ) -> StoredReceipt:
        """Publish a message unless its key has a receipt, and return the receipt.

        If a message with the same key is being published, in any thread, this waits for
        it.

        Args:
            channel_id: The channel.
            key: The idempotency key.
            publish: Publishes the message. If it fails, nothing is kept.
        """
        name = (channel_id, key)
        while (running := self._begin(name)) is not None:
            await asyncio.wrap_future(running)
        try:
            known = self.find(channel_id, key)
            if known is not None:
                return known
            receipt = await publish()
            self.keep(channel_id, key, receipt)
            return receipt
        finally:
            self._end(name)

    def _begin(self, name: Name) -> futures.Future[None] | None:
        """Note that a name is being published, and return None.

        If it is already, return a future that is done when that has ended.
        """
        with self._lock:
            waiting = self._running.get(name)
            if waiting is None:
                self._running[name] = []
                return None
            future: futures.Future[None] = futures.Future()
            waiting.append(future)
            return future

    def _end(self, name: Name) -> None:
        """Let those who wait for a name go on."""
        with self._lock:
            waiting = self._running.pop(name)
        for each in waiting:
            if each.set_running_or_notify_cancel():
                each.set_result(None)
