"""The limits on what one client may send, on each server that a site may run."""

from __future__ import annotations

import asyncio

import pytest

from tests.servers import ServerProcess

from .wire import Wire, chunked, publish, request, subscribers

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEA")


@pytest.fixture
def server(each_server: ServerProcess) -> ServerProcess:
    return each_server


async def has_ended(wire: Wire, kind: str = "") -> bool:
    """Return whether a response with Connection: close ended the connection.

    Unmodified Daphne ignores this header of a response. It has read the whole body, so
    the connection must be usable.
    """
    if kind == "daphne":
        return (await wire.ask("GET", "/send-update/none")).status == 404
    try:
        return await wire.rest() == b""
    except ConnectionResetError:
        return True  # What the client had sent after the refusal was not read.


@pytest.mark.parametrize("path", ["send-update", "updates", "interval"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_many_headers(
    port: int, kind: str, channel_id: str, path: str, method: str
) -> None:
    """Too many header lines get 431 with a sentence, on every server."""
    lines = [f"X-{number}: a" for number in range(250)]
    async with await Wire.open(port) as wire:
        answer = await wire.ask(method, f"/{path}/{channel_id}", *lines)
        assert answer.status == 431
        if answer.body or kind != "granian":  # granian has its own limit.
            assert answer.body.startswith(b"A request has at most 200 header lines")
            assert answer["x-content-type-options"] == "nosniff"
            assert answer["connection"] == "close"
            assert await has_ended(wire, kind)
    assert await subscribers(port, channel_id) is None


@pytest.mark.parametrize(
    "lines",
    [
        [b"Cookie: " + b"a=b; " * 200_000],
        [b"Cookie: a=b"] * 100_000,
        [b"Accept: " + b"a/b, " * 200_000],
        [b"If-None-Match: " + b"1" * 1_000_000],
        [b"X-%d: a" % number for number in range(100_000)],
    ],
    ids=["cookie", "cookies", "accept", "tag", "names"],
)
async def test_megabytes_of_headers(
    port: int, channel_id: str, lines: list[bytes]
) -> None:
    """Megabytes of headers are refused, and the server stays responsive."""
    async with await Wire.open(port) as wire:
        await wire.send(request("GET", f"/updates/{channel_id}", *lines))
        said = await wire.some()
    assert not said or said[9:12] in (b"400", b"431")
    assert await publish(port, channel_id) == 202


async def test_big_cookies(port: int, channel_id: str) -> None:
    """Cookies as large as those of browsers are accepted."""
    async with await Wire.open(port) as wire:
        cookies = "Cookie: " + "; ".join(f"name{n}=" + "a" * 1000 for n in range(14))
        answer = await wire.ask("GET", f"/interval/{channel_id}", cookies)
        assert answer.status == 304


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
async def test_ignored_long_body_gets_413(
    port: int, kind: str, channel_id: str, location: str, encoding: str
) -> None:
    """An ignored body of 5 MB gets 413, and ends the connection."""
    path, body = f"/{location}/{channel_id}", b"x" * 5_000_000
    async with await Wire.open(port) as wire:
        if encoding == "length":
            await wire.send(request("GET", path, body=body))
        else:
            await wire.send(request("GET", path, "Transfer-Encoding: chunked"))
            await wire.send(chunked(*[body[:65536]] * 77))
        answer = await wire.answer()
        assert answer.status == 413
        assert answer["connection"] == "close"
        # Also on Daphne if it is a subscriber's.
        assert await has_ended(wire, kind if location == "send-update" else "")
    assert await subscribers(port, channel_id) is None


async def test_too_long_message_gets_413_with_the_reason(
    port: int, kind: str, channel_id: str
) -> None:
    """A publisher that sends 5 MB before it reads gets 413 with the reason."""
    async with await Wire.open(port) as wire:
        body = b"x" * 5_000_000
        answer = await wire.ask("POST", f"/send-update/{channel_id}", body=body)
        assert answer.status == 413
        assert answer.body == b"A message has at most 1048576 bytes here.\n"
        assert answer["connection"] == "close"
        assert await has_ended(wire, kind)


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_endless_body_is_cut_off(
    port: int, kind: str, channel_id: str, location: str
) -> None:
    """An endless body is not read for ever."""
    if kind == "daphne":
        return  # Daphne reads the whole body before it calls the application.
    async with await Wire.open(port) as wire:
        await wire.send(
            request("GET", f"/{location}/{channel_id}", "Transfer-Encoding: chunked")
        )
        answering = asyncio.create_task(wire.answer())
        while not answering.done():
            await wire.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        answer = await answering
        assert answer.status == 413
        assert answer.body.endswith(b"nothing has at most 1024 bytes here.\n")
        assert await has_ended(wire)


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize("size", [1024, 1025])
async def test_subscriber_may_send_a_small_body(
    port: int, channel_id: str, size: int, encoding: str, accept: str
) -> None:
    """A poll or a stream may have a body of 1 KiB; a longer one gets 413."""
    assert await publish(port, channel_id) == 202
    head = ["GET", f"/updates/{channel_id}", f"Accept: {accept}"]
    async with await Wire.open(port) as wire:
        if encoding == "length":
            await wire.send(request(*head, body=b"x" * size))
        else:
            await wire.send(request(*head, "Transfer-Encoding: chunked"))
            await wire.send(chunked(b"x" * size))
        if size == 1025:
            answer = await wire.answer()
            assert answer.status == 413
            assert answer.body.endswith(b"nothing has at most 1024 bytes here.\n")
            assert await has_ended(wire)
            return
        said = b""
        while b"news" not in said:
            part = await wire.some()
            assert part, said
            said += part
        assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("upgrade", [H2C, ("Connection: Upgrade", "Upgrade: TLS/1.0")])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_message_with_an_upgrade_is_published_whole_or_not_at_all(
    port: int,
    kind: str,
    channel_id: str,
    upgrade: tuple[str, ...],
    encoding: str,
    at_once: bool,
) -> None:
    """A message with an Upgrade is published as a whole or not at all."""
    path = f"/send-update/{channel_id}"
    # A server that takes this body for a request creates the second channel.
    body = request("PUT", f"{path}-trap")
    if encoding == "length":
        head = request("POST", path, *upgrade, f"Content-Length: {len(body)}")
        sent = body
    else:
        head = request("POST", path, *upgrade, "Transfer-Encoding: chunked")
        sent = chunked(body)
    async with await Wire.open(port) as wire:
        if at_once:
            await wire.send(head + sent)
        else:
            await wire.send(head)
            await wire.send(sent)
        answer = await wire.answer()
        if kind == "httptools":
            assert answer.status == 400
            assert b"header Upgrade" in answer.body
            assert await has_ended(wire, kind)
        else:
            assert answer.status == 202
            assert (await wire.ask("GET", f"/updates/{channel_id}")).body == body
    assert await subscribers(port, f"{channel_id}-trap") is None
    assert (await subscribers(port, channel_id) is None) == (kind == "httptools")


@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize("end", ["half", "close", "reset"])
async def test_incomplete_body_publishes_nothing(
    port: int, channel_id: str, encoding: str, end: str
) -> None:
    """An incomplete body publishes nothing, and gets 400 if the client still reads."""
    how, body = {
        "length": ("Content-Length: 10", b"news"),
        "chunks": ("Transfer-Encoding: chunked", b"4\r\nnews\r\n"),
    }[encoding]
    async with await Wire.open(port) as wire:
        await wire.send(request("POST", f"/send-update/{channel_id}", how) + body)
        if end == "half":
            wire.end_sending()
            said = await wire.rest()
            assert not said or said.startswith(b"HTTP/1.1 400 ")
        elif end == "reset":
            wire.reset()
    assert await subscribers(port, channel_id) is None


@pytest.mark.parametrize("length", ["1e3", "+4", "-4", "4, 5", "four", "", "0x4"])
async def test_invalid_content_length_gets_400(
    port: int, channel_id: str, length: str
) -> None:
    """A Content-Length that is not a number gets 400, and publishes nothing."""
    head = request("POST", f"/send-update/{channel_id}", f"Content-Length: {length}")
    async with await Wire.open(port) as wire:
        await wire.send(head + b"news")
        assert (await wire.answer()).status == 400
    assert await subscribers(port, channel_id) is None
