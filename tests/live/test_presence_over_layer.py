"""Who is on a channel, over two servers with a channel layer in Redis between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.servers import need_redis
from tests.servers import ServerProcess, daphne
from tests.stores.conftest import LAYERS, need_channels_redis
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import COMPLAINTS, settings_on
from .presence import LiveWatcher, come, names
from .streaming import LiveStream

#: Seconds in which the members of a killed server must have left, besides the grace.
LATEST = 8

GRACE = 1

Start = Callable[[], ServerProcess]


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """The Redis of the layer."""
    need_redis()
    need_channels_redis()
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(
    params=[in_tier(name, {"redis"}, "presence over a layer") for name in LAYERS][1:]
)
def start(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[Start]:
    """Start servers with one channel layer between them."""
    with ExitStack() as stack:
        layer = {"BACKEND": LAYERS[request.param], "CONFIG": {"hosts": [valkey.url]}}
        conf = {
            **settings_on(
                valkey,
                presence=True,
                presence_grace=GRACE,
                authorize="tests.server.presence.visitors.may_listen",
            ),
            "store": {"type": "channel_layer"},
        }

        def start() -> ServerProcess:
            server = daphne(
                conf,
                DJANGO_SETTINGS_MODULE="tests.conformance.settings",
                TEST_CHANNEL_LAYERS=json.dumps({"default": layer}),
            )
            return stack.enter_context(server)

        yield start


@pytest.fixture
def servers(start: Start) -> Iterator[list[ServerProcess]]:
    """Two servers, to which a test may add."""
    servers = [start(), start()]
    yield servers
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture
async def streams() -> AsyncIterator[list[LiveStream]]:
    """Streams that are closed at the end."""
    streams: list[LiveStream] = []
    yield streams
    for each in streams:
        each.close()


async def test_members_come_and_go_at_two_servers(
    servers: list[ServerProcess],
    channel_id: str,
    start: Start,
    streams: list[LiveStream],
) -> None:
    """Also those of a killed one; a server that starts knows who is there."""
    one, other = servers
    watching = [await LiveWatcher.open(each, channel_id) for each in servers]
    visitors = {
        name: await come(servers[number % 2], channel_id, name)
        for number, name in enumerate(sorted(names(20)))
    }
    streams += [each.stream for each in watching]
    streams += [*visitors.values(), await come(other, channel_id, None)]
    streams.append(await come(one, channel_id, "user1"))  # Who is at the other as well.
    for each in watching:
        await each.until_here(names(20), others=1)
    third = start()
    servers.append(third)
    late = await LiveWatcher.open(third, channel_id)
    streams.append(late.stream)
    await until(lambda: late.read().states)
    assert (set(late.members), late.others) == (names(20), 1)
    visitors["user0"].close()
    for each in (*watching, late):
        await each.until_here(names(20) - {"user0"}, others=1)
    stay = {name for number, name in enumerate(sorted(names(20))) if number % 2 == 0}
    stay = (stay | {"user1"}) - {"user0"}
    loop = asyncio.get_running_loop()
    other.stop(signal.SIGKILL)
    killed_at = loop.time()
    for each in (watching[0], late):
        await each.until_here(stay)
    assert GRACE <= loop.time() - killed_at < GRACE + LATEST
    left = [name for diff in watching[0].diffs for name in diff["leaves"]]
    assert sorted(left) == sorted(names(20) - stay)
    for server in servers:
        said = server.log()
        assert not any(complaint in said for complaint in COMPLAINTS), said


def restart(valkey: Valkey) -> None:
    valkey.stop(signal.SIGKILL)
    valkey.start()


def freeze(valkey: Valkey) -> None:
    """Let Redis answer nothing, for longer than a silent process has members."""
    os.kill(valkey.process.pid, signal.SIGSTOP)
    time.sleep(GRACE + LATEST + 2)
    os.kill(valkey.process.pid, signal.SIGCONT)


@pytest.mark.left_to_all("presence faults")
@pytest.mark.parametrize("fault", [restart, freeze])
async def test_nobody_leaves_while_the_layer_is_away(
    servers: list[ServerProcess],
    channel_id: str,
    valkey: Valkey,
    fault: Callable[[Valkey], None],
    streams: list[LiveStream],
) -> None:
    """Afterwards all are there who are, and those who leave are gone."""
    watching = [await LiveWatcher.open(each, channel_id) for each in servers]
    streams += [each.stream for each in watching]
    visitors = {
        name: await come(servers[number % 2], channel_id, name)
        for number, name in enumerate(sorted(names(10)))
    }
    streams += visitors.values()
    for each in watching:
        await each.until_here(names(10))
    fault(valkey)
    brief = await come(servers[0], channel_id, "brief")
    for each in watching:
        await each.until_here(names(10) | {"brief"})
    brief.close()
    visitors["user0"].close()
    for each in watching:
        await each.until_here(names(10) - {"user0"})
    left = {name for each in watching for diff in each.diffs for name in diff["leaves"]}
    assert left == {"brief", "user0"}
    for server in servers:
        assert server.log().count("takes no message") <= 4, server.log()
