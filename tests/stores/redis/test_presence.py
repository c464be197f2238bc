"""Who is on a channel, over several processes that share Redis."""

from __future__ import annotations

import pytest

from pushserver.conf import RedisStoreSettings
from pushserver_channels.messages import START, MessageId
from pushserver_channels.presence.members import PresenceLimits
from pushserver_channels.presence.state import misses_changes
from tests.server.presence.visitors import Watcher
from tests.stores.conftest import Clock
from tests.valkey import Cluster, Valkey

from .presence import BRIEF, ROOM, Processes, members


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
