"""What becomes of what a channel layer loses, and of processes that fail."""

from __future__ import annotations

import time

import pytest

from pushserver_channels.exceptions import StoreUnavailable
from tests.waiting import until

from .lossy import find_layer, lose, lose_nothing
from .processes import MakeProcess, Process, until_told


async def until_joined(*processes: Process) -> None:
    """Wait until the processes have heard of each other, in their order."""
    for each in processes:
        await each.members()


@pytest.mark.parametrize("kind", ["changes", "state", "complete", "beat", "ask"])
async def test_a_lost_event_is_made_up_for(make: MakeProcess, kind: str) -> None:
    here, there = make(), make()
    await until_joined(here, there)
    page = await there.watch()
    lost = [lose(1, "presence.changes", count=1)]
    anna = here.come("anna")
    await until(lambda: lost[0]() == 1)
    lost.append(lose(0 if kind == "ask" else 1, f"presence.{kind}", count=2))
    bob = here.come("bob")
    await until(lambda: lost[1]() >= 1)
    await there.until_here("anna", "bob")
    await until_told(page, "anna", "bob")
    lose_nothing()
    here.leave(anna, bob)
    await until_told(page)
    await there.until_here()


@pytest.mark.parametrize("publisher", [0, 1])
async def test_a_lost_message_is_told_again(make: MakeProcess, publisher: int) -> None:
    processes = [make(), make()]
    await until_joined(*processes)
    pages = [await each.watch() for each in processes]
    lost = lose(1, "push.message", count=1)
    processes[publisher].come("anna")
    await until(lambda: lost() == 1)
    for page in pages:
        await until_told(page, "anna")


async def test_members_of_a_process_that_is_not_heard_come_back(
    make: MakeProcess,
) -> None:
    here, there = make(), make()
    await until_joined(here, there)
    page = await there.watch()
    here.come("anna", {"n": 1})
    await until_told(page, "anna")
    layer = find_layer()
    layer.loses = lambda number, event: event.get("sender") == here.kept.name
    await until_told(page)
    assert there.signals.sent == ["-anna"]
    lose_nothing()
    await until_told(page, "anna")
    assert page.infos == {"anna": {"n": 1}}


async def test_a_process_that_hears_nothing_takes_nobody_for_dead(
    make: MakeProcess,
) -> None:
    here, there = make(), make()
    await until_joined(here, there)
    page = await there.watch()
    there.come("anna")
    await until_told(page, "anna")
    told = len(page.diffs)
    lost = lose(0)
    await until(lambda: lost() > 60)
    lose_nothing()
    there.come("bob")
    await until_told(page, "anna", "bob")
    await here.until_here("anna", "bob")
    assert len(page.diffs) == told + 1


async def test_a_killed_process_is_replaced_by_the_next_one(make: MakeProcess) -> None:
    """What it has not told is told, and signals are sent."""
    here, there = make(), make()
    await until_joined(here, there)
    page = await there.watch()
    anna = there.come("anna")
    await until_told(page, "anna")
    await until(lambda: here.signals.sent == ["anna"])
    here.kill()
    there.come("bob")
    await until_told(page, "anna", "bob")
    there.leave(anna)
    await until_told(page, "bob")
    await until(lambda: "-anna" in there.signals.sent)
    there.come("carl")
    await until(lambda: there.signals.sent[-1] == "carl")


async def test_processes_that_are_restarted_one_after_the_other(
    make: MakeProcess,
) -> None:
    """Nobody leaves or comes who is back at another process within the grace."""
    old = [make(grace=2), make(grace=2)]
    page = await old[1].watch()
    users = [f"user{number}" for number in range(20)]
    for number, user in enumerate(users):
        old[number % 2].come(user)
    await until_told(page, *users)
    new = [make(grace=2)]
    assert set(await new[0].members()) == set(users)
    old[0].stop()
    page = await new[0].watch()
    for user in users[::2]:
        old[1].come(user)
    new.append(make(grace=2))
    assert set(await new[1].members()) == set(users)
    old[1].stop()
    pages = [await each.watch() for each in new]
    for number, user in enumerate(users):
        new[number % 2].come(user)
    brief = new[0].come("brief")
    for each in pages:
        await until_told(each, *users, "brief")
    new[0].leave(brief)
    for each in pages:
        await until_told(each, *users)
        changed = {
            name for diff in each.diffs for name in (*diff["joins"], *diff["leaves"])
        }
        assert changed == {"brief"}
    sent = [each for process in (*old, *new) for each in process.signals.sent]
    assert sorted(sent) == sorted([*users, "brief", "-brief"])


async def test_a_clock_that_was_set_back_does_not_matter(
    make: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts then counts as the oldest, and learns as another does."""
    here, there = make(grace=2), make(grace=2)
    page = await here.watch()
    here.come("anna")
    there.come("bob")
    await until_told(page, "anna", "bob")
    there.stop()
    here.come("carl")
    await until_told(page, "anna", "bob", "carl")
    with monkeypatch.context() as clock:
        clock.setattr(time, "time_ns", lambda: 0)
        late = make(grace=2)
    assert set(await late.members()) == {"anna", "bob", "carl"}
    late.come("bob")
    late.come("dora")
    await until_told(page, "anna", "bob", "carl", "dora")
    assert "bob" not in page.diffs[-1]["joins"]
    await until(lambda: late.signals.sent == ["dora"])


async def test_events_are_of_limited_size_and_number(make: MakeProcess) -> None:
    """Members of a crowd are told in parts, and are all learned by whoever starts."""
    here = make()
    await here.members()
    names = [f"user{number}" for number in range(3000)]
    for name in names:
        here.come(name, {"text": "x" * 50})
    page = await here.watch()
    late = make()
    assert set(await late.members()) == set(names)
    assert page.count == len(names)
    sent = [each for each in find_layer().events if "rooms" in each]
    words = [[word for room in each["rooms"] for word in room] for each in sent]
    counts = [sum(str(word).startswith("uuser") for word in each) for each in words]
    assert max(counts) <= 1000
    assert sum(counts) <= 2 * len(names)
    assert max(sum(len(str(word)) for word in each) for each in words) < 80_000


async def test_without_the_layer_nothing_is_told(make: MakeProcess) -> None:
    here = make()
    lose(0)
    with pytest.raises(StoreUnavailable):
        await here.watch()
