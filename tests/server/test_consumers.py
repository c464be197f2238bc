from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import PublisherLocation, get_settings
from pushserver.publishers import Update
from pushserver_channels.access import PublisherAccess
from pushserver_channels.consumers import LongPollConsumer, long_poll
from pushserver_channels.deadlines import Deadlines
from pushserver_channels.exceptions import Forbidden, StoreUnavailable
from pushserver_channels.hub import hubs
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.protocol import build_date, parse_date
from pushserver_channels.routing import get_application
from pushserver_channels.stores.memory import MemoryStore

from .exchanges import (
    EPOCH,
    Exchange,
    Site,
    django,
    http_scope,
    id_headers,
    until,
    until_held,
    until_idle,
)

pytestmark = pytest.mark.usefixtures("nothing_left")

JSON = [(b"accept", b"application/json")]
FUTURE = [
    (b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT"),
    (b"if-none-match", b"7"),
]
PAGE = b"http://127.0.0.1:8000"

Serve = Callable[..., Site]


def unwatched() -> Deadlines[LongPollConsumer]:
    """Return the held requests whose clients are not watched yet."""
    hub = hubs.get("default")
    return hub.deadlines(long_poll.WATCH_AFTER, LongPollConsumer.watch)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve the three kinds of locations, with options of each."""
    changes = ExitStack()

    def serve(
        publisher: dict[str, Any] | None = None,
        subscriber: dict[str, Any] | None = None,
        store: dict[str, Any] | None = None,
        **others: Any,
    ) -> Site:
        subscriber = {"type": "subscriber", "create_on_get": True, **(subscriber or {})}
        conf = {
            "store": {"type": "memory", **(store or {})},
            "locations": [
                {
                    "type": "publisher",
                    "url": "/send-update/([^/]*)",
                    **(publisher or {}),
                },
                {"url": "/updates/([^/]*)", **subscriber},
                {"url": "/interval/([^/]*)", "polling": "interval", **subscriber},
            ],
            **others,
        }
        changes.enter_context(override_settings(PUSH_SERVER=conf))
        return Site(get_application(django))

    with changes:
        yield serve


# Publisher locations


async def test_get_of_no_channel(serve: Serve) -> None:
    """GET of a channel that is not there is 404, and makes none."""
    site = serve()
    for _ in range(2):
        answer = await site.ask("GET", "/send-update/a")
        assert answer.status == 404
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert answer.body == b"There is no such channel.\n"
        assert answer["content-length"] == str(len(answer.body))


async def test_put(serve: Serve) -> None:
    """PUT creates a channel and tells of it; its body is no message."""
    site = serve()
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "messages": 0,
        "requested": -1,
        "subscribers": 0,
        "last_message_id": "0:0",
    }
    assert await site.info("a") == json.loads(answer.body)


async def test_put_of_a_channel_that_is_there(serve: Serve) -> None:
    """PUT of a channel that is there leaves it as it is."""
    site = serve()
    await site.post("a")
    before = await site.info("a")
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert answer.status == 200
    assert json.loads(answer.body) == before


async def test_put_answers_nobody(serve: Serve) -> None:
    """PUT never publishes: who waits goes on waiting."""
    site = serve()
    held = await site.hold("/updates/a")
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert json.loads(answer.body)["subscribers"] == 1
    assert held.is_silent
    await site.post("a")
    assert (await held.answer()).body == b"news"


async def test_post_to_nobody(serve: Serve) -> None:
    """POST is 202 where nobody waits, with the channel after it."""
    site = serve()
    answer = await site.post("a", b"news", JSON)
    info = json.loads(answer.body)
    assert answer.status == 202
    assert (info["messages"], info["subscribers"], info["requested"]) == (1, 0, -1)
    assert answer["content-type"] == "application/json"
    assert answer["content-length"] == str(len(answer.body))


async def test_post_to_who_waits(serve: Serve) -> None:
    """POST is 201 where somebody waited; it counts those held before."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(3)]
    answer = await site.post("a", b"news", JSON)
    assert answer.status == 201
    assert json.loads(answer.body)["subscribers"] == 3
    assert [(await each.answer()).body for each in held] == [b"news"] * 3
    info = await site.info("a")
    assert info is not None
    assert info["subscribers"] == 0
    assert info["requested"] in (0, 1)


async def test_post_where_it_may_not_create(serve: Serve) -> None:
    """Without create_on_post, POST to a channel that is not there is 404."""
    site = serve(publisher={"create_on_post": False})
    assert (await site.post("a")).status == 404
    assert await site.info("a") is None
    await site.ask("PUT", "/send-update/a")
    assert (await site.post("a")).status == 202


async def test_messages_that_are_not_kept(serve: Serve) -> None:
    """Without store_messages, a message is for who waits now."""
    site = serve(publisher={"store_messages": False})
    assert (await site.post("a", b"missed")).status == 202
    held = await site.hold("/updates/a")
    assert (await site.post("a", b"now")).status == 201
    assert (await held.answer()).body == b"now"
    info = await site.info("a")
    assert info is not None
    assert info["messages"] == 0
    assert (await site.ask("GET", "/interval/a")).status == 304


async def test_delete(serve: Serve) -> None:
    """DELETE drops the channel and tells what it was; then it is not there."""
    site = serve(subscriber={"create_on_get": False})
    await site.post("a", b"1")
    await site.post("a", b"2")
    before = await site.info("a")
    answer = await site.ask("DELETE", "/send-update/a", JSON)
    assert answer.status == 200
    assert json.loads(answer.body) == before
    assert (await site.ask("DELETE", "/send-update/a")).status == 404
    assert (await site.ask("GET", "/send-update/a")).status == 404
    assert (await site.ask("GET", "/updates/a")).status == 404


async def test_delete_ends_who_waits(serve: Serve) -> None:
    """DELETE answers each held request with 410, and counts them."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(3)]
    answer = await site.ask("DELETE", "/send-update/a", JSON)
    assert json.loads(answer.body)["subscribers"] == 3
    for each in held:
        gone = await each.answer()
        assert gone.status == 410
        assert gone.body == b"The channel was deleted.\n"


async def test_head(serve: Serve) -> None:
    """HEAD is as GET; the server leaves out the body."""
    site = serve()
    assert (await site.ask("HEAD", "/send-update/a")).status == 404
    await site.post("a")
    head = await site.ask("HEAD", "/send-update/a", JSON)
    get = await site.ask("GET", "/send-update/a", JSON)
    assert (head.status, head.headers) == (get.status, get.headers)


async def test_options_of_a_publisher_location(serve: Serve) -> None:
    """OPTIONS tells the methods, without a body."""
    answer = await serve().ask("OPTIONS", "/send-update/a")
    assert answer.status == 204
    assert answer["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    assert answer.body == b""
    assert answer["content-length"] is None


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "post", "X\u00e9", ""])
async def test_other_methods_of_a_publisher_location(serve: Serve, method: str) -> None:
    """Another method is 405 with Allow, and does nothing."""
    site = serve()
    answer = await site.ask(method, "/send-update/a", body=b"no message")
    assert answer.status == 405
    assert answer["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    assert answer.body.startswith(f"The method {method} is not allowed here".encode())
    assert await site.info("a") is None


@pytest.mark.parametrize(
    ("accept", "content_type", "start"),
    [
        (None, "text/plain", b"queued messages: 1\r\n"),
        (b"text/html", "text/plain", b"queued messages: 1\r\n"),
        (b"text/json", "text/json", b'{"messages": 1, '),
        (b"text/xml", "text/xml", b'<?xml version="1.0" encoding="UTF-8" ?>\r\n'),
        (b"application/xml", "application/xml", b"<?xml"),
        (b"text/yaml", "text/yaml", b"---\r\nmessages: 1\r\n"),
        (b"application/yaml", "application/yaml", b"---\r\n"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_accept(
    serve: Serve, method: str, accept: bytes | None, content_type: str, start: bytes
) -> None:
    """Each method answers with channel info of the type that is asked for."""
    site = serve(store={"max_messages": 1})
    await site.post("a")
    headers = [] if accept is None else [(b"accept", accept)]
    answer = await site.ask(method, "/send-update/a", headers)
    assert answer["content-type"] == content_type
    assert answer.body.startswith(start)
    assert answer["content-length"] == str(len(answer.body))


async def test_accept_in_several_lines(serve: Serve) -> None:
    """Accept given in several lines is one list."""
    site = serve()
    await site.post("a")
    headers = [(b"accept", b"text/xml"), (b"accept", b"text/html")]
    answer = await site.ask("GET", "/send-update/a", headers)
    assert answer["content-type"] == "text/xml"


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
    """The Content-Type is kept with the message, byte for byte."""
    site = serve()
    await site.post("a", b"news", [(b"content-type", content_type)])
    answer = await site.ask("GET", "/updates/a")
    assert dict(answer.headers)[b"content-type"] == content_type


@pytest.mark.parametrize("headers", [[], [(b"content-type", b"")]])
async def test_no_content_type(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """A message without a type is answered without one."""
    site = serve()
    assert (await site.post("a", b"news", headers)).status == 202
    assert (await site.ask("GET", "/updates/a"))["content-type"] is None


@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
async def test_control_characters(serve: Serve, control: int) -> None:
    """A Content-Type with a control character is 400, and nothing is published."""
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
    """A body comes out as it went in."""
    site = serve()
    await site.post("a", body)
    answer = await site.ask("GET", "/updates/a")
    assert answer.body == body
    assert answer["content-length"] == str(len(body))


async def test_a_body_in_parts(serve: Serve) -> None:
    """A chunked body is put together, empty parts and all."""
    site = serve()
    answer = await site.ask(
        "POST", "/send-update/a", body=[b"one", b"", b" two", b" three", b""]
    )
    assert answer.status == 202
    assert (await site.ask("GET", "/updates/a")).body == b"one two three"


async def test_a_body_that_comes_slowly(serve: Serve) -> None:
    """A message is published when its whole body has come, not before."""
    site = serve()
    exchange = site.exchange("POST", "/send-update/a", body=None).start()
    for part in (b"1", b"2"):
        exchange.put_body(part, more=True)
        await until(exchange.input_queue.empty)
        assert await site.info("a") is None
    exchange.put_body(b"3", more=False)
    assert (await exchange.answer()).status == 202
    assert (await site.ask("GET", "/updates/a")).body == b"123"


async def test_a_body_that_breaks_off(serve: Serve) -> None:
    """A publisher that leaves before the end of its body has published nothing."""
    site = serve()
    exchange = site.exchange("POST", "/send-update/a", body=None)
    exchange.put_body(b"half a mess", more=True)
    exchange.disconnect()
    assert (await exchange.answer()).status == 400
    assert await site.info("a") is None


@pytest.mark.parametrize("size", [10, 0])
async def test_a_body_of_the_largest_size(serve: Serve, size: int) -> None:
    """A body may be as long as max_message_size."""
    site = serve(publisher={"max_message_size": 10})
    declared = [(b"content-length", b"%d" % size)]
    assert (await site.post("a", b"x" * size, declared)).status == 202
    assert (await site.post("b", b"x" * size)).status == 202


@pytest.mark.parametrize(
    "declared", [b"11", b"9223372036854775808", b"1" + b"0" * 18, b"9" * 30]
)
async def test_too_large_by_length(serve: Serve, declared: bytes) -> None:
    """A body that is declared too long is 413 before it is read."""
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
    """A body that grows too long is 413 as soon as it is."""
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
    """Each method reads its body to the end, and makes no message of it."""
    site = serve(subscriber={"create_on_get": False})
    exchange = site.exchange(
        method, f"/{location}/a", body=[b"x" * 10_000, b"", b"y" * 10_000]
    )
    await exchange.answer()
    assert exchange.input_queue.empty()
    info = await site.info("a")
    assert info is None or info["messages"] == 0


@pytest.mark.parametrize("length", [1, 511, 512])
@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f600"])
async def test_long_ids(serve: Serve, length: int, character: str) -> None:
    """A channel id has up to max_channel_id_length characters, of any width."""
    site = serve()
    path = "".join(f"%{byte:02X}" for byte in (character * length).encode())
    assert (await site.post(path)).status == 202
    assert (await site.ask("GET", f"/updates/{path}")).body == b"news"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
async def test_ids_that_are_too_long(serve: Serve, location: str) -> None:
    """A longer channel id is 400."""
    answer = await serve().ask("GET", f"/{location}/{'x' * 513}")
    assert answer.status == 400
    assert answer.body == b"A channel id has at most 512 characters here.\n"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
async def test_ids_that_are_empty(serve: Serve, location: str) -> None:
    """A pattern may match an empty channel id, which is 400."""
    answer = await serve().ask("GET", f"/{location}/")
    assert answer.status == 400
    assert answer.body == b"The URL has no channel id.\n"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
@pytest.mark.parametrize("path", ["%FF", "a%C3", "%ED%A0%80", "%C0%AF"])
async def test_ids_that_are_not_utf8(serve: Serve, location: str, path: str) -> None:
    """A channel id that is not UTF-8 is 400, whatever the server made of it."""
    answer = await serve().ask("GET", f"/{location}/{path}")
    assert answer.status == 400
    assert answer.body == b"The channel id in the URL is not UTF-8.\n"


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
async def test_who_may_not_publish(
    serve: Serve, method: str, client: list[Any] | None, forwarded_for: list[bytes]
) -> None:
    """Other addresses get 403 for each method, their body is read and does nothing."""
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
async def test_who_may_publish(
    serve: Serve, allow_from: object, client: str, forwarded_for: bytes | None
) -> None:
    """Addresses in allow_from may publish, over proxies in it too."""
    site = serve(publisher={"allow_from": allow_from})
    headers = [] if forwarded_for is None else [(b"x-forwarded-for", forwarded_for)]
    answer = await site.ask(
        "POST", "/send-update/a", headers, b"news", client=[client, 1]
    )
    assert answer.status == 202


@pytest.mark.parametrize("empty", [b"x-forwarded-for", b"x-real-ip"])
async def test_an_empty_header_of_a_proxy(serve: Serve, empty: bytes) -> None:
    """A proxy's header without an address tells nothing, beside one that has one."""
    site = serve(publisher={"allow_from": ["127.0.0.1"]})
    for address, status in ((b"127.0.0.1", 202), (b"10.0.0.1", 403)):
        told = {b"x-forwarded-for": address, b"x-real-ip": address, empty: b""}
        answer = await site.ask("POST", "/send-update/a", [*told.items()], b"news")
        assert answer.status == status


def test_long_headers_of_proxies_are_not_remembered(serve: Serve) -> None:
    """Memory cannot be filled with long X-Forwarded-For headers."""
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
                access.check({"client": ["127.0.0.1", 1]}, headers)
        del headers
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < size


@pytest.mark.parametrize("encoding", [b"gzip", b"br, gzip", b"x-\xe9"])
@pytest.mark.parametrize("path", ["/updates/a", "/interval/a"])
async def test_a_content_encoding(serve: Serve, path: str, encoding: bytes) -> None:
    """The Content-Encoding of a message is kept, and sent to who asks and who waits."""
    site = serve()
    headers = [(b"content-encoding", encoding), (b"content-type", b"text/html")]
    held = await site.hold("/updates/a")
    await site.post("a", b"\x1f\x8b", headers)
    for answer in (await held.answer(), await site.ask("GET", path)):
        assert (answer.body, answer["content-type"]) == (b"\x1f\x8b", "text/html")
        assert answer["content-encoding"] == encoding.decode("latin-1")
    await site.post("b")
    assert (await site.ask("GET", "/updates/b"))["content-encoding"] is None


async def test_a_content_encoding_that_breaks_out(serve: Serve) -> None:
    """A Content-Encoding with a control character is 400, and nothing is published."""
    site = serve()
    answer = await site.post("a", b"news", [(b"content-encoding", b"gzip\x00")])
    assert answer.status == 400
    assert b"Content-Encoding" in answer.body
    assert await site.info("a") is None


async def test_anybody_may_subscribe(serve: Serve) -> None:
    """Subscriber locations answer any address."""
    site = serve(publisher={"allow_from": ["127.0.0.1"]})
    for client in (["10.0.0.1", 1], None):
        answer = await site.ask("GET", "/interval/a", client=client)
        assert answer.status == 304


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/send-update/b"), ("POST", "/send-update/b"), ("GET", "/interval/b")],
)
async def test_too_many_channels(serve: Serve, method: str, path: str) -> None:
    """One channel more than max_channels is 503; those that are there go on."""
    site = serve(store={"max_channels": 1})
    assert (await site.post("a")).status == 202
    answer = await site.ask(method, path)
    assert answer.status == 503
    assert answer["retry-after"]
    assert answer.body == b"There are 1 channels already, which is the limit.\n"
    assert (await site.post("a")).status == 202
    await site.ask("DELETE", "/send-update/a")
    assert (await site.ask(method, path)).status < 400


async def test_too_many_channels_to_wait(serve: Serve) -> None:
    """A long poll that would create one channel too many is 503, and leaves nothing."""
    site = serve(store={"max_channels": 1})
    await site.post("a")
    assert (await site.ask("GET", "/updates/b")).status == 503


# Subscriber locations


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_no_channel_to_subscribe_to(serve: Serve, location: str) -> None:
    """Without create_on_get, GET of a channel that is not there is 404."""
    site = serve(subscriber={"create_on_get": False})
    answer = await site.ask("GET", f"/{location}/a")
    assert answer.status == 404
    assert answer.body == b"There is no such channel.\n"
    assert await site.info("a") is None


async def test_interval_creates(serve: Serve) -> None:
    """With create_on_get, an interval poll creates the channel and is 304."""
    site = serve()
    answer = await site.ask("GET", "/interval/a")
    assert (answer.status, answer.body) == (304, b"")
    assert await site.info("a") is not None


async def test_long_creates(serve: Serve) -> None:
    """With create_on_get, a long poll creates the channel and is held."""
    site = serve()
    held = await site.hold("/updates/a")
    info = await site.info("a")
    assert info is not None
    assert (info["subscribers"], info["messages"]) == (1, 0)
    await site.ask("DELETE", "/send-update/a")
    assert (await held.answer()).status == 410


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_messages_in_order(serve: Serve, location: str) -> None:
    """From no id on, each answer names the id with which the next one is asked for."""
    site = serve()
    bodies = [b"%d" % number for number in range(20)]
    for body in bodies:
        await site.post("a", body)
    headers: list[tuple[bytes, bytes]] = []
    seen = []
    for _ in bodies:
        answer = await site.ask("GET", f"/{location}/a", headers)
        assert answer.status == 200
        assert answer["push-gap"] is None
        headers = id_headers(answer)
        seen.append(answer.body)
    assert seen == bodies


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"if-none-match", b"5")],
        [(b"if-modified-since", EPOCH)],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b"0")],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b'"0"')],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b'W/"0"')],
        [
            (b"if-modified-since", b"Thu, 1 Jan 1970 00:00:00 GMT"),
            (b"if-none-match", b"0"),
        ],
        [(b"if-modified-since", b"Wed, 31 Dec 1969 00:00:00 GMT")],
    ],
)
async def test_the_start(
    serve: Serve, location: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Who starts gets the oldest message that is kept, and no gap."""
    site = serve(store={"max_messages": 2})
    for body in (b"1", b"2", b"3"):
        await site.post("a", body)
    answer = await site.ask("GET", f"/{location}/a?_=1699", headers)
    assert (answer.status, answer.body) == (200, b"2")
    assert answer["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("form", [b"%d", b'"%d"', b'W/"%d"'])
async def test_forms_of_a_tag(serve: Serve, location: str, form: bytes) -> None:
    """A tag names the same message however a proxy has rewritten it."""
    site = serve()
    await site.post("a", b"1")
    first = await site.ask("GET", f"/{location}/a")
    await site.post("a", b"2")
    assert first["last-modified"]
    assert first["etag"]
    headers = [
        (b"if-modified-since", first["last-modified"].encode()),
        (b"if-none-match", form % int(first["etag"])),
    ]
    answer = await site.ask("GET", f"/{location}/a", headers)
    assert answer.body == b"2"


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_a_date_without_tag(serve: Serve, location: str) -> None:
    """A date without a tag asks for the first message of that second or later."""
    site = serve()
    for body in (b"1", b"2"):
        await site.post("a", body)
    first = await site.ask("GET", f"/{location}/a")
    date = (first["last-modified"] or "").encode()
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", date)])
    assert answer.body == b"1"
    before = build_date(parse_date(date) - 1)
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", before)])
    assert answer.body == b"1"


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize(
    ("header", "value", "sentence"),
    [
        (
            b"if-modified-since",
            b"garbage",
            b"The header If-Modified-Since is 'garbage'",
        ),
        (b"if-modified-since", b"", b"The header If-Modified-Since is ''"),
        (b"if-none-match", b"garbage", b"The header If-None-Match is 'garbage'"),
        (b"if-none-match", b"*", b"The header If-None-Match is '*'"),
        (b"if-none-match", b"\xff\x01", b"The header If-None-Match is '"),
    ],
)
async def test_unreadable_ids(
    serve: Serve, location: str, header: bytes, value: bytes, sentence: bytes
) -> None:
    """An unreadable header is 400 with a sentence, and nothing else happens."""
    site = serve()
    answer = await site.ask("GET", f"/{location}/a", [(header, value)])
    assert answer.status == 400
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(sentence)
    assert answer.body.count(b"\n") == 1
    assert await site.info("a") is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("header", [b"if-modified-since", b"if-none-match"])
async def test_ids_given_twice(serve: Serve, location: str, header: bytes) -> None:
    """An id that is given twice is 400, which a page can read."""
    site = serve(subscriber={"allow_origin": [PAGE.decode(), "https://example.com"]})
    headers = [(header, b"0"), (b"origin", PAGE), (header, b"0")]
    answer = await site.ask("GET", f"/{location}/a", headers)
    assert answer.status == 400
    assert b"is given twice" in answer.body
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert await site.info("a") is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("zone", [b"-0001", b"-1200"])
async def test_ids_after_the_last_year(
    serve: Serve, location: str, zone: bytes
) -> None:
    """An id too far in the future to be told again is no failure of the server."""
    site = serve(subscriber={"timeout": 0.001})
    date = b"Fri, 31 Dec 9999 23:59:59 " + zone
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", date)])
    assert answer.status in (304, 400)


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_the_headers_of_a_message(serve: Serve, location: str) -> None:
    """An answer with a message has these headers, and no other."""
    site = serve()
    posted = await site.post("a", b"news", [(b"content-type", b"x/y"), *JSON])
    time, _, tag = json.loads(posted.body)["last_message_id"].partition(":")
    answer = await site.ask("GET", f"/{location}/a")
    assert sorted(answer.headers) == [
        (b"cache-control", f"no-cache, no-transform, etag={tag}".encode()),
        (b"content-length", b"4"),
        (b"content-type", b"x/y"),
        (b"etag", tag.encode()),
        (b"last-modified", build_date(int(time))),
        (b"vary", b"If-None-Match, If-Modified-Since"),
        (b"x-content-type-options", b"nosniff"),
    ]


async def test_a_delayed_answer(serve: Serve) -> None:
    """A delayed answer is byte for byte the immediate one."""
    site = serve(subscriber={"allow_origin": PAGE.decode()})
    await site.post("a", b"old")
    after = id_headers(await site.ask("GET", "/updates/a"))
    held = await site.hold("/updates/a", [*after, (b"origin", PAGE)])
    await site.post("a", b"new", [(b"content-type", b"x/y")])
    delayed = await held.answer()
    immediate = await site.ask("GET", "/updates/a", [*after, (b"origin", PAGE)])
    assert delayed == immediate
    assert immediate == await site.ask(
        "GET", "/interval/a", [*after, (b"origin", PAGE)]
    )


@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_a_long_poll_is_held(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """A long poll waits for the next message, also with an id of the future."""
    site = serve()
    held = await site.hold("/updates/a", headers)
    assert held.is_silent
    assert (await site.post("a")).status == 201
    answer = await held.answer()
    assert (answer.status, answer.body) == (200, b"news")
    # Nobody knows what was published after that id.
    assert (answer["push-gap"] is None) == (headers == [])


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_a_gap_by_a_deletion(serve: Serve, location: str) -> None:
    """Who missed the last message of a channel that was deleted is told of it."""
    site = serve()
    await site.post("a", b"1")
    seen = id_headers(await site.ask("GET", f"/{location}/a"))
    missed = json.loads((await site.post("a", b"2", JSON)).body)["last_message_id"]
    await site.ask("DELETE", "/send-update/a")
    await site.post("a", b"3")
    answer = await site.ask("GET", f"/{location}/a", seen)
    assert (answer.body, answer["push-gap"]) == (b"3", missed)
    assert (await site.ask("GET", f"/{location}/a"))["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_a_gap_by_a_clock_that_was_ahead(serve: Serve, location: str) -> None:
    """Who names an id of the future is told of the message that it cannot be given."""
    site = serve()
    skipped = json.loads((await site.post("a", b"1", JSON)).body)["last_message_id"]
    if location == "updates":
        waiting = await site.hold("/updates/a", FUTURE)
        await site.post("a", b"2")
        answer = await waiting.answer()
        assert (answer.body, answer["push-gap"]) == (b"2", skipped)
    else:
        answer = await site.ask("GET", "/interval/a", FUTURE)
        assert answer.status == 304


async def test_a_future_id_after_a_deletion(serve: Serve) -> None:
    """Who was told 410 waits with its old id and gets what comes next."""
    site = serve()
    for body in (b"1", b"2", b"3"):
        await site.post("a", body)
    last: list[tuple[bytes, bytes]] = []
    for _ in range(3):
        last = id_headers(await site.ask("GET", "/updates/a", last))
    held = await site.hold("/updates/a", last)
    await site.ask("DELETE", "/send-update/a")
    assert (await held.answer()).status == 410
    held = await site.hold("/updates/a", last)
    assert (await site.post("a", b"4")).status == 201
    assert (await held.answer()).body == b"4"
    # Ids of the channel went on, so it can also be asked for later.
    assert (await site.ask("GET", "/interval/a", last)).body == b"4"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        FUTURE,
        [(b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT")],
    ],
)
async def test_an_interval_poll_without_a_message(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """An interval poll is 304 with the client's own id where there is no message."""
    answer = await serve().ask("GET", "/interval/a", headers)
    sent = dict(headers)
    assert (answer.status, answer.body) == (304, b"")
    told = dict(answer.headers)
    assert told.get(b"last-modified") == sent.get(b"if-modified-since")
    assert told.get(b"etag") == sent.get(b"if-none-match")
    assert told[b"vary"] == b"If-None-Match, If-Modified-Since"
    assert b"content-type" not in told


@pytest.mark.parametrize("status", [304, 408])
@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_a_timeout(
    serve: Serve, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    """After timeout seconds a held request ends with timeout_status and its own id."""
    site = serve(subscriber={"timeout": 0.001, "timeout_status": status})
    answer = await site.ask("GET", "/updates/a", headers)
    sent = dict(headers)
    assert (answer.status, answer.body) == (status, b"")
    told = dict(answer.headers)
    assert told.get(b"last-modified") == sent.get(b"if-modified-since")
    assert told.get(b"etag") == sent.get(b"if-none-match")
    assert (await site.post("a")).status == 202


@pytest.mark.parametrize("options", [{}, {"concurrency": "last"}])
@pytest.mark.parametrize("passthrough", [None, "/hears/"])
async def test_the_longest_wait(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    passthrough: str | None,
) -> None:
    """With timeout 0 a request that is held for an hour ends as by a timeout."""
    assert long_poll.LONGEST_WAIT == 3600
    monkeypatch.setattr(long_poll, "WATCH_AFTER", 0.001)
    monkeypatch.setattr(long_poll, "LONGEST_WAIT", 0.002)
    site = serve(
        subscriber={
            "timeout": 0,
            "timeout_status": 408,
            "passthrough": passthrough,
            **options,
        }
    )
    answer = await site.ask("GET", "/updates/a", FUTURE)
    assert answer.status == 408
    assert answer["etag"] == "7"


async def test_no_timeout(serve: Serve) -> None:
    """With timeout 0 a request is held on."""
    site = serve(subscriber={"timeout": 0})
    held = await site.hold("/updates/a")
    loop = asyncio.get_running_loop()
    timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
    assert "LongPoll" not in repr(timers)
    await site.post("a")
    assert (await held.answer()).status == 200


async def test_a_timer_is_stopped(serve: Serve) -> None:
    """A request that is answered leaves no timer behind."""
    site = serve(subscriber={"timeout": 1000})
    held = await site.hold("/updates/a")
    await site.post("a")
    await held.answer()
    loop = asyncio.get_running_loop()
    timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
    assert "LongPoll" not in repr(timers)


async def test_last(serve: Serve) -> None:
    """With concurrency last, older ones get 409 and the newcomer is held."""
    site = serve(subscriber={"concurrency": "last"})
    older = await site.hold("/updates/a")
    newer = site.exchange("GET", "/updates/a").start()
    conflict = await older.answer()
    assert conflict.status == 409
    assert conflict.body == b"Another subscriber holds this channel.\n"
    await until_held("a", 1)
    await site.post("a")
    assert (await newer.answer()).status == 200


async def test_first(serve: Serve) -> None:
    """With concurrency first, the newcomer gets 409."""
    site = serve(subscriber={"concurrency": "first"})
    older = await site.hold("/updates/a")
    assert (await site.ask("GET", "/updates/a")).status == 409
    await site.post("a")
    assert (await older.answer()).status == 200


async def test_first_after_a_client_left(serve: Serve) -> None:
    """With concurrency first, a place is free again when its client has left."""
    site = serve(subscriber={"concurrency": "first"})
    older = await site.hold("/updates/a")
    older.disconnect()
    await older.end()
    newer = await site.hold("/updates/a")
    await site.post("a")
    assert (await newer.answer()).status == 200


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_a_gap_by_max_messages(serve: Serve, location: str) -> None:
    """A message after others that were dropped tells the newest that was missed."""
    site = serve(store={"max_messages": 2})
    await site.post("a", b"1")
    first = await site.ask("GET", f"/{location}/a")
    missed = []
    for body in (b"2", b"3", b"4", b"5"):
        posted = await site.post("a", body, JSON)
        missed.append(json.loads(posted.body)["last_message_id"])
    answer = await site.ask("GET", f"/{location}/a", id_headers(first))
    assert answer.body == b"4"
    assert answer["push-gap"] == missed[1]
    # From there on nothing is missed.
    answer = await site.ask("GET", f"/{location}/a", id_headers(answer))
    assert answer.body == b"5"
    assert answer["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH", "get"])
async def test_other_methods_of_a_subscriber_location(
    serve: Serve, location: str, method: str
) -> None:
    """Another method than GET and OPTIONS is 405 with Allow."""
    site = serve()
    answer = await site.ask(method, f"/{location}/a", body=b"no message")
    assert answer.status == 405
    assert answer["allow"] == "GET, OPTIONS"
    assert await site.info("a") is None


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_preflight(serve: Serve, location: str) -> None:
    """OPTIONS is 204 with the CORS headers and no body."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), "allow_credentials": True})
    answer = await site.ask("OPTIONS", f"/{location}/a", [(b"origin", PAGE)])
    assert sorted(answer.headers) == [
        (b"access-control-allow-credentials", b"true"),
        (
            b"access-control-allow-headers",
            b"If-Modified-Since, If-None-Match, Last-Event-ID, Etag, Authorization,"
            b" X-Cookie",
        ),
        (b"access-control-allow-origin", PAGE),
        (
            b"access-control-expose-headers",
            b"Last-Modified, Etag, Cache-Control, Push-Gap, Push-Denied,"
            b" Push-Location, Retry-After, WWW-Authenticate",
        ),
        (b"access-control-max-age", b"864000"),
        (b"allow", b"GET, OPTIONS"),
        (b"vary", b"If-None-Match, If-Modified-Since"),
    ]
    assert (answer.status, answer.body) == (204, b"")
    assert await site.info("a") is None


def errors_of_a_page() -> list[Any]:
    return [
        pytest.param("GET", "/updates/%FF", [], {}, 400, id="id"),
        pytest.param(
            "GET", "/updates/a", [(b"if-none-match", b"x")], {}, 400, id="tag"
        ),
        pytest.param("GET", "/updates/a", [], {"create_on_get": False}, 404, id="none"),
        pytest.param("PATCH", "/updates/a", [], {}, 405, id="method"),
        pytest.param("GET", "/updates/a", [], {"timeout": 0.001}, 304, id="timeout"),
        pytest.param(
            "GET",
            "/updates/a",
            [],
            {"timeout": 0.001, "timeout_status": 408},
            408,
            id="nchan",
        ),
        pytest.param("GET", "/interval/a", [], {}, 304, id="interval"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "headers", "options", "status"), errors_of_a_page()
)
async def test_errors_can_be_read(
    serve: Serve,
    method: str,
    path: str,
    headers: list[tuple[bytes, bytes]],
    options: dict[str, Any],
    status: int,
) -> None:
    """Errors carry the CORS headers too, or a page could not read them."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), **options})
    answer = await site.ask(method, path, [*headers, (b"origin", PAGE)])
    assert answer.status == status
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert answer["access-control-expose-headers"]
    other = await site.ask(method, path, [*headers, (b"origin", b"http://a.example")])
    assert other.status == status
    assert other["access-control-allow-origin"] is None


async def test_held_errors_can_be_read(serve: Serve) -> None:
    """What ends a held request carries the CORS headers too."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), "concurrency": "last"})
    origin = [(b"origin", PAGE)]
    first = await site.hold("/updates/a", origin)
    second = site.exchange("GET", "/updates/a", origin).start()
    conflict = await first.answer()
    await until_held("a")
    await site.ask("DELETE", "/send-update/a")
    gone = await second.answer()
    third = await site.hold("/updates/a", origin)
    third.future.cancel()
    stopped = await third.answer()
    assert [each.status for each in (conflict, gone, stopped)] == [409, 410, 503]
    for each in (conflict, gone, stopped):
        assert each["access-control-allow-origin"] == PAGE.decode()
        assert each["vary"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/updates/a"),
        ("GET", "/interval/b"),
        ("GET", "/updates/%FF"),
        ("OPTIONS", "/updates/a"),
        ("POST", "/send-update/a"),
        ("GET", "/send-update/b"),
        ("PATCH", "/send-update/b"),
    ],
)
async def test_servername(serve: Serve, method: str, path: str) -> None:
    """The servername is the Server header of each answer; without it there is none."""
    site = serve(servername="Push 1.0")
    await site.post("a")
    assert (await site.ask(method, path))["server"] == "Push 1.0"
    site = serve()
    await site.post("a")
    assert (await site.ask(method, path))["server"] is None


# How requests end


async def test_a_client_that_vanishes(serve: Serve) -> None:
    """A held client that vanishes is forgotten: the next POST is 202."""
    site = serve()
    held = await site.hold("/updates/a")
    held.disconnect()
    await held.end()
    assert held.is_silent
    answer = await site.post("a", b"news", JSON)
    assert answer.status == 202
    assert json.loads(answer.body)["subscribers"] == 0


async def test_a_client_that_vanishes_in_the_same_moment(serve: Serve) -> None:
    """A POST right after the client left was sent to nobody, if the server knew."""
    site = serve()
    held = await site.hold("/updates/a")
    held.disconnect()
    await until(held.input_queue.empty)
    assert (await site.post("a")).status == 202
    await held.end()


@pytest.mark.parametrize("ending", ["disconnect", "delete", "conflict", "message"])
@pytest.mark.parametrize("passthrough", [None, "/hears/"])
async def test_nothing_is_left_to_the_collector(
    serve: Serve, ending: str, passthrough: str | None
) -> None:
    """A request that was held is freed when it ends, not when garbage is looked for."""
    options = {"concurrency": "last"} if ending == "conflict" else {}
    site = serve(subscriber={"passthrough": passthrough, **options})
    held = await site.hold("/updates/a")
    [consumer] = hubs.get("default").waiting["a"]
    freed = weakref.ref(consumer)
    del consumer
    gc.disable()
    try:
        if ending == "disconnect":
            held.disconnect()
            await held.end()
        elif ending == "delete":
            await site.ask("DELETE", "/send-update/a")
            assert (await held.answer()).status == 410
        elif ending == "conflict":
            newer = site.exchange("GET", "/updates/a").start()
            assert (await held.answer()).status == 409
            await site.post("a")
            await newer.answer()
        else:
            await site.post("a")
            assert (await held.answer()).status == 200
        del held
        await until_idle()
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "settings",
    [
        {"subscriber": {"concurrency": "last"}},
        {"subscriber": {"concurrency": "first"}},
        {"subscriber": {"timeout": 0.9}},
        {"subscriber": {"passthrough": "/hears/"}},
        {"publisher": {"store_messages": False}},
    ],
)
async def test_who_is_watched_at_once(serve: Serve, settings: dict[str, Any]) -> None:
    """A client is watched at once where somebody hears that it left, or loses by it."""
    site = serve(**settings)
    held = await site.hold("/updates/a")
    await until(held.input_queue.empty)
    assert not unwatched()
    held.disconnect()
    await held.end()
    assert held.is_silent


async def test_who_is_watched_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client is watched when it was held for a while; its message comes all the same.

    Its time limit is counted from the start.
    """
    monkeypatch.setattr("pushserver_channels.consumers.long_poll.WATCH_AFTER", 0.05)
    site = serve(subscriber={"timeout": 1.1})
    held = [await site.hold("/updates/a") for _ in range(3)]
    hub = hubs.get("default")
    assert len(unwatched()) == 3
    await until(lambda: not unwatched())
    held[0].disconnect()
    await held[0].end()
    assert held[0].is_silent
    await site.post("a")
    assert [(await each.answer()).body for each in held[1:]] == [b"news"] * 2
    start = asyncio.get_running_loop().time()
    late = await site.ask("GET", "/updates/a", FUTURE)
    assert late.status == 304
    assert asyncio.get_running_loop().time() - start >= 1.1
    assert not hub.waiting


async def test_one_of_many_vanishes(serve: Serve) -> None:
    """Of many held clients each one that vanishes is forgotten, and no other."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(20)]
    for each in held[::2]:
        each.disconnect()
    await until_held("a", 10)
    answer = await site.post("a", b"news", JSON)
    assert json.loads(answer.body)["subscribers"] == 10
    assert [(await each.answer()).body for each in held[1::2]] == [b"news"] * 10
    for each in held[::2]:
        await each.end()
        assert each.is_silent


@pytest.mark.parametrize("path", ["/updates/a", "/interval/a", "/send-update/a"])
async def test_a_client_that_vanishes_before_its_body(serve: Serve, path: str) -> None:
    """A client that left before its request was read is held for no time."""
    site = serve()
    exchange = site.exchange("GET", path, body=None)
    exchange.disconnect()
    assert (await exchange.answer()).status == 400
    assert await site.info("a") is None


async def test_a_client_that_vanishes_with_its_request(serve: Serve) -> None:
    """A client that left right after its request is held for no time."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a")
    exchange.disconnect()
    await exchange.end()
    assert exchange.is_silent
    assert (await site.post("a")).status == 202


async def test_the_rest_of_a_body_while_held(serve: Serve) -> None:
    """What a server still says of the request while it is held ends nothing."""
    site = serve()
    held = await site.hold("/updates/a")
    held.put_body(b"rest", more=True)
    held.put_body(b"", more=False)
    await until(held.input_queue.empty)
    await site.post("a")
    assert (await held.answer()).status == 200


async def test_a_cancelled_request(serve: Serve) -> None:
    """A held request that is cancelled, as Daphne does when it stops, is 503."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(10)]
    for each in held:
        each.future.cancel()
    for each in held:
        answer = await each.answer()
        assert answer.status == 503
        assert answer["retry-after"] in ("1", "2", "3", "4", "5")
        assert answer.body == b"The server is shutting down.\n"
    assert (await site.post("a")).status == 202


async def test_a_request_that_is_cancelled_just_after_a_message(serve: Serve) -> None:
    """A message that was sent with 201 gets out, though the server stops just then."""
    site = serve(publisher={"store_messages": False})
    held = await site.hold("/updates/a")
    assert (await site.post("a")).status == 201
    held.future.cancel()
    answer = await held.answer()
    assert (answer.status, answer.body) == (200, b"news")


async def test_a_stop_just_before_clients_are_watched(serve: Serve) -> None:
    """A server that stops waits also for those whose first second is just over."""
    site = serve()
    await site.post("a")
    seen = id_headers(await site.ask("GET", "/updates/a"))
    held = [await site.hold("/updates/a", seen) for _ in range(3)]
    hub = hubs.get("default")
    unwatched().expire_all()
    await hub.stop()
    assert [each.future.done() for each in held] == [True] * 3
    assert [(await each.answer()).status for each in held] == [503] * 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/send-update/a", 202),
        ("GET", "/send-update/a", 404),
        ("PUT", "/updates/a", 405),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        OSError("the connection is closed"),
        # As uvloop has it.
        RuntimeError(
            "unable to perform operation on <TCPTransport closed=True reading=False>;"
            " the handler is closed"
        ),
    ],
)
async def test_a_client_that_left_before_its_answer(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    method: str,
    path: str,
    status: int,
) -> None:
    """An answer that cannot be sent any more is no failure, and not logged."""
    site = serve()
    began = []

    async def send(message: dict[str, Any]) -> None:
        began.append(message["status"])
        raise error

    async def application(scope: Any, receive: Any, _: Any) -> None:
        await site.application(scope, receive, send)

    exchange = Site(application).exchange(method, path).start()
    await exchange.end()
    assert began == [status]
    assert [each.getMessage() for each in caplog.records] == []


async def test_a_client_that_left_when_its_request_is_cancelled(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that came just before a cancel, and cannot be sent, is no failure."""
    site = serve()

    async def send(message: dict[str, Any]) -> None:
        raise OSError("the connection is closed")

    async def application(scope: Any, receive: Any, _: Any) -> None:
        await site.application(scope, receive, send)

    held = await Site(application).hold("/updates/a")
    await hubs.get("default").publish(Update("a", b"news"))
    held.future.cancel()
    await held.end()
    assert held.is_silent
    assert [each.getMessage() for each in caplog.records] == []


async def test_a_request_that_is_cancelled_early(serve: Serve) -> None:
    """A request that is cancelled before it was read leaves nothing."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a", body=None).start()
    await until(lambda: exchange.input_queue._getters)  # type: ignore[attr-defined]
    exchange.future.cancel()
    assert (await exchange.answer()).status == 503
    assert (await site.post("a")).status == 202


async def test_a_store_that_is_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store does not answer, everything is 503 with Retry-After."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise StoreUnavailable

    site = serve()
    for name in ("append", "next", "info", "create", "delete"):
        monkeypatch.setattr(MemoryStore, name, fail)
    for method, path in (
        ("GET", "/send-update/a"),
        ("PUT", "/send-update/a"),
        ("POST", "/send-update/a"),
        ("DELETE", "/send-update/a"),
        ("GET", "/updates/a"),
        ("GET", "/interval/a"),
    ):
        answer = await site.ask(method, path)
        assert answer.status == 503
        assert answer["retry-after"]
        assert answer.body == b"The message store is unavailable.\n"


async def test_a_store_that_fails(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of the server is 500, is logged, and leaves nothing behind."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("secret")

    site = serve(subscriber={"allow_origin": PAGE.decode()})
    monkeypatch.setattr(MemoryStore, "next", fail)
    answer = await site.ask("GET", "/updates/a", [(b"origin", PAGE)])
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert "Cannot answer GET /updates/a" in caplog.text
    assert "ZeroDivisionError" in caplog.text


class SlowStore(MemoryStore):
    """A store whose looks take until the gate opens, as those of one far away."""

    gate: asyncio.Event
    looking: asyncio.Event

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        return False

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        found = await super().next(channel_id, after, create=create)
        self.looking.set()
        await self.gate.wait()
        return found


@pytest.fixture
async def slow_store(monkeypatch: pytest.MonkeyPatch) -> type[SlowStore]:
    monkeypatch.setattr(
        "pushserver_channels.hub.registry.make_store",
        lambda settings: SlowStore(settings),
    )
    SlowStore.gate, SlowStore.looking = asyncio.Event(), asyncio.Event()
    return SlowStore


@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_published_while_looking(
    serve: Serve, slow_store: type[SlowStore], headers: list[tuple[bytes, bytes]]
) -> None:
    """What is published while the store looks is not lost.

    With an id from the future, only the look tells that the message is what the client
    waits for, so its publisher may be told 202.
    """
    site = serve()
    exchange = site.exchange("GET", "/updates/a", headers).start()
    await slow_store.looking.wait()
    assert (await site.post("a")).status in ((201, 202) if headers else (201,))
    slow_store.gate.set()
    answer = await exchange.answer()
    assert (answer.status, answer.body) == (200, b"news")


async def test_deleted_while_looking(serve: Serve, slow_store: type[SlowStore]) -> None:
    """A channel that is deleted while the store looks is 410."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looking.wait()
    assert (await site.ask("DELETE", "/send-update/a")).status == 200
    slow_store.gate.set()
    assert (await exchange.answer()).status == 410


async def test_vanished_while_looking(
    serve: Serve, slow_store: type[SlowStore]
) -> None:
    """A client that vanishes while the store looks is forgotten."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looking.wait()
    exchange.disconnect()
    slow_store.gate.set()
    await exchange.end()
    assert exchange.is_silent
    assert (await site.post("a")).status == 202


async def test_stopped_while_looking(serve: Serve, slow_store: type[SlowStore]) -> None:
    """A request that is cancelled while the store looks is 503, not cut."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looking.wait()
    exchange.future.cancel()
    answer = await exchange.answer()
    assert answer.status == 503
    assert answer["retry-after"]


async def test_stopped_while_older_messages_are_looked_up(
    serve: Serve, slow_store: type[SlowStore]
) -> None:
    """A request that is cancelled then is not answered with a later message.

    The client would skip the older ones, or be told that it has missed them.
    """
    site = serve()
    await site.post("a", b"1")
    await site.post("a", b"2")
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looking.wait()
    assert (await site.post("a", b"3")).status == 201
    exchange.future.cancel()
    assert (await exchange.answer()).status == 503


@pytest.mark.parametrize("path", ["/updates/a", "/interval/a", "/send-update/a"])
async def test_an_answer_that_cannot_be_sent(
    serve: Serve, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A client that left while it is answered is no failure of the server."""
    site = serve()
    await site.post("a")
    body = {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> dict[str, Any]:
        return body

    async def send(message: dict[str, Any]) -> None:
        raise OSError("the connection is closed")

    # What a server does that follows ASGI 2.4; it expects that error back, or none.
    with suppress(OSError):
        await site.application(http_scope("GET", path), receive, send)
    assert [each.getMessage() for each in caplog.records] == []


@pytest.mark.parametrize("watch_after", [0.0, 0.005])
async def test_bursts(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, watch_after: float
) -> None:
    """Many who come, leave and publish at once lose nothing and leave nothing."""
    monkeypatch.setattr(
        "pushserver_channels.consumers.long_poll.WATCH_AFTER", watch_after
    )
    site = serve(store={"max_messages": 1000})
    readers: list[list[bytes]] = [[] for _ in range(20)]

    async def read(seen: list[bytes]) -> None:
        headers: list[tuple[bytes, bytes]] = []
        while len(seen) < 100:
            answer = await site.ask("GET", "/updates/a", headers)
            assert answer.status == 200
            assert answer["push-gap"] is None
            seen.append(answer.body)
            headers = id_headers(answer)

    async def come_and_leave() -> None:
        for _ in range(50):
            exchange = site.exchange("GET", "/updates/a", FUTURE).start()
            await asyncio.sleep(0)
            exchange.disconnect()
            await exchange.end()

    async def publish(publisher: int) -> None:
        for number in range(20):
            await site.post("a", b"%d:%d" % (publisher, number))

    await asyncio.gather(
        *(read(seen) for seen in readers),
        *(come_and_leave() for _ in range(10)),
        *(publish(publisher) for publisher in range(5)),
    )
    assert all(seen == readers[0] for seen in readers)
    for publisher in range(5):
        mine = [each for each in readers[0] if each.startswith(b"%d:" % publisher)]
        assert mine == [b"%d:%d" % (publisher, number) for number in range(20)]


async def test_other_paths_go_on(serve: Serve) -> None:
    """What is no push location is Django's."""
    exchange = Exchange(serve().application, "GET", "/elsewhere")
    answer = await exchange.answer()
    assert (answer.status, answer.body) == (299, b"/elsewhere")
