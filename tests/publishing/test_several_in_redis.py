"""Many updates in one call, from processes without a push server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from channels.layers import InMemoryChannelLayer
from django.conf import LazySettings

from pushserver.publishers import UpdatesFailed
from pushserver.updates import asend_updates, send_update, send_updates
from pushserver_channels.stores.redis.blocking import BlockingConnection
from tests.proxies import Proxy
from tests.servers import free_port, wait_until
from tests.valkey import Cluster, Valkey

MANY = 10_000


@pytest.fixture(scope="module")
def process() -> Iterator[Valkey]:
    """A real Valkey for the tests of this module."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def valkey(process: Valkey, settings: LazySettings) -> Valkey:
    """An empty Valkey, which is the store of the site."""
    process.run("FLUSHALL")
    settings.PUSH_SERVER = {"store": {"type": "redis", "url": process.url}}
    return process


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of commands that were sent at once, each time."""
    counts: list[int] = []
    ask, ask_several = BlockingConnection.ask, BlockingConnection.ask_several

    def spy(self: BlockingConnection, *command: Any) -> Any:
        counts.append(1)
        return ask(self, *command)

    def spy_several(self: BlockingConnection, commands: Any) -> Any:
        counts.append(len(commands))
        return ask_several(self, commands)

    monkeypatch.setattr(BlockingConnection, "ask", spy)
    monkeypatch.setattr(BlockingConnection, "ask_several", spy_several)
    return counts


def bodies(valkey: Valkey, channel_id: str) -> list[int]:
    """Return the messages of a channel."""
    with valkey.client() as client:
        entries = client.xrange(f"pushserver:{{00}}:messages:{channel_id}")
    return [int(fields["body"]) for _, fields in entries]


def statuses(receipts: Any) -> list[int | None]:
    """Return the statuses of receipts."""
    return [each and each.status for each in receipts]


def test_one_round_trip(valkey: Valkey, asked: list[int]) -> None:
    """All updates are sent before the first answer is read."""
    send_update("a", 0)  # It connects.
    asked.clear()
    receipts = send_updates([("ab"[number % 2], number) for number in range(1, 401)])
    assert statuses(receipts) == [202] * 400
    assert asked == [400]
    assert bodies(valkey, "a") == [0, *range(2, 401, 2)]
    assert bodies(valkey, "b") == list(range(1, 401, 2))
    assert receipts is not None
    assert receipts[-1] is not None
    assert receipts[-1].info is not None
    assert receipts[-1].info["messages"] == 201


def test_ten_thousand(valkey: Valkey, asked: list[int]) -> None:
    """Ten thousand updates are sent in ten parts."""
    send_update("a", 0)
    asked.clear()
    updates = [(f"{number % 50}", number) for number in range(MANY)]
    assert statuses(send_updates(updates)) == [202] * MANY
    assert asked == [1000] * 10
    assert bodies(valkey, "7") == list(range(7, MANY, 50))


async def test_async_code(valkey: Valkey) -> None:
    """asend_updates does the same in a thread."""
    updates = [(f"{number % 3}", number) for number in range(300)]
    assert statuses(await asend_updates(updates)) == [202] * 300
    assert bodies(valkey, "2") == list(range(2, 300, 3))


def test_script_that_redis_does_not_know(valkey: Valkey, asked: list[int]) -> None:
    """If Redis has lost the script, it gets it with the same updates."""
    send_update("a", 0)
    valkey.run("SCRIPT", "FLUSH")
    asked.clear()
    assert statuses(send_updates([("a", 1), ("a", 2), ("b", 3)])) == [202] * 3
    assert asked == [3, 4]
    assert bodies(valkey, "a") == [0, 1, 2]


def test_lost_answers(valkey: Valkey, settings: LazySettings) -> None:
    """Updates whose answers are lost are published once, in their order."""
    with Proxy(valkey.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        settings.PUSH_SERVER = {"store": {"type": "redis", "url": url}}
        assert send_update("a", 0)
        proxy.lose_answers()

        def cut_when_they_are_there() -> None:
            wait_until(lambda: len(bodies(valkey, "a")) == 21)
            proxy.mend()

        with ThreadPoolExecutor(1) as threads:
            cutting = threads.submit(cut_when_they_are_there)
            receipts = send_updates([("a", number) for number in range(1, 21)])
            cutting.result()
    assert statuses(receipts) == [202] * 20
    assert bodies(valkey, "a") == list(range(21))


def test_closed_connection(valkey: Valkey) -> None:
    """A connection that Redis has closed is replaced."""
    for number in range(3):
        assert statuses(send_updates([("a", number)])) == [202]
        valkey.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert bodies(valkey, "a") == [0, 1, 2]


def test_refused_updates(valkey: Valkey, settings: LazySettings) -> None:
    """Updates that the location or Redis refuses do not stop the others."""
    location = {"type": "publisher", "prefix": "/p/", "create_on_post": False}
    send_update("known", 0)
    store = {"type": "redis", "url": valkey.url}
    limits = {**location, "max_message_size": 5}
    settings.PUSH_SERVER = {"store": store, "locations": [limits]}
    with pytest.raises(UpdatesFailed) as caught:
        send_updates([("known", 1), ("new", 2), ("known", "too long"), ("known", 3)])
    assert statuses(caught.value.receipts) == [202, None, None, 202]
    assert {index: error.status for index, error in caught.value.errors.items()} == {
        1: 404,
        2: 413,
    }
    assert bodies(valkey, "known") == [0, 1, 3]


def test_redis_that_does_not_run(settings: LazySettings) -> None:
    """If Redis is down, each update has an error, and the later parts are not sent."""
    url = f"redis://127.0.0.1:{free_port()}"
    settings.PUSH_SERVER = {"store": {"type": "redis", "url": url}}
    with pytest.raises(UpdatesFailed, match="3000 of 3000") as caught:
        send_updates([("a", number) for number in range(3000)])
    assert "Does it run there?" in str(caught.value.errors[0])
    assert "it was not sent" in str(caught.value.errors[2999])


def test_repeated_call(valkey: Valkey) -> None:
    """The same call with the same key publishes nothing, and has the same receipts."""
    updates = [("a", 1), ("b", 2), ("a", 3)]
    receipts = send_updates(updates, idempotency_key="job")
    assert send_updates(updates, idempotency_key="job") == receipts
    assert asyncio.run(asend_updates(updates, idempotency_key="job")) == receipts
    assert bodies(valkey, "a") == [1, 3]


@pytest.mark.process
def test_cluster(settings: LazySettings, asked: list[int]) -> None:
    """In a cluster, the updates of each server take one round trip."""
    with Cluster() as cluster:
        settings.PUSH_SERVER = {"store": {"type": "redis", "url": cluster.url}}
        updates = [(f"{number}", number) for number in range(300)]
        assert statuses(send_updates(updates)) == [202] * 300
        asked.clear()
        receipts = send_updates(updates)
        assert len(asked) == len(cluster.masters)
        assert sum(asked) == 300
    assert statuses(receipts) == [202] * 300
    assert receipts is not None
    assert all(each and each.info and each.info["messages"] == 2 for each in receipts)


class CountingLayer(InMemoryChannelLayer):
    """A layer that keeps what is sent through it."""

    sent: ClassVar[list[Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append((message["channel_id"], message["message"][1]))
        await super().group_send(group, message)


def test_channel_layer(settings: LazySettings) -> None:
    """Over a channel layer, all updates are sent, in their order."""
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": f"{__name__}.{CountingLayer.__name__}"}
    }
    settings.PUSH_SERVER = {"store": {"type": "channel_layer"}}
    CountingLayer.sent.clear()
    receipts = send_updates([("ab"[number % 2], number) for number in range(MANY)])
    assert statuses(receipts) == [202] * MANY
    numbers = [b"%d" % number for number in range(MANY)]
    assert [body for _, body in CountingLayer.sent] == numbers
