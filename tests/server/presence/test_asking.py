"""Ask who is on a channel: ``pushserver.presence``."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.test import override_settings

from pushserver import presence
from tests.server.streams import build_settings, leave

from .visitors import Serving, come, watch


async def test_the_server_is_asked_from_its_loop_and_from_threads(
    serve: Serving,
) -> None:
    site = serve()
    watching = await watch(site, "room")
    visitors = [
        await come(site, "room", "7", {"name": "Anna"}),
        await come(site, "room", None),
    ]
    await watching.until_here("7", others=1)
    assert await presence.amembers("room") == {"7": {"name": "Anna"}}
    assert await presence.acount("room") == 2
    assert await presence.ais_present("room", SimpleNamespace(pk=7))
    in_thread = asyncio.to_thread
    assert await in_thread(presence.members, "room") == {"7": {"name": "Anna"}}
    assert await in_thread(presence.count, "room") == 2
    assert await in_thread(presence.is_present, "room", 7)
    assert not await in_thread(presence.is_present, "room", 8)
    assert not await in_thread(presence.is_present, "room", SimpleNamespace(pk=None))
    assert await in_thread(presence.members, "elsewhere") == {}
    with pytest.raises(SynchronousOnlyOperation, match="amembers"):
        presence.members("room")
    await leave(*visitors)
    await watching.end()


def test_a_store_in_memory_is_asked_in_its_process_only(serve: Serving) -> None:
    serve()
    with pytest.raises(presence.PresenceError, match="does not run in this process"):
        presence.members("room")


def test_a_store_that_is_not_reached_is_named() -> None:
    conf = build_settings(presence=True)
    conf["store"] = {"type": "redis", "port": 1}
    with (
        override_settings(PUSH_SERVER=conf),
        pytest.raises(presence.PresenceError, match="127.0.0.1:1"),
    ):
        presence.count("room")


async def test_over_a_layer_a_process_with_a_server_is_asked() -> None:
    """Another one says so, from sync and from async code."""
    conf = build_settings({"type": "channel_layer"}, presence=True)
    layer = "channels_redis.core.RedisChannelLayer"
    with override_settings(
        PUSH_SERVER=conf, CHANNEL_LAYERS={"default": {"BACKEND": layer}}
    ):
        with pytest.raises(presence.PresenceError, match="only processes with a push"):
            await presence.amembers("room")
        with pytest.raises(presence.PresenceError, match="only processes with a push"):
            await asyncio.to_thread(presence.count, "room")


def test_without_presence_there_is_nothing_to_ask(serve: Serving) -> None:
    serve(presence=False)
    with pytest.raises(ValueError, match="'presence': True"):
        presence.members("room")
    serve(name="chat")
    with pytest.raises(ValueError, match="named 'other'"):
        presence.members("room", location="other")


@pytest.mark.parametrize("publisher", ["locmem"])
def test_in_tests_of_a_site_nobody_is_there(publisher: str) -> None:
    conf = build_settings(presence=True) | {"publisher": publisher}
    with override_settings(PUSH_SERVER=conf):
        assert presence.members("room") == {}
        assert presence.count("room") == 0
        assert presence.is_present("room", 7) is False
