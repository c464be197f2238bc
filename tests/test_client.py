"""The Python client: what it requests, and what it makes of each answer."""

from __future__ import annotations

import asyncio
import importlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from pushserver.client import ListenError, Received, listen
from pushserver.client.events import Event, EventParser

URL = "http://site.test/updates/news"
DATE = "Sat, 28 Nov 2026 12:00:00 GMT"
STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, in no time; random numbers are a half."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    return waits


class Server:
    """Answers requests one after the other, and records them.

    Args:
        answers: The answers: a response, or an exception that is raised.
    """

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers: Iterator[httpx.Response | Exception] = iter(answers)
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def listen(self, url: str | Callable[[], str] = URL, **options: Any) -> Any:
        client = httpx.Client(transport=httpx.MockTransport(self.answer))
        return iter(listen(url, client=client, **options))

    def asked(self, *names: str) -> list[tuple[str | None, ...]]:
        """Return headers of the requests."""
        return [tuple(map(each.headers.get, names)) for each in self.requests]


def message(body: bytes, tag: int, **headers: str) -> httpx.Response:
    """Return the answer to a poll."""
    headers = {"Last-Modified": DATE, "Etag": str(tag), **headers}
    return httpx.Response(200, headers=headers, content=body)


def stream(*events: str) -> httpx.Response:
    text = "".join(f"{event}\n\n" for event in events)
    return httpx.Response(200, headers=STREAM, content=text.encode())


def feed(parser: EventParser, *chunks: bytes) -> list[Event]:
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_in_pieces(size: int) -> None:
    """An event is the same however its bytes are divided and its lines end."""
    body = (
        "\ufeffretry: 2500\r\nid: 1:2\r\n: hi\r\n\r\n"
        "event: story\rchannel: a\rid: 1:3\rcontent-type: text/plain\r"
        "data:ä\rdata:  b\rdata\r\rdata: c\nunknown: d\nretry: x\n\n:\n\n"
    ).encode()
    parser = EventParser()
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert feed(parser, *chunks) == [
        Event(id="1:2"),
        Event("story", "ä\n b\n", "1:3", "a", "text/plain"),
        Event(data="c"),
    ]
    assert parser.retry == 2.5


@pytest.mark.parametrize("end", ["", "\n"])
def test_long_event_in_many_pieces(end: str) -> None:
    """A long line is read once, and many lines are joined once."""
    line = f"data: x{end}"
    length = 2_000_000 // len(line)
    parser = EventParser()
    pieces = [(line * (length // 200)).encode()] * 200
    assert feed(parser, *pieces) == []
    (event,) = feed(parser, b"\n\n")
    assert event.data is not None
    assert event.data.count("x") == length // 200 * 200


def test_messages_of_a_stream() -> None:
    """A stream's messages have their channel, type, name and what was missed."""
    server = Server(
        stream(
            "retry: 1\nid: 1:0,-\n: hi",
            'id: [1:1],-\nchannel: a%0Ab\ncontent-type: a/b+json\ndata: {"b": 1}',
            'event: push-gap\ndata: {"channel": "c", "missed": "1:7"}',
            "event: story\nid: 1:1,[1:9]\nchannel: c\ndata: text",
            "id: 1:1,[1:10]\nchannel: c\n"
            "data: data:application/octet-stream;base64,/w==",
            "id: 1:1,[1:11]\nchannel: c\ncontent-type: text/plain\n"
            "data: data:text/plain;base64,YWJj",
        )
    )
    first, second, third, fourth = islice(server.listen(after="oldest"), 4)
    assert first.channel_id == "a\nb"
    assert first.data == {"b": 1}
    assert first.id == "[1:1],-"
    assert second == Received(b"text", "1:1,[1:9]", "", "c", "story", "1:7")
    assert (third.body, third.missed) == (b"\xff", None)
    assert third.data == b"\xff"
    assert fourth.body == b"data:text/plain;base64,YWJj"
    assert server.asked("accept", "last-event-id") == [("text/event-stream", "oldest")]


def test_stream_is_resumed_after_its_last_message(waits: list[float]) -> None:
    """A stream that ends or breaks goes on after the last message or position."""
    server = Server(
        stream("retry: 1500\nid: 1:1\n: hi"),
        stream("retry: 1000\nid: 1:1\n: hi", "id: 1:2\ndata: a"),
        httpx.ConnectError("refused"),
        httpx.ConnectError("refused"),
        stream('retry: 1\nevent: push-unavailable\ndata: {"retry_after": 7}'),
        httpx.Response(503, headers={"Retry-After": "3"}),
        stream("id: 1:2\n: hi", "id: 1:3\ndata: b"),
    )
    assert [each.data for each in islice(server.listen(), 2)] == ["a", "b"]
    assert waits == [1.5, 1.0, 1.0, 2.0, 7.5, 3.5]
    asked = [last for (last,) in server.asked("last-event-id")]
    assert asked == [None, "1:1", "1:2", "1:2", "1:2", "1:2", "1:2"]


def test_polls(waits: list[float]) -> None:
    """A server that answers a stream's request as a poll is polled."""
    server = Server(
        message(b"a", 4, **{"Content-Type": "text/plain"}),
        httpx.Response(304, headers={"Last-Modified": DATE, "Etag": "4"}),
        httpx.ReadTimeout("held for long"),
        message(b"b", 7, **{"Push-Gap": "1795867200:6"}),
    )
    first, second = islice(server.listen(), 2)
    assert first == Received(b"a", "1795867200:4", "text/plain")
    assert (second.id, second.missed) == ("1795867200:7", "1795867200:6")
    assert waits == [0, 1.0, 0]  # An answer that was not held is not repeated at once.
    names = ("accept", "if-modified-since", "if-none-match", "last-event-id")
    assert server.asked(*names) == [
        ("text/event-stream", None, None, None),
        *[("*/*", DATE, "4", None)] * 3,
    ]


def test_positions_of_polls() -> None:
    """A poll names an id as all servers understand it, and other positions as ours."""
    for after, expected in (
        (None, (None, None, None)),
        ("1795867200:4", (DATE, "4", None)),
        ("newest", (None, None, "newest")),
        ("[1:2],-", (None, None, "[1:2],-")),
    ):
        server = Server(message(b"a", 5))
        next(server.listen(after=after, transport="poll"))
        names = ("if-modified-since", "if-none-match", "last-event-id")
        assert server.asked(*names) == [expected]


def test_poll_of_several_channels() -> None:
    """Its position is in the Etag, which is sent back as it is."""
    server = Server(
        message(b"a", 0, Etag='"[1:2],-"'), message(b"b", 0, Etag='W/"1:2,[3:4]"')
    )
    first, second = islice(server.listen(transport="poll"), 2)
    assert (first.id, second.id) == ("[1:2],-", "1:2,[3:4]")
    assert server.requests[1].headers["if-none-match"] == '"[1:2],-"'


def test_batches(waits: list[float]) -> None:
    """Batches are requested one after the other."""
    server = Server(
        stream("retry: 2000\nid: 1:1\n: hi", "id: 1:2\ndata: a", "id: 1:3\ndata: b"),
        stream("id: 1:3\n: hi", "id: 1:4\ndata: c"),
    )
    received = list(islice(server.listen(f"{URL}?token=x", transport="batch"), 3))
    assert [each.data for each in received] == ["a", "b", "c"]
    assert waits == [0]
    assert [str(each.url) for each in server.requests] == [f"{URL}?token=x&batch=1"] * 2


def test_stream_that_a_proxy_holds_back() -> None:
    """If nothing arrives on a stream, the server is polled."""
    server = Server(httpx.ReadTimeout("silent"), message(b"a", 5))
    assert next(server.listen()).data == "a"
    assert server.asked("accept") == [("text/event-stream",), ("*/*",)]


def test_location_without_streams() -> None:
    server = Server(httpx.Response(406, text="No streams here."), message(b"a", 5))
    assert next(server.listen()).data == "a"


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (httpx.Response(403, text="Not you.\n"), 403, "Not you."),
        (httpx.Response(404, text=""), 404, "no reason given"),
        (httpx.Response(302, headers={"Location": "/login"}), 302, "no reason"),
        (httpx.Response(200, text="<html>"), 200, "no subscriber location"),
        (stream('event: push-gone\ndata: {"channel": "news"}'), 410, "deleted"),
        (stream('event: push-denied\ndata: {"channel": "news"}'), 403, "not be read"),
        (stream('event: push-conflict\ndata: {"channel": "x"}'), 409, "this one's"),
        (stream('event: push-expired\ndata: {"channel": "news"}'), 401, "expired"),
    ],
)
def test_refusals(answer: httpx.Response, status: int, reason: str) -> None:
    """What the server refuses for good ends the iteration with its sentence."""
    with pytest.raises(ListenError, match=reason) as caught:
        next(Server(answer).listen())
    assert (caught.value.status, caught.value.url) == (status, URL)


@pytest.mark.parametrize(
    ("date", "tag"),
    [("yesterday", "5"), (DATE, '"5f3c-1a2b"'), ("Mon, 01 Jan 0001 00:00:00 GMT", "")],
)
def test_pages_that_are_no_messages(date: str, tag: str) -> None:
    """The validators of a file, or unreadable ones, are not those of a message."""
    answer = message(b"<html>", 5, **{"Last-Modified": date, "Etag": tag})
    with pytest.raises(ListenError, match="no subscriber location"):
        next(Server(answer).listen())


@pytest.mark.parametrize("transport", [None, "poll"])
def test_strange_positions(transport: str | None) -> None:
    """What a header cannot contain is not sent back, and other text in UTF-8."""
    for after, sent in (("1" * 30 + ":1", None), ("é", None), ("", "")):
        server = Server(message(b"a", 5))
        next(server.listen(after=after, transport=transport))
        header = server.requests[0].headers.get("last-event-id", "")
        assert header == (after if sent is None else sent)
    server = Server(stream("id: 1:1\ndata: a", "id: 1\0:2\ndata: b"), message(b"c", 5))
    assert [each.data for each in islice(server.listen(), 3)] == ["a", "b", "c"]
    assert server.asked("last-event-id") == [(None,), ("1:1",)]


def test_streams_that_end_after_each_message(waits: list[float]) -> None:
    """A server that ends each stream at once is not asked again at once."""
    server = Server(*[stream(f"id: 1:{number}\ndata: a") for number in range(3)])
    list(islice(server.listen(), 3))
    assert waits == [1.0, 1.0]


def test_answer_that_cannot_be_decoded(waits: list[float]) -> None:
    """It counts as no answer."""

    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"no gzip"

    headers = {**STREAM, "Content-Encoding": "gzip"}
    broken = httpx.Response(200, headers=headers, stream=Broken())
    server = Server(broken, message(b"a", 5))
    assert next(server.listen()).data == "a"
    assert waits == [1.0]


def test_url_without_a_host() -> None:
    """It is an error, not a server that is down."""
    with pytest.raises(ValueError, match="'subscriber_host'"):
        next(iter(listen("/updates/news")))


def test_json_that_is_nested_too_deeply() -> None:
    """It is no data, as other text that is no JSON."""
    deep = "[" * 100_000
    server = Server(
        stream(
            f"event: push-gone\ndata: {deep}",
            f"id: 1:1\ncontent-type: application/json\ndata: {deep}",
        )
    )
    (received,) = islice(server.listen(after="1:0,1:0"), 1)
    assert received.data == deep.encode()


def test_stream_of_several_goes_on_without_a_deleted_channel() -> None:
    server = Server(
        stream(
            "id: 1:1,-\n: hi",
            'event: push-gone\ndata: {"channel": "a"}',
            "id: 1:1,[2:2]\nchannel: b\ndata: b",
        ),
    )
    assert next(server.listen()).data == "b"


def test_expired_url() -> None:
    """A function gives a new URL; if that is refused, too, it is an error."""
    urls = iter(f"{URL}?token={number}" for number in range(5))
    server = Server(
        httpx.Response(401),
        stream("id: 1:1\ndata: a", 'event: push-expired\ndata: {"channel": "news"}'),
        stream("id: 1:2\ndata: b"),
        httpx.Response(401),
        httpx.Response(401, text="bad token"),
    )
    listening = server.listen(lambda: next(urls))
    assert [each.data for each in islice(listening, 2)] == ["a", "b"]
    with pytest.raises(ListenError, match="bad token"):
        next(listening)
    assert len(server.requests) == 5


def test_missing_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx the import says what to install."""
    for name in [each for each in sys.modules if each.startswith("pushserver.client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError, match=r"pip install 'django-pushserver\[client\]'"):
        importlib.import_module("pushserver.client")


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="'stream', 'batch', 'poll' or None"):
        listen(URL, transport="websocket")
    with pytest.raises(TypeError, match="Use 'async for'"):
        next(iter(listen(URL, client=httpx.AsyncClient())))


async def test_async_iteration() -> None:
    """``async for`` gives the same, with more headers, and closes what it opened."""
    server = Server(
        httpx.Response(500), stream("id: 1:1\ndata: a"), httpx.Response(404)
    )
    transport = httpx.MockTransport(server.answer)
    headers = {"Authorization": "Bearer x"}
    got = []
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(ListenError):
            async for update in listen(URL, headers=headers, client=client):
                got.append(update.data)
    assert got == ["a"]
    assert server.asked("authorization") == [("Bearer x",)] * 3
    with pytest.raises(TypeError, match="Use 'for'"):
        await anext(aiter(listen(URL, client=httpx.Client())))
