"""Publishing into Redis from a process that serves no subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from redis.exceptions import BusyLoadingError

from pushserver.conf import get_settings
from pushserver.publishers import PublishError, Update
from pushserver.publishers.deadline import Deadline
from pushserver.updates import asend_update, position, send_update
from pushserver_channels.stores.redis.blocking import (
    BlockingConnection,
    BlockingOneServer,
)
from pushserver_channels.stores.redis.publishing import RedisPublishing
from tests.proxies import Proxy
from tests.servers import free_port, wait_until
from tests.valkey import Cluster, Sentinel, Valkey


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real Valkey for the tests of this module."""
    with Valkey() as process:
        yield process


@pytest.fixture(autouse=True)
def empty(valkey: Valkey) -> None:
    """Empty Valkey before each test."""
    valkey.run("FLUSHALL")
    valkey.run("CONFIG", "RESETSTAT")


def publish_into(url: str, settings: LazySettings, **others: Any) -> None:
    """Set the Redis into which updates are published."""
    settings.PUSH_SERVER = {"store": {"type": "redis", "url": url}, **others}


def calls(valkey: Valkey) -> dict[str, int]:
    """Return the number of calls of each command in Valkey."""
    with valkey.client() as client:
        stats = client.info("commandstats")
    return {name: each["calls"] for name, each in stats.items()}


def bodies(valkey: Valkey, channel_id: str = "news") -> list[str]:
    """Return the messages of a channel."""
    with valkey.client() as client:
        entries = client.xrange(f"pushserver:{{00}}:messages:{channel_id}")
    return [fields["body"] for _, fields in entries]


def test_updates_take_one_command_each_on_one_connection(
    valkey: Valkey, settings: LazySettings
) -> None:
    """Each update is one command, and all use the same connection."""
    publish_into(valkey.url, settings)
    receipts = [send_update("news", number) for number in range(20)]
    assert [each.status for each in receipts if each] == [202] * 20
    assert receipts[-1] is not None
    assert receipts[-1].info is not None
    assert receipts[-1].info["messages"] == 20
    asked = calls(valkey)
    assert asked["cmdstat_evalsha"] == 20
    # The first update loads the script.
    assert asked.get("cmdstat_eval", 0) <= 1
    assert asked["cmdstat_time"] <= 21  # The script itself calls TIME, too.
    assert bodies(valkey) == [str(number) for number in range(20)]


def test_lost_script_is_loaded_again(valkey: Valkey, settings: LazySettings) -> None:
    """A script that Redis has lost is loaded again."""
    publish_into(valkey.url, settings)
    for number in range(3):
        assert send_update("news", number)
        valkey.run("SCRIPT", "FLUSH")
    assert bodies(valkey) == ["0", "1", "2"]


async def test_concurrent_updates_keep_the_order_of_each_channel(
    valkey: Valkey, settings: LazySettings
) -> None:
    """Many tasks share a few connections, and each channel keeps its order."""
    publish_into(valkey.url, settings)
    before = valkey.client().info("stats")["total_connections_received"]
    receipts = await asyncio.gather(*(asend_update("news", n) for n in range(300)))
    assert [each.status for each in receipts if each] == [202] * 300
    assert bodies(valkey) == [str(number) for number in range(300)]
    await asyncio.gather(*(asend_update(f"{n}", n) for n in range(300)))
    after = valkey.client().info("stats")["total_connections_received"]
    assert after - before < 30


@pytest.mark.parametrize("keep", [True, False])
def test_closed_connection_is_replaced(
    keep: bool, valkey: Valkey, settings: LazySettings
) -> None:
    """A connection that Redis has closed is replaced, and nothing is sent twice."""
    location = {"type": "publisher", "prefix": "/p/", "store_messages": keep}
    publish_into(valkey.url, settings, locations=[location])
    for number in range(3):
        assert send_update("news", number)
        valkey.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert bodies(valkey) == (["0", "1", "2"] if keep else [])


@pytest.mark.parametrize("expires", [None, 60])
def test_message_with_a_lost_response_is_published_once(
    expires: float | None, valkey: Valkey, settings: LazySettings
) -> None:
    """A message whose answer is lost is not published twice."""
    with Proxy(valkey.port) as proxy:
        publish_into(f"redis://127.0.0.1:{proxy.port}", settings)
        assert send_update("news", 0)
        proxy.lose_answers()

        def cut_when_it_is_there() -> None:
            wait_until(lambda: len(bodies(valkey)) == 2)
            proxy.mend()

        with ThreadPoolExecutor(1) as threads:
            cutting = threads.submit(cut_when_it_is_there)
            receipt = send_update("news", 1, expires=expires)
            cutting.result()
    assert receipt is not None
    assert receipt.info is not None
    assert receipt.info["messages"] == 2
    assert bodies(valkey) == ["0", "1"]


def test_expired_message_with_a_lost_response_is_not_published_again(
    valkey: Valkey, settings: LazySettings
) -> None:
    """If a message has expired meanwhile, it is unknown whether it was published."""
    publish_into(valkey.url, settings)
    directly = RedisPublishing(get_settings().store["default"])
    with Proxy(valkey.port) as proxy:
        publish_into(f"redis://127.0.0.1:{proxy.port}", settings, publisher_timeout=20)
        assert send_update("news", 0)
        proxy.lose_answers()

        def cut_when_it_has_expired() -> None:
            wait_until(lambda: len(bodies(valkey)) == 2)
            # Its id may be a second ahead of the clock, since this Redis was empty.
            last_id = directly.find_last_id("news", Deadline(5))
            assert last_id is not None
            wait_until(lambda: int(valkey.run("TIME")[0]) > last_id.time + 1)
            directly.append(Update("news", b"2"), Deadline(5), keep=True, create=True)
            proxy.mend()

        with ThreadPoolExecutor(1) as threads:
            cutting = threads.submit(cut_when_it_has_expired)
            with pytest.raises(PublishError, match="may have done what it was asked"):
                send_update("news", 1, expires=1)
            cutting.result()
    directly.close()
    assert bodies(valkey) == ["0", "2"]


def test_message_is_not_published_after_its_time_limit(
    valkey: Valkey, settings: LazySettings
) -> None:
    """After the time limit, Redis does not publish the message any more."""
    with Proxy(valkey.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        publish_into(url, settings, publisher_timeout=0.3)
        assert send_update("news", 0)
        proxy.freeze()
        with pytest.raises(PublishError, match="may have done what it was asked"):
            send_update("news", 1)
    assert bodies(valkey) == ["0"]


def test_position_does_not_wait_for_ever(
    valkey: Valkey, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a time limit, a Redis that does not answer is given up all the same."""
    module = "pushserver_channels.stores.redis.publishing"
    monkeypatch.setattr(f"{module}.ANSWER_TIMEOUT", 0.3)
    with Proxy(valkey.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        publish_into(url, settings, publisher_timeout=0)
        assert send_update("news", 0)
        proxy.freeze()
        assert position(["news"]) == {"news": None}


def test_unsent_message_is_reported_as_not_published(
    valkey: Valkey, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was not sent before the deadline is reported as not published."""
    publish_into(valkey.url, settings)
    assert send_update("news", 0)
    locate = BlockingOneServer.locate

    def locate_late(self: BlockingOneServer, key: str, deadline: Deadline) -> object:
        wait_until(lambda: deadline.is_over)
        return locate(self, key, deadline)

    publish_into(valkey.url, settings, publisher_timeout=1)
    with monkeypatch.context() as patch:
        patch.setattr(BlockingOneServer, "locate", locate_late)
        with pytest.raises(PublishError) as caught:
            send_update("news", 1)
    assert "may have" not in str(caught.value)
    publish_into(valkey.url, settings)
    assert send_update("news", 2)
    assert bodies(valkey) == ["0", "2"]


def test_redis_that_loads_its_data(
    valkey: Valkey, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis refuses scripts while it loads its data, also on an open connection."""
    publish_into(valkey.url, settings)
    assert send_update("news", 0)
    ask = BlockingConnection.ask

    def refuse(self: BlockingConnection, *command: str | bytes | int) -> object:
        if command[0] == "EVALSHA":
            raise BusyLoadingError("LOADING Redis is loading the dataset in memory")
        return ask(self, *command)

    with monkeypatch.context() as patch:
        patch.setattr(BlockingConnection, "ask", refuse)
        with pytest.raises(PublishError) as caught:
            send_update("news", 1)
    assert "may have" not in str(caught.value)
    assert send_update("news", 2)
    assert bodies(valkey) == ["0", "2"]


def test_unreachable_redis_is_an_error_with_a_remedy(settings: LazySettings) -> None:
    """The error names the address and the remedy, also if errors are ignored."""
    publish_into(f"redis://:secret@127.0.0.1:{free_port()}/0", settings)
    with pytest.raises(PublishError, match="Does it run there") as caught:
        send_update("news", 1)
    assert "secret" not in str(caught.value)
    assert send_update("news", 1, ignore_errors=True) is None


def test_restart_of_redis(settings: LazySettings) -> None:
    """After a restart of Redis, updates are published again."""
    with Valkey(persistent=True) as restarted:
        publish_into(restarted.url, settings)
        assert send_update("news", 0)
        restarted.stop()
        with pytest.raises(PublishError):
            send_update("news", 1)
        restarted.start()
        assert send_update("news", 2)
        assert bodies(restarted) == ["0", "2"]


def test_positions_use_the_connection_of_updates(
    valkey: Valkey, settings: LazySettings
) -> None:
    """Looking up positions opens no connections, and survives one that was closed."""
    publish_into(valkey.url, settings)
    receipt = send_update("news", 1)
    assert receipt is not None
    assert receipt.info is not None
    expected = {"news": receipt.info["last_message_id"], "none": "0:0"}
    with valkey.client() as client:
        opened = client.info("stats")["total_connections_received"]
        for _ in range(5):
            assert position(["news", "none"]) == expected
        assert client.info("stats")["total_connections_received"] == opened
        client.client_kill_filter(_type="normal", skipme=True)
    assert position(["news", "none"]) == expected


def test_publishing_in_a_cluster(settings: LazySettings) -> None:
    """In a cluster, each channel is published on the server of its slot."""
    with Cluster() as cluster:
        publish_into(cluster.url, settings)
        receipts = [send_update(f"{number}", number) for number in range(12)]
        assert [each.status for each in receipts if each] == [202] * 12
        names = [f"{number}" for number in range(12)]
        assert "0:0" not in position(names).values()
        sizes = [node.run("DBSIZE") for node in cluster.masters]
        assert all(sizes)


def test_publishing_into_the_master_of_sentinel(
    valkey: Valkey, settings: LazySettings
) -> None:
    """Updates are published into the master that the sentinels name."""
    with Sentinel(valkey) as sentinel:
        publish_into(sentinel.url, settings)
        assert send_update("news", 0)
        assert send_update("news", 1)
    assert bodies(valkey) == ["0", "1"]
