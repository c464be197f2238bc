from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import RedisStoreSettings
from pushserver_channels.hub import hubs
from pushserver_channels.stores.redis import RedisStore
from tests.proxies import Proxy
from tests.stores.conftest import Clock, attach_audience
from tests.valkey import Valkey

from .actions import ROOM, MakeStore
from .presence import Processes

_prefixes = (f"redis {number}:" for number in count())


@pytest.fixture
def prefix() -> str:
    """The prefix of a test's keys."""
    return next(_prefixes)


@pytest.fixture
async def make(valkey: Valkey, prefix: str) -> AsyncIterator[MakeStore]:
    """Make stores that share their messages, each as if in its own process."""
    stores = []

    def make(
        url: str | None = None,
        clock: Callable[[], float] | None = None,
        **limits: Any,
    ) -> RedisStore:
        settings = RedisStoreSettings(
            type="redis", url=url or valkey.url, key_prefix=prefix, **limits
        )
        store = RedisStore(settings, clock=clock)
        attach_audience(store)
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.aclose()


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[Proxy]:
    """A proxy between a store and Valkey."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers of Redis for only one second."""
    monkeypatch.setattr(f"{ROOM}.connection.ANSWER_TIMEOUT", 1)
    monkeypatch.setattr(f"{ROOM}.store.ANSWER_TIMEOUT", 1)
    monkeypatch.setattr(f"{ROOM}.network.ANSWER_TIMEOUT", 1)


@pytest.fixture
def push_server(valkey: Valkey, prefix: str) -> Iterator[None]:
    """A site whose stores are in Valkey, in a process without a push server."""
    hubs.reset()
    with override_settings(
        PUSH_SERVER={
            "store": {
                name: {
                    "type": "redis",
                    "url": valkey.url,
                    "key_prefix": prefix + extra,
                }
                for name, extra in (("default", ""), ("other", "other "))
            }
        }
    ):
        yield
    hubs.reset()


@pytest.fixture
async def processes(valkey: Valkey) -> AsyncIterator[Processes]:
    """Return processes that share a store of their own."""
    with valkey.client() as client:
        prefix = f"presence{client.incr('presences')}:"
    settings = RedisStoreSettings(type="redis", url=valkey.url, key_prefix=prefix)
    processes = Processes(settings, Clock())
    yield processes
    processes.close()
