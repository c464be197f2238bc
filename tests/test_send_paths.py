from __future__ import annotations

import asyncio
import json
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.conf import LazySettings
from django.dispatch import Signal
from django.test import AsyncClient, Client

from pushserver.publishers import Receipt
from pushserver.signals import post_send_update, pre_send_update
from pushserver.updates import asend_update, send_update
from pushserver_channels.hub import hubs

from . import http
from .publishing.processes import run_python
from .servers import LOCATIONS, ServerProcess, daphne, wait_until_held


@pytest.fixture
def channel_id() -> str:
    """A channel that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture
def site(server: ServerProcess, settings: LazySettings) -> dict[str, Any]:
    """The settings of a site in this process whose push server is another process."""
    settings.PUSH_SERVER = {
        "publisher_host": f"127.0.0.1:{server.port}",
        "locations": LOCATIONS,
    }
    block: dict[str, Any] = settings.PUSH_SERVER
    return block


class Subscriber:
    """A client that holds a request on a channel until a message comes."""

    def __init__(self, server: ServerProcess, channel_id: str) -> None:
        self._threads = ThreadPoolExecutor(1)
        url = f"{server.url}/updates/{channel_id}"
        self._held = self._threads.submit(http.get, url, timeout=30)
        wait_until_held(f"{server.url}/send-update/{channel_id}")

    def received(self) -> Any:
        """Return the data of the update that answered the request."""
        response = self._held.result(30)
        self._threads.shutdown()
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        return response.json()


@pytest.fixture
def subscriber(server: ServerProcess, channel_id: str) -> Subscriber:
    """A client with a held request on the channel."""
    return Subscriber(server, channel_id)


@pytest.fixture(scope="session")
def loopback_server() -> Iterator[ServerProcess]:
    """A Daphne whose site publishes to itself over HTTP."""
    server = daphne()
    server.env["TEST_PUSH_SERVER"] = json.dumps(
        {
            "publisher": "http",
            "publisher_host": f"127.0.0.1:{server.port}",
            "locations": LOCATIONS,
        }
    )
    with server:
        yield server


VIEWS = [
    ("publish", {"type": "sync", "by": "view"}),
    ("apublish", {"type": "async", "by": "view"}),
]


@pytest.mark.parametrize(("view", "data"), VIEWS)
def test_a_view_of_the_serving_process_publishes(
    view: str,
    data: dict[str, str],
    server: ServerProcess,
    channel_id: str,
    subscriber: Subscriber,
) -> None:
    """A sync and an async view in the server's process publish without HTTP."""
    told = http.get(f"{server.url}/{view}/{channel_id}")
    assert told.status_code == 200
    assert told.json()["status"] == 201
    assert told.json()["info"]["subscribers"] == 1
    assert subscriber.received() == data


@pytest.mark.process
@pytest.mark.parametrize(("view", "data"), VIEWS)
def test_a_view_publishes_to_its_own_process_over_http(
    view: str, data: dict[str, str], loopback_server: ServerProcess, channel_id: str
) -> None:
    """A server that is busy with a view still accepts the view's own POST."""
    subscriber = Subscriber(loopback_server, channel_id)
    told = http.get(f"{loopback_server.url}/{view}/{channel_id}", timeout=30)
    assert told.status_code == 200
    assert told.json()["status"] == 201
    assert subscriber.received() == data


@pytest.mark.process
@pytest.mark.parametrize(("view", "data"), VIEWS)
def test_a_view_publishes_before_anybody_has_subscribed(
    view: str, data: dict[str, str], channel_id: str
) -> None:
    """On a new server, the first update is stored like any other."""
    with daphne() as server:
        told = http.get(f"{server.url}/{view}/{channel_id}")
        assert told.status_code == 200
        assert told.json()["status"] == 202
        kept = http.get(f"{server.url}/interval/{channel_id}")
        assert kept.status_code == 200
        assert kept.json() == data


def test_a_hundred_views_publish_at_once(server: ServerProcess) -> None:
    """Views that publish at the same time each get their own response."""
    channel_ids = [uuid.uuid4().hex for _ in range(100)]

    async def publish() -> list[httpx.Response]:
        async with http.AsyncClient(timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.get(f"{server.url}/{view}/{channel_id}")
                    for channel_id, (view, _) in zip(
                        channel_ids, VIEWS * 50, strict=True
                    )
                )
            )

    told = asyncio.run(publish())
    assert [each.status_code for each in told] == [200] * 100
    assert [each.json()["info"]["messages"] for each in told] == [1] * 100


def test_a_sync_view_of_another_process_publishes(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """A site that is served by another WSGI process publishes over HTTP."""
    told = Client().get(f"/publish/{channel_id}")
    assert told.json()["status"] == 201
    assert subscriber.received() == {"type": "sync", "by": "view"}


@pytest.mark.parametrize(("view", "data"), VIEWS)
async def test_a_view_of_another_asgi_process_publishes(
    view: str,
    data: dict[str, str],
    site: dict[str, Any],
    server: ServerProcess,
    channel_id: str,
) -> None:
    """A site that is served by another ASGI process publishes over HTTP."""
    subscriber = await asyncio.to_thread(Subscriber, server, channel_id)
    told = await AsyncClient().get(f"/{view}/{channel_id}")
    assert told.json()["status"] == 201
    assert await asyncio.to_thread(subscriber.received) == data


async def test_sync_receiver_runs_in_the_thread_of_a_sync_view(
    site: dict[str, Any], channel_id: str
) -> None:
    """A sync receiver runs in the view's thread, which waits for it."""
    heard: list[tuple[str, threading.Thread]] = []

    def hear(signal: Signal, channel_id: str, **kwargs: Any) -> None:
        heard.append((channel_id, threading.current_thread()))

    for each in (pre_send_update, post_send_update):
        each.connect(hear)
    try:
        told = await AsyncClient().get(f"/publish/{channel_id}")
    finally:
        for each in (pre_send_update, post_send_update):
            each.disconnect(hear)
    assert told.status_code == 200
    assert [each for each, _ in heard] == [channel_id] * 2
    assert threading.main_thread() not in [thread for _, thread in heard]


@pytest.mark.parametrize(("view", "_data"), VIEWS)
async def test_view_in_the_serving_process_publishes_directly(
    view: str, _data: object, channel_id: str, settings: LazySettings
) -> None:
    """In the serving process, no host and no listening port is needed."""
    settings.PUSH_SERVER = {"publisher": "direct"}
    hub = hubs.get("default")
    told = await AsyncClient().get(f"/{view}/{channel_id}")
    assert told.json()["status"] == 202
    assert (await hub.info(channel_id)).messages == 1


def test_a_thread_publishes(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """A thread without an event loop can publish."""
    receipts: list[Receipt | None] = []

    def work() -> None:
        receipts.append(send_update(channel_id, {"by": "thread"}))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [each.status for each in receipts if each] == [201]
    assert subscriber.received() == {"by": "thread"}


async def test_a_thread_of_async_code_publishes(
    site: dict[str, Any], server: ServerProcess, channel_id: str
) -> None:
    """A thread of an async program can use the sync function."""
    subscriber = await asyncio.to_thread(Subscriber, server, channel_id)
    receipt = await asyncio.to_thread(send_update, channel_id, {"by": "thread"})
    assert receipt is not None
    assert receipt.delivered
    assert await asyncio.to_thread(subscriber.received) == {"by": "thread"}


def test_consecutive_event_loops_publish(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """Publishing does not depend on the event loop of the first call."""
    for number in range(3):
        receipt = asyncio.run(asend_update(channel_id, number))
        assert receipt is not None
        assert receipt.delivered is (number == 0)
    assert send_update(channel_id, 3)
    assert subscriber.received() == 0


def run(*command: str, block: dict[str, Any]) -> str:
    """Run Python with arguments in a new process and return its output."""
    return run_python("-W", "error", *command, push_server=block)


def test_a_management_command_publishes(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """A management command publishes over HTTP, and its process ends normally."""
    code = f"""
from pushserver.updates import send_update

print(send_update({channel_id!r}, {{"by": "command"}}))
"""
    told = run("-m", "django", "shell", "--no-imports", "-c", code, block=site)
    assert "status=201" in told
    assert subscriber.received() == {"by": "command"}


def test_a_process_without_an_event_loop_publishes(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """A task worker can publish, whatever modules it imports at the start."""
    code = f"""
import django

django.setup()

from pushserver.updates import send_update

assert [send_update({channel_id!r}, number).status for number in range(3)] == [
    201, 202, 202
]
"""
    run("-c", code, block=site)
    assert subscriber.received() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="This system has no fork.")
def test_forked_processes_publish(
    site: dict[str, Any], server: ServerProcess, channel_id: str
) -> None:
    """Forked workers do not write into the connection of their parent."""
    code = f"""
import os
import django

django.setup()

from pushserver.updates import send_update

send_update({channel_id!r}, "parent")
children = []
for child in range(4):
    pid = os.fork()
    if not pid:
        try:
            for number in range(20):
                assert send_update(f"{channel_id}-{{child}}", number).status == 202
        except BaseException:
            os._exit(1)
        os._exit(0)
    children.append(pid)
for number in range(20):
    assert send_update("{channel_id}-parent", number).status == 202
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
"""
    run("-c", code, block=site)
    for name in (*range(4), "parent"):
        info = http.get(
            f"{server.url}/send-update/{channel_id}-{name}",
            headers={"Accept": "application/json"},
        )
        assert info.json()["messages"] == 20


def test_process_without_push_clients_uses_the_configured_server(
    site: dict[str, Any], channel_id: str, subscriber: Subscriber
) -> None:
    """A process that only imports the server publishes to the configured one."""
    code = f"""
import tests.asgi
from pushserver.updates import send_update

print(send_update({channel_id!r}, 5).status)
"""
    assert run("-c", code, block=site).strip() == "201"
    assert subscriber.received() == 5
