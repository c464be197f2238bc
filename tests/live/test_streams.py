"""Streams on each server: what is sent, who reads slowly, and the server's end."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import websockets

from tests.conformance.servers import granian, uvicorn
from tests.servers import ServerProcess, daphne, runpushserver
from tests.waiting import PATIENCE, until

from .conftest import COMPLAINTS
from .frames import BYTES, CLOSE, PART, PING, REST, TEXT, UPGRADE, frame
from .streaming import LiveStream
from .wire import Wire, publish, request, subscribers, until_held

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

#: How many of these are more than the 4 MB that the buffers of a connection can hold.
MANY = 24


def _granian() -> ServerProcess:
    # A client that does not read keeps a worker of granian until this time is over.
    server = granian(CONF, "--workers-kill-timeout", "1")
    server.command.remove("--no-ws")
    return server


SERVERS = {
    "daphne": lambda: daphne(CONF),
    "runpushserver": lambda: runpushserver("-v", "0", "127.0.0.1:{port}", **CONF),
    "h11": lambda: uvicorn(CONF, "--http", "h11", "--loop", "asyncio"),
    "httptools": lambda: uvicorn(CONF, "--http", "httptools"),
    "granian": _granian,
}


#: What uvicorn logs of a text that is no UTF-8.
INVALID_TEXT = re.compile(
    r"ERROR: +Invalid UTF-8 sequence received from client\.\n"
    r"Traceback .*?\nUnicodeDecodeError: [^\n]*",
    re.DOTALL,
)


@pytest.fixture(scope="module", params=SERVERS)
def streaming(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Each server, one after the other."""
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def port(streaming: ServerProcess) -> Iterator[int]:
    """The port of a server that must log no unhandled error during the test."""
    before = len(streaming.log())
    yield streaming.port
    # uvicorn logs such a frame itself, and closes the socket as it should.
    said = INVALID_TEXT.sub("", streaming.log()[before:])
    assert not any(complaint in said for complaint in COMPLAINTS), said


async def test_burst_is_complete_for_connected_and_returning_clients(
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


async def test_disconnects_are_noticed(port: int, channel_id: str) -> None:
    stream = await LiveStream.open(port, f"/updates/{channel_id}")
    await until_held(port, channel_id)
    stream.close()
    await until_held(port, channel_id, 0)


async def test_batch_keeps_the_connection(port: int, channel_id: str) -> None:
    """Each is an answer with a length, and the connection goes on."""
    await publish(port, channel_id, b"1")
    async with await Wire.open(port) as wire:
        path = f"/updates/{channel_id},other?batch=1"
        for _ in range(2):
            answer = await wire.ask("GET", path, "Accept: text/event-stream")
            assert answer["content-length"] == str(len(answer.body))
            assert answer.body.endswith(b"data: 1\n\n")


@pytest.mark.parametrize("subprotocol", [None, "ws+meta.nchan", "ws+meta.pushserver"])
async def test_websocket_messages(
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


async def open_raw(port: int, path: str) -> Wire:
    """Return a connection on which a WebSocket was opened."""
    wire = await Wire.open(port)
    await wire.send(request("GET", path, *UPGRADE))
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return wire


@pytest.mark.parametrize("accepts", ["text/event-stream", None], ids=["events", "ws"])
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
async def test_disconnect_at_any_stage_leaves_nothing(
    port: int, channel_id: str, accepts: str | None, resets: bool
) -> None:
    """With half a request, before the head, after it, and amid messages."""
    path = f"/updates/{channel_id}"
    headers = UPGRADE if accepts is None else (f"Accept: {accepts}",)
    whole = request("GET", path, *headers)

    def vanish(wire: Wire) -> None:
        if resets:
            wire.reset()
        else:
            wire.abort()

    for sent in (whole[:-2], whole, whole):
        wire = await Wire.open(port)
        await wire.send(sent)
        vanish(wire)
    for messages in (0, 3):
        wire = await Wire.open(port)
        await wire.send(whole)
        await until_held(port, channel_id)
        for _ in range(messages):
            await publish(port, channel_id, b"1")
        vanish(wire)
        await until_held(port, channel_id, 0)
    wire = await Wire.open(port)
    await wire.send(whole)
    await until_held(port, channel_id)
    path = f"/send-update/{channel_id}"
    async with await Wire.open(port) as other:
        vanish(wire)
        assert (await other.ask("DELETE", path)).status in (200, 204)


async def until_closing(wire: Wire) -> None:
    """Read until the server sends a frame that closes the socket, or disconnects.

    uvicorn waits for ten seconds for the client's own frame.
    """
    came = b""
    with suppress(ConnectionError):
        while CLOSE not in came:
            data = await asyncio.wait_for(wire.reader.read(65536), PATIENCE)
            if not data:
                return
            came += data


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"a" * 2000),
        frame(BYTES, bytes(2000)),
        frame(PART, b"a" * 600) + frame(0, b"a" * 600) + frame(REST, b"a" * 600),
        frame(TEXT, b"\xff\xfe"),
        frame(TEXT, b"a", length=2**40),
        frame(PING, b"a" * 200),
        frame(0x83, b"reserved"),
        frame(REST, b"continues nothing"),
        b"\x81\x01a",
        frame(CLOSE, b"\x03"),
        frame(CLOSE, (999).to_bytes(2, "big")),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=[
        *("text", "bytes", "fragments", "no UTF-8", "huge", "long ping", "reserved"),
        *("continuation", "unmasked", "short close", "bad code", "HTTP"),
    ],
)
async def test_websocket_with_invalid_frames_is_closed(
    port: int, channel_id: str, sent: bytes
) -> None:
    """And neither another socket nor a log hears of it."""
    path = f"/updates/{channel_id}"
    async with websockets.connect(f"ws://127.0.0.1:{port}{path}") as other:
        wire = await open_raw(port, path)
        await until_held(port, channel_id, 2)
        await wire.send(sent)
        await until_closing(wire)
        wire.abort()
        await until_held(port, channel_id, 1)
        await publish(port, channel_id, b"news")
        assert await other.recv() == "news"


async def test_websocket_fragments_and_pings_are_read(
    port: int, channel_id: str
) -> None:
    """A text in parts with a ping between them, and many pings of the protocol."""
    wire = await open_raw(port, f"/updates/{channel_id}")
    await wire.send(frame(PART, b"pi") + frame(PING, b"x") + frame(REST, b"ng"))
    await wire.send(frame(PING, b"y") * 2000 + frame(BYTES, b"ping"))
    await until_held(port, channel_id)
    await publish(port, channel_id, b"news")
    await wire.send(frame(CLOSE, (1000).to_bytes(2, "big")))
    came = await wire.rest()
    assert came.count(b"\x8a\x01y") == 2000
    assert came.count(b"pong") == 1
    assert came.count(b"news") == 1
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


async def test_slow_reader_delays_no_other_and_gets_all_messages(
    port: int, channel_id: str
) -> None:
    """And costs the server little; it gets all, once and in order, when it reads."""
    path = f"/updates/{channel_id}"
    reading = [await LiveStream.open(port, path) for _ in range(2)]
    stalled = [await open_stalled(port, path) for _ in range(2)]
    await until_held(port, channel_id, 4)
    for number in range(MANY):
        await publish(port, channel_id, b"%03d" % number + LARGE)
    expected = [f"{number:03d}" for number in range(MANY)]
    for stream in reading:
        assert [each[:3] for each in await stream.until(MANY)] == expected
        stream.close()

    async def read_all(stream: LiveStream) -> list[str]:
        got: list[str] = []
        stream.go_on()
        while True:
            missing = MANY - len(got)
            got += [each[:3] for each in await stream.until(missing)]
            stream.close()
            if len(got) >= MANY:
                return got
            last = f"Last-Event-ID: {stream.id}"
            stream = await LiveStream.open(port, path, last)

    assert await asyncio.gather(*map(read_all, stalled)) == [expected] * 2


async def test_channel_info_counts_all_transports(port: int, channel_id: str) -> None:
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


# The last test of each server, which stops it.
async def test_stopping_server_ends_its_streams(
    streaming: ServerProcess, crowd: int
) -> None:
    """Each ends whole, with the time to come back; sockets with a code for that.

    A client that does not read keeps neither them nor the process, where it can be
    given up.
    """
    port = streaming.port
    stalled = [await open_stalled(port, "/updates/b") for _ in range(3)]
    await until_held(port, "b", 3)
    for _ in range(MANY):
        await publish(port, "b", LARGE)
    streams = [await LiveStream.open(port, "/updates/a") for _ in range(crowd // 3)]
    url = f"ws://127.0.0.1:{port}/updates/a"
    sockets = [
        await websockets.connect(url, subprotocols=[websockets.Subprotocol(each)])
        for each in ["ws+meta.pushserver"] * 10
    ]
    bare = await websockets.connect(url)
    await until_held(port, "a", len(streams) + 11)
    before = len(streaming.log())
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, streaming.stop)
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
    for stream in stalled:
        stream.close()
    said = streaming.log()[before:]
    assert not any(complaint in said for complaint in COMPLAINTS), said
