from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from pushserver.channel_urls import find_publisher
from pushserver.publishers import (
    HTTPPublisher,
    PublishError,
    get_publisher,
)
from pushserver.updates import asend_update, publisher_url, send_update
from pushserver_channels.hub import hubs
from pushserver_channels.publishers import DirectPublisher

INFO = {"messages": 1, "requested": 0, "subscribers": 2, "last_message_id": "17:0"}


@pytest.mark.parametrize("choice", ["auto", "http"])
def test_auto_uses_http_without_a_server_in_this_process(
    choice: str, settings: LazySettings
) -> None:
    """Without a push server in this process, updates are published over HTTP."""
    settings.PUSH_SERVER = {"publisher": choice}
    assert isinstance(get_publisher(find_publisher()), HTTPPublisher)
    assert get_publisher(find_publisher()) is get_publisher(find_publisher())


def test_direct_without_a_server_in_this_process_is_an_error(
    settings: LazySettings,
) -> None:
    """Publishing directly without a server raises an error with the remedy."""
    settings.PUSH_SERVER = {"publisher": "direct"}
    assert isinstance(get_publisher(find_publisher()), DirectPublisher)
    with pytest.raises(PublishError, match="Use 'auto'"):
        send_update("news", {})


def test_direct_without_the_server_package_is_an_error(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server cannot be imported, "direct" is an error and "auto" uses HTTP."""
    monkeypatch.setitem(sys.modules, "pushserver_channels.publishers", None)
    settings.PUSH_SERVER = {"publisher": "direct"}
    with pytest.raises(ImproperlyConfigured, match="Use 'auto' or 'http'"):
        get_publisher(find_publisher())
    settings.PUSH_SERVER = {"publisher": "auto"}
    assert isinstance(get_publisher(find_publisher()), HTTPPublisher)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [("auto", DirectPublisher), ("direct", DirectPublisher), ("http", HTTPPublisher)],
)
async def test_auto_is_direct_in_the_serving_process(
    choice: str, kind: type, settings: LazySettings
) -> None:
    """In the serving process, updates are published directly unless HTTP is set."""
    settings.PUSH_SERVER = {"publisher": choice}
    hubs.get("default")  # The hub that the first push client creates.
    assert type(get_publisher(find_publisher())) is kind


async def test_direct_publishing_stores_the_message(settings: LazySettings) -> None:
    """A directly published message is stored, and the receipt has the channel info."""
    settings.PUSH_SERVER = {}
    hubs.get("default")  # The hub that the first push client creates.
    receipt = await asend_update("news", {"a": "ä"})
    assert receipt is not None
    assert receipt.status == 202
    assert receipt.info is not None
    assert receipt.info.keys() == INFO.keys()
    assert (receipt.info["messages"], receipt.info["subscribers"]) == (1, 0)
    info = await hubs.get("default").info("news")
    assert info.messages == 1
    assert str(info.last_message_id) == receipt.info["last_message_id"]


async def test_direct_publishing_works_from_a_thread(settings: LazySettings) -> None:
    """A thread of the serving process publishes through the server's event loop."""
    settings.PUSH_SERVER = {}
    hubs.get("default")  # The hub that the first push client creates.
    receipts = await asyncio.gather(
        *(asyncio.to_thread(send_update, "news", number) for number in range(20))
    )
    assert {each.status for each in receipts if each} == {202}
    assert (await hubs.get("default").info("news")).messages == 20


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_message_size": 3}, 413), ({"create_on_post": False}, 404)],
)
async def test_direct_publishing_has_the_limits_of_its_location(
    limits: dict[str, Any], status: int, settings: LazySettings
) -> None:
    """Direct publishing has the same limits as a POST, with the same errors."""
    location = {"type": "publisher", "prefix": "/p/", **limits}
    settings.PUSH_SERVER = {"locations": [location]}
    hubs.get("default")  # The hub that the first push client creates.
    for send in (asend_update, lambda *args: asyncio.to_thread(send_update, *args)):
        with pytest.raises(PublishError) as caught:
            await send("news", "long")
        assert caught.value.status == status
        assert caught.value.url == publisher_url("news")
    assert await asend_update("news", "long", ignore_errors=True) is None


async def test_direct_publishing_of_an_unstored_message(settings: LazySettings) -> None:
    """The location's store_messages applies to direct publishing, too."""
    location = {"type": "publisher", "prefix": "/p/", "store_messages": False}
    settings.PUSH_SERVER = {"locations": [location]}
    hubs.get("default")  # The hub that the first push client creates.
    assert await asend_update("news", {})
    assert (await hubs.get("default").info("news")).messages == 0
