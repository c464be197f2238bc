"""The order of channels, and how often it is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from pushserver.conf import MemoryStoreSettings
from pushserver_channels.dashboard import ranking
from pushserver_channels.dashboard.ranking import Ranker, Ranking, Rankings
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import MessageId
from pushserver_channels.stores import Store
from pushserver_channels.stores.figures import ChannelFigures, Matches
from pushserver_channels.stores.memory import MemoryStore
from tests.stores.conftest import Clock, Subject, make_memory_store
from tests.waiting import until

KEY = ("default", "", "held")


@pytest.fixture
async def store() -> Any:
    """A store with ten channels, of which each has a message more than the last."""
    clock = Clock()
    subject = Subject(make_memory_store(clock), clock)
    for number in range(10):
        for _ in range(number + 1):
            await subject.append(f"channel {number}")
        clock.move(1)
    yield subject.store
    await subject.store.aclose()


def rank(
    store: Store, held: dict[str, int], search: str, sort: str, seconds: float = 10
) -> Awaitable[Ranking]:
    return Ranker(store, held, search, sort).run(seconds)


async def test_the_first_are_ranked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many channels the first are kept, and all are counted."""
    monkeypatch.setattr(ranking, "MAX_RANKED", 3)
    found = await rank(store, {"channel 5": 2, "held": 1}, "", "held")
    assert found.channel_ids == ["channel 5", "held", "channel 0"]
    assert (found.total, found.is_complete, found.is_running) == (11, True, False)
    for sort in ("messages", "rate", "newest"):
        found = await rank(store, {}, "channel", sort)
        assert found.channel_ids == ["channel 9", "channel 8", "channel 7"], sort
    found = await rank(store, {"held": 1}, "channel 1", "id")
    assert (found.channel_ids, found.total) == (["channel 1"], 1)


async def test_too_many_to_look_at(store: Store) -> None:
    """Where the time is up, what was found is ranked, and that is said."""
    found = await rank(store, {}, "", "id", seconds=-1)
    assert (found.is_complete, found.is_running) == (False, False)
    assert found.channel_ids[0] == "channel 0"


class SlowStore(MemoryStore):
    """A store that is looked through for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__(MemoryStoreSettings(type="memory"))
        self.gate = asyncio.Event()
        self.scans = 0

    async def scan(
        self, matches: Matches, *, rates: bool = True
    ) -> AsyncIterator[list[ChannelFigures]]:
        self.scans += 1
        yield [ChannelFigures("a", 1, MessageId(1, 0), 1.0)]
        await self.gate.wait()
        yield [ChannelFigures("b", 2, MessageId(1, 0), 1.0)]


async def test_an_answer_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is shown at once, and the rest when it is known."""
    monkeypatch.setattr(ranking, "PATIENCE", 0.01)
    store, rankings = SlowStore(), Rankings()
    asking = [
        rankings.make(KEY, Ranker(store, {"held": 1}, "", "messages"), goes_on=True)
        for _ in range(5)
    ]
    for found in await asyncio.gather(*asking):
        assert found.channel_ids == ["a", "held"]
        assert (found.total, found.is_running) == (2, True)
    assert rankings.find(KEY) == found
    store.gate.set()

    def is_done() -> bool:
        found = rankings.find(KEY)
        return found is not None and not found.is_running

    await until(is_done)
    found = rankings.find(KEY)
    assert found is not None and found.is_complete
    assert found.channel_ids == ["b", "a", "held"]
    assert store.scans == 1


async def test_old_rankings_are_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few rankings are kept for a few seconds, and then nothing is left."""
    monkeypatch.setattr(ranking, "MAX_RANKINGS", 2)
    rankings: Any = Rankings()
    keys = [("default", each, "id") for each in "abcd"]
    for key in keys:
        ranker = Ranker(store, {}, key[1], "id")
        await rankings.make(key, ranker, goes_on=key[1] in "ac")
    assert list(rankings._made) == keys[2:]
    rankings = Rankings()
    monkeypatch.setattr(ranking, "MIN_AGE", 0.0)
    monkeypatch.setattr(ranking, "AGE_FACTOR", 0.0)
    for key in keys[:2]:
        await rankings.make(key, Ranker(store, {}, "", "id"), goes_on=True)
    await until(lambda: not rankings._made)
    assert rankings.find(keys[0]) is None


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_ranking_that_fails(
    monkeypatch: pytest.MonkeyPatch, store: Store, goes_on: bool
) -> None:
    """A store that is not reached leaves what was known, or an error."""
    rankings = Rankings()
    with monkeypatch.context() as patch:
        patch.setattr(store, "scan", fail)
        ranker = Ranker(store, {"held": 1}, "", "id")
        if goes_on:
            found = await rankings.make(KEY, ranker, goes_on=True)
            assert (found.channel_ids, found.is_complete) == (["held"], False)
        else:
            with pytest.raises(StoreUnavailable):
                await rankings.make(KEY, ranker, goes_on=False)
    assert rankings.find(KEY) is None
    found = await rankings.make(KEY, Ranker(store, {}, "", "id"), goes_on=goes_on)
    assert found.total == 10


async def fail(matches: Matches, *, rates: bool) -> AsyncIterator[list[ChannelFigures]]:
    raise StoreUnavailable
    yield []
