"""The metrics of several processes, in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest

from pushserver_channels.hub import hubs
from pushserver_channels.metrics import sharing
from pushserver_channels.metrics.snapshot import Snapshot
from pushserver_channels.process_names import name_process
from tests.server.exchanges import Serve, until_idle
from tests.valkey import Valkey
from tests.waiting import until

_prefixes = (f"metrics {number}:" for number in count())

OTHER = Snapshot([("pushserver_gaps_total", (), 7.0)], {})


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def store(valkey: Valkey) -> dict[str, Any]:
    return {"type": "redis", "url": valkey.url, "key_prefix": next(_prefixes)}


@pytest.fixture(autouse=True)
async def nothing_written_later() -> AsyncIterator[None]:
    """End what writes metrics, which would be logged as lost in a later test."""
    yield
    await hubs.stop()
    hubs.leave()
    await until_idle()


async def test_a_scrape_of_one_process_gives_all(
    monitored: Serve, store: dict[str, Any]
) -> None:
    """A process shows its own metrics, and what others have written."""
    site = monitored(store=store)
    await site.post("a")
    redis = hubs.get("default").store
    await redis.write_snapshot("other:1", OTHER.dump(), 30)
    await redis.write_snapshot("broken:1", b"nonsense", 30)
    answer = await site.ask("GET", "/metrics")
    lines = answer.body.decode().splitlines()
    assert 'pushserver_gaps_total{process="other:1"} 7.0' in lines
    assert f'pushserver_gaps_total{{process="{name_process()}"}} 0.0' in lines
    assert not any("broken" in line for line in lines)
    assert not any("pushserver_channels{" in line for line in lines)


async def test_a_process_writes_regularly(
    monitored: Serve, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request to a process starts it, and the figures follow."""
    monkeypatch.setattr(sharing, "INTERVAL", 0.05)
    site = monitored(store=store)
    await site.post("a")
    redis = hubs.get("default").store

    async def has_written(published: int) -> bool:
        data = (await redis.read_snapshots()).get(name_process())
        if data is None:
            return False
        sample = ("pushserver_published_total", ("accepted",), published)
        return sample in Snapshot.load(data).samples

    await until(lambda: has_written(1))
    await site.post("a")
    await until(lambda: has_written(2))


async def test_nothing_is_written_without_the_location(
    serve: Serve, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site without a metrics location writes no metrics."""
    monkeypatch.setattr(sharing, "INTERVAL", 0.01)
    site = serve(store=store)
    for _ in range(20):
        await site.post("a")
    assert await hubs.get("default").store.read_snapshots() == {}


async def test_a_lost_store_leaves_the_own_metrics(
    monitored: Serve, store: dict[str, Any]
) -> None:
    """While Redis is unreachable a process shows its own metrics, and that."""
    site = monitored(store={**store, "url": "redis://127.0.0.1:1/0"})
    assert (await site.post("a")).status == 503
    answer = await site.ask("GET", "/metrics")
    text = answer.body.decode()
    process = name_process()
    assert f'pushserver_store_up{{process="{process}",store="default"}} 0.0' in text
    assert 'result="unavailable"} 1.0' in text
