from __future__ import annotations

import itertools
import random

import pytest

from tests.waiting import until

from .wire import Wire, chunked, publish, request, subscribers

pytestmark = pytest.mark.usefixtures("port")

NONSENSE = [
    b"\r\n\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /send-update/x\r\n\r\n",
    b"GET /send-update/x HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /send-update/x HTTP/1.1 more words\r\nHost: a\r\n\r\n",
    b"GET  /send-update/x  HTTP/1.1\r\n\r\n",
    b"GET\t/send-update/x\tHTTP/1.1\r\n\r\n",
    b"GET send-update/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/send-update/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /send-update/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /send-update/x\x00y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\x00T /send-update/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\xc9T /send-update/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /send-update/x?\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\n\x00: b\r\n\r\n",
    b"GET /send-update/x HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
    b"GET /updates/x HTTP/1.1\r\nHost: a\r\nIf-None-Match: a\x00b\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\na",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n",
    b"POST /send-update/x HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: text/\x01plain\r\nContent-Length: 1\r\n\r\na",
    b"GET /updates/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: nonsense\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    b"a" * 1_000_000,
]


async def is_well(port: int) -> None:
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", "/hello")
    assert (answer.status, answer.body) == (200, b"hello from Django")


@pytest.mark.parametrize("nonsense", NONSENSE, ids=itertools.count())
async def test_invalid_requests_are_refused(port: int, nonsense: bytes) -> None:
    """An invalid request gets 400 or 404 or is cut off, and publishes nothing."""
    async with await Wire.open(port) as wire:
        await wire.send(nonsense)
        said = await wire.some()
    assert not said or said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404"), said
    await is_well(port)
    assert await subscribers(port, "x") is None


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\r\n",
        b"GET /updates/x HTTP/1.1\nHost: a\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"a" * 10_000,
    ],
)
async def test_incomplete_requests_do_not_block_others(
    port: int, nonsense: bytes
) -> None:
    """The server waits for the end of an incomplete request, and serves others."""
    async with await Wire.open(port) as wire:
        await wire.send(nonsense)
        await is_well(port)
        wire.end_sending()
        await wire.rest()
    assert await subscribers(port, "x") is None


async def test_random_bytes(port: int) -> None:
    """Random bytes do no harm to the server."""
    source = random.Random(7)
    for _ in range(50):
        async with await Wire.open(port) as wire:
            await wire.send(source.randbytes(source.randrange(2000)) + b"\r\n\r\n")
            wire.end_sending()
            await wire.rest()
    await is_well(port)


async def test_truncated_requests_publish_nothing(port: int, channel_id: str) -> None:
    """A request that is cut off at any point publishes nothing and does no harm."""
    whole = request("POST", f"/send-update/{channel_id}", "A: b", body=b"message")
    for length in range(len(whole)):
        async with await Wire.open(port) as wire:
            await wire.send(whole[:length])
            if length % 2:
                wire.end_sending()
    for length in range(0, len(whole), 7):
        async with await Wire.open(port) as wire:
            await wire.send(whole[:length])
            wire.reset()
    await is_well(port)
    assert await subscribers(port, channel_id) is None


async def test_truncated_chunks_publish_nothing(port: int, channel_id: str) -> None:
    """A chunked request that is cut off at any point publishes nothing."""
    whole = request(
        "POST", f"/send-update/{channel_id}", "Transfer-Encoding: chunked"
    ) + chunked(b"mess", b"age")
    for length in range(0, len(whole), 3):
        async with await Wire.open(port) as wire:
            await wire.send(whole[:length])
    await is_well(port)
    assert await subscribers(port, channel_id) is None


async def test_request_may_arrive_byte_by_byte(port: int, channel_id: str) -> None:
    """A request may arrive byte by byte."""
    whole = request("POST", f"/send-update/{channel_id}", body=b"message")
    async with await Wire.open(port) as wire:
        for byte in whole:
            await wire.send(bytes([byte]))
        assert (await wire.answer()).status == 202


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"%FF", 400),
        (b"%C3%28", 400),
        (b"%ED%A0%80", 400),
        (b"a" * 513, 400),
        (b"%E2%82%AC" * 513, 400),
    ],
)
async def test_invalid_channel_ids_get_400(
    port: int, location: str, path: bytes, status: int
) -> None:
    """A channel id that is not UTF-8 or too long gets 400 with a sentence."""
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", f"/{location}/{path.decode()}")
        assert answer.status == status
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert (await wire.ask("GET", "/hello")).status == 200


@pytest.mark.parametrize(
    "path",
    ["%", "%%", "%zz", "%2", "%00", "%0D%0A", "a%2Fb", "%2e%2e", "+", "a;b", "%25FF"],
)
async def test_unusual_channel_ids_are_accepted(
    port: int, channel_id: str, path: str
) -> None:
    """Any other channel id is accepted, however it is encoded."""
    path = f"{channel_id}{path}"
    assert await publish(port, path, path.encode()) == 202
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", f"/updates/{path}")
    assert answer.body == path.encode()


@pytest.mark.parametrize(
    "header",
    [
        "If-Modified-Since: garbage",
        "If-Modified-Since:",
        "If-None-Match: garbage",
        b"If-None-Match: \xff\xfe",
        "If-None-Match: " + "9" * 8000,
    ],
)
@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_invalid_id_headers_get_400(
    port: int, channel_id: str, location: str, header: str | bytes
) -> None:
    """An invalid id header gets 400, creates no channel and keeps the connection."""
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", f"/{location}/{channel_id}", header)
        assert answer.status == 400
        assert answer.body.startswith(b"The header If-")
        assert answer.body.count(b"\n") == 1
        assert len(answer.body) < 300
        assert (await wire.ask("GET", "/hello")).status == 200
    assert await subscribers(port, channel_id) is None


async def test_no_header_makes_a_passthrough_request(
    port: int, channel_id: str
) -> None:
    """No header makes a client's request a passthrough request."""
    for header in ("pushserver.internal: True", "Pushserver-Internal: 1"):
        async with await Wire.open(port) as wire:
            answer = await wire.ask(
                "POST",
                "/passthrough",
                header,
                "X-Forwarded-For: 10.0.0.1",
                "Content-Type: application/x-www-form-urlencoded",
                body=f"channel_id={channel_id}&subscribe=1".encode(),
            )
        assert answer.status == 403


async def test_unfinished_requests_do_not_block_others(
    port: int, channel_id: str
) -> None:
    """Many clients that never finish their request do not block others."""
    wires = [await Wire.open(port) for _ in range(200)]
    for wire in wires:
        await wire.send(b"GET /updates/x HTTP/1.1\r\nX-Slow: 1\r\nA")
    await is_well(port)
    assert await publish(port, channel_id) == 202
    for wire in wires:
        wire.abort()

    async def is_served() -> bool:
        await is_well(port)
        return True

    await until(is_served)
