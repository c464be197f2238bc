from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from pushserver.access import publisher_token
from pushserver.access.tokens import make_token
from pushserver.conf import PublisherLocation, get_settings
from pushserver_channels.access import PublisherAccess
from pushserver_channels.exceptions import Forbidden

from .exchanges import Serve

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize(
    ("client", "forwarded_for"),
    [
        (["10.0.0.1", 1], []),
        (["::2", 1], []),
        (["::ffff:10.0.0.1", 1], []),
        (None, []),
        (["", 0], []),
        (["127.0.0.1", 1], [b"10.0.0.1"]),
        (["127.0.0.1", 1], [b"127.0.0.1, 10.0.0.1"]),
        (["127.0.0.1", 1], [b"127.0.0.1", b"10.0.0.1"]),
        (["127.0.0.1", 1], [b"10.0.0.1", b"127.0.0.1"]),
        (["127.0.0.1", 1], [b"nonsense"]),
        (["127.0.0.1", 1], [b"127.0.0.1,"]),
        (["10.0.0.1", 1], [b"127.0.0.1"]),
    ],
)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"]
)
async def test_other_addresses_get_403(
    serve: Serve, method: str, client: list[Any] | None, forwarded_for: list[bytes]
) -> None:
    """Other addresses get 403 for each method, and their body has no effect."""
    site = serve(publisher={"allow_from": ["127.0.0.1", "::1"]})
    await site.ask("PUT", "/send-update/a")
    before = await site.info("a")
    exchange = site.exchange(
        method,
        "/send-update/a",
        [(b"x-forwarded-for", value) for value in forwarded_for],
        [b"mess", b"age"],
        client=client,
    )
    answer = await exchange.answer()
    assert answer.status == 403
    assert answer.body == b"Publishing is not allowed from this address.\n"
    assert exchange.input_queue.empty()
    assert await site.info("a") == before


@pytest.mark.parametrize(
    ("allow_from", "client", "forwarded_for"),
    [
        ("any", "10.0.0.1", b"nonsense"),
        (["10.0.0.0/8"], "10.1.2.3", None),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", None),
        (["fe80::/10"], "fe80::1%eth0", None),
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", b"10.1.2.3, 127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", b""),
    ],
)
async def test_addresses_in_allow_from_may_publish(
    serve: Serve, allow_from: object, client: str, forwarded_for: bytes | None
) -> None:
    """Addresses in allow_from may publish, also through proxies in allow_from."""
    site = serve(publisher={"allow_from": allow_from})
    headers = [] if forwarded_for is None else [(b"x-forwarded-for", forwarded_for)]
    answer = await site.ask(
        "POST", "/send-update/a", headers, b"news", client=[client, 1]
    )
    assert answer.status == 202


@pytest.mark.parametrize("empty", [b"x-forwarded-for", b"x-real-ip"])
async def test_empty_proxy_header_is_ignored(serve: Serve, empty: bytes) -> None:
    """An empty proxy header is ignored if another one has an address."""
    site = serve(publisher={"allow_from": ["127.0.0.1"]})
    for address, status in ((b"127.0.0.1", 202), (b"10.0.0.1", 403)):
        told = {b"x-forwarded-for": address, b"x-real-ip": address, empty: b""}
        answer = await site.ask("POST", "/send-update/a", [*told.items()], b"news")
        assert answer.status == status


def test_long_proxy_headers_are_not_cached(serve: Serve) -> None:
    """Results for long proxy headers are not cached, so they cannot fill the memory."""
    serve(publisher={"allow_from": ["127.0.0.1"]})
    location = get_settings().locations[0]
    assert isinstance(location, PublisherLocation)
    access = PublisherAccess(location)
    size = 1_000_000
    tracemalloc.start()
    try:
        for i in range(3):
            headers = {b"x-forwarded-for": b"x" * size + b"%d" % i}
            with pytest.raises(Forbidden):
                access.check({"client": ["127.0.0.1", 1]}, headers, "a")
        del headers
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < size


@pytest.mark.parametrize("encoding", [b"gzip", b"br, gzip", b"x-\xe9"])
@pytest.mark.parametrize("path", ["/updates/a", "/interval/a"])
async def test_content_encoding_is_stored_and_sent(
    serve: Serve, path: str, encoding: bytes
) -> None:
    """The Content-Encoding is stored and sent with the message, delayed or not."""
    site = serve()
    headers = [(b"content-encoding", encoding), (b"content-type", b"text/html")]
    held = await site.hold("/updates/a")
    await site.post("a", b"\x1f\x8b", headers)
    for answer in (await held.answer(), await site.ask("GET", path)):
        assert (answer.body, answer["content-type"]) == (b"\x1f\x8b", "text/html")
        assert answer["content-encoding"] == encoding.decode("latin-1")
    await site.post("b")
    assert (await site.ask("GET", "/updates/b"))["content-encoding"] is None


async def test_content_encoding_with_a_control_character_gets_400(serve: Serve) -> None:
    """A Content-Encoding with a control character gets 400 and publishes nothing."""
    site = serve()
    answer = await site.post("a", b"news", [(b"content-encoding", b"gzip\x00")])
    assert answer.status == 400
    assert b"Content-Encoding" in answer.body
    assert await site.info("a") is None


async def test_a_token_lets_a_stranger_publish(serve: Serve) -> None:
    """With ``signed``, a token does as well as an address."""
    site = serve(publisher={"allow_from": ["10.0.0.1"], "signed": True})

    async def post(token: str, channel_id: str = "a") -> int:
        bearer = [(b"authorization", f"Bearer {token}".encode())]
        return (await site.post(channel_id, b"news", bearer)).status

    assert await post(publisher_token("a", expires=60)) == 202
    assert await post(publisher_token("a", expires=60), "b") == 403
    assert await post(publisher_token(None), "b") == 202
    assert await post(publisher_token(None, expires=1e-6)) == 403
    assert await post(make_token("default", ["a"])) == 403
    assert await post("nonsense") == 403
    unsigned = serve(publisher={"allow_from": ["10.0.0.1"]})
    bearer = [(b"authorization", f"Bearer {publisher_token(None)}".encode())]
    assert (await unsigned.post("a", b"news", bearer)).status == 403
