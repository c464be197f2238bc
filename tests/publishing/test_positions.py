"""The position of a page: the last messages of its channels, looked up anywhere."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import SynchronousOnlyOperation

from pushserver.updates import aposition, asend_update, position, send_update
from pushserver_channels.hub import hubs
from tests.servers import ServerProcess, free_port
from tests.valkey import Valkey


def last_id(receipt: Any) -> str:
    """Return the id of a message that was published."""
    found: str = receipt.info["last_message_id"]
    return found


def test_positions_over_http(server: ServerProcess, settings: LazySettings) -> None:
    """The last ids are asked of the publisher location, on connections kept alive."""
    settings.PUSH_SERVER = {
        "publisher": "http",
        "publisher_host": f"127.0.0.1:{server.port}",
        "locations": [{"type": "publisher", "prefix": "/send-update/"}],
    }
    send_update("position-ä", 1)
    newest = send_update("position-ä", 2)
    assert position(["position-ä", "position-none", "position-ä"]) == {
        "position-ä": last_id(newest),
        "position-none": "0:0",
    }
    assert asyncio.run(aposition(["position-ä"])) == {"position-ä": last_id(newest)}


async def test_positions_from_the_server_in_this_process(
    settings: LazySettings,
) -> None:
    """Where the push server runs, its hub answers, from any thread and event loop."""
    settings.PUSH_SERVER = {}
    hubs.get("default")  # As the first push client of this process does.
    newest = last_id(await asend_update("news", 1))
    expected = {"news": newest, "none": "0:0"}
    assert await aposition(["news", "none"]) == expected
    assert await asyncio.to_thread(position, ["news", "none"]) == expected
    other = await asyncio.to_thread(asyncio.run, aposition(["news", "none"]))
    assert other == expected
    with pytest.raises(SynchronousOnlyOperation, match="aposition"):
        position(["news"])


@pytest.mark.process
def test_positions_from_a_shared_store(settings: LazySettings) -> None:
    """A process without a push server asks Redis."""
    with Valkey() as valkey:
        settings.PUSH_SERVER = {"store": {"type": "redis", "url": valkey.url}}
        newest = send_update("news", 1)
        expected = {"news": last_id(newest), "none": "0:0"}
        assert position(["news", "none"]) == expected
        assert asyncio.run(aposition(["news", "none"])) == expected


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_positions_are_unknown_without_a_server(
    store: str, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The ids are not known then, and the page can still be made."""
    address = f"127.0.0.1:{free_port()}"
    settings.PUSH_SERVER = (
        {"publisher_host": address}
        if store == "memory"
        else {"store": {"type": "redis", "url": f"redis://{address}"}}
    )
    with caplog.at_level(logging.WARNING):
        assert position(["news"]) == {"news": None}
        assert asyncio.run(aposition(["news"])) == {"news": None}
    assert "Could not look up messages at" in caplog.text


@pytest.mark.parametrize(
    ("channels", "error"),
    [("news", TypeError), ([None], TypeError), ([""], ValueError)],
)
def test_invalid_channels_are_refused(
    channels: Any, error: type[Exception], settings: LazySettings
) -> None:
    settings.PUSH_SERVER = {}
    with pytest.raises(error):
        position(channels)


def test_position_timeout_is_not_logged_as_published(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The log does not say that something may have been published."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.PUSH_SERVER = {
            "publisher_host": f"127.0.0.1:{silent.getsockname()[1]}",
            "publisher_timeout": 0.3,
        }
        assert position(["news"]) == {"news": None}
    assert "no answer within 0.3 seconds" in caplog.text
    assert "published" not in caplog.text
