from __future__ import annotations

import pytest

from tests.waiting import until

from .exchanges import Serve

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain",
        b"application/json; charset=utf-8",
        b'Multipart/Mixed;  boundary="a;b"',
        b"no type at all",
        b"text/plain; name=\xe9\xff",
        b"x" * 8000,
    ],
)
async def test_content_types(serve: Serve, content_type: bytes) -> None:
    """The Content-Type is stored with the message, byte for byte."""
    site = serve()
    await site.post("a", b"news", [(b"content-type", content_type)])
    answer = await site.ask("GET", "/updates/a")
    assert dict(answer.headers)[b"content-type"] == content_type


@pytest.mark.parametrize("headers", [[], [(b"content-type", b"")]])
async def test_no_content_type(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """A message without a Content-Type is sent without one."""
    site = serve()
    assert (await site.post("a", b"news", headers)).status == 202
    assert (await site.ask("GET", "/updates/a"))["content-type"] is None


@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
async def test_control_characters(serve: Serve, control: int) -> None:
    """A Content-Type with a control character gets 400 and publishes nothing."""
    site = serve()
    value = b"text/plain" + bytes([control]) + b"x"
    exchange = site.exchange(
        "POST", "/send-update/a", [(b"content-type", value)], [b"a", b"b"]
    )
    answer = await exchange.answer()
    assert answer.status == 400
    assert answer.body == b"The header Content-Type holds a control character.\n"
    assert exchange.input_queue.empty()
    assert await site.info("a") is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", bytes(range(256)), b"\r\n\r\n", "\u2028\u20ac\U0001f600".encode()],
)
async def test_bodies(serve: Serve, body: bytes) -> None:
    """A body is delivered unchanged."""
    site = serve()
    await site.post("a", body)
    answer = await site.ask("GET", "/updates/a")
    assert answer.body == body
    assert answer["content-length"] == str(len(body))


async def test_chunks_of_a_body_are_joined(serve: Serve) -> None:
    """The chunks of a body are joined, including empty ones."""
    site = serve()
    answer = await site.ask(
        "POST", "/send-update/a", body=[b"one", b"", b" two", b" three", b""]
    )
    assert answer.status == 202
    assert (await site.ask("GET", "/updates/a")).body == b"one two three"


async def test_message_is_published_after_its_whole_body(serve: Serve) -> None:
    """A message is published when its whole body has arrived, not before."""
    site = serve()
    exchange = site.exchange("POST", "/send-update/a", body=None).start()
    for part in (b"1", b"2"):
        exchange.put_body(part, more=True)
        await until(exchange.input_queue.empty)
        assert await site.info("a") is None
    exchange.put_body(b"3", more=False)
    assert (await exchange.answer()).status == 202
    assert (await site.ask("GET", "/updates/a")).body == b"123"


async def test_incomplete_body_publishes_nothing(serve: Serve) -> None:
    """A publisher that disconnects before the end of its body publishes nothing."""
    site = serve()
    exchange = site.exchange("POST", "/send-update/a", body=None)
    exchange.put_body(b"half a mess", more=True)
    exchange.disconnect()
    assert (await exchange.answer()).status == 400
    assert await site.info("a") is None


@pytest.mark.parametrize("size", [10, 0])
async def test_body_of_the_maximum_size(serve: Serve, size: int) -> None:
    """A body may be as long as max_message_size."""
    site = serve(publisher={"max_message_size": 10})
    declared = [(b"content-length", b"%d" % size)]
    assert (await site.post("a", b"x" * size, declared)).status == 202
    assert (await site.post("b", b"x" * size)).status == 202


@pytest.mark.parametrize(
    "declared", [b"11", b"9223372036854775808", b"1" + b"0" * 18, b"9" * 30]
)
async def test_too_large_by_length(serve: Serve, declared: bytes) -> None:
    """A body with a Content-Length that is too large gets 413 before it is read."""
    site = serve(publisher={"max_message_size": 10})
    exchange = site.exchange(
        "POST", "/send-update/a", [(b"content-length", declared)], body=None
    )
    exchange.start()
    exchange.disconnect()
    answer = await exchange.answer()
    assert answer.status == 413
    assert answer.body == b"A message has at most 10 bytes here.\n"
    assert await site.info("a") is None


@pytest.mark.parametrize(
    "headers", [[], [(b"content-length", b"5")], [(b"content-length", b"nonsense")]]
)
async def test_too_large_by_chunks(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """A body gets 413 as soon as it exceeds the limit."""
    site = serve(publisher={"max_message_size": 10})
    exchange = site.exchange("POST", "/send-update/a", headers, body=None)
    exchange.put_body(b"x" * 6, more=True)
    exchange.put_body(b"x" * 6, more=True)
    exchange.disconnect()
    assert (await exchange.answer()).status == 413
    assert await site.info("a") is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
async def test_bodies_of_other_methods(
    serve: Serve, method: str, location: str
) -> None:
    """Other methods read the body to its end, and publish nothing."""
    site = serve(subscriber={"create_on_get": False})
    exchange = site.exchange(
        method, f"/{location}/a", body=[b"x" * 10_000, b"", b"y" * 10_000]
    )
    await exchange.answer()
    assert exchange.input_queue.empty()
    info = await site.info("a")
    assert info is None or info["messages"] == 0
