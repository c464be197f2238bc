"""A server that stops under a crowd of streams and sockets, and starts again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.servers import granian, uvicorn
from tests.servers import ServerProcess, daphne, runpushserver
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import COMPLAINTS, settings_on
from .crowds import Crowd
from .wire import Wire, until_held

#: The numbers of streams and sockets, and the factor for the time until they return.
SMALL, LARGE = (100, 30, 0.05), (2000, 500, 1.0)

#: Messages before the server stops, and after all clients have returned.
MESSAGES = 10


def make_granian(conf: dict[str, Any]) -> ServerProcess:
    """Return a granian that holds more than 1,024 requests."""
    server = granian(conf, "--backlog", "4096", "--backpressure", "4096")
    server.command.remove("--no-ws")
    return server


SERVERS = {
    "daphne": daphne,
    "uvicorn": uvicorn,
    "granian": make_granian,
    "runpushserver": lambda conf: runpushserver("-v", "0", "127.0.0.1:{port}", **conf),
}

CASES = [
    in_tier((name, *size), {("daphne", *SMALL)}, "crowds at a stop")
    for size in (SMALL, LARGE)
    for name in SERVERS
]


@pytest.fixture
def conf() -> Iterator[dict[str, Any]]:
    """The settings of servers that share a store in Redis."""
    with Valkey() as store:
        yield settings_on(store)


@pytest.mark.parametrize(("name", "streams", "sockets", "pace"), CASES)
async def test_many_clients_return_to_a_restarted_server(
    conf: dict[str, Any], name: str, streams: int, sockets: int, pace: float
) -> None:
    """All are told that the server stops, and return, and miss no message.

    Another process publishes all the time.
    """
    loop = asyncio.get_running_loop()
    published = 0
    with SERVERS[name](conf) as own, daphne(conf) as other:

        async def publish() -> None:
            nonlocal published
            body = b"%d" % published
            answer = await wire.ask("POST", "/send-update/a", body=body)
            assert answer.status in (201, 202)
            published += 1

        async with (
            await Wire.open(other.port) as wire,
            Crowd(
                own.port, "/updates/a", streams=streams, sockets=sockets, pace=pace
            ) as crowd,
        ):
            await until(crowd.are_open)
            await until_held(own.port, "a", streams + sockets)
            for _ in range(MESSAGES):
                await publish()
            stopping = loop.run_in_executor(None, own.stop)
            while not stopping.done():
                await publish()
                await asyncio.wait([stopping], timeout=0.1)
            await until(lambda: not any(each.is_open for each in crowd.clients))
            of_streams, of_sockets = crowd.count_first_ends()
            assert of_streams == {"told, whole": streams}
            # uvicorn closes its sockets itself, with 1012.
            assert of_sockets["4503"] + of_sockets["1012"] == sockets, of_sockets
            assert crowd.ends_of_sockets() <= {"4503", "1012"}
            await publish()
            await loop.run_in_executor(None, own.start)
            await until(crowd.are_open)
            for _ in range(MESSAGES):
                await publish()
            await until(lambda: crowd.have(published))
            expected = list(range(published))
            assert all(each.numbers == expected for each in crowd.clients)
            assert crowd.faults() == []
        assert not any(complaint in own.log() for complaint in COMPLAINTS), own.log()
