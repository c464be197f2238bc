"""Server-sent events on one channel, over ASGI in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.hub import hubs
from tests.waiting import until

from .exchanges import Site, id_headers, until_held
from .streams import (
    EVENTS,
    EventExchange,
    leave,
    name,
    open_stream,
    serving,
    until_live,
)

pytestmark = pytest.mark.usefixtures("nothing_left")

Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves both kinds of locations with given options."""
    with serving() as serve:
        yield serve


async def test_messages_are_sent_as_events(serve: Serve) -> None:
    """A stream has a head, and then each message in a frame."""
    site = serve()
    stream = await open_stream(site, "/updates/a")
    assert stream.status == 200
    headers = dict(stream.headers)
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache, no-transform"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"incremental"] == b"?1"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"vary"] == b"If-None-Match, If-Modified-Since, Accept"
    assert re.fullmatch(r"retry: [123]\d{3}\nid: 0:0\n: hi\n\n", stream.text)
    await until_live("a")
    head = stream.text
    json = [(b"content-type", b"application/json")]
    named = [*json, (b"x-eventsource-event", b"story")]
    posted = [
        await site.post("a", b"{}", json),
        await site.post("a", b"1\r\n2", named),
        await site.post("a", b"\xff"),
    ]
    assert [each.status for each in posted] == [201] * 3
    await stream.until(3)
    assert stream.text.removeprefix(head) == (
        f"id: {name(posted[0])}\ncontent-type: application/json\ndata: {{}}\n\n"
        f"event: story\nid: {name(posted[1])}\ncontent-type: application/json\n"
        "data: 1\ndata: 2\n\n"
        f"id: {name(posted[2])}\n"
        "data: data:application/octet-stream;base64,/w==\n\n"
    )
    await leave(stream)


async def test_stream_and_poll_get_the_same_message(serve: Serve) -> None:
    """A stream and a poll count as two subscribers and get the same message."""
    site = serve()
    stream = await open_stream(site, "/updates/a")
    poll = site.exchange("GET", "/updates/a").start()
    await until_held("a", 2)
    info = await site.info("a")
    assert info is not None
    assert info["subscribers"] == 2
    assert (await site.post("a", b"1")).status == 201
    assert (await poll.answer()).body == b"1"
    assert [each.data for each in await stream.until(1)] == ["1"]
    await leave(stream)


async def test_each_form_of_a_position_resumes_a_stream(serve: Serve) -> None:
    """Each way to name the last message is accepted; the first one found counts."""
    site = serve()
    names = [name(await site.post("a", b"%d" % number)) for number in range(4)]
    poll = await site.ask("GET", "/updates/a")
    last = (b"last-event-id", names[1].encode())
    cases: list[tuple[str, list[tuple[bytes, bytes]], list[str], str]] = [
        ("", [last], ["2", "3"], names[1]),
        (f"?last_event_id={names[2]}", [], ["3"], names[2]),
        (f"?lastEventId={names[2]}", [], ["3"], names[2]),
        (
            f"?lastEventId={names[0]}&last_event_id={names[2]}",
            [last],
            ["2", "3"],
            names[1],
        ),
        (f"?last_event_id={names[2]}", id_headers(poll), ["1", "2", "3"], names[0]),
        ("?last_event_id=oldest", [], ["0", "1", "2", "3"], "0:0"),
        ("?last_event_id=0:0", [], ["0", "1", "2", "3"], "0:0"),
        ("", [], ["0", "1", "2", "3"], "0:0"),
        ("?last_event_id=newest", [], [], names[3]),
    ]
    for query, headers, bodies, head in cases:
        stream = await open_stream(site, f"/updates/a{query}", headers)
        assert stream.text.split("\n")[1] == f"id: {head}", query
        await until_live("a")
        stream.read()
        assert stream.bodies == bodies, query
        await leave(stream)


@pytest.mark.parametrize(
    ("first_message", "bodies"),
    [
        ("oldest", "0123"),
        ("newest", ""),
        (-1, "3"),
        (-3, "123"),
        (-4, "0123"),
        (-9, "0123"),
    ],
)
async def test_first_message_sets_the_start_of_a_stream(
    serve: Serve, first_message: str | int, bodies: str
) -> None:
    """A client without a position starts at first_message and gets that position."""
    site = serve(first_message=first_message, timeout=0.1)
    names = [name(await site.post("a", b"%d" % number)) for number in range(4)]
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    stream.read()
    assert "".join(stream.bodies) == bodies
    await leave(stream)
    poll = await site.ask("GET", "/updates/a")
    if bodies:
        assert (poll.status, poll.body.decode()) == (200, bodies[0])
    else:
        assert poll.status == 304
        assert poll["etag"] == names[3].partition(":")[2]
    answer = await site.ask("GET", "/updates/a?last_event_id=0:0")
    assert answer.body == b"0"


async def test_poll_without_a_position_gets_its_start_position(serve: Serve) -> None:
    """A poll without a position on an empty channel gets the start position."""
    site = serve(timeout=0.1)
    answer = await site.ask("GET", "/updates/a")
    assert answer.status == 304
    assert answer["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert answer["etag"] == "0"


@pytest.mark.parametrize("value", ["x", "1", "1:2:3", "-1:0", "[1:2]"])
async def test_invalid_position_gets_400(serve: Serve, value: str) -> None:
    """An invalid position gets 400 with an explanation, and creates no channel."""
    site = serve()
    for headers in ([EVENTS], []):
        answer = await site.ask(
            "GET", "/updates/a", [*headers, (b"last-event-id", value.encode())]
        )
        assert answer.status == 400
        assert b"Last-Event-ID" in answer.body
        answer = await site.ask("GET", f"/updates/a?last_event_id={value}", headers)
        assert answer.status == 400
    assert await site.info("a") is None


async def test_gap_is_sent_before_the_next_message(serve: Serve) -> None:
    site = serve({"max_messages": 2})
    names = [name(await site.post("a", b"%d" % number)) for number in range(5)]
    last = [(b"last-event-id", names[0].encode())]
    stream = await open_stream(site, "/updates/a", last)
    events = await stream.until(3)
    assert events[0].name == "push-gap"
    assert events[0].data == f'{{"channel": "a", "missed": "{names[2]}"}}'
    assert events[0].id == names[0]
    assert [each.data for each in events[1:]] == ["3", "4"]
    await leave(stream)


async def test_deleted_channel_ends_a_stream(serve: Serve) -> None:
    site = serve()
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    assert (await site.ask("DELETE", "/send-update/a")).status == 200
    await stream.until_ended()
    assert stream.text.endswith('event: push-gone\ndata: {"channel": "a"}\n\n')


async def test_stream_on_a_missing_channel_gets_404(serve: Serve) -> None:
    """A stream on a channel that does not exist gets 404, so browsers stop retrying."""
    site = serve(create_on_get=False)
    for query in ("", "?last_event_id=newest", "?last_event_id=1:2"):
        answer = await site.ask("GET", f"/updates/a{query}", [EVENTS])
        assert answer.status == 404
        assert answer["x-content-type-options"] == "nosniff"


async def test_temporary_error_gets_200_and_an_event(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary error gets 200 and an event, as EventSource retries only then."""
    site = serve({"max_channels": 1})
    await site.post("b", b"1")
    full = await open_stream(site, "/updates/a")
    store = hubs.get("default").store

    async def fail(*args: Any, **options: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(store, "next", fail)
    away = await open_stream(site, "/updates/b")
    await hubs.get("default").stop()
    stopping = await open_stream(site, "/updates/b")
    for stream in (full, away, stopping):
        await stream.until_ended()
        assert stream.status == 200
        assert re.fullmatch(
            r"retry: (\d)000\nevent: push-unavailable\n"
            r'data: \{"retry_after": \1\}\n\n',
            stream.text,
        )


async def test_unavailable_store_ends_a_stream(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve()
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    cursor = next(iter(hubs.get("default").waiting["a"]))

    async def fail(*args: Any, **options: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(hubs.get("default").store, "next", fail)
    cursor.is_behind = True
    cursor.stream.start_catch_up(None)
    await stream.until_ended()
    assert stream.events[-1].name == "push-unavailable"


async def test_quiet_stream_is_kept_alive(serve: Serve) -> None:
    site = serve(keep_alive=0.02)
    stream = await open_stream(site, "/updates/a")

    def was_kept_alive() -> bool:
        stream.read()
        return stream.text.endswith(":\n\n:\n\n")

    await until(was_kept_alive)
    await leave(stream)


async def test_stream_ends_after_its_duration(serve: Serve) -> None:
    site = serve(stream_duration=0.05)
    stream = await open_stream(site, "/updates/a")
    await stream.until_ended()
    assert stream.text.endswith(": hi\n\n")
    assert not hubs.get("default").waiting


async def test_stopping_server_spreads_reconnects(serve: Serve) -> None:
    site = serve()
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    await hubs.get("default").stop()
    await stream.until_ended()
    assert re.search(r"hi\n\nretry: \d{3,5}\n\n$", stream.text)


@pytest.mark.parametrize("polls", [False, True])
async def test_last_ends_the_older_stream(serve: Serve, polls: bool) -> None:
    site = serve(concurrency="last")
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    if polls:
        other = site.exchange("GET", "/updates/a").start()
    else:
        other = await open_stream(site, "/updates/a")
    await stream.until_ended()
    assert stream.text.endswith('event: push-conflict\ndata: {"channel": "a"}\n\n')
    other.disconnect()
    await other.end()


async def test_first_keeps_the_older_stream(serve: Serve) -> None:
    site = serve(concurrency="first")
    stream = await open_stream(site, "/updates/a")
    assert (await site.ask("GET", "/updates/a", [EVENTS])).status == 409
    await leave(stream)


async def test_unstored_message_reaches_a_waiting_stream(serve: Serve) -> None:
    site = serve(publisher={"store_messages": False})
    stream = await open_stream(site, "/updates/a")
    await until_live("a")
    for number in range(3):
        assert (await site.post("a", b"%d" % number)).status == 201
    await stream.until(3)
    assert stream.bodies == ["0", "1", "2"]
    await leave(stream)


async def test_future_id_gets_the_next_message(serve: Serve) -> None:
    site = serve()
    await site.post("a", b"0")
    last = [(b"last-event-id", b"99999999999:0")]
    stream = await open_stream(site, "/updates/a", last)
    await until_live("a")
    await site.post("a", b"1")
    await site.post("a", b"2")
    events = await stream.until(3)
    assert [each.name for each in events] == ["push-gap", "message", "message"]
    assert stream.bodies == ["1", "2"]
    await leave(stream)


async def test_date_without_a_tag_resumes_a_stream(serve: Serve) -> None:
    """A date without a tag gets the first message of that second or a later one.

    The head of the stream has a complete id.
    """
    site = serve()
    posted = [await site.post("a", b"%d" % number) for number in range(2)]
    poll = await site.ask("GET", "/updates/a")
    date = [(b"if-modified-since", (poll["last-modified"] or "").encode())]
    stream = await open_stream(site, "/updates/a", date)
    await stream.until(2)
    assert stream.bodies == ["0", "1"]
    assert re.search(r"^id: \d+:\d+\n: hi$", stream.text, re.MULTILINE)
    assert stream.id == name(posted[1])
    await leave(stream)


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        (b"text/html, text/event-stream", True),
        (b"Text/Event-Stream", True),
        (b"*/*", False),
    ],
)
async def test_accept_chooses_the_transport(
    serve: Serve, accept: bytes, is_stream: bool
) -> None:
    site = serve()
    await site.post("a", b"1")
    stream = await open_stream(site, "/updates/a", accept=[(b"accept", accept)])
    assert (stream.text.startswith("retry:")) is is_stream
    await leave(stream)


@pytest.mark.parametrize(
    ("options", "stream", "poll"),
    [
        ({"transports": ["poll"]}, 406, 200),
        ({"transports": "eventsource"}, 200, 406),
        ({"transports": ["eventsource", "websocket"]}, 200, 406),
        ({"polling": "interval"}, 406, 200),
    ],
)
async def test_transport_that_is_not_allowed_gets_406(
    serve: Serve, options: dict[str, Any], stream: int, poll: int
) -> None:
    """A transport that is not allowed gets 406, and Vary does not name Accept."""
    site = serve(**options)
    await site.post("a", b"1")
    streaming = await open_stream(site, "/updates/a")
    polling = await open_stream(site, "/updates/a", accept=())
    assert (streaming.status, polling.status) == (stream, poll)
    for each in (streaming, polling):
        assert b"Accept" not in dict(each.headers)[b"vary"]
        if each.status == 406:
            assert "the location has " in each.text
    await leave(streaming)


async def test_events_may_be_named_after_their_channel(serve: Serve) -> None:
    site = serve(event="channel")
    named = await open_stream(site, "/updates/news")
    unfit = await open_stream(site, "/updates/open")
    await site.post("news", b"1")
    await site.post("open", b"2")
    assert [each.name for each in await named.until(1)] == ["news"]
    assert [each.name for each in await unfit.until(1)] == ["message"]
    await leave(named, unfit)


async def test_messages_during_the_start_of_a_stream_are_sent_once(
    serve: Serve,
) -> None:
    """Messages published while a stream begins are sent once and in order."""
    site = serve()
    for number in range(100):
        await site.post("a", b"%d" % number)
    streams = []
    for number in range(100, 300):
        if number % 20 == 0:
            streams.append(
                EventExchange(site.application, "GET", "/updates/a", [EVENTS])
            )
            streams[-1].start()
        await hubs.get("default").publish(Update("a", b"%d" % number))
    for stream in streams:
        await stream.until(300)
        assert stream.bodies == [str(number) for number in range(300)]
    await leave(*streams)
