"""Who is on a channel, over two servers that share Redis."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver import presence
from tests import http
from tests.conformance.servers import uvicorn
from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until, wait_until

from .conftest import COMPLAINTS, settings_on
from .frames import UPGRADE
from .presence import LiveWatcher, come, names
from .streaming import LiveStream
from .wire import Wire, request

MAKERS = {"daphne": daphne, "uvicorn": uvicorn}

#: Seconds in which the members of a killed server must have left, besides the grace.
LATEST = 8

VISITORS = 20


@pytest.fixture(
    scope="module",
    params=[in_tier(name, {"daphne"}, "presence on Redis") for name in MAKERS],
)
def make(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def conf() -> Iterator[dict[str, Any]]:
    """The settings of two servers on one store."""
    with Valkey() as store:
        yield settings_on(
            store,
            presence=True,
            presence_grace=3,
            authorize="tests.server.presence.visitors.may_listen",
        )


@pytest.fixture
def servers(
    make: Any, conf: dict[str, Any]
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers, of which a test may end the second."""
    with make(conf) as one, make(conf) as other:
        yield one, other
        for server in (one, other):
            said = server.log()
            assert not any(complaint in said for complaint in COMPLAINTS), said


@pytest.fixture
async def streams() -> AsyncIterator[list[LiveStream]]:
    """Streams that are closed at the end."""
    streams: list[LiveStream] = []
    yield streams
    for each in streams:
        each.close()


async def test_the_members_of_a_killed_server_leave_in_time_and_once(
    servers: tuple[ServerProcess, ServerProcess],
    channel_id: str,
    streams: list[LiveStream],
) -> None:
    """And one who is at the other server as well stays."""
    one, other = servers
    watching = await LiveWatcher.open(one, channel_id)
    streams.append(watching.stream)
    for name in [*names(VISITORS), None]:
        streams.append(await come(other, channel_id, name))
    streams.append(await come(one, channel_id, "user0"))
    await watching.until_here(names(VISITORS), others=1)
    loop = asyncio.get_running_loop()
    other.stop(signal.SIGKILL)
    killed_at = loop.time()
    await watching.until_here({"user0"})
    assert 3 <= loop.time() - killed_at < 3 + LATEST
    left = [name for each in watching.diffs for name in each["leaves"]]
    assert sorted(left) == sorted(names(VISITORS) - {"user0"})


async def test_a_server_that_is_restarted_is_not_noticed(
    servers: tuple[ServerProcess, ServerProcess],
    channel_id: str,
    streams: list[LiveStream],
) -> None:
    """Its visitors are back at the other one within the grace."""
    one, other = servers
    watching = await LiveWatcher.open(one, channel_id)
    streams.append(watching.stream)
    for name in [*names(VISITORS)]:
        streams.append(await come(other, channel_id, name))
    await watching.until_here(names(VISITORS))
    told = len(watching.diffs)
    other.stop()
    for name in [*names(VISITORS)]:
        streams.append(await come(one, channel_id, name))
    other.start()
    # Longer than the members of the old process could have stayed.
    for _ in range(2):
        brief = await come(other, channel_id, "brief")
        await watching.until_here(names(VISITORS) | {"brief"})
        brief.close()
        await watching.until_here(names(VISITORS))
    changed = [
        name
        for each in watching.diffs[told:]
        for name in (*each["joins"], *each["leaves"])
    ]
    assert set(changed) == {"brief"}


async def test_one_user_with_tabs_a_phone_and_a_laptop_is_one_member(
    servers: tuple[ServerProcess, ServerProcess],
    channel_id: str,
    streams: list[LiveStream],
) -> None:
    """Until the last of them is gone; what the newest tells of her is told once."""
    one, other = servers
    watching = await LiveWatcher.open(one, channel_id)
    streams.append(watching.stream)
    tabs = [await come(one, channel_id, "anna") for _ in range(3)]
    await watching.until_here({"anna"})
    devices = []
    for device, headers in (("phone", ()), ("laptop", UPGRADE)):
        wire = await Wire.open(other.port)
        devices.append(wire)
        known = ("X-User: anna", f'X-Info: "{device}"')
        await wire.send(request("GET", f"/updates/{channel_id}", *headers, *known))
        await until(lambda name=device: watching.read().infos == {"anna": name})
    for each in tabs:
        each.close()
    devices[0].abort()
    # Longer than she stays after what she has left.
    brief = await come(one, channel_id, "brief")
    await watching.until_here({"anna", "brief"})
    brief.close()
    await watching.until_here({"anna"})
    devices[1].abort()
    await watching.until_here(set())
    told = [each for each in watching.diffs if "anna" in each["joins"]]
    assert [each["joins"]["anna"]["info"] for each in told] == [None, "phone", "laptop"]
    assert sum("anna" in each["leaves"] for each in watching.diffs) == 1


async def test_any_process_may_ask(
    servers: tuple[ServerProcess, ServerProcess],
    conf: dict[str, Any],
    channel_id: str,
    streams: list[LiveStream],
) -> None:
    """A process without a server asks Redis, from sync and from async code."""
    one, other = servers
    for server, name in ((one, "anna"), (other, "bob"), (other, None)):
        streams.append(await come(server, channel_id, name))
    with override_settings(PUSH_SERVER=conf):

        async def are_there() -> bool:
            return await presence.acount(channel_id) == 3

        await until(are_there)
        assert set(await presence.amembers(channel_id)) == {"anna", "bob"}
        assert await presence.ais_present(channel_id, "bob")

        def ask() -> tuple[Any, ...]:
            return (
                presence.members(channel_id),
                presence.count(channel_id),
                presence.is_present(channel_id, "anna"),
                presence.is_present(channel_id, "carl"),
            )

        members, count, has_anna, has_carl = await asyncio.to_thread(ask)
        assert members == {"anna": None, "bob": None}
        assert (count, has_anna, has_carl) == (3, True, False)


def test_the_store_in_memory_on_a_real_server(make: Any, channel_id: str) -> None:
    """A poll is given the state, and a notice is answered."""
    settings = {
        "locations": [
            {"type": "publisher", "url": "/send-update/([^/]+)"},
            {"type": "subscriber", "url": "/updates/([^/]+)", "presence": True}
            | {"create_on_get": True, "timeout": 0.1},
        ]
    }
    with make(settings) as server:
        url = f"{server.url}/updates"
        assert http.get(f"{url}/{channel_id}").status_code == 304

        def is_counted() -> bool:
            body = http.get(f"{url}/presence:{channel_id}").content
            return bool(json.loads(body)["others"] == 1)

        wait_until(is_counted)
        answer = http.post(f"{url}/{channel_id}?hidden=1")
        assert answer.status_code == 204
        assert server.log() == ""
