from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver_channels.consumers import bodies
from pushserver_channels.protocol import MAX_HEADER_BYTES, MAX_HEADER_LINES
from pushserver_channels.routing import MAX_PATH, get_application

from .exchanges import Answer, Exchange, Site, django, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")

LIMIT = bodies.MAX_IGNORED_BODY
LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "url": "/send-update/([^/]+)", "max_message_size": 10},
    {"type": "publisher", "url": "/large/([^/]+)", "max_message_size": 2 * LIMIT},
    {"type": "publisher", "url": "/closed/([^/]+)", "allow_from": "10.0.0.1"},
    {"type": "publisher", "url": "/any/(.+)", "max_channel_id_length": 0},
    {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
    {"type": "subscriber", "url": "/interval/([^/]+)", "polling": "interval"},
]
PATHS = ["/send-update/a", "/closed/a", "/updates/a", "/interval/a"]

#: Each supported method, and one that is not supported.
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"]

LENGTH = (b"content-length", b"5")
UPGRADE = [(b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c")]


@pytest.fixture
def site() -> Iterator[Site]:
    with override_settings(
        PUSH_SERVER={"store": {"type": "memory"}, "locations": LOCATIONS}
    ):
        yield Site(get_application(django))


def is_last(answer: Answer) -> bool:
    """Check that a response is one sentence; return whether it ends the connection."""
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.endswith(b".\n")
    assert answer.body.count(b"\n") == 1
    assert len(answer.body) < 300
    return answer["connection"] == "close"


# Headers


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-%d" % number, b"") for number in range(MAX_HEADER_LINES)],
        [(b"x", b"")] * MAX_HEADER_LINES,
        [(b"x", b"a")] * 300_000,
        [(b"content-type", b"a/b")] * 300_000,
        [(b"cookie", b"a" * MAX_HEADER_BYTES)],
        [(b"cookie", b"a" * 5_000_000)],
        [(b"cookie", b"a" * 1000)] * 66,
        [(b"accept", b"," * 5_000_000)],
        [(b"if-none-match", b"1" * 5_000_000)],
        [(b"if-modified-since", b" " * 5_000_000)],
        [(b"origin", b"A" * 5_000_000)],
        [(b"content-type", b"a" * 5_000_000)],
        [(b"x-forwarded-for", b"127.0.0.1," * 500_000)],
        [(b"x" * 5_000_000, b"a")],
    ],
    ids=range(14),
)
@pytest.mark.parametrize("path", PATHS)
async def test_headers_too_large(
    site: Site, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Headers beyond the limits get 431 before anything else is done."""
    for method in METHODS:
        exchange = site.exchange(method, path, headers)
        answer = await exchange.answer()
        assert answer.status == 431
        assert is_last(answer)
        assert exchange.input_queue.empty()
    assert await site.info("a") is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-%d" % number, b"") for number in range(MAX_HEADER_LINES - 2)],
        [(b"cookie", b"a" * 4096)] * 15,
        [(b"cookie", b"a" * 60_000)],
        [(b"accept", b"a/b," * 15_000 + b"application/json")],
        [(b"x" * 60_000, b"a")],
    ],
    ids=range(5),
)
async def test_large_headers(site: Site, headers: list[tuple[bytes, bytes]]) -> None:
    """Headers as large as those of browsers are accepted."""
    assert (await site.post("a", b"news", headers)).status == 202
    answer = await site.ask("GET", "/updates/a", headers)
    assert (answer.status, answer.body) == (200, b"news")


async def test_headers_too_large_over_http2(site: Site) -> None:
    """Over HTTP/2, where Connection does not exist, 431 has no such header."""
    headers = [(b"x", b"")] * 1000
    answer = await site.ask("GET", "/updates/a", headers, http_version="2")
    assert answer.status == 431
    assert answer["connection"] is None


@pytest.mark.parametrize("part", ["%41", "%2F", "%FF", "a"])
async def test_long_paths(site: Site, part: str) -> None:
    """A path that is too long to be decoded gets 400."""
    answer = await site.ask("GET", "/any/" + part * (MAX_PATH // len(part)))
    assert answer.status == 400
    assert len(answer.body) < 300
    assert (await site.ask("GET", "/any/" + "a" * 50_000)).status == 404


# Bodies that are ignored


def sending(site: Site, path: str, method: str, *headers: tuple[bytes, bytes]) -> Any:
    """Return a request whose body is sent later, in chunks if there is no length."""
    return site.exchange(method, path, headers, body=None)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_endless_body_gets_413(site: Site, path: str, method: str) -> None:
    """An ignored body is read up to a limit, and gets 413 beyond it."""
    exchange = sending(site, path, method)
    for _ in range(40):
        exchange.put_body(b"x" * (LIMIT // 20), more=True)
    exchange.disconnect()
    answer = await exchange.answer()
    assert answer.status == 413
    assert is_last(answer)
    assert await site.info("a") is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_too_long_content_length_gets_413(
    site: Site, path: str, method: str
) -> None:
    """An ignored body with a Content-Length beyond the limit gets 413 at once."""
    length = (b"content-length", b"%d" % (LIMIT + 1))
    exchange = sending(site, path, method, length).start()
    exchange.disconnect()
    answer = await exchange.answer()
    assert answer.status == 413
    assert is_last(answer)


@pytest.mark.parametrize("accept", [b"*/*", b"text/event-stream"])
@pytest.mark.parametrize("path", ["/updates/a", "/interval/a"])
async def test_subscriber_with_a_body_gets_413(
    site: Site, path: str, accept: bytes
) -> None:
    """A body of more than 1 KiB is refused at subscriber locations."""
    limit = bodies.MAX_SUBSCRIBER_BODY
    length = (b"content-length", b"%d" % (limit + 1))
    for headers, parts in [([length], 0), ([], limit + 1)]:
        exchange = sending(site, path, "GET", (b"accept", accept), *headers)
        if parts:
            exchange.put_body(b"x" * parts, more=True)
        exchange.disconnect()
        answer = await exchange.answer()
        assert answer.status == 413
        assert answer.body.endswith(b"nothing has at most 1024 bytes here.\n")
        assert is_last(answer)


async def test_publisher_without_permission_gets_403_for_any_size(site: Site) -> None:
    """A publisher without permission gets 403, whatever the size of its message."""
    for path, size in [("/closed/a", LIMIT), ("/large/a", 2 * LIMIT)]:
        headers = [(b"x-forwarded-for", b"192.0.2.1")]
        answer = await site.ask("POST", path, headers, [b"x" * size])
        assert answer.status == 403
        assert answer["connection"] is None


@pytest.mark.parametrize("path", PATHS)
async def test_slow_body_gets_408(
    site: Site, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ignored body that does not end in time gets 408."""
    monkeypatch.setattr(bodies, "IGNORED_BODY_TIMEOUT", 0.01)
    monkeypatch.setattr(bodies, "LINGER_TIMEOUT", 0.01)
    for start in ([], [b"x"]):
        exchange = sending(site, path, "GET")
        for part in start:
            exchange.put_body(part, more=True)
        answer = await exchange.answer()
        assert answer.status == 408
        assert is_last(answer)


async def test_connection_stays_open_after_an_ignored_body(site: Site) -> None:
    """The connection stays open after an ignored body that was read to its end."""
    for path, limit in [
        ("/send-update/a", LIMIT),
        ("/interval/a", bodies.MAX_SUBSCRIBER_BODY),
    ]:
        parts = [b"x" * (limit // 2)] * 2
        answer = await site.ask("GET", path, body=parts)
        assert answer.status == 404
        assert answer["connection"] is None


async def test_poll_with_a_body_is_held(site: Site) -> None:
    """A poll with a body is held like any other."""
    exchange = site.exchange("GET", "/updates/a", body=[b"x" * 512] * 2).start()
    await until_held("a")
    assert (await site.post("a")).status == 201
    assert (await exchange.answer()).body == b"news"


# Clients that are still sending when they get a response


async def started(exchange: Exchange) -> tuple[int, bytes, bool]:
    """Return the status and the body of a response, and whether it goes on."""
    start = await exchange.receive_output(10)
    body = await exchange.receive_output(10)
    return start["status"], body["body"], body.get("more_body", False)


async def test_response_precedes_the_lingering_close(site: Site) -> None:
    """A client gets its response at once, and the connection ends when it is done."""
    length = (b"content-length", b"1000")
    exchange = sending(site, "/send-update/a", "POST", length).start()
    status, body, is_open = await started(exchange)
    assert (status, is_open) == (413, True)
    assert body == b"A message has at most 10 bytes here.\n"
    exchange.put_body(b"x" * 999, more=True)
    assert await exchange.receive_nothing()
    exchange.put_body(b"x", more=False)
    await exchange.end()
    end = await exchange.receive_output()
    assert (end["body"], end.get("more_body", False)) == (b"", False)


@pytest.mark.parametrize("expect", [False, True])
async def test_response_waits_for_the_body(site: Site, expect: bool) -> None:
    """A response waits for the body, unless the client expects 100-continue."""
    headers = [(b"content-length", b"1000")]
    if expect:
        headers.append((b"expect", b"100-continue"))
    exchange = sending(site, "/send-update/a", "POST", *headers)
    for number in range(10):
        exchange.put_body(b"x" * 100, more=number < 9)
    exchange.start()
    assert (await started(exchange))[::2] == (413, expect)


async def test_lingering_is_limited(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server reads only a limited amount from a client that never stops sending."""
    monkeypatch.setattr(bodies, "MAX_LINGER", 1000)
    exchange = sending(site, "/send-update/a", "POST")
    for _ in range(20):
        exchange.put_body(b"x" * 100, more=True)
    await exchange.answer()
    assert exchange.input_queue.qsize() < 20 - 10


# Bodies that do not match their headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
@pytest.mark.parametrize(
    ("length", "body"),
    [
        (b"5", b""),
        (b"5", b"news"),
        (b"3", b"news"),
        (b"0", b"news"),
        (b"1e3", b"news"),
        (b"+4", b"news"),
        (b"-4", b"news"),
        (b"4.0", b"news"),
        (b"0x4", b"news"),
        (b"4_0", b"news"),
        (b"4, 4", b"news"),
        (b"4,5", b"news"),
        (b"", b"news"),
        ("\u0664".encode(), b"news"),
        (b"four", b"news"),
        (b"x" * 10_000, b"news"),
    ],
)
async def test_content_length_mismatch_gets_400(
    site: Site, method: str, length: bytes, body: bytes
) -> None:
    """A body that does not match its Content-Length gets 400 and has no effect."""
    headers = [(b"content-length", length)]
    answer = await site.ask(method, "/send-update/a", headers, [body])
    assert answer.status == 400
    assert is_last(answer)
    assert await site.info("a") is None


@pytest.mark.parametrize("length", [b"4", b"0004", b" 4", b"4 ", b"4\t"])
async def test_leading_zeros_and_whitespace_in_content_length(
    site: Site, length: bytes
) -> None:
    """Leading zeros and whitespace in Content-Length are ignored."""
    headers = [(b"content-length", length)]
    assert (await site.post("a", b"news", headers)).status == 202


async def test_two_content_lengths_get_400(site: Site) -> None:
    """Two Content-Length headers get 400, even if the server accepts them."""
    headers = [(b"content-length", b"4")] * 2
    assert (await site.post("a", b"news", headers)).status == 400
    assert await site.info("a") is None


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("length", [[LENGTH], []], ids=["length", "chunks"])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_incomplete_body_gets_400(
    site: Site, method: str, length: list[tuple[bytes, bytes]], size: int
) -> None:
    """A client that stops sending within its body gets 400."""
    exchange = sending(site, "/send-update/a", method, *length)
    if size:
        exchange.put_body(b"x" * size, more=True)
    exchange.disconnect()
    answer = await exchange.answer()
    assert answer.status == 400
    assert is_last(answer)
    assert await site.info("a") is None


@pytest.mark.parametrize("length", [[LENGTH], []], ids=["length", "chunks"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_body_dropped_with_an_upgrade_gets_400(
    site: Site, method: str, length: list[tuple[bytes, bytes]]
) -> None:
    """A body that the server dropped with an Upgrade gets 400."""
    exchange = sending(site, "/send-update/a", method, *UPGRADE, *length)
    exchange.put_body(b"", more=False)
    answer = await exchange.answer()
    assert answer.status == 400
    assert is_last(answer)
    assert b"Upgrade" in answer.body
    assert await site.info("a") is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([(b"content-length", b"4")], b"news"),
        ([], b"news"),
        ([(b"content-length", b"0")], b""),
    ],
)
async def test_messages_with_an_upgrade(
    site: Site, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """A message with an Upgrade is published if its body has arrived."""
    exchange = sending(site, "/send-update/a", "POST", *UPGRADE, *headers)
    exchange.put_body(body, more=False)
    assert (await exchange.answer()).status == 202
    assert (await site.ask("GET", "/updates/a", UPGRADE)).body == body


@pytest.mark.parametrize("encoding", [b"gzip", b"identity", b"chunked"])
async def test_body_in_a_transfer_encoding_is_not_published(
    site: Site, encoding: bytes
) -> None:
    """A body that is still in a transfer encoding is not published."""
    headers = [(b"transfer-encoding", encoding)]
    answer = await site.ask("POST", "/send-update/a", headers, [b"news"])
    assert answer.status == 400
    assert b"Transfer-Encoding is" in answer.body
    assert await site.info("a") is None
