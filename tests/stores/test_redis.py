"""What a store in Redis keeps to besides the contract: over processes and faults."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import signal
import ssl
import subprocess
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pushserver.conf import RedisStoreSettings, read_settings
from pushserver.conf.readers import InvalidSetting
from pushserver.publishers import PublishError, Update
from pushserver.updates import asend_update, send_update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.hub import Hub, hubs
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.publishers import DirectPublisher
from pushserver_channels.stores import make_store
from pushserver_channels.stores.redis import RedisStore, servers
from pushserver_channels.stores.redis.errors import Unanswered
from pushserver_channels.stores.redis.scripts import GRACE
from tests.proxies import Proxy
from tests.servers import ROOT, free_port
from tests.subscribers import long_poll
from tests.valkey import Cluster, Sentinel, Valkey, replicate

from .conftest import Audience, make_redis_store
from .test_contract import CHANNELS, Model, StoreMachine

ROOM = "pushserver_channels.stores.redis"

MakeStore = Callable[..., RedisStore]

FUTURE = MessageId(2**40, 0)

_prefixes = (f"redis {number}:" for number in count())


async def until(condition: Callable[[], Any], timeout: float = 20.0) -> None:
    """Let the event loop run until a condition is true; fail after seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        assert loop.time() < deadline, f"{condition} was not true in {timeout} seconds"
        await asyncio.sleep(0.005)


@pytest.fixture
def prefix() -> str:
    """The beginning of a test's keys."""
    return next(_prefixes)


@pytest.fixture
async def make(valkey: Valkey, prefix: str) -> AsyncIterator[MakeStore]:
    """Make stores that share their messages, each as a process of its own would."""
    stores = []

    def make(url: str | None = None, **limits: Any) -> RedisStore:
        settings = RedisStoreSettings(
            type="redis", url=url or valkey.url, key_prefix=prefix, **limits
        )
        store = RedisStore(settings)
        store.attach(Audience())
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.aclose()


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[Proxy]:
    """A network between a store and Valkey."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers for a second only."""
    monkeypatch.setattr(f"{ROOM}.connection.ANSWER_TIMEOUT", 1)
    monkeypatch.setattr(f"{ROOM}.store.ANSWER_TIMEOUT", 1)
    monkeypatch.setattr(f"{ROOM}.network.ANSWER_TIMEOUT", 1)


def url_of(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def heard(store: RedisStore) -> list[bytes]:
    """Return the bodies that were handed to those who wait."""
    audience = store._listening.audience
    assert isinstance(audience, Audience)
    return [message.body for _, message in audience.delivered]


async def wait(store: RedisStore, channel_id: str = "a") -> None:
    """Let somebody wait on a channel, from now on."""
    audience = store._listening.audience
    assert isinstance(audience, Audience)
    audience.waiting.add(channel_id)
    store.listen(channel_id)
    assert await store.next(channel_id, FUTURE) is None


async def append(
    store: RedisStore, body: bytes = b"", channel_id: str = "a"
) -> Message:
    return (await store.append(Update(channel_id, body))).message


async def kept(store: RedisStore, channel_id: str = "a") -> list[bytes]:
    """Return the bodies that a reader gets, one after the other."""
    bodies, after = [], START
    while (message := await store.next(channel_id, after)) is not None:
        bodies.append(message.body)
        after = message.id
    return bodies


# Several processes


@pytest.mark.parametrize("step", ["0", "1", "1800"])
async def test_publishers_in_processes(
    make: MakeStore, valkey: Valkey, prefix: str, step: str
) -> None:
    """Under 51 publishers in 3 processes ids only grow, and who waits hears each, also
    when the clocks of the processes are set back all the time."""
    store = make()
    await wait(store)
    command = (sys.executable, "-m", "tests.stores.publish", valkey.url, prefix, "a")
    publishers = [
        await asyncio.create_subprocess_exec(
            *(*command, "17", "20", step), cwd=ROOT, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    told = []
    for publisher in publishers:
        output, _ = await publisher.communicate()
        lines = [line.split() for line in output.decode().splitlines()]
        ids = [MessageId(*map(int, line[0].split(":"))) for line in lines]
        assert ids == sorted(ids)
        told += ids
    assert len(set(told)) == 3 * 17 * 20
    audience = store._listening.audience
    assert isinstance(audience, Audience)
    await until(lambda: len(audience.delivered) == len(told))
    messages = [message for _, message in audience.delivered]
    assert [message.id for message in messages] == sorted(told)
    assert [message.previous for message in messages[1:]] == sorted(told)[:-1]


async def test_who_waits_elsewhere_is_handed_it(make: MakeStore) -> None:
    """A message reaches who waits in another process, and its publisher is told."""
    here, there = make(), make()
    await wait(there)
    appended = await here.append(Update("a", b"news", b"text/plain"))
    assert appended.delivered
    await until(lambda: heard(there))
    audience = there._listening.audience
    assert isinstance(audience, Audience)
    assert audience.delivered == [("a", appended.message)]
    assert heard(here) == []
    there.unlisten("a")
    # For a moment the other process listens on, for whoever comes back.
    await until_nobody_listens(here)
    assert not (await here.append(Update("a", b"more"))).delivered


async def test_who_comes_back_at_once(make: MakeStore, valkey: Valkey) -> None:
    """A channel on which nobody waits is listened to for a moment: whoever comes back
    costs Redis nothing, and publishers of the same process are told the truth."""
    store, other = make(), make()
    await wait(store)
    last = await append(store)
    for _ in range(3):
        store.unlisten("a")
        heard_by = store._listening.audience
        assert isinstance(heard_by, Audience)
        heard_by.waiting.discard("a")
        appended = await store.append(Update("a", b""))
        assert not appended.delivered
        assert appended.info.subscribers == 0
        assert (await store.info("a")).subscribers == 0
        last = appended.message
    valkey.run("CONFIG", "RESETSTAT")
    for _ in range(3):
        store.listen("a")
        assert store.has_nothing("a", last.id)
        assert not store.has_nothing("a", FUTURE)
        assert await store.next("a", last.id) is None
        store.unlisten("a")
    with valkey.client() as client:
        assert not {"cmdstat_evalsha", "cmdstat_subscribe"} & {
            *client.info("commandstats")
        }
    store.listen("a")
    heard_by.waiting.add("a")
    assert (await other.append(Update("a", b"1"))).delivered
    await until(lambda: heard(store)[-1:] == [b"1"])
    store.unlisten("a")
    await until_nobody_listens(other)
    assert not store.has_nothing("a", last.id)


async def until_nobody_listens(store: RedisStore) -> None:
    """Wait until no other process than a store's listens to the channel ``a``."""
    deadline = asyncio.get_running_loop().time() + 20
    while (await store.info("a")).subscribers:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_subscribers_of_other_processes(make: MakeStore) -> None:
    """Channel info counts each other process with subscribers, and not this one."""
    stores = [make() for _ in range(3)]
    assert (await stores[0].create("a")).subscribers == 0
    for store in stores:
        await wait(store)
    assert [(await store.info("a")).subscribers for store in stores] == [2, 2, 2]
    appended = await stores[0].append(Update("a", b""))
    assert appended.info.subscribers == 2
    assert (await stores[0].delete("a")).subscribers == 2


async def test_deleted_elsewhere(make: MakeStore) -> None:
    """Who waits is told when another process deletes the channel."""
    here, there = make(), make()
    await wait(here)
    await wait(there)
    await here.delete("a")
    for store in (here, there):
        audience = store._listening.audience
        assert isinstance(audience, Audience)
        await until(lambda audience=audience: audience.dropped == ["a"])
    with pytest.raises(ChannelNotFound):
        await there.next("a", FUTURE, create=False)


async def test_a_subscriber_that_moves(make: MakeStore) -> None:
    """Who polls another process each time gets each message once and in order."""
    loop = asyncio.get_running_loop()
    publisher = make()
    hubs = [Hub(make(), loop) for _ in range(3)]

    async def subscribe(number: int) -> list[bytes]:
        bodies, after = [], START
        while len(bodies) < 200:
            number += 1
            message = await long_poll(hubs[number % 3], "a", after)
            assert message is not None
            assert message.gap_after(after) is None
            bodies.append(message.body)
            after = message.id
        return bodies

    subscribers = [asyncio.create_task(subscribe(number)) for number in range(5)]
    numbered = [b"%d" % number for number in range(200)]
    for body in numbered:
        await append(publisher, body)
    assert await asyncio.gather(*subscribers) == [numbered] * 5


async def test_a_look_for_all_who_come(make: MakeStore, valkey: Valkey) -> None:
    """To its polls a process hands each message without asking Redis for anything."""
    loop = asyncio.get_running_loop()
    hub = Hub(make(), loop)

    async def subscribe() -> None:
        after = START
        for _ in range(10):
            message = await long_poll(hub, "a", after)
            assert message is not None
            after = message.id

    subscribers = [asyncio.create_task(subscribe()) for _ in range(100)]
    for number in range(10):
        await until(lambda: len(hub.waiting.get("a", ())) == 100)
        if number == 1:
            # From now on everybody has come back at least once.
            started = loop.time()
            valkey.run("CONFIG", "RESETSTAT")
        await hub.publish(Update("a", b""))
    await asyncio.gather(*subscribers)
    with valkey.client() as client:
        stats = client.info("commandstats")
    # One to append each message, and now and then a look to record the requests.
    seconds = loop.time() - started
    assert stats["cmdstat_evalsha"]["calls"] <= 9 + 2 * (seconds + 1)
    assert not {"cmdstat_eval", "cmdstat_subscribe", "cmdstat_unsubscribe"} & {*stats}


async def test_an_id_of_the_future_elsewhere(make: MakeStore) -> None:
    """An id of the future waits for the next message, also while the store looks."""
    hub, publisher = Hub(make(), asyncio.get_running_loop()), make()
    # Who has to connect first may look only after the last message of a round.
    await hub.create("a")
    messages = []
    for number in range(50):
        waiting = asyncio.create_task(long_poll(hub, "a", FUTURE))
        await asyncio.sleep(0)
        bodies = [b"%d" % number, b"%d more" % number]
        messages += [await append(publisher, body) for body in bodies]
        if not waiting.done():
            messages.append(await append(publisher, b"last"))
        # The last one of the round before may be only on its way here.
        assert await waiting in messages[-4:]


# Keys


async def test_keys_expire(make: MakeStore, valkey: Valkey, prefix: str) -> None:
    """Keys of a channel are gone some time after its messages and its last use."""
    store = make(message_timeout=10, channel_timeout=100)
    await append(store)
    with valkey.client() as client:
        assert 10 <= client.ttl(f"{prefix}{{00}}:messages:a") <= 13
        assert 100 < client.ttl(f"{prefix}{{00}}:channel:a") <= 100 + 3600
        await store.delete("a")
        assert not client.exists(f"{prefix}{{00}}:messages:a")
        assert 0 < client.ttl(f"{prefix}{{00}}:channel:a") <= 3600
        await store.next("a", START)
        assert 100 < client.ttl(f"{prefix}{{00}}:channel:a") <= 100 + 3600


@pytest.mark.parametrize(
    "limits", [{}, {"min_messages": 1, "message_timeout": 10}, {"channel_timeout": 0}]
)
async def test_keys_for_ever(
    make: MakeStore, valkey: Valkey, prefix: str, limits: dict[str, int]
) -> None:
    """Keys of what is kept for ever do not expire."""
    store = make(**limits)
    await append(store)
    with valkey.client() as client:
        assert client.ttl(f"{prefix}{{00}}:messages:a") == -1
        assert client.ttl(f"{prefix}{{00}}:channel:a") == -1


async def test_an_evicted_hash(make: MakeStore, valkey: Valkey, prefix: str) -> None:
    """Ids go on over an eviction of what is known of a channel beside its messages."""
    store = make()
    first = await append(store, b"1")
    with valkey.client() as client:
        client.delete(f"{prefix}{{00}}:channel:a")
    second = await append(store, b"2")
    assert second.id > first.id
    assert second.previous == first.id
    assert await kept(store) == [b"1", b"2"]


async def test_forgotten_scripts(make: MakeStore, valkey: Valkey) -> None:
    """Redis is taught its scripts again when it has forgotten them."""
    store = make()
    await append(store, b"1")
    valkey.run("SCRIPT", "FLUSH")
    await append(store, b"2")
    assert await kept(store) == [b"1", b"2"]


async def test_a_store_that_was_emptied(make: MakeStore, prefix: str) -> None:
    """Ids grow when a store was emptied, and who comes back is told of the gap."""
    with Valkey() as own:
        store = make(own.url)
        own.run("SET", f"{prefix}{{00}}:mark", 1)  # It was there for long.
        await append(store, b"1")
        before = await append(store, b"2")
        own.run("FLUSHALL")
        after = await append(store, b"3")
        assert after.id > before.id
        found = await store.next("a", before.id)
        assert found == after
        gap = found.gap_after(before.id)
        assert gap is not None
        assert before.id < gap < after.id
        assert found.gap_after(START) is None
        # Emptied twice in one second, it gives no id twice.
        for _ in range(20):
            own.run("FLUSHALL")
            again = await append(store, b"4")
            assert again.id > after.id
            assert again.gap_after(after.id) is not None
            after = again


@pytest.mark.parametrize(("prefix_of_other", "database"), [("other:", 0), ("", 1)])
async def test_two_stores_of_one_redis(
    make: MakeStore,
    valkey: Valkey,
    prefix: str,
    prefix_of_other: str,
    database: int,
) -> None:
    """Stores in one Redis with different prefixes or databases share nothing."""
    store = make()
    other = RedisStore(
        RedisStoreSettings(
            type="redis",
            port=valkey.port,
            database=database,
            key_prefix=prefix_of_other or prefix,
        )
    )
    await wait(store)
    await other.append(Update("a", b"other"))
    assert await kept(store) == []
    assert heard(store) == []
    await other.delete("a")
    await other.aclose()


# Faults


async def test_a_killed_connection(make: MakeStore, valkey: Valkey) -> None:
    """Who waits is handed the next message also if the connection was killed."""
    here, there = make(), make()
    await wait(here)
    for number in range(10):
        body = b"%d" % number
        valkey.run("CLIENT", "KILL", "TYPE", "pubsub")
        await append(there, body)
        await until(lambda body=body: body in heard(here))
    assert heard(here) == [b"%d" % number for number in range(10)]


async def test_published_while_cut_off(
    make: MakeStore, proxy: Proxy, soon: None
) -> None:
    """Who waits is handed what was published while the process was cut off."""
    here, there = make(url_of(proxy)), make()
    await wait(here)
    await append(there, b"1")
    await until(lambda: heard(here) == [b"1"])
    proxy.cut()
    for body in (b"2", b"3", b"4"):
        assert not (await there.append(Update("a", body))).delivered
    with pytest.raises(StoreUnavailable):
        await append(here, b"no")
    with pytest.raises(StoreUnavailable):
        await here.next("a", START)
    proxy.mend()
    await until(lambda: len(heard(here)) == 4)
    await until(lambda: here._listeners[here._find("a").topic].is_live)
    await append(there, b"5")
    await until(lambda: len(heard(here)) == 5)
    assert heard(here) == [b"1", b"2", b"3", b"4", b"5"]


async def test_refused_after_a_cut(
    make: MakeStore,
    valkey: Valkey,
    proxy: Proxy,
    soon: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who waits is handed what was missed also if Redis at first refuses to tell."""
    here, there = make(url_of(proxy)), make()
    await wait(here)
    await append(there, b"1")
    await until(lambda: heard(here) == [b"1"])
    proxy.cut()
    await append(there, b"2")
    key = here._find("a").keys[0]
    valkey.run("RENAME", key, f"{key} elsewhere")
    valkey.run("SET", key, "no stream")
    proxy.mend()
    await until(lambda: "Redis refuses" in caplog.text)
    valkey.run("RENAME", f"{key} elsewhere", key)
    await until(lambda: heard(here) == [b"1", b"2"])
    await append(there, b"3")
    await until(lambda: heard(here) == [b"1", b"2", b"3"])


@pytest.mark.usefixtures("push_server")
def test_event_loops_one_after_the_other() -> None:
    """What an event loop has left open when it ended is no matter to the next one."""

    async def publish() -> bool:
        return (await hubs.get("default").publish(Update("a", b"")))[1].messages > 0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert [asyncio.run(publish()) for _ in range(2)] == [True, True]
        hubs.reset()
        gc.collect()


async def test_published_while_half_open(
    make: MakeStore, proxy: Proxy, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that passes nothing on is noticed, and nothing is lost by it."""
    monkeypatch.setattr(f"{ROOM}.connection.SILENCE", 1)
    here, there = make(url_of(proxy)), make()
    await wait(here)
    proxy.freeze()
    await append(there, b"1")
    await until(lambda: here._network.shards[0].connection is None)
    proxy.mend()
    await until(lambda: heard(here) == [b"1"])


async def test_an_answer_that_is_lost(make: MakeStore, proxy: Proxy) -> None:
    """A message is kept once if the connection ends before Redis has answered."""
    store, other = make(url_of(proxy)), make()
    await append(store, b"1")
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(store.append(Update("a", b"2", b"text/plain")))
    await until(lambda: heard(other) == [b"2"])
    proxy.cut()
    more = [b"%d" % number for number in range(3, 203)]
    for body in more:
        await append(other, body)
    proxy.mend()
    appended = await appending
    assert appended.message == await other.next("a", (await oldest(other)).id)
    assert appended.delivered
    assert await kept(other) == [b"1", b"2", *more]
    assert heard(other) == [b"2", *more]


async def test_an_answer_that_is_lost_to_a_message_that_is_gone(
    make: MakeStore, proxy: Proxy
) -> None:
    """A message that may have been there and dropped is not sent again."""
    store, other = make(url_of(proxy), max_messages=1), make(max_messages=1)
    await append(store, b"1")
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(append(store, b"2"))
    await until(lambda: heard(other) == [b"2"])
    proxy.cut()
    await append(other, b"3")
    proxy.mend()
    with pytest.raises(Unanswered):
        await appending
    assert heard(other) == [b"2", b"3"]


async def oldest(store: RedisStore) -> Message:
    message = await store.next("a", START)
    assert message is not None
    return message


async def test_an_answer_that_is_lost_to_a_message_that_is_not_kept(
    make: MakeStore, proxy: Proxy
) -> None:
    """A message that is not kept is not sent again, and its publisher is told."""
    store, other = make(url_of(proxy)), make()
    await append(store)
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(store.append(Update("a", b"now"), keep=False))
    await until(lambda: heard(other) == [b"now"])
    proxy.mend()
    with pytest.raises(Unanswered):
        await appending
    assert heard(other) == [b"now"]


async def test_a_question_that_is_lost(make: MakeStore, proxy: Proxy) -> None:
    """A message that never reached Redis is sent again."""
    store = make(url_of(proxy))
    await append(store, b"1")
    proxy.freeze()
    appending = asyncio.create_task(append(store, b"2"))
    await until(
        lambda: (
            store._network.shards[0].connection
            and store._network.shards[0].connection._pending
        )
    )
    proxy.mend()
    await appending
    assert await kept(store) == [b"1", b"2"]


async def test_an_answer_that_comes_after_a_restart(make: MakeStore) -> None:
    """A message that was under way when Redis died is answered when Redis is back."""
    with Valkey(persistent=True) as own, Proxy(own.port) as proxy:
        store = make(url_of(proxy))
        await append(store, b"1")
        proxy.lose_answers()
        appending = asyncio.create_task(append(store, b"2"))
        await until(
            lambda: (
                store._network.shards[0].connection
                and store._network.shards[0].connection._pending
            )
        )
        await until(lambda: own.run("XLEN", store._find("a").keys[0]) == 2)
        proxy.cut()
        own.stop(signal.SIGKILL)
        await until(lambda: store._network.shards[0].failures)
        own.start()
        proxy.mend()
        message = await appending
        assert await kept(store) == [b"1", b"2"]
        assert message == await store.next("a", (await oldest(store)).id)


async def test_a_redis_that_stands_still(make: MakeStore, soon: None) -> None:
    """What was refused because Redis stood still is not published when it goes on."""
    with Valkey() as own:
        store = make(own.url)
        await append(store, b"1")
        own.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            await append(store, b"2")
        own.process.send_signal(signal.SIGCONT)
        await until(lambda: own.run("PING"))
        assert await kept_at_last(store) == [b"1"]
        await append(store, b"3")
        assert await kept(store) == [b"1", b"3"]


async def kept_at_last(store: RedisStore) -> list[bytes]:
    """Return the bodies that a reader gets who tries until there is an answer."""
    while True:
        try:
            return await kept(store)
        except StoreUnavailable:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_the_clock_of_redis_is_set(make: MakeStore, step: float) -> None:
    """That the clock of Redis was set refuses no message."""
    store = make()
    first = await append(store, b"1")
    line = store._network.shards[0].connection
    assert line is not None
    line.set_clock(line.clock + step)
    second = await append(store, b"2")
    assert second.previous == first.id
    assert await kept(store) == [b"1", b"2"]


@pytest.mark.parametrize("persistent", [True, False])
async def test_a_restart(
    make: MakeStore, prefix: str, soon: None, persistent: bool
) -> None:
    """After a restart publishing goes on, and who waits is handed the next message."""
    with Valkey(persistent=persistent) as own:
        here, there = make(own.url), make(own.url)
        own.run("SET", f"{prefix}{{00}}:mark", 1)  # It was there for long.
        await wait(here)
        before = await append(there, b"1")
        await until(lambda: heard(here) == [b"1"])
        own.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            await append(there, b"no")
        own.start()
        while True:
            try:
                after = await append(there, b"2")
                break
            except StoreUnavailable:
                await asyncio.sleep(0.01)
        assert after.id > before.id
        assert after.gap_after(before.id) is None or not persistent
        await until(lambda: heard(here) == [b"1", b"2"])
        assert await kept(there) == ([b"1", b"2"] if persistent else [b"2"])


async def test_a_restart_that_takes_long(make: MakeStore) -> None:
    """A Redis that is reading its append-only file loses nothing, and tells no gap."""
    with Valkey("--key-load-delay", "60", persistent=True) as own:
        store = make(own.url)
        before = await append(store, b"1")
        with own.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(10_000):
                pipeline.set(f"other {number}", number)
            pipeline.execute()
        own.stop(signal.SIGKILL)
        # It connects while Redis is reading, and asks for something only later.
        store.listen("b")
        await asyncio.to_thread(own.start)
        assert (await publish_at_last(store, b"2")).previous == before.id


async def test_a_channel_that_nothing_is_known_of(
    make: MakeStore, valkey: Valkey, prefix: str
) -> None:
    """A channel whose keys have all expired tells of what it may have had before."""
    store = make()
    valkey.run("SET", f"{prefix}{{00}}:mark", 1)  # The store was there for long.
    new = await append(store)
    long_ago = MessageId(new.id.time - GRACE - 1, 0)
    assert new.gap_after(long_ago) is not None
    assert new.gap_after(long_ago._replace(tag=3)) is not None
    assert new.gap_after(MessageId(new.id.time - 1, 0)) is None


async def test_a_restart_with_old_data(make: MakeStore, soon: None) -> None:
    """Where a restart has lost the newest messages, who comes back is told of the gap,
    and who waits is handed nothing twice."""
    with Valkey() as own:
        here, there = make(own.url), make(own.url)
        await wait(here)
        first = await append(there, b"1")
        own.run("SAVE")
        lost = await append(there, b"lost")
        other = await append(there, b"lost", "b")
        await until(lambda: heard(here) == [b"1", b"lost"])
        own.stop(signal.SIGKILL)
        own.start()
        await until(
            lambda: (line := here._network.shards[0].connection) and not line.error
        )
        after = await publish_at_last(there, b"2")
        assert after.id > lost.id
        gap = after.gap_after(first.id)
        assert gap is not None
        assert lost.id < gap
        assert (await append(there, b"2", "b")).gap_after(other.id) is not None
        assert (await append(there, b"3")).previous == after.id
        await until(lambda: b"3" in heard(here))
        assert heard(here) == [b"1", b"lost", b"2", b"3"]
        assert await kept(there) == [b"1", b"2", b"3"]


async def test_a_redis_that_tells_nothing_of_itself(make: MakeStore) -> None:
    """A user who may not ask Redis for its run publishes all the same."""
    with Valkey("--user", "push", "on", "nopass", "~*", "&*", "+@all", "-info") as own:
        store = make(f"redis://push:any@127.0.0.1:{own.port}/0")
        first = await append(store, b"1")
        assert (await append(store, b"2")).previous == first.id


async def test_out_of_memory(make: MakeStore, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that is full refuses messages, says so once, and keeps what it has."""
    with Valkey("--maxmemory-policy", "noeviction") as own:
        store = make(own.url, message_timeout=60)
        await append(store, b"1")
        own.run("CONFIG", "SET", "maxmemory", 1)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await append(store, b"2")
        told = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert len(told) == 1
        assert "maxmemory" in told[0].getMessage()
        own.run("CONFIG", "SET", "maxmemory", 0)
        await append(store, b"3")
        assert await kept(store) == [b"1", b"3"]


async def test_nobody_there(make: MakeStore) -> None:
    """Without a Redis each method says that the store is unavailable."""
    with Valkey() as own:
        url = own.url
    store = make(url)
    for attempt in (
        store.append(Update("a", b"")),
        store.next("a", START),
        store.info("a"),
        store.create("a"),
        store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    store.listen("a")
    store.unlisten("a")


# Ways to a server


async def test_a_password(make: MakeStore) -> None:
    """The URL may hold a password, without which Redis refuses."""
    with Valkey("--user", "push", "on", ">sesame", "~*", "&*", "+@all") as own:
        own.run("CONFIG", "SET", "requirepass", "other")
        store = make(f"redis://push:sesame@127.0.0.1:{own.port}/3")
        await append(store, b"1")
        assert await kept(store) == [b"1"]
        store = make(f"redis://push:wrong@127.0.0.1:{own.port}/3")
        with pytest.raises(StoreUnavailable):
            await append(store, b"2")


async def test_a_unix_socket(make: MakeStore, tmp_path: Path) -> None:
    """Redis is asked over a socket of this machine too."""
    socket = tmp_path / "redis.sock"
    with Valkey("--unixsocket", str(socket)):
        store = make(f"unix://{socket}?db=1")
        await wait(store)
        assert (await store.append(Update("a", b"1"))).delivered
        assert await kept(store) == [b"1"]


async def test_no_permission_to_subscribe(make: MakeStore) -> None:
    """Where Redis forbids pub/sub the store is unavailable, as its log says."""
    with Valkey(
        "--user", "push", "on", "nopass", "~*", "&*", "+@all", "-subscribe"
    ) as own:
        store = make(f"redis://push:any@127.0.0.1:{own.port}/0")
        await append(store, b"1")
        store.listen("a")
        with pytest.raises(StoreUnavailable):
            await store.next("a", FUTURE)


async def test_tls(make: MakeStore, valkey: Valkey, tmp_path: Path) -> None:
    """A rediss:// URL is asked over TLS, and its certificate is checked."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Proxy(valkey.port, tls=context) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        store = make(f"{url}?ssl_ca_certs={certificate}")
        await append(store, b"1")
        assert await kept(store) == [b"1"]
        with pytest.raises(StoreUnavailable):
            await append(make(url), b"2")


def make_certificate(directory: Path) -> Path:
    """Return a file with a certificate for localhost that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def publish_at_last(store: RedisStore, body: bytes) -> Message:
    """Append a message as soon as there is a server again."""
    while True:
        try:
            return await append(store, body)
        except StoreUnavailable:
            await asyncio.sleep(0.05)


async def test_sentinel(make: MakeStore) -> None:
    """When Sentinel promotes a replica, publishing and waiting go on there."""
    with Valkey() as master, Valkey() as replica:
        replicate(replica, master)
        with Sentinel(master) as sentinel:
            sentinel.wait_until_replicas(1)
            here, there = make(sentinel.url), make(sentinel.url)
            await wait(here)
            before = await append(there, b"1")
            await until(lambda: heard(here) == [b"1"])
            master.stop(signal.SIGKILL)
            after = await publish_at_last(there, b"2")
            await until(lambda: heard(here) == [b"1", b"2"])
            assert await kept_at_last(here) == [b"1", b"2"]
            # Nobody knows what the replica had not yet got.
            assert after.gap_after(before.id) is not None


async def test_no_sentinel(make: MakeStore, caplog: pytest.LogCaptureFixture) -> None:
    """Where no sentinel names a master, the log says so, and no password."""
    url = f"redis+sentinel://:sesame@127.0.0.1:{free_port()}/main"
    with pytest.raises(StoreUnavailable):
        await append(make(f"{url}?sentinel_password=sesame"))
    assert "No sentinel names a master of 'main'." in caplog.text
    assert "sesame" not in caplog.text


async def test_cluster(make: MakeStore) -> None:
    """Channels are dealt to the servers of a cluster, and outlive one of these."""
    with Cluster(replicas=True) as cluster:
        here, there = make(cluster.url), make(cluster.url)
        channels = [f"channel {number}" for number in range(20)]
        for channel_id in channels:
            await wait(here, channel_id)
            appended = await there.append(Update(channel_id, b"1"))
            assert appended.delivered
            assert appended.info.subscribers == 1
        assert len(there._network._connections) == 3
        await until(lambda: len(heard(here)) == len(channels))
        cluster.masters[0].stop(signal.SIGKILL)
        for channel_id in channels:
            while True:
                try:
                    await there.append(Update(channel_id, b"2"))
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
        await until(lambda: len(heard(here)) == 2 * len(channels))


async def test_a_channel_that_moves_in_a_cluster(make: MakeStore) -> None:
    """Who waits goes on to hear a channel that a cluster moves to another server."""
    with Cluster(2) as cluster:
        here, there = make(cluster.url), make(cluster.url)
        await wait(here)
        await append(there, b"1")
        await until(lambda: heard(here) == [b"1"])
        channel = here._find("a")
        _, port = await here._network._servers.find(channel.keys[0])
        source, target = sorted(cluster.masters, key=lambda node: node.port != port)
        slot = source.run("CLUSTER", "KEYSLOT", channel.keys[0])
        ids = [node.run("CLUSTER", "MYID") for node in (source, target)]
        target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        keys = source.run("CLUSTER", "GETKEYSINSLOT", slot, 100)
        source.run(
            *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys),
        )
        for node in (target, source):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        await publish_at_last(there, b"2")
        await until(lambda: heard(here) == [b"1", b"2"])
        assert await kept_at_last(here) == [b"1", b"2"]


# Publishing from any process


@pytest.fixture
def push_server(valkey: Valkey, prefix: str) -> Iterator[None]:
    """A site whose stores are in Valkey, in a process without a push server."""
    hubs.reset()
    with override_settings(
        PUSH_SERVER={
            "store": {
                name: {
                    "type": "redis",
                    "url": valkey.url,
                    "key_prefix": prefix + extra,
                }
                for name, extra in (("default", ""), ("other", "other "))
            }
        }
    ):
        yield
    hubs.reset()


def connections(valkey: Valkey) -> int:
    with valkey.client() as client:
        return int(client.info("clients")["connected_clients"])


@pytest.mark.usefixtures("push_server")
async def test_publishing_without_a_server(make: MakeStore, valkey: Valkey) -> None:
    """Any process publishes straight to a shared store, over one connection."""
    store = make()
    await wait(store)
    before = connections(valkey)
    assert DirectPublisher().is_available()
    receipt = await asend_update("a", {"n": 1})
    assert receipt is not None
    assert receipt.status == 201
    assert receipt.info is not None
    assert receipt.info["messages"] == 1
    await until(lambda: heard(store) == [b'{"n": 1}'])
    store.unlisten("a")
    await until(lambda: not store._listeners)
    await store.info("a")  # Commands run in order.
    receipt = await asend_update("a", {"n": 2})
    assert receipt is not None
    assert receipt.status == 202
    assert connections(valkey) <= before + 1


@pytest.mark.usefixtures("push_server")
async def test_publishing_from_sync_code(make: MakeStore) -> None:
    """Sync code in threads publishes too."""
    store = make()
    await wait(store)

    def publish() -> list[int]:
        receipts = [send_update("a", number) for number in range(5)]
        return [receipt.status for receipt in receipts if receipt is not None]

    told = await asyncio.gather(*(asyncio.to_thread(publish) for _ in range(3)))
    assert told == [[201] * 5] * 3
    await until(lambda: len(heard(store)) == 15)


@pytest.mark.usefixtures("push_server")
async def test_publishing_beside_a_server(make: MakeStore) -> None:
    """Where a push server runs in the process, its connection is taken."""
    store = make()
    hub = hubs.get("default")
    await hub.create("a")
    await wait(store)
    line = hub.store._network.shards[0].connection  # type: ignore[attr-defined]
    receipt = await asyncio.to_thread(send_update, "a", 1)
    assert receipt is not None
    assert receipt.status == 201
    assert hub.store._network.shards[0].connection is line  # type: ignore[attr-defined]
    await hub.store.aclose()


@pytest.mark.process
async def test_publishing_without_redis() -> None:
    """Without Redis send_update says so, or logs it if it is to ignore errors."""
    with Valkey() as own:
        url = own.url
    with override_settings(PUSH_SERVER={"store": {"type": "redis", "url": url}}):
        with pytest.raises(PublishError, match="unavailable") as error:
            await asend_update("a", 1)
        assert error.value.status == 503
        assert await asend_update("a", 1, ignore_errors=True) is None


@pytest.mark.usefixtures("push_server")
async def test_named_stores() -> None:
    """Stores of several names are used side by side."""
    one, other = hubs.get("default"), hubs.get("other")
    await one.publish(Update("a", b"news"))
    with pytest.raises(ChannelNotFound):
        await other.info("a")
    for hub in (one, other):
        await hub.store.aclose()


# Settings


def test_old_settings() -> None:
    """Host, port and database are taken instead of a URL, as they always were."""
    conf = read_settings(
        {
            "store": {
                "type": "redis",
                "host": "redis.example.com",
                "port": 6380,
                "database": 2,
                "key_prefix": "",
            }
        }
    )
    store = conf.store["default"]
    assert isinstance(store, RedisStoreSettings)
    assert store.address == "redis://redis.example.com:6380/2"
    assert store.key_prefix == ""
    assert store.shared
    assert RedisStoreSettings(type="redis").address == "redis://127.0.0.1:6379/0"
    assert (
        RedisStoreSettings(type="redis", host="::1").address == "redis://[::1]:6379/0"
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", "http://localhost"),
        ("url", "localhost:6379"),
        ("url", "redis:"),
        ("url", 1),
        ("host", ""),
        ("port", 0),
        ("database", -1),
        ("key_prefix", "a{b"),
        ("key_prefix", 1),
        ("max_channels", 1),
    ],
)
def test_settings_that_are_refused(setting: str, value: object) -> None:
    """A setting that Redis cannot serve is refused by name."""
    with pytest.raises(InvalidSetting) as error:
        read_settings({"store": {"type": "redis", setting: value}})
    assert f"['{setting}']" in str(error.value)


def test_a_host_beside_a_url() -> None:
    """A host beside a URL is refused: one of them would not be asked."""
    store = {"type": "redis", "url": "redis://localhost", "host": "localhost"}
    with pytest.raises(InvalidSetting, match="beside a 'url'"):
        read_settings({"store": store})


@pytest.mark.parametrize(
    "other",
    [
        {"url": "redis://localhost:6379/1"},
        {"host": "localhost", "database": 1},
        {"url": "redis://localhost:6379/1", "max_messages": 3},
    ],
)
def test_two_stores_in_one_place(other: dict[str, Any]) -> None:
    """Two stores that would share their channels are refused."""
    stores = {
        "default": {"type": "redis", "url": "redis://localhost:6379/1"},
        "other": {"type": "redis", **other},
    }
    with pytest.raises(InvalidSetting, match="'default'.*'key_prefix'"):
        read_settings({"store": stores})
    stores["other"]["key_prefix"] = "other:"
    assert set(read_settings({"store": stores}).store) == {"default", "other"}


def test_a_url_is_not_told() -> None:
    """A URL that is refused is not shown: it may hold a password."""
    with pytest.raises(InvalidSetting) as error:
        read_settings({"store": {"type": "redis", "url": "http://:sesame@localhost"}})
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
@pytest.mark.parametrize("mark", "/#?")
def test_a_password_is_not_told(kind: str, mark: str) -> None:
    """A URL is refused without a word of a password that was not quoted."""
    url = f"redis{kind}://user:sesame{mark}open@localhost:6379/service"
    settings = RedisStoreSettings(type="redis", url=url)
    with pytest.raises(ImproperlyConfigured, match="%2F") as error:
        make_store(settings)
    told = "".join(traceback.format_exception(error.value))
    assert "sesame" not in told
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://localhost",
        "redis+sentinel://localhost:x/service",
        "redis+cluster://localhost,:6379",
        "redis+cluster://::1",
        "redis+cluster://[::1]x",
        "redis://localhost/one",
        "redis+sentinel://localhost/service/one",
        "redis://localhost?no_such_option=1",
        "redis+cluster://localhost?no_such_option=1",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """A URL that redis-py cannot use is a configuration error."""
    settings = RedisStoreSettings(type="redis", url=url)
    with pytest.raises(ImproperlyConfigured, match="URL"):
        make_store(settings)


def test_several_hosts() -> None:
    """A URL of Sentinel or of a cluster names several hosts, with or without ports."""
    sentinels = servers.find_servers(
        "rediss+sentinel://me:pass@one,[::1]:2,three:3/main/4?sentinel_password=x"
    )
    assert isinstance(sentinels, servers.SentinelServers)
    assert sentinels._hosts == [("one", 26379), ("::1", 2), ("three", 3)]
    assert sentinels._service == "main"
    assert sentinels._sentinel_options["password"] == "x"
    assert sentinels._sentinel_options["ssl"]
    connection: Any = sentinels.connection(("one", 1))
    assert (connection.host, connection.port, connection.db) == ("one", 1, 4)
    assert (connection.username, connection.password) == ("me", "pass")
    cluster = servers.find_servers("redis+cluster://[fe80::2],[::1]:2,two:2")
    assert isinstance(cluster, servers.ClusterServers)
    assert cluster._hosts == [("fe80::2", 6379), ("::1", 2), ("two", 2)]


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py a store of the type redis says how to install it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    with pytest.raises(
        ImproperlyConfigured, match=r"pip install django-pushserver\[redis\]"
    ):
        make_store(RedisStoreSettings(type="redis"))


# The store against a model of it


class RedisStoreMachine(StoreMachine):
    """Does anything with a store in Redis, and expects what the model does."""

    valkey: Valkey

    @initialize(
        min_messages=st.integers(0, 2),
        max_messages=st.sampled_from([0, 2, 3, 5]),
        message_timeout=st.sampled_from([0, 1, 5]),
        channel_timeout=st.sampled_from([0, 3, 10]),
        steps_back=st.booleans(),
    )
    def start(self, steps_back: bool, **limits: int) -> None:
        super().start(steps_back=steps_back, max_channels=0, **limits)

    def make_store(self, **limits: int) -> RedisStore:
        return make_redis_store(self.valkey, self.clock, **limits)

    def first_previous(self, channel_id: str, message_id: MessageId) -> object:
        # A channel keeps its own ids for a while, and after that none can be younger.
        oldest = MessageId(int(self.clock.now) - GRACE, 0)
        return self.last_ids.get(channel_id) or oldest

    def find(self, channel_id: str, create: bool) -> Model | type[Exception]:
        # It is not swept: what is due is forgotten when it is asked for.
        channel = self.channels.get(channel_id)
        if channel is not None:
            self.expire(channel)
            idle = self.clock.now - channel.used_at
            if (
                0 < self.limits["channel_timeout"] <= idle
                and not channel.messages
                and channel_id not in self.subject.audience.waiting
            ):
                self.drop(channel_id)
        return super().find(channel_id, create)

    @rule(channel_id=CHANNELS)
    def wait(self, channel_id: str) -> None:
        # Who waits has looked, and so has made the channel.
        self.next(
            channel_id=channel_id, after=FUTURE, step=0, create=True, at_once=False
        )
        super().wait(channel_id=channel_id)
        self.next(
            channel_id=channel_id, after=FUTURE, step=0, create=True, at_once=False
        )

    def free(self) -> None:
        pass

    def no_channel_is_kept_in_secret(self) -> None:
        pass


@pytest.fixture
def valkey_of_machine(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisStoreMachine, "valkey", valkey, raising=False)
    for module in ("listening", "store"):
        monkeypatch.setattr(f"{ROOM}.{module}.RECORD_INTERVAL", 0)


RedisStoreMachine.TestCase.settings = settings(max_examples=50)
TestRedisStoreMachine = pytest.mark.usefixtures("valkey_of_machine")(
    RedisStoreMachine.TestCase
)
