from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.conformance.servers import granian, uvicorn
from tests.servers import LOCATIONS, ServerProcess, daphne, runpushserver
from tests.valkey import Valkey

from .wire import Wire

#: The limit of open files, in this process and in the servers.
OPEN_FILES = 8192

#: Signs of an unhandled error in the log of a server.
COMPLAINTS = ("Traceback", "Unhandled", "never retrieved", "was never awaited")

CONF: dict[str, Any] = {"locations": LOCATIONS}

#: The servers that a site may run.
SERVERS: dict[str, Callable[[], ServerProcess]] = {
    "daphne": lambda: daphne(CONF),
    "runpushserver": lambda: runpushserver("-v", "0", "127.0.0.1:{port}"),
    "h11": lambda: uvicorn(CONF, "--http", "h11", "--loop", "asyncio"),
    "httptools": lambda: uvicorn(CONF, "--http", "httptools"),
    "granian": lambda: granian(CONF),
}


def settings_on(store: Valkey, **subscriber: Any) -> dict[str, Any]:
    """Return the settings of servers that share a store in Redis.

    Args:
        store: The Redis.
        subscriber: Options of the subscriber location.
    """
    return {
        "store": {"type": "redis", "url": store.url, "max_messages": 1000},
        "locations": [
            {"type": "publisher", "url": "/send-update/([^/]+)"},
            {
                "type": "subscriber",
                "url": "/updates/([^/]+)",
                "create_on_get": True,
                **subscriber,
            },
        ],
    }


_numbers = itertools.count()


@pytest.fixture(scope="session", params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of each server in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def each_server(kind: str) -> Iterator[ServerProcess]:
    """A process of each server in turn, shared by the tests of all files."""
    with SERVERS[kind]() as process:
        yield process


@pytest.fixture(scope="session", autouse=True)
def open_files() -> None:
    """Raise the limit of open files for this process and the servers it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, most), most))


@pytest.fixture(autouse=True)
async def no_wire_left() -> AsyncIterator[None]:
    """Close the connections that a test has opened."""
    yield
    for wire in Wire.opened:
        wire.abort()
    Wire.opened.clear()
    await asyncio.sleep(0)


@pytest.fixture
def channel_id() -> str:
    """A channel id that no other test uses."""
    return f"live-{next(_numbers)}"


@pytest.fixture
def port(server: ServerProcess) -> Iterator[int]:
    """The port of a server that must log no unhandled error during the test."""
    before = len(server.log())
    yield server.port
    said = server.log()[before:]
    assert not any(complaint in said for complaint in COMPLAINTS), said
