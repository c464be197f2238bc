from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import read_settings
from pushserver.publishers import PublishError
from pushserver.updates import asend_update
from pushserver_channels.hub import hubs
from pushserver_channels.store_descriptions import describe_store, without_password
from tests.servers import free_port

LAYER = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://me:secret@host:6379/0", "redis://host:6379/0"),
        ("rediss://:secret@host/1?ssl_ca_certs=/a", "rediss://host/1"),
        ("redis://host?password=secret", "redis://host"),
        ("redis://:sec/ret@host:1/0", "redis://host:1/0"),
        ("redis://:sec@ret@host:1/0", "redis://host:1/0"),
        ("redis://:sec?ret@host:1/0", "redis://…"),
        ("redis://:sec#ret@host:1/0", "redis://…"),
        ("redis://host/0?password=sec@ret", "redis://…"),
        ("redis://me:secret@host/0?password=sec@ret", "redis://host/0"),
        ("unix:///run/redis.sock?db=0&password=secret", "unix:///run/redis.sock"),
        ("unix://me:secret@/run/redis.sock", "unix:///run/redis.sock"),
        (
            "redis+sentinel://me:secret@[::1]:1,b:2/name/0?sentinel_password=secret",
            "redis+sentinel://[::1]:1,b:2/name/0",
        ),
        ("redis+cluster://:secret@a:1,b:2", "redis+cluster://a:1,b:2"),
    ],
)
def test_description_of_redis_has_no_password(url: str, shown: str) -> None:
    """Everything before the hosts and after the path of the URL is left out."""
    assert without_password(url) == shown


def test_each_store_type_has_a_description(settings: Any) -> None:
    """Each type of store has its description."""
    settings.CHANNEL_LAYERS = LAYER
    stores: dict[str, dict[str, Any]] = {
        "the push server of this process": {"type": "memory"},
        "Redis at redis://a:1/2": {
            "type": "redis",
            "host": "a",
            "port": 1,
            "database": 2,
        },
        "the channel layer 'default'": {"type": "channel_layer"},
    }
    for place, store in stores.items():
        conf = read_settings({"store": store})
        assert describe_store(conf.store["default"]) == place


@pytest.mark.parametrize("serving", [True, False])
async def test_error_names_an_unreachable_redis(serving: bool) -> None:
    """The error names Redis, not the URL of a push server that was not used."""
    port = free_port()
    store = {"type": "redis", "url": f"redis://:secret@127.0.0.1:{port}/0"}
    with override_settings(PUSH_SERVER={"store": store}):
        if serving:
            hubs.serve()
        with pytest.raises(PublishError) as caught:
            await asend_update("a", 1)
        hubs.reset()
        hubs.reset_in_child()
    told = str(caught.value)
    assert told.startswith(f"Could not publish to Redis at redis://127.0.0.1:{port}/0:")
    assert "PUSH_SERVER['store']" in told
    assert ":8001" not in told
    assert "secret" not in told
    assert caught.value.status == 503
    assert caught.value.url == "http://127.0.0.1:8001/publisher/a"


async def test_error_names_the_server_in_this_process() -> None:
    """An error of the server in this process names it, not a URL."""
    location = {"type": "publisher", "prefix": "/p/", "max_message_size": 1}
    with override_settings(PUSH_SERVER={"locations": [location]}):
        hubs.serve()
        with pytest.raises(PublishError) as caught:
            await asend_update("a", "longer")
        hubs.reset()
    assert str(caught.value) == (
        "Could not publish to the push server of this process: A message has at most 1"
        " bytes here."
    )
    assert caught.value.status == 413


def test_direct_publishing_without_a_server_names_no_url(settings: Any) -> None:
    """Direct publishing without a server names no URL, either."""
    settings.PUSH_SERVER = {"publisher": "direct"}
    hubs.reset_in_child()
    with pytest.raises(PublishError) as caught:
        asyncio.run(asend_update("a", 1))
    assert "8001" not in str(caught.value)
    assert "'auto'" in str(caught.value)
