"""Show the metrics of this process to others, through a store in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.hub import hubs
from pushserver_channels.process_names import name_process
from pushserver_channels.stores import CommonStore

from .snapshot import Snapshot

logger = logging.getLogger("pushserver.server")

#: Seconds between two snapshots.
INTERVAL = 10.0

#: Seconds for which a snapshot counts: a process that has ended is not shown longer.
EXPIRES = 35

#: Seconds in which the store has to answer.
TIMEOUT = 1.0


class SnapshotSharing:
    """Writes the metrics of this process into a store, and reads those of others.

    Args:
        store: The name of the store.
        take: Returns the metrics of this process now.
        is_current: Returns whether to go on, because the settings are the same.
    """

    def __init__(
        self,
        store: str,
        take: Callable[[], Awaitable[Snapshot]],
        is_current: Callable[[], bool],
    ) -> None:
        self._store = store
        self._take = take
        self._is_current = is_current
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write the metrics now and regularly, on the running event loop.

        Later calls do nothing, and so does this if the store cannot keep them.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop or self._find_store() is None:
            return
        self._loop = loop
        self._begin()

    async def read_all(self) -> dict[str, Snapshot]:
        """Return the metrics of each process by its name, at least of this one."""
        found: dict[str, Snapshot] = {}
        store = self._find_store()
        if store is not None:
            try:
                shown = await asyncio.wait_for(store.read_snapshots(), TIMEOUT)
            except (StoreUnavailable, asyncio.TimeoutError):
                shown = {}  # What is not up is told by this process's own metrics.
            for process, data in shown.items():
                try:
                    found[process] = Snapshot.load(data)
                except ValueError:
                    text = "The metrics of %s cannot be read"
                    logger.warning(text, process, extra={"reason": "invalid"})
        found[name_process()] = await self._take()
        return found

    def _find_store(self) -> CommonStore | None:
        """Return the store, None if it cannot keep metrics."""
        store = hubs.get(self._store).store
        return store if isinstance(store, CommonStore) else None

    def _begin(self) -> None:
        """Write the metrics, unless the server stops or its settings have changed."""
        loop = asyncio.get_running_loop()
        if not self._is_current() or hubs.is_stopping:
            self._loop = None
            return
        self._writing = loop.create_task(self._write())
        loop.call_later(INTERVAL, self._begin)

    async def _write(self) -> None:
        try:
            data = (await self._take()).dump()
            store = self._find_store()
            assert store is not None, "By start()."
            writing = store.write_snapshot(name_process(), data, EXPIRES)
            await asyncio.wait_for(writing, TIMEOUT)
        except (StoreUnavailable, asyncio.TimeoutError):
            pass  # The store itself has logged it.
        except Exception:
            extra = {"reason": "failed"}
            logger.exception("The metrics cannot be written", extra=extra)
