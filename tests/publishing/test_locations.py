"""The argument ``location``: which location, and so which store, gets an update."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import override_settings

from pushserver.channel_urls import find_publisher
from pushserver.publishers import HTTPPublisher, PublishError, get_publisher
from pushserver.signals import pre_send_update
from pushserver.updates import asend_update, publisher_url, send_update
from pushserver_channels.hub import hubs
from pushserver_channels.publishers import DirectPublisher
from tests.valkey import Valkey

from .small_server import SmallServer, publish_to

LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "prefix": "/publish/"},
    {"type": "publisher", "prefix": "/chat/", "name": "chat", "store": "second"},
    {"type": "publisher", "prefix": "/tiny/", "name": "tiny", "max_message_size": 3},
    {"type": "subscriber", "prefix": "/updates/", "name": "pages"},
]

STORES: dict[str, Any] = {"default": {"type": "memory"}, "second": {"type": "memory"}}


async def kept(store: str) -> int:
    """Return the number of messages of a channel in a store of this process."""
    return (await hubs.get(store).create("news")).messages


async def test_direct_publishing_uses_the_store_of_the_location(
    settings: LazySettings,
) -> None:
    """An update is published into the store of the location that is named."""
    settings.PUSH_SERVER = {"locations": LOCATIONS, "store": STORES}
    hubs.serve()
    await asend_update("news", 1, location="chat")
    await asyncio.to_thread(send_update, "news", 2, location="chat")
    await asend_update("news", 3)
    assert (await kept("second"), await kept("default")) == (2, 1)


async def test_limits_of_the_named_location_apply(settings: LazySettings) -> None:
    """A location's own limits apply to the updates that name it, and only to them."""
    settings.PUSH_SERVER = {"locations": LOCATIONS, "store": STORES}
    hubs.serve()
    with pytest.raises(PublishError) as caught:
        await asend_update("news", "long", location="tiny")
    assert caught.value.status == 413
    assert caught.value.url == publisher_url("news", location="tiny")
    assert await asend_update("news", "long")


def test_http_publishing_uses_the_url_of_the_location(
    small: SmallServer, settings: LazySettings
) -> None:
    """An update is posted to the URL of the location, also through signal receivers."""
    publish_to(small.host, settings, locations=LOCATIONS, store=STORES)
    seen = []

    def hear(request: Any, **others: Any) -> None:
        seen.append(request.full_url)

    send_update("news", 1, location="chat")
    send_update("news", 1)
    pre_send_update.connect(hear)
    try:
        send_update("news", 1, location="chat")
    finally:
        pre_send_update.disconnect(hear)
    paths = [path for path, _, _ in small.requests]
    assert paths == ["/chat/news", "/publish/news", "/chat/news"]
    assert seen == [f"http://{small.host}/chat/news"]
    assert publisher_url("news", location="chat") == seen[0]


@pytest.mark.process
def test_publishing_into_the_redis_of_the_location(
    small: SmallServer, settings: LazySettings
) -> None:
    """Updates of a location in Redis go there directly; the others go over HTTP."""
    with Valkey() as valkey:
        second = {"type": "redis", "url": valkey.url}
        stores = {**STORES, "second": second}
        publish_to(small.host, settings, locations=LOCATIONS, store=stores)
        settings.PUSH_SERVER["publisher"] = "auto"
        with override_settings(PUSH_SERVER=settings.PUSH_SERVER):
            assert isinstance(get_publisher(find_publisher("chat")), DirectPublisher)
            assert isinstance(get_publisher(find_publisher()), HTTPPublisher)
            assert send_update("news", 1, location="chat")
            assert small.requests == []
            assert valkey.run("XLEN", "pushserver:{00}:messages:news") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("caht", "No publisher location has the name 'caht'. Did you mean 'chat'?"),
        ("x", "No publisher location has the name 'x'. Named are 'chat', 'tiny'."),
        ("pages", "The location 'pages' is a subscriber location."),
    ],
)
def test_unknown_location_is_an_error(
    name: str, sentence: str, settings: LazySettings
) -> None:
    """An unknown name is an error that names the most similar one, or all of them."""
    settings.PUSH_SERVER = {"locations": LOCATIONS, "store": STORES}
    with pytest.raises(ValueError) as caught:
        send_update("news", 1, location=name, ignore_errors=True)
    assert str(caught.value) == sentence
    with pytest.raises(ValueError) as caught:
        publisher_url("news", location=name)
    assert str(caught.value) == sentence


def test_location_without_names_is_an_error(settings: LazySettings) -> None:
    """Where no location has a name, the error says so."""
    settings.PUSH_SERVER = {"locations": LOCATIONS[:1]}
    with pytest.raises(ValueError, match="None has a name"):
        send_update("news", 1, location="chat")
