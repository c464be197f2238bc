from __future__ import annotations

import asyncio
import time

import pytest

from tests.servers import daphne
from tests.waiting import until

from .wire import Wire, chunked, publish, request, subscribers, until_held

pytestmark = pytest.mark.usefixtures("port")

MAX_SIZE = 1_048_576


# Refused requests, and the next request on the same connection


@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PATCH", "/send-update/{}", [], 405),
        ("BREW", "/send-update/{}", [], 405),
        ("POST", "/updates/{}", [], 405),
        ("POST", "/interval/{}", [], 405),
        ("DELETE", "/send-update/{}", [], 404),
        ("GET", "/send-update/{}", [], 404),
        ("POST", "/send-update/%FF{}", [], 400),
        ("POST", "/send-update/{}", ["Content-Type: a\tb"], 400),
        ("POST", "/send-update/{}", ["X-Forwarded-For: 10.0.0.1"], 403),
        ("PUT", "/send-update/{}", ["X-Forwarded-For: 10.0.0.1"], 403),
        ("GET", "/interval/{}", ["If-None-Match: x"], 400),
    ],
)
async def test_body_of_a_refused_request_is_not_read_as_a_request(
    port: int,
    channel_id: str,
    encoding: str,
    method: str,
    path: str,
    headers: list[str],
    status: int,
) -> None:
    """The body of a refused request is not taken for the connection's next request."""
    trap = request("PUT", f"/send-update/{channel_id}")
    # A subscriber location answers 413 to more than 1 KiB, and closes the connection.
    trap *= 200 if "send-update" in path else 5
    path = path.format(channel_id)
    if encoding == "length":
        sent = request(method, path, *headers, body=trap)
    else:
        headers = [*headers, "Transfer-Encoding: chunked"]
        sent = request(method, path, *headers) + chunked(trap)
    async with await Wire.open(port) as wire:
        for _ in range(2):
            await wire.send(sent)
            assert (await wire.answer()).status == status
        answer = await wire.ask("GET", "/hello")
        assert answer.body == b"hello from Django"
    assert await subscribers(port, channel_id) is None


@pytest.mark.parametrize("size", [MAX_SIZE + 1, 5_000_000])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
async def test_too_large_body_gets_413(
    port: int, channel_id: str, encoding: str, size: int
) -> None:
    """A body over max_message_size gets 413, and is not read as the next request."""
    body = b"x" * size
    path = f"/send-update/{channel_id}"
    async with await Wire.open(port) as wire:
        if encoding == "length":
            answer = await wire.ask("POST", path, body=body)
        else:
            await wire.send(
                request("POST", path, "Transfer-Encoding: chunked") + chunked(body)
            )
            answer = await wire.answer()
        assert answer.status == 413
        assert answer.body == b"A message has at most 1048576 bytes here.\n"
        assert (await wire.ask("GET", "/hello")).status == 200
    assert await subscribers(port, channel_id) is None


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 200_000, MAX_SIZE])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
async def test_body_sizes_up_to_the_limit(
    port: int, channel_id: str, encoding: str, size: int
) -> None:
    """A body of any size up to max_message_size is delivered unchanged."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    path = f"/send-update/{channel_id}"
    async with await Wire.open(port) as wire:
        if encoding == "length":
            answer = await wire.ask("POST", path, body=body)
        else:
            parts = [body[at : at + 1000] for at in range(0, size, 1000)]
            await wire.send(
                request("POST", path, "Transfer-Encoding: chunked") + chunked(*parts)
            )
            answer = await wire.answer()
        assert answer.status == 202
        answer = await wire.ask("GET", f"/updates/{channel_id}")
        assert answer.body == body
        assert answer["content-length"] == str(size)


async def test_expect_100_continue(port: int, channel_id: str) -> None:
    """A client that expects 100-continue gets it before it sends its body."""
    async with await Wire.open(port) as wire:
        path = f"/send-update/{channel_id}"
        headers = ("Expect: 100-continue", "Content-Length: 4")
        await wire.send(request("POST", path, *headers))
        assert await wire.some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"news")
        assert (await wire.answer()).status == 202


async def test_responses_without_a_body(port: int, channel_id: str) -> None:
    """HEAD, 204 and 304 have no body, and the connection stays usable."""
    await publish(port, channel_id)
    async with await Wire.open(port) as wire:
        publisher = f"/send-update/{channel_id}"
        get = await wire.ask("GET", publisher)
        head = await wire.ask("HEAD", publisher)
        assert (head.status, head["content-type"]) == (200, "text/plain")
        assert head["content-length"] == str(len(get.body))
        assert (await wire.ask("HEAD", publisher + "-none")).status == 404
        assert (await wire.ask("HEAD", f"/updates/{channel_id}")).status == 405
        options = await wire.ask("OPTIONS", publisher)
        assert options.status == 204
        assert options["transfer-encoding"] is None
        assert (await wire.ask("OPTIONS", f"/updates/{channel_id}")).status == 204
        message = await wire.ask("GET", f"/interval/{channel_id}")
        assert message.status == 200
        none = await wire.ask(
            "GET",
            f"/interval/{channel_id}",
            f"If-Modified-Since: {message['last-modified']}",
            f"If-None-Match: {message['etag']}",
        )
        assert none.status == 304
        assert none["last-modified"] == message["last-modified"]
        assert none["etag"] == message["etag"]
        assert none["transfer-encoding"] is None
        assert (await wire.ask("GET", "/hello")).status == 200


async def test_delayed_response_equals_an_immediate_one(
    port: int, channel_id: str
) -> None:
    """A delayed response is byte for byte the immediate one, except for the Date."""
    async with await Wire.open(port) as held, await Wire.open(port) as later:
        await held.send(request("GET", f"/updates/{channel_id}"))
        await until_held(port, channel_id)
        async with await Wire.open(port) as publisher:
            posted = await publisher.ask(
                "POST",
                f"/send-update/{channel_id}",
                "Accept: application/json",
                b"Content-Type: text/plain; name=\xe9",
                body=b"news",
            )
        assert posted.status == 201
        delayed = await held.answer()
        immediate = await later.ask("GET", f"/updates/{channel_id}")
    assert delayed.body == immediate.body == b"news"
    assert [each for each in delayed.headers if each[0] != "date"] == [
        each for each in immediate.headers if each[0] != "date"
    ]
    told = dict(delayed.headers)
    assert told["content-type"] == "text/plain; name=\xe9"
    assert told["etag"].isdigit()
    assert told["cache-control"] == f"no-cache, no-transform, etag={told['etag']}"
    assert told["vary"] == "If-None-Match, If-Modified-Since, Accept"
    assert told["content-length"] == "4"


async def test_http_1_0_client_is_held(port: int, channel_id: str) -> None:
    """A client with HTTP/1.0 is held, too, and its connection closed afterwards."""
    async with await Wire.open(port) as wire:
        await wire.send(f"GET /updates/{channel_id} HTTP/1.0\r\n\r\n".encode())
        await until_held(port, channel_id)
        await publish(port, channel_id)
        assert (await wire.rest()).endswith(b"\r\n\r\nnews")


# Pipelining


async def test_pipelined_requests(port: int, channel_id: str) -> None:
    """Pipelined requests are answered in order."""
    posts = [b"%d" % number for number in range(50)]
    path = f"/send-update/{channel_id}"
    async with await Wire.open(port) as wire:
        await wire.send(b"".join(request("POST", path, body=body) for body in posts))
        for _ in posts:
            assert (await wire.answer()).status == 202
        seen, headers = [], []
        for _ in posts:
            answer = await wire.ask("GET", f"/updates/{channel_id}", *headers)
            headers = [
                f"If-Modified-Since: {answer['last-modified']}",
                f"If-None-Match: {answer['etag']}",
            ]
            seen.append(answer.body)
    assert seen == posts


async def test_requests_pipelined_behind_a_held_one_are_answered_after_it(
    port: int, channel_id: str
) -> None:
    """Requests that are pipelined behind a held one are answered after it."""
    async with await Wire.open(port) as wire:
        await wire.send(
            request("GET", f"/updates/{channel_id}")
            + request("GET", "/hello")
            + request("POST", f"/send-update/{channel_id}-other", body=b"other")
            + request("GET", f"/updates/{channel_id}-other")
        )
        await until_held(port, channel_id)
        assert await subscribers(port, f"{channel_id}-other") is None
        assert await publish(port, channel_id) == 201
        bodies = [(await wire.answer()).body for _ in range(4)]
    assert (bodies[0], bodies[1], bodies[3]) == (
        b"news",
        b"hello from Django",
        b"other",
    )


async def test_two_pipelined_long_polls(port: int, channel_id: str) -> None:
    """Of two pipelined long polls, the second is held when the first is answered."""
    path = f"/updates/{channel_id}"
    future = (
        "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
        "If-None-Match: 0",
    )
    async with await Wire.open(port) as wire:
        await wire.send(request("GET", path, *future) * 2)
        for body in (b"1", b"2"):
            await until_held(port, channel_id)
            assert await publish(port, channel_id, body) == 201
            assert (await wire.answer()).body == body


# Clients that disconnect


@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
async def test_held_client_that_disconnects_is_forgotten(
    port: int, channel_id: str, how: str
) -> None:
    """A held client that disconnects is forgotten: the next POST gets 202."""
    wire = await Wire.open(port)
    await wire.send(request("GET", f"/updates/{channel_id}"))
    await until_held(port, channel_id)
    if how == "close":
        wire.writer.close()
    elif how == "reset":
        wire.reset()
    else:
        wire.end_sending()
    await until_held(port, channel_id, 0)
    assert await publish(port, channel_id) == 202
    wire.abort()


# Twisted reads at most 16 kB of the data behind a held request. With more data it does
# not notice the end of the connection, and the request is held until its timeout.
@pytest.mark.parametrize("size", [10, 1000, 10_000])
async def test_client_with_pipelined_data_that_disconnects_is_forgotten(
    port: int, channel_id: str, size: int
) -> None:
    """A held client is forgotten even if it sent more before it disconnected."""
    wire = await Wire.open(port)
    more = request("GET", "/hello") * (size // 60 + 1)
    wire.writer.write(request("GET", f"/updates/{channel_id}") + more)
    await until_held(port, channel_id)
    wire.reset()
    await until_held(port, channel_id, 0)
    assert await publish(port, channel_id) == 202


async def test_disconnects_of_many_do_not_affect_the_others(
    port: int, channel_id: str
) -> None:
    """If 250 of 500 held clients disconnect at once, the others are answered."""
    wires = await asyncio.gather(*(Wire.open(port) for _ in range(500)))
    for wire in wires:
        await wire.send(request("GET", f"/updates/{channel_id}"))
    await until_held(port, channel_id, 500)
    for wire in wires[::2]:
        wire.reset()
    await until_held(port, channel_id, 250)
    assert await publish(port, channel_id) == 201
    for wire in wires[1::2]:
        assert (await wire.answer()).body == b"news"
        wire.abort()


async def test_bursts_of_disconnects_leave_no_subscriber(
    port: int, channel_id: str
) -> None:
    """Bursts of clients that connect and disconnect leave no subscriber behind."""

    async def come_and_go() -> None:
        for _ in range(10):
            async with await Wire.open(port) as wire:
                await wire.send(request("GET", f"/updates/{channel_id}"))

    await asyncio.gather(*(come_and_go() for _ in range(20)))

    async def are_gone() -> bool:
        return await subscribers(port, channel_id) in (0, None)

    await until(are_gone)
    assert await publish(port, channel_id) == 202


async def test_slow_reader_does_not_delay_others(port: int, channel_id: str) -> None:
    """A held client that does not read does not delay any other."""
    body = b"x" * MAX_SIZE
    sleepers = [await Wire.open(port) for _ in range(10)]
    for wire in sleepers:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(request("GET", f"/updates/{channel_id}"))
    async with await Wire.open(port) as awake:
        await awake.send(request("GET", f"/updates/{channel_id}"))
        await until_held(port, channel_id, 11)
        assert await publish(port, channel_id, body) == 201
        assert (await awake.answer()).body == body
    for wire in sleepers:
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await wire.answer()).body == body
        wire.abort()


# Order


async def test_all_clients_get_the_same_order_from_many_publishers(
    port: int, channel_id: str
) -> None:
    """All clients get the messages of many publishers in the same order."""
    publishers, messages, readers = 10, 20, 10

    async def publish_all(publisher: int) -> None:
        async with await Wire.open(port) as wire:
            for number in range(messages):
                body = b"%d:%d" % (publisher, number)
                answer = await wire.ask("POST", f"/send-update/{channel_id}", body=body)
                assert answer.status in (201, 202)

    async def read_all() -> list[bytes]:
        seen: list[bytes] = []
        headers: list[str] = []
        async with await Wire.open(port) as wire:
            while len(seen) < publishers * messages:
                answer = await wire.ask("GET", f"/updates/{channel_id}", *headers)
                assert answer.status == 200
                assert answer["push-gap"] is None
                headers = [
                    f"If-Modified-Since: {answer['last-modified']}",
                    f"If-None-Match: {answer['etag']}",
                ]
                seen.append(answer.body)
        return seen

    reading = [asyncio.ensure_future(read_all()) for _ in range(readers)]
    await until_held(port, channel_id, readers)
    await asyncio.gather(*(publish_all(each) for each in range(publishers)))
    seen = await asyncio.gather(*reading)
    assert all(each == seen[0] for each in seen)
    for publisher in range(publishers):
        mine = [body for body in seen[0] if body.startswith(b"%d:" % publisher)]
        assert mine == [b"%d:%d" % (publisher, number) for number in range(messages)]


async def test_unstored_messages_reach_only_held_requests(channel_id: str) -> None:
    """Without store_messages, a message reaches only the held requests."""
    locations = [
        {"type": "publisher", "url": "/send-update/([^/]+)", "store_messages": False},
        {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
        {"type": "subscriber", "url": "/interval/([^/]+)", "polling": "interval"},
    ]
    with daphne({"locations": locations, "servername": "Push"}) as server:
        port = server.port
        assert await publish(port, channel_id, b"missed") == 202
        async with await Wire.open(port) as held:
            await held.send(request("GET", f"/updates/{channel_id}"))
            await until_held(port, channel_id)
            assert await publish(port, channel_id, b"now") == 201
            answer = await held.answer()
            assert (answer.body, answer["server"]) == (b"now", "Push")
            answer = await held.ask("GET", f"/interval/{channel_id}")
            assert (answer.status, answer["server"]) == (304, "Push")
            answer = await held.ask("GET", f"/send-update/{channel_id}")
            assert answer.body.startswith(b"queued messages: 0\r\n")


async def test_timeout_and_expiry_without_other_requests(channel_id: str) -> None:
    """A held request times out, and a message expires, without other requests."""
    locations = [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "timeout": 0.05,
            "timeout_status": 408,
        },
    ]
    store = {"type": "memory", "message_timeout": 1, "channel_timeout": 1}
    with daphne({"locations": locations, "store": store}) as server:
        port = server.port
        async with await Wire.open(port) as wire:
            answer = await wire.ask("GET", f"/updates/{channel_id}")
            assert (answer.status, answer.body) == (408, b"")
            await publish(port, channel_id)
            answer = await wire.ask("GET", f"/updates/{channel_id}")
            assert answer.status == 200
            published = time.time()
            after = [
                f"If-Modified-Since: {answer['last-modified']}",
                f"If-None-Match: {answer['etag']}",
            ]
            again = await wire.ask("GET", f"/updates/{channel_id}", *after)
            assert (again.status, again["etag"]) == (408, answer["etag"])

            async def is_expired() -> bool:
                info = await wire.ask("GET", f"/send-update/{channel_id}")
                return b"queued messages: 0" in info.body or info.status == 404

            await until(is_expired)
            assert time.time() > published
