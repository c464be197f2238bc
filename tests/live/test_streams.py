"""Streams on each server: what is sent, who reads slowly, and the server's end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from tests.conformance.servers import granian, uvicorn
from tests.servers import ServerProcess, daphne, runpushserver
from tests.waiting import until

from .conftest import COMPLAINTS
from .streaming import LiveStream
from .wire import Wire, publish, subscribers, until_held

CONF: dict[str, Any] = {
    "store": {"type": "memory", "max_messages": 1000},
    "locations": [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "separator": ",",
        },
    ],
}

#: Bytes of a message that fills the buffers of a connection soon.
LARGE = b"x" * 262_144


def _granian() -> ServerProcess:
    server = granian(CONF)
    server.command.remove("--no-ws")
    return server


SERVERS = {
    "daphne": lambda: daphne(CONF),
    "runpushserver": lambda: runpushserver("-v", "0", "127.0.0.1:{port}", **CONF),
    "h11": lambda: uvicorn(CONF, "--http", "h11", "--loop", "asyncio"),
    "httptools": lambda: uvicorn(CONF, "--http", "httptools"),
    "granian": _granian,
}


@pytest.fixture(scope="module", params=SERVERS)
def streaming(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Each server, one after the other."""
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def port(streaming: ServerProcess) -> Iterator[int]:
    before = len(streaming.log())
    yield streaming.port
    said = streaming.log()[before:]
    assert not any(complaint in said for complaint in COMPLAINTS), said


@pytest.fixture(params=SERVERS)
def own(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server of the test's own."""
    with SERVERS[request.param]() as server:
        yield server


async def test_a_burst_and_who_was_away_for_half_of_it(
    port: int, channel_id: str
) -> None:
    """500 messages come once and in order; who comes back gets the rest."""
    stream = await LiveStream.open(port, f"/updates/{channel_id}")
    assert stream.head["content-type"] == "text/event-stream; charset=utf-8"
    await until_held(port, channel_id)

    async def send() -> None:
        async with await Wire.open(port) as wire:
            for number in range(500):
                path = f"/send-update/{channel_id}"
                answer = await wire.ask("POST", path, body=b"%d" % number)
                assert answer.status in (201, 202)

    sending = asyncio.ensure_future(send())
    await until(lambda: len(stream.bodies) >= 100)
    stream.close()
    await sending
    last = f"Last-Event-ID: {stream.id}"
    again = await LiveStream.open(port, f"/updates/{channel_id}", last)
    seen = len(stream.bodies)
    assert stream.bodies + await again.until(500 - seen) == [
        str(number) for number in range(500)
    ]
    again.close()


async def test_who_leaves_is_noticed(port: int, channel_id: str) -> None:
    stream = await LiveStream.open(port, f"/updates/{channel_id}")
    await until_held(port, channel_id)
    stream.close()
    await until_held(port, channel_id, 0)


async def test_a_batch_ends(port: int, channel_id: str) -> None:
    """Each is an answer with a length, and the connection goes on."""
    await publish(port, channel_id, b"1")
    async with await Wire.open(port) as wire:
        path = f"/updates/{channel_id},other?batch=1"
        for _ in range(2):
            answer = await wire.ask("GET", path, "Accept: text/event-stream")
            assert answer["content-length"] == str(len(answer.body))
            assert answer.body.endswith(b"data: 1\n\n")


@pytest.mark.parametrize("subprotocol", [None, "ws+meta.nchan", "ws+meta.pushserver"])
async def test_a_socket(
    port: int, channel_id: str, subprotocol: str | None, request: Any
) -> None:
    """Messages, an empty one, a ping, and one of the client's that is too long."""
    url = f"ws://127.0.0.1:{port}/updates/{channel_id}"
    offered: Any = None if subprotocol is None else [subprotocol]
    async with websockets.connect(url, subprotocols=offered) as ws:
        assert ws.subprotocol == subprotocol
        if subprotocol is not None:
            assert await ws.recv() == "id: 0:0\n\n"
        await ws.send("ping")
        assert await ws.recv() == "pong"
        for body in (b"text", b"\xff", b""):
            assert await publish(port, channel_id, body) == 201
        heard = [await ws.recv() for _ in range(3)]
        bare = subprotocol is None
        twisted = "daphne" in request.node.callspec.id or "runpush" in (
            request.node.callspec.id
        )
        assert str(heard[0]).endswith("text")
        assert isinstance(heard[1], bytes)
        assert heard[1].endswith(b"\xff")
        if bare:
            assert heard[2] == ("\n" if twisted else "")
        else:
            assert str(heard[2]).endswith("\n\n")
        await ws.send("a" * 1025)
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
        assert ws.close_code == (4413 if twisted else 1009)
    await until_held(port, channel_id, 0)


async def open_stalled(port: int, path: str) -> LiveStream:
    """Return a stream that is not read, with small buffers on this side."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
    stream = LiveStream(Wire(*await asyncio.open_connection(sock=small)))
    await stream.ask(path)
    return stream


async def test_who_does_not_read_slows_nobody_and_misses_nothing(
    port: int, channel_id: str
) -> None:
    """And costs the server little; it gets all, once and in order, when it reads."""
    path = f"/updates/{channel_id}"
    reading = [await LiveStream.open(port, path) for _ in range(3)]
    stalled = [await open_stalled(port, path) for _ in range(3)]
    await until_held(port, channel_id, 6)
    for number in range(40):
        await publish(port, channel_id, b"%03d" % number + LARGE)
    expected = [f"{number:03d}" for number in range(40)]
    for stream in reading:
        assert [each[:3] for each in await stream.until(40)] == expected
        stream.close()

    async def read_all(stream: LiveStream) -> list[str]:
        got: list[str] = []
        stream.go_on()
        while True:
            missing = 40 - len(got)
            got += [each[:3] for each in await stream.until(missing)]
            stream.close()
            if len(got) >= 40:
                return got
            last = f"Last-Event-ID: {stream.id}"
            stream = await LiveStream.open(port, path, last)

    assert await asyncio.gather(*map(read_all, stalled)) == [expected] * 3


async def test_a_server_that_stops_tells_its_streams(
    own: ServerProcess, crowd: int
) -> None:
    """Each ends whole, with the time to come back; sockets with a code for that."""
    streams = [await LiveStream.open(own.port, "/updates/a") for _ in range(crowd // 3)]
    url = f"ws://127.0.0.1:{own.port}/updates/a"
    sockets = [
        await websockets.connect(url, subprotocols=[websockets.Subprotocol(each)])
        for each in ["ws+meta.pushserver"] * 10
    ]
    bare = await websockets.connect(url)
    await until_held(own.port, "a", len(streams) + 11)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, own.stop)
    for stream in streams:
        await stream.until_ended()
    assert all(stream.is_whole for stream in streams)
    assert {stream.text.count("retry: ") for stream in streams} == {2}
    for each in sockets:
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await each.recv()
        assert each.close_code in (4503, 1012)
    with pytest.raises(websockets.ConnectionClosed):
        await bare.recv()
    assert bare.close_code in (1006, 1011, 1012)
    assert not any(complaint in own.log() for complaint in COMPLAINTS), own.log()


async def test_a_server_stops_though_nobody_reads(own: ServerProcess) -> None:
    """What a client does not read keeps no process, where it can be given up."""
    if "granian" in own.command:
        own.command += ["--workers-kill-timeout", "3"]
        own.stop()
        own.start()
    stalled = [await open_stalled(own.port, "/updates/a") for _ in range(3)]
    await until_held(own.port, "a", 3)
    for _ in range(40):
        await publish(own.port, "a", LARGE)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, own.stop)
    for stream in stalled:
        stream.close()


async def test_channel_info_counts_all(port: int, channel_id: str) -> None:
    """A stream, a socket and a poll; and so does a publisher's 201."""
    stream = await LiveStream.open(port, f"/updates/{channel_id}")
    url = f"ws://127.0.0.1:{port}/updates/{channel_id}"
    async with websockets.connect(url) as ws, await Wire.open(port) as wire:
        request = f"GET /updates/{channel_id} HTTP/1.1\r\nHost: testserver\r\n\r\n"
        await wire.send(request.encode())
        await until_held(port, channel_id, 3)
        assert await publish(port, channel_id, json.dumps({}).encode()) == 201
        assert (await wire.answer()).body == b"{}"
        assert await ws.recv() == "{}"
        assert await stream.until(1) == ["{}"]
        assert await subscribers(port, channel_id) == 2
    stream.close()
