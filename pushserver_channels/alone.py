"""Publishing into a shared store from a process that serves no subscribers."""

from __future__ import annotations

import asyncio
import sys
from asyncio import get_running_loop
from collections.abc import Coroutine
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pushserver.conf import (
    PublisherLocation,
    RedisStoreSettings,
    StoreSettings,
    get_settings,
)
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing

#: Named, not imported: it needs redis-py.
REDIS_PUBLISHING = "pushserver_channels.stores.redis.publishing.RedisPublishing"

Result = TypeVar("Result")


def find_publishing(location: PublisherLocation) -> RedisPublishing | None:
    """Return what publishes for sync code into the store of a location.

    None where only the store itself can do that, which is async. Raises
    ``ImproperlyConfigured`` if a package is missing.
    """
    store = get_settings().store[location.store]
    return _make_publishing(store) if isinstance(store, RedisStoreSettings) else None


@lru_cache
def _make_publishing(settings: StoreSettings) -> RedisPublishing:
    """Return one for each store of this process."""
    publishing: RedisPublishing = import_string(REDIS_PUBLISHING)(settings)
    return publishing


def run_coroutine(coroutine: Coroutine[Any, Any, Result], deadline: Deadline) -> Result:
    """Run a coroutine in sync code, and return its result.

    Greenlets of gevent and eventlet share a thread, in which only one of them could run
    an event loop, and to the others it would look as if they ran in it. So there it is
    run in a thread of its own.

    Raises ``NotStarted`` if there was no thread for it until the deadline.
    """

    async def limit() -> Result:
        return await asyncio.wait_for(coroutine, deadline.left())

    def run() -> Result:
        try:
            get_running_loop()
        except RuntimeError:
            if not deadline.is_over:
                return asyncio.run(limit())
        # Others had the threads all the time, or have this one.
        coroutine.close()
        raise NotStarted

    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        threads = import_string("gevent.get_hub")().threadpool
        result: Result = threads.apply(run)
        return result
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        result = import_string("eventlet.tpool.execute")(run)
        return result
    return run()


def _forget(**change: Any) -> None:
    if change["setting"] == "PUSH_SERVER":
        _make_publishing.cache_clear()


setting_changed.connect(_forget)
