from __future__ import annotations

import asyncio
import threading

import pytest
from django.test import override_settings

from pushserver.conf import Host
from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.hub import Hub, HubRegistry, hubs

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_one_hub_for_each_store() -> None:
    """The hub of a store is created on its first use, and stays the same."""
    stores = {"default": {"type": "memory"}, "other": {"type": "memory"}}
    with override_settings(PUSH_SERVER={"store": stores}):
        assert hubs.get("default") is hubs.get("default")
        assert hubs.get("default") is not hubs.get("other")
        await hubs.get("default").publish(Update("a", b"news"))
        with pytest.raises(ChannelNotFound):
            await hubs.get("other").info("a")


async def test_registry_has_the_serving_event_loop() -> None:
    """The registry has the event loop that serves, from the first request on."""
    registry = HubRegistry()
    assert registry.loop is None
    registry.serve()
    assert registry.loop is asyncio.get_running_loop()
    registry.serve()


@pytest.mark.parametrize(
    ("location", "here"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:8000", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("127.0.0.1:8001", False),
        ("127.0.0.1", False),
        ("push.example.com:8000", False),
    ],
)
async def test_registry_has_the_addresses_of_its_requests(
    location: str, here: bool
) -> None:
    """A server serves at the addresses of its requests, and at no others."""
    registry = HubRegistry()
    assert not registry.serves_at(Host(location))
    registry.serve()
    assert not registry.serves_at(Host(location))
    registry.serve(["127.0.0.1", 8000])
    registry.serve(["::1", 80])
    assert registry.serves_at(Host(location)) == here


async def test_changed_settings_apply_to_new_stores() -> None:
    """After a change of the settings, new stores have the new limits."""
    with override_settings(
        PUSH_SERVER={"store": {"type": "memory", "max_messages": 2}}
    ):
        before = hubs.get("default")
        for _ in range(3):
            _, info = await before.publish(Update("a", b"news"))
        assert info.messages == 2
    after = hubs.get("default")
    assert after is not before
    with pytest.raises(ChannelNotFound):
        await after.info("a")
    for _ in range(3):
        _, info = await after.publish(Update("a", b"news"))
    assert info.messages == 3


async def test_second_event_loop_is_refused() -> None:
    """A second event loop is refused, because its server would lose messages."""
    registry = HubRegistry()
    first = registry.get("default")
    errors: list[Exception] = []

    async def serve() -> None:
        registry.serve()
        try:
            registry.get("default")
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    thread.join()
    assert ["another event loop" in str(error) for error in errors] == [True]
    assert registry.get("default") is first


def test_new_event_loop_after_a_stopped_one() -> None:
    """After an event loop has stopped, the next one starts with empty stores."""
    registry = HubRegistry()

    async def publish() -> tuple[Hub, int]:
        hub = registry.get("default")
        _, info = await hub.publish(Update("a", b"news"))
        return hub, info.messages

    first, messages = asyncio.run(publish())
    assert messages == 1
    assert registry.loop is None
    second, messages = asyncio.run(publish())
    assert messages == 1
    assert first is not second
    registry.reset()
