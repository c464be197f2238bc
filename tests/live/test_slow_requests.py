"""Clients of runpushserver that send a request too slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.waiting import until

from .test_daphne import Inside, ends_well
from .wire import Wire, request

#: Seconds of the time limit of these servers.
IDLE = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Inside]:
    """A tuned Daphne with a short time limit."""
    with Inside("tuned", idle=IDLE, abort=0.1) as server:
        yield server
        ends_well(server)


#: How often a client sends the next bytes, fewer times than a head may have lines.
DRIBBLES = 190

HEAD = request("GET", "/small")
BODY = request("POST", "/echo", "Content-Length: 1000000")
CHUNKS = request("POST", "/echo", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("start", "dribble"),
    [
        (b"G", b"E"),
        (b"GET /", b"a"),
        (HEAD[:-2] + b"X: ", b"a"),
        (HEAD[:-2], b"X: a\r\n"),
        (HEAD + HEAD[:-2] + b"X: ", b"a"),
        (BODY, b"a"),
        (BODY + b"a", b""),
        (CHUNKS, b"1\r\na\r\n"),
        (CHUNKS + b"fffff\r\n", b"a"),
    ],
)
async def test_request_that_dribbles_is_ended(
    server: Inside, start: bytes, dribble: bytes
) -> None:
    """A head or a body that arrives byte by byte is ended, a body with 408."""
    async with await Wire.open(server.port) as wire:
        await wire.send(start)
        reading = asyncio.ensure_future(wire.rest())
        sent = 0

        async def has_ended() -> bool:
            nonlocal sent
            if sent < DRIBBLES:
                sent += 1
                await wire.send(dribble)
            return reading.done()

        await until(has_ended, interval=0.05)
        said = reading.result()
    assert sent < DRIBBLES
    if start.startswith(b"POST"):
        assert said.startswith(b"HTTP/1.1 408 ")
        assert said.endswith(b"\r\n\r\nThe body arrives too slowly.\n")
    else:
        assert said.count(b"HTTP/1.1 ") == start.count(b"\r\n\r\n")
    await until(lambda: server.has(0))


async def test_idle_connection_ends_without_an_answer(server: Inside) -> None:
    """A connection without a request ends in silence, also after an answer."""
    async with await Wire.open(server.port) as wire:
        assert await wire.rest() == b""
    async with await Wire.open(server.port) as wire:
        assert (await wire.ask("GET", "/small")).body == b"small"
        assert await wire.rest() == b""


async def test_long_upload_is_not_ended(server: Inside) -> None:
    """A body that arrives fast enough may take longer than the time limit."""
    loop = asyncio.get_running_loop()
    async with await Wire.open(server.port) as wire:
        await wire.send(CHUNKS)
        end, size = loop.time() + 2.5 * IDLE, 0
        while loop.time() < end:
            await wire.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            size += 1000
            await asyncio.sleep(0.02)
        await wire.send(b"0\r\n\r\n")
        assert len((await wire.answer()).body) == size


async def test_held_request_is_not_ended(server: Inside) -> None:
    """A request that has arrived may be held for longer than the time limit."""
    async with (
        await Wire.open(server.port) as held,
        await Wire.open(server.port) as idle,
    ):
        await held.send(request("GET", "/hold"))
        await until(lambda: server.has(1))
        assert await idle.rest() == b""  # Its time limit began later.
        assert await server.has(1)
