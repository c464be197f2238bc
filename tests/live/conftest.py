from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.servers import ServerProcess

from .wire import Wire

#: Files that a test with thousands of connections has open, here and in the server.
OPEN_FILES = 8192

#: What a server says that was not prepared for what came.
COMPLAINTS = ("Traceback", "Unhandled", "never retrieved", "was never awaited")

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def open_files() -> None:
    """Let this process and the servers it starts open many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, most), most))


@pytest.fixture(autouse=True)
async def no_wire_left() -> AsyncIterator[None]:
    """Close what a test has opened."""
    yield
    for wire in Wire.opened:
        wire.abort()
    Wire.opened.clear()
    await asyncio.sleep(0)


@pytest.fixture
def channel_id() -> str:
    """A channel of the test's own."""
    return f"live-{next(_numbers)}"


@pytest.fixture
def port(server: ServerProcess) -> Iterator[int]:
    """The port of a server that must not complain during the test."""
    before = len(server.log())
    yield server.port
    said = server.log()[before:]
    assert not any(complaint in said for complaint in COMPLAINTS), said
