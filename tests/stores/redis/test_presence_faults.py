"""Who is on a channel, over several processes, while Redis or processes are away."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest

from pushserver.conf import RedisStoreSettings
from pushserver_channels.presence.members import PresenceLimits
from tests.proxies import Proxy
from tests.server.presence.visitors import Watcher
from tests.stores.conftest import Clock
from tests.valkey import Valkey
from tests.waiting import until

from .presence import ROOM, Processes, members


async def test_one_process_that_is_away_alone_has_its_members_back(
    processes: Processes,
) -> None:
    """Its members have left, and come again when it is back."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob")
    await processes.move(2)
    second.is_running = False
    await processes.move(30)
    assert set(await members(first)) == {"anna"}
    second.is_running = True
    await processes.move(3)
    assert set(await members(first)) == {"anna", "bob"}
    assert processes.told[-2:] == [(ROOM, "bob", "left"), (ROOM, "bob", "joined")]
    await processes.move(60)
    assert set(await members(first)) == {"anna", "bob"}


async def test_a_process_that_was_forgotten_tells_that_all_have_come_again(
    processes: Processes,
) -> None:
    """Also if it tells of somebody else before it says that it is alive."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob")
    await processes.move(2)
    second.is_running = False
    await processes.move(60)
    second.is_running = True
    second.enter("carl")
    await second.until_told()
    await processes.move(3)
    assert set(await members(first)) == {"anna", "bob", "carl"}
    told = [(user, kind) for _, user, kind in processes.told]
    assert told[2] == ("bob", "left")
    assert sorted(told[3:]) == [("bob", "joined"), ("carl", "joined")]


async def test_who_has_left_while_its_process_was_away_does_not_come_again(
    processes: Processes,
) -> None:
    first, second = await processes.start(), await processes.start()
    bob = second.enter("bob")
    await processes.move(2)
    second.is_running = False
    second.presence.leave(bob)
    await processes.move(30)
    assert await members(first) == {}
    second.is_running = True
    await processes.move(3)
    assert await members(first) == {}
    assert processes.told == [(ROOM, "bob", "joined"), (ROOM, "bob", "left")]


async def test_nobody_leaves_while_all_processes_are_away(
    processes: Processes,
) -> None:
    """For example because Redis was cut off for a while."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob")
    await processes.move(4)
    before = len((await first.read(Watcher())).diffs)
    processes.clock.move(25)
    await first.store.beat()
    await first.until_told()
    processes.clock.move(2)
    await processes.move(60)
    assert len((await first.read(Watcher())).diffs) == before
    assert len(processes.told) == 2


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_nobody_leaves_when_the_clock_is_set(
    processes: Processes, seconds: float
) -> None:
    """And a process that is killed afterwards is noticed in time."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob")
    await processes.move(2)
    processes.clock.move(seconds)
    await processes.move(30)
    assert set(await members(first)) == {"anna", "bob"}
    assert len(processes.told) == 2
    second.kill()
    await processes.move(23)
    assert set(await members(first)) == {"anna"}
    assert processes.told[2:] == [(ROOM, "bob", "left")]


async def test_what_redis_has_lost_it_is_told_again(
    processes: Processes, valkey: Valkey
) -> None:
    """All members are there again soon, and no signal is sent a second time."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob", {"name": "Bob"})
    await processes.move(2)
    with valkey.client() as client:
        for key in client.keys(f"{processes.settings.key_prefix}*"):
            client.delete(key)
    await processes.move(3)
    assert await members(first) == {"anna": "null", "bob": '{"name":"Bob"}'}
    assert set((await first.read(Watcher())).members) == {"anna", "bob"}
    assert len(processes.told) == 2
    await processes.move(60)
    assert set(await members(second)) == {"anna", "bob"}


async def test_what_is_lost_of_a_process_that_has_just_started_is_told_again(
    processes: Processes, valkey: Valkey
) -> None:
    first = processes.make()
    assert await members(first) == {}  # Meanwhile it begins to say that it is alive.
    first.enter("anna")
    await first.until_told()
    with valkey.client() as client:
        for key in client.keys(f"{processes.settings.key_prefix}*"):
            client.delete(key)
    await processes.move(2)
    assert set(await members(first)) == {"anna"}
    assert processes.told == [(ROOM, "anna", "joined")]


async def test_a_process_that_is_slow_to_tell_what_was_lost_tells_it_once(
    processes: Processes, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may say that it is alive before, under a name that Redis does not know."""
    first = await processes.start()
    first.enter("anna")
    await processes.move(2)
    gate, apply = asyncio.Event(), first.store.apply

    async def apply_late(*arguments: Any) -> Any:
        await gate.wait()
        return await apply(*arguments)

    monkeypatch.setattr(first.store, "apply", apply_late)
    with valkey.client() as client:
        for key in client.keys(f"{processes.settings.key_prefix}*"):
            client.delete(key)
    for _ in range(3):
        await first.store.beat()
    gate.set()
    await processes.move(2)
    assert processes.told == [(ROOM, "anna", "joined")]


async def test_a_state_waits_for_what_redis_has_lost(
    processes: Processes, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody seems to leave whose process has not yet told Redis again."""
    monkeypatch.setattr("pushserver_channels.presence.redis.RECOVERY", 0.5)
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("bob")
    await processes.move(2)
    with valkey.client() as client:
        for key in client.keys(f"{processes.settings.key_prefix}*"):
            client.delete(key)
    await first.store.beat()
    reading = asyncio.ensure_future(first.store.read(ROOM, for_page=True))
    await processes.move(2)
    assert set((await reading).members or ()) == {"anna", "bob"}


async def test_nobody_leaves_who_polls_while_redis_is_away(
    valkey: Valkey,
    proxy: Proxy,
    prefix: str,
    soon: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its polls are refused meanwhile, and it has the whole grace afterwards.

    Whoever does not come back then leaves.
    """
    monkeypatch.setattr("pushserver_channels.presence.redis.AWAY", 0.3)
    url = f"redis://127.0.0.1:{proxy.port}/0"
    settings = RedisStoreSettings(type="redis", url=url, key_prefix=prefix)
    limits = PresenceLimits(0.3, 0.3, 1000)
    with closing(Processes(settings, Clock())) as processes:
        process = await processes.start()
        store, answers = process.store, []
        was_away = store.was_away

        def note(channel_id: str, seconds: float) -> bool:
            answers.append(was_away(channel_id, seconds))
            return answers[-1]

        async def is_back() -> bool:
            await store.beat()
            return not was_away(ROOM, 0)

        async def has_left() -> bool:
            await store.beat()
            return processes.told[-1] == (ROOM, "anna", "left")

        async def has_only_bob_left() -> bool:
            await store.beat()
            return processes.told[2:] == [(ROOM, "bob", "left")]

        monkeypatch.setattr(store, "was_away", note)
        anna = process.enter("anna", limits=limits)
        bob = process.enter("bob", limits=limits)
        await process.until_told()
        proxy.cut()
        process.presence.leave(anna)
        process.presence.leave(bob)
        await until(lambda: len(answers) > 3)
        assert all(answers)
        proxy.mend()
        await until(is_back)
        anna = process.enter("anna", limits=limits)
        await until(has_only_bob_left)
        process.presence.leave(anna)
        await until(has_left)


async def test_a_full_redis_is_told_later(processes: Processes, valkey: Valkey) -> None:
    first = await processes.start()
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        try:
            first.enter("anna")
            await until(lambda: not first.presence.changes.are_told)
            await first.store.beat()
            assert await members(first) == {}
        finally:
            client.config_set("maxmemory", 0)
    await first.until_told()
    assert set(await members(first)) == {"anna"}
