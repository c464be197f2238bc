"""Who is on a channel, over several processes that share Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from pushserver.conf import RedisStoreSettings
from pushserver_channels.messages import START, MessageId
from pushserver_channels.presence.members import PresenceLimits
from pushserver_channels.presence.state import misses_changes
from tests.proxies import Proxy
from tests.server.presence.visitors import Watcher
from tests.stores.conftest import Clock
from tests.valkey import Cluster, Valkey
from tests.waiting import until

from .presence import BRIEF, ROOM, Process, Processes


@pytest.fixture
async def processes(valkey: Valkey) -> AsyncIterator[Processes]:
    """Return processes that share a store of their own."""
    with valkey.client() as client:
        prefix = f"presence{client.incr('presences')}:"
    settings = RedisStoreSettings(type="redis", url=valkey.url, key_prefix=prefix)
    processes = Processes(settings, Clock())
    yield processes
    processes.close()


async def members(process: Process) -> dict[str, str]:
    snapshot = await process.store.read(ROOM, for_page=False)
    assert snapshot.members is not None
    assert snapshot.named == len(snapshot.members)
    return snapshot.members


async def test_a_member_of_two_processes_comes_and_goes_once(
    processes: Processes,
) -> None:
    """It leaves with the last connection; both processes know who is there."""
    first, second = await processes.start(), await processes.start()
    one = first.enter("anna", "A", limits=BRIEF)
    other = second.enter("anna", "A", limits=BRIEF)
    second.enter("bob")
    await processes.move(2)
    assert await members(first) == await members(second)
    assert await members(first) == {"anna": '"A"', "bob": "null"}
    assert await second.store.has(ROOM, "uanna")
    assert not await second.store.has(ROOM, "ucarl")
    await first.leave(one)
    await processes.move(2)
    assert "anna" in await members(first)
    await second.leave(other)
    await processes.move(2)
    assert await members(first) == {"bob": "null"}
    watcher = await first.read(Watcher())
    assert set(watcher.members) == {"bob"}
    named = [(set(each["joins"]), set(each["leaves"])) for each in watcher.diffs]
    assert sum("anna" in joins for joins, _ in named) == 1
    assert sum("anna" in leaves for _, leaves in named) == 1
    assert sorted(processes.told) == [
        (ROOM, "anna", "joined"),
        (ROOM, "anna", "left"),
        (ROOM, "bob", "joined"),
    ]


async def test_at_most_one_message_a_second_is_published(processes: Processes) -> None:
    """The others of the second are told together, by whichever process."""
    first, second = await processes.start(), await processes.start()
    for number in range(10):
        first.enter(f"a{number}")
        await first.until_told()
        second.enter(f"b{number}")
        await second.until_told()
        processes.clock.move(0.2)
    await processes.move(2)
    watcher = await first.read(Watcher())
    assert len(watcher.members) == 20
    assert len(watcher.diffs) <= 6


async def test_the_members_of_a_killed_process_leave_once(
    processes: Processes,
) -> None:
    """They leave within the grace and 8 seconds, and not before the grace."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    second.enter("anna")
    second.enter("bob")
    second.enter(None)
    second.enter("carl", is_hidden=True)
    await processes.move(3)
    second.kill()
    await processes.move(14)
    assert set(await members(first)) == {"anna", "bob", "carl"}
    watcher = await first.read(Watcher())
    assert set(watcher.members) == {"anna", "bob", "carl"}
    assert watcher.others == 1
    await processes.move(9)
    await first.read(watcher)
    assert set(watcher.members) == {"anna", "carl"} == set(await members(first))
    assert watcher.others == 0
    await processes.move(60)
    assert set((await first.read(watcher)).members) == {"anna"}
    left = [each for each in processes.told if each[2] == "left"]
    assert sorted(left) == [(ROOM, "bob", "left"), (ROOM, "carl", "left")]


async def test_a_restarted_process_is_not_noticed(processes: Processes) -> None:
    """Nothing is told if its visitors are back within the grace."""
    first = await processes.start()
    for number in range(300):
        first.enter(f"user{number}", {"n": number})
    await processes.move(3)
    before = len((await first.read(Watcher())).diffs)
    first.kill()
    processes.clock.move(5)
    second = await processes.start()
    await processes.move(4)
    for number in range(300):
        second.enter(f"user{number}", {"n": number})
    await processes.move(30)
    watcher = await second.read(Watcher())
    assert len(watcher.diffs) == before
    assert len(watcher.members) == 300 == len(await members(second))
    assert len(processes.told) == 300


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


async def test_the_keys_expire(processes: Processes, valkey: Valkey) -> None:
    """If no process is left, nothing stays for ever, though messages would."""
    first = await processes.start()
    first.enter("anna")
    await processes.move(3)
    with valkey.client() as client:
        keys = client.keys(f"{processes.settings.key_prefix}*presence*")
        assert len(keys) >= 7
        assert [each for each in keys if client.ttl(each) < 0] == []


async def test_over_the_limit_only_numbers_are_told(processes: Processes) -> None:
    limits = PresenceLimits(0, 0, 10)
    first = await processes.start()
    entered = [first.enter(f"user{number}", limits=limits) for number in range(10)]
    await processes.move(2)
    watcher = await first.read(Watcher())
    assert len(watcher.members) == 10
    entered += [first.enter("one too many", limits=limits)]
    await processes.move(2)
    assert (await first.read(watcher)).count == 11
    assert (await first.store.read(ROOM, for_page=True)).members is None
    assert len(await members(first)) == 11
    for each in entered[:2]:
        await first.leave(each)
    await processes.move(2)
    await first.read(watcher)
    assert watcher.count is None
    assert watcher.states == 1
    assert set(watcher.members) == set(await members(first))


@pytest.mark.process
async def test_a_cluster_has_each_channel_in_a_slot_of_its_own() -> None:
    """The members of a killed process leave whatever the slot of their channel."""
    rooms = [f"room{number}" for number in range(12)]
    with Cluster(2) as cluster:
        settings = RedisStoreSettings(type="redis", url=cluster.url)
        processes = Processes(settings, Clock())
        first, second = await processes.start(), await processes.start()
        for room in rooms:
            first.enter("anna", room=room)
            second.enter("bob", room=room)
        # The first has no members in the slot of this one, and looks after it.
        second.enter("bob", room="elsewhere")
        await processes.move(4)
        second.kill()
        await processes.move(24)
        for room in rooms:
            snapshot = await first.store.read(room, for_page=True)
            assert set(snapshot.members or ()) == {"anna"}
        left = [each for each in processes.told if each[2] == "left"]
        assert sorted(left) == sorted(
            (room, "bob", "left") for room in [*rooms, "elsewhere"]
        )
        processes.close()


async def test_another_process_tells_what_a_killed_one_had_to_tell(
    processes: Processes,
) -> None:
    """A change that waited for its second is not lost."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    await first.until_told()
    second.enter("bob")
    await second.until_told()
    assert set((await first.read(Watcher())).members) == {"anna"}
    second.kill()
    await processes.move(6)
    assert set((await first.read(Watcher())).members) == {"anna", "bob"}


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


async def test_many_members_of_a_killed_process_leave_in_time(
    processes: Processes,
) -> None:
    """They are removed in parts, of which each blocks Redis for a short time."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna")
    for number in range(1200):
        second.enter(f"user{number}")
    await processes.move(3)
    second.kill()
    await processes.move(23)
    assert set(await members(first)) == {"anna"}
    assert set((await first.read(Watcher())).members) == {"anna"}
    assert sum(each[2] == "left" for each in processes.told) == 1200


async def test_the_members_of_many_channels_leave_in_time(
    processes: Processes,
) -> None:
    """Of a process that is killed, each channel is looked after once."""
    first, second = await processes.start(), await processes.start()
    rooms = [f"room{number}" for number in range(600)]
    for room in rooms:
        second.enter("bob", room=room)
    await second.until_told()
    await processes.move(3)
    second.kill()
    await processes.move(20)
    assert sorted(processes.told[600:]) == sorted(
        (each, "bob", "left") for each in rooms
    )
    assert not await first.store.has("room599", "ubob")


async def test_the_info_of_the_newest_connection_is_told_once(
    processes: Processes,
) -> None:
    """Whichever process it is at."""
    first, second = await processes.start(), await processes.start()
    first.enter("anna", {"name": "Anna"})
    await processes.move(2)
    second.enter("anna", {"name": "Anna B."})
    await processes.move(2)
    first.enter("anna", {"name": "Anna B."}, is_hidden=True)
    await processes.move(2)
    watcher = await first.read(Watcher())
    assert watcher.infos == {"anna": {"name": "Anna B."}}
    assert [each["joins"] for each in watcher.diffs] == [
        {"anna": {"info": {"name": "Anna"}}},
        {"anna": {"info": {"name": "Anna B."}}},
    ]
    assert len(processes.told) == 1


async def test_the_first_change_follows_the_state_of_an_empty_channel(
    processes: Processes, valkey: Valkey
) -> None:
    """Unless it was told long after the state was read, or another one before it."""
    with valkey.client() as client:
        # A new store takes each position for one from before it lost its data.
        client.set(f"{processes.settings.key_prefix}{{00}}:mark", 0)
    first = await processes.start()
    state = (await first.store.read(ROOM, for_page=True)).newest
    assert state == MessageId(0, int(processes.clock.now))
    await processes.move(2)
    for user in ("anna", "bob"):
        first.enter(user)
        await processes.move(2)
    change, later = await first.messages.page(f"presence:{ROOM}", START, 10)
    assert not misses_changes(change, state)
    assert misses_changes(later, state)
    assert misses_changes(change, MessageId(0, change.id.time - 1000))
