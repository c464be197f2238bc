"""The arguments ``keep`` and ``expires`` of an update, over HTTP and in Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.conf import get_settings
from pushserver.updates import send_update
from pushserver_channels.messages import START, Message
from pushserver_channels.stores import make_store
from tests.valkey import Valkey

from .small_server import SmallServer, publish_to


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, None),
        ({"keep": True}, None),
        ({"keep": False}, "0"),
        ({"expires": 60}, "60"),
        ({"expires": 0.2}, "1"),
        ({"keep": False, "expires": 60}, "0"),
    ],
)
def test_lifetime_is_a_header(
    options: dict[str, Any],
    value: str | None,
    small: SmallServer,
    settings: LazySettings,
) -> None:
    """Over HTTP, the lifetime is the header TTL of Web Push."""
    publish_to(small.host, settings)
    send_update("news", 1, **options)
    [(_, headers, _)] = small.requests
    assert headers.get("ttl") == value


@pytest.mark.process
def test_lifetime_in_redis(settings: LazySettings) -> None:
    """A process without a push server publishes with a lifetime into Redis."""
    with Valkey() as valkey:
        settings.PUSH_SERVER = {"store": {"type": "redis", "url": valkey.url}}
        send_update("news", 1, keep=False)
        send_update("news", 2, expires=60)

        async def read() -> list[Message]:
            store = make_store(get_settings().store["default"])
            page = await store.page("news", START, 10)
            await store.aclose()
            return page

        [message] = asyncio.run(read())
    assert (message.body, message.expires) == (b"2", 60)
