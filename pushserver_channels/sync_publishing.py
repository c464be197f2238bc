"""Publish into a shared store from sync code, in a process without a push server."""

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
    RedisStoreSettings,
    StoreSettings,
)
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing

#: Not imported, because it needs redis-py.
REDIS_PUBLISHING = "pushserver_channels.stores.redis.publishing.RedisPublishing"

Result = TypeVar("Result")


def find_publishing(store: StoreSettings) -> RedisPublishing | None:
    """Return the object that publishes into a store from sync code.

    Return None if only the store itself, which is async, can do it. Raises
    ``ImproperlyConfigured`` if a package is missing.
    """
    return _make_publishing(store) if isinstance(store, RedisStoreSettings) else None


@lru_cache
def _make_publishing(settings: StoreSettings) -> RedisPublishing:
    """Return the object for a store, which is made once per process."""
    publishing: RedisPublishing = import_string(REDIS_PUBLISHING)(settings)
    return publishing


def run_coroutine(coroutine: Coroutine[Any, Any, Result], deadline: Deadline) -> Result:
    """Run a coroutine in sync code, and return its result.

    Greenlets of gevent and eventlet share a thread, in which only one of them can run
    an event loop. So with them the coroutine runs in a thread of its own.

    Raises ``NotStarted`` if no thread was free by the deadline.
    """

    async def limit() -> Result:
        return await asyncio.wait_for(coroutine, deadline.left())

    def run() -> Result:
        try:
            get_running_loop()
        except RuntimeError:
            if not deadline.is_over:
                return asyncio.run(limit())
        # No thread was free in time, or this one already runs an event loop.
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
