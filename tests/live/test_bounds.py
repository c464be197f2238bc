"""The limits on what one client of runpushserver can use."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.servers import ServerProcess, runpushserver
from tests.waiting import until

from .conftest import COMPLAINTS
from .test_daphne import Inside, ends_well
from .wire import Wire, chunked, subscribers, until_held
from .wire import request as build

MAX_SIZE = 1_048_576
MEBIBYTE = b"x" * 2**20


@pytest.fixture(scope="module")
def alone() -> Iterator[ServerProcess]:
    """A runpushserver that serves only the push locations."""
    with runpushserver("-v", "0", "{port}") as server:
        yield server
        assert not any(each in server.log() for each in COMPLAINTS), server.log()


@pytest.fixture(scope="module")
def whole() -> Iterator[ServerProcess]:
    """A runpushserver that serves the whole site."""
    with runpushserver("-v", "0", "--allrequests", "{port}") as server:
        yield server
        assert not any(each in server.log() for each in COMPLAINTS), server.log()


# Bodies that are too long

#: The method, the path, the bytes that are sent, and the limit that is told.
TOO_LONG = [
    ("GET", "/updates/{}", 1025, 1024),
    ("GET", "/interval/{}", 1025, 1024),
    ("POST", "/updates/{}", 65_537, 1024),
    ("OPTIONS", "/updates/{}", 1025, 1024),
    ("BREW", "/updates/%FF{}", 1025, 1024),
    ("POST", "/send-update/{}", MAX_SIZE + 1, MAX_SIZE),
    ("POST", "http://testserver/send-update/{}?a=b", MAX_SIZE + 1, MAX_SIZE),
    ("PUT", "/send-update/{}", MAX_SIZE + 1, MAX_SIZE),
    ("GET", "/send-update/{}", MAX_SIZE + 1, MAX_SIZE),
]


@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize(("method", "path", "size", "limit"), TOO_LONG)
@pytest.mark.parametrize("kind", ["alone", "whole"])
async def test_too_long_body_is_refused_while_it_arrives(
    request: pytest.FixtureRequest,
    channel_id: str,
    kind: str,
    encoding: str,
    method: str,
    path: str,
    size: int,
    limit: int,
) -> None:
    """A body that is too long is refused while it arrives, and ends the connection."""
    server: ServerProcess = request.getfixturevalue(kind)
    path = path.format(channel_id)
    async with await Wire.open(server.port) as wire:
        if encoding == "length":
            # Nothing of the body is sent.
            await wire.send(build(method, path, f"Content-Length: {size}"))
        else:
            await wire.send(build(method, path, "Transfer-Encoding: chunked"))
            # The end of the body is not sent.
            await wire.send(chunked(b"x" * size).removesuffix(b"0\r\n\r\n"))
        answer = await wire.answer(method)
        assert answer.status == 413
        assert f"has at most {limit} bytes" in answer.body.decode()
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert answer["connection"] == "close"
        assert await wire.rest() == b""
    assert await subscribers(server.port, channel_id) is None


async def test_too_long_body_is_refused_before_100_continue(
    alone: ServerProcess, channel_id: str
) -> None:
    """With 100-continue, a body that is too long is refused before it is sent."""
    headers = ("Expect: 100-continue", "Content-Length: 3000000")
    async with await Wire.open(alone.port) as wire:
        await wire.send(build("POST", f"/send-update/{channel_id}", *headers))
        assert (await wire.answer()).status == 413


async def test_client_that_sends_a_whole_long_body_gets_413(
    alone: ServerProcess, channel_id: str
) -> None:
    """A client that sends a whole long body gets 413; an endless one is cut off."""
    path = f"/send-update/{channel_id}"
    async with await Wire.open(alone.port) as wire:
        await wire.send(build("POST", path, body=5 * MEBIBYTE))
        assert (await wire.answer()).status == 413
    async with await Wire.open(alone.port) as wire:
        await wire.send(build("POST", path, "Content-Length: 3000000000"))
        assert (await wire.answer()).status == 413

        async def is_closed() -> bool:
            await wire.send(MEBIBYTE)
            return wire.writer.transport.is_closing()

        await until(is_closed)


@pytest.mark.parametrize("kind", ["alone", "whole"])
async def test_body_within_the_limit_keeps_the_connection(
    request: pytest.FixtureRequest, channel_id: str, kind: str
) -> None:
    """A body within the limit is read, and the connection stays open."""
    server: ServerProcess = request.getfixturevalue(kind)
    publisher, header = f"/send-update/{channel_id}", "Transfer-Encoding: chunked"
    async with await Wire.open(server.port) as wire:
        for body in (b"x" * 65_536, b"x" * 65_537, MEBIBYTE):
            assert (await wire.ask("POST", publisher, body=body)).status == 202
            await wire.send(build("POST", publisher, header) + chunked(body))
            assert (await wire.answer()).status == 202
            assert (await wire.ask("PUT", publisher, body=body)).status == 200
        body = b"x" * 65_536
        ignored = b"x" * 1024
        interval = await wire.ask("GET", f"/interval/{channel_id}", body=ignored)
        assert (interval.status, interval.body) == (200, body)
        await wire.send(build("GET", f"/updates/{channel_id}", header))
        await wire.send(chunked(ignored))
        assert (await wire.answer()).body == body
        rooted = ("Daphne-Root-Path: /root", "Accept: text/json")
        answer = await wire.ask("POST", f"/root{publisher}", *rooted, body=MEBIBYTE)
        assert json.loads(answer.body)["messages"] == 7


@pytest.mark.parametrize(("kind", "status"), [("alone", 413), ("whole", 200)])
async def test_other_paths_have_no_body_limit(
    request: pytest.FixtureRequest, kind: str, status: int
) -> None:
    """On other paths, a body may be as long as the site allows."""
    server: ServerProcess = request.getfixturevalue(kind)
    async with await Wire.open(server.port) as wire:
        await wire.send(build("POST", "/hello", body=2 * MEBIBYTE))
        assert (await wire.answer()).status == status


# Heads that cannot be read

HEADS = [
    ("a line", ["Cookie: " + "a=b; " * 5_000], 431),
    ("lines", ["Cookie: " + "a=b; " * 200] * 30, 431),
    ("many lines", ["A: b"] * 1_000, 431),
    ("no name", ["a b c"], 400),
    ("an odd name", ["A(b): c"], 400),
    ("zero", ["A: b\0c"], 400),
    ("lengths", ["Content-Length: 4", "Content-Length: 4"], 400),
    ("a long length", ["Content-Length: " + "9" * 10_000], 400),
    ("no chunks", ["Transfer-Encoding: gzip"], 400),
]


@pytest.mark.parametrize("more", [b"", b"news", MEBIBYTE])
@pytest.mark.parametrize(
    ("lines", "status"), [each[1:] for each in HEADS], ids=[each[0] for each in HEADS]
)
async def test_invalid_head_gets_an_error_in_its_turn(
    alone: ServerProcess, channel_id: str, lines: list[str], status: int, more: bytes
) -> None:
    """An invalid head gets an error in its turn, and the connection is closed."""
    path = f"/send-update/{channel_id}"
    async with await Wire.open(alone.port) as wire:
        await wire.send(build("GET", path) + build("POST", path, *lines) + more)
        assert (await wire.answer()).status == 404
        answer = await wire.answer()
        assert answer.status == status
        assert answer.body.startswith(
            b"A request has at most" if status == 431 else b"The request cannot be read"
        )
        assert answer["connection"] == "close"
        assert await wire.rest() == b""
    assert await subscribers(alone.port, channel_id) is None


@pytest.mark.parametrize("size", [17_000, 1_000_000])
@pytest.mark.parametrize("end", ["", " HTTP/1.1\r\n\r\n"])
async def test_too_long_request_line_gets_414(
    alone: ServerProcess, size: int, end: str
) -> None:
    """A request line that is too long gets 414, even before it ends."""
    async with await Wire.open(alone.port) as wire:
        await wire.send(f"GET /updates/{'a' * size}{end}".encode())
        answer = await wire.answer()
        assert answer.status == 414
        assert answer.body.startswith(b"The URL of a request has at most")
        assert await wire.rest() == b""


@pytest.mark.parametrize("chunk", [b"nonsense\r\n", b"-1\r\n", b"4\r\nnewsnews\r\n"])
async def test_invalid_chunks_get_400(
    alone: ServerProcess, channel_id: str, chunk: bytes
) -> None:
    """A body with invalid chunks gets 400, and publishes nothing."""
    head = build("POST", f"/send-update/{channel_id}", "Transfer-Encoding: chunked")
    async with await Wire.open(alone.port) as wire:
        await wire.send(head + chunk)
        answer = await wire.answer()
        assert answer.status == 400
        assert answer.body.startswith(b"The request cannot be read")
        assert await wire.rest() == b""
    assert await subscribers(alone.port, channel_id) is None


# Pipelined requests


@pytest.mark.parametrize("kind", ["stock", "tuned"])
async def test_next_request_starts_after_the_last_response_was_read(kind: str) -> None:
    """A request starts after the last response was read; in plain Daphne, at once."""
    with Inside(kind) as server:
        wire = await Wire.open(server.port)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(build("GET", "/large") * 4)
        begun = 4 if kind == "stock" else 1
        await until(partial(server.has_counted, "large", begun))
        for _ in range(20):
            assert (await server.counted())["large"] == begun
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(4):
            assert len((await wire.answer()).body) == 10_000_000
        assert (await wire.ask("GET", "/small")).body == b"small"
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(build("GET", "/large") * 4)
        await until(partial(server.has_counted, "large", begun + 4))
        wire.reset()
        await until(lambda: server.has(0))
        ends_well(server)


async def test_client_that_never_reads_is_disconnected() -> None:
    """A client that never reads is disconnected after the idle timeout."""
    with Inside("tuned", idle=0.1, abort=0.1) as server:
        files = (await server.look())["files"]
        wire = await Wire.open(server.port)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(build("GET", "/large") * 2)
        await until(partial(server.has_counted, "large", 1))

        async def is_cut() -> bool:
            return bool((await server.look())["files"] == files)

        await until(is_cut)
        assert (await server.counted())["large"] == 1
        ends_well(server)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Inside]:
    """A server that soon disconnects a client with too much data behind a request."""
    with Inside("tuned", behind=0.1) as server:
        yield server
        ends_well(server)


@pytest.mark.parametrize(
    ("size", "how"),
    [
        *itertools.product(
            [1_000, 16_000, 17_000, 1_000_000], ["end_sending", "reset"]
        ),
        (17_000, "look"),
        (1_000_000, "look"),
    ],
)
async def test_disconnect_is_noticed_behind_much_pipelined_data(
    hasty: Inside, size: int, how: str
) -> None:
    """A disconnect is noticed, however much data was sent behind a held request.

    A client that sends too much and stays connected is disconnected.
    """
    async with await Wire.open(hasty.port) as wire:
        await wire.send(build("GET", "/hold"))
        await until(lambda: hasty.has(1))
        more = build("GET", "/small")
        wire.writer.write(more * (size // len(more) + 1))
        await hasty.look()
        if how == "look":
            await wire.rest()
        else:
            getattr(wire, how)()
        await until(lambda: hasty.has(0))


async def test_limited_pipelined_data_keeps_a_held_client(hasty: Inside) -> None:
    """A held client that has sent a limited amount of data stays connected."""
    async with await Wire.open(hasty.port) as wire, await Wire.open(hasty.port) as late:
        more = build("GET", "/small")
        await wire.send(build("GET", "/hold") + more * (16_000 // len(more)))
        await until(lambda: hasty.has(1))
        await late.send(build("GET", "/hold") + more * 1000)
        await late.rest()
        await until(lambda: hasty.has(1))


async def test_pipelining_of_many_requests(hasty: Inside) -> None:
    """Any number of requests may be pipelined if they are answered soon."""
    async with await Wire.open(hasty.port) as wire:
        await wire.send(build("POST", "/echo", body=b"x" * 1000) * 500)
        for _ in range(500):
            assert (await wire.answer()).body == b"x" * 1000


# Clients that disappear without closing the connection


@pytest.mark.parametrize("kind", ["alone", "whole"])
async def test_held_connections_have_tcp_keepalive(
    request: pytest.FixtureRequest, channel_id: str, kind: str
) -> None:
    """The connection of a waiting client has TCP keep-alive."""
    server: ServerProcess = request.getfixturevalue(kind)
    async with await Wire.open(server.port) as wire:
        await wire.send(build("GET", f"/updates/{channel_id}"))
        await until_held(server.port, channel_id)
        ports = (server.port, wire.socket.getsockname()[1])
        ends = [f"0100007F:{port:04X}" for port in ports]
        lines = [
            each.split() for each in Path("/proc/net/tcp").read_text().splitlines()
        ]
        [line] = [each for each in lines if each[1:3] == ends]
        timer, _, ticks = line[5].partition(":")
        assert timer == "02"  # The keep-alive timer.
        assert int(ticks, 16) <= 60 * os.sysconf("SC_CLK_TCK")
