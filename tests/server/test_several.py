"""Several channels on one connection, over ASGI in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pushserver_channels.hub import hubs

from .exchanges import Answer, Site, until_held
from .streams import (
    EVENTS,
    EventReader,
    SocketExchange,
    leave,
    name,
    open_socket,
    open_stream,
    serving,
    until_live,
)

pytestmark = pytest.mark.usefixtures("nothing_left")

Serve = Callable[..., Site]

OURS = "ws+meta.pushserver"
NCHAN = "ws+meta.nchan"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves a location for several channels."""
    with serving(separator=",") as serve:
        yield serve


async def test_stream_of_several_channels(serve: Serve) -> None:
    """Each event has the id of its channel and the position on all channels."""
    site = serve()
    stream = await open_stream(site, "/updates/news,user%2F7,a%2Cb")
    assert dict(stream.headers)[b"push-location"] == (
        b'/updates/{channels}; separator=","'
    )
    assert re.fullmatch(r"retry: \d{4}\nid: 0:0,0:0,0:0\n: hi\n\n", stream.text)
    await until_live("news")
    first = name(await site.post("user%2F7", b"1"))
    second = name(await site.post("a%2Cb", b"2"))
    third = name(await site.post("news", b"3"))
    events = await stream.until(3)
    assert [each.data for each in events] == ["1", "2", "3"]
    assert [each.fields["channel"] for each in events] == ["user/7", "a,b", "news"]
    assert [each.id for each in events] == [
        f"0:0,[{first}],0:0",
        f"0:0,{first},[{second}]",
        f"[{third}],{first},{second}",
    ]
    await leave(stream)
    # The client resumes at that position, also in a form without brackets.
    await site.post("news", b"4")
    for position in (stream.id, stream.id.replace("[", "").replace("]", "")):
        last = [(b"last-event-id", position.encode())]
        again = await open_stream(site, "/updates/news,user%2F7,a%2Cb", last)
        assert [each.data for each in await again.until(1)] == ["4"]
        await leave(again)


async def test_single_channel_of_a_location_with_separator(serve: Serve) -> None:
    site = serve()
    posted = name(await site.post("a", b"1"))
    for path in ("/updates/a", "/updates/a,a"):
        stream = await open_stream(site, path)
        (event,) = await stream.until(1)
        assert (event.id, event.fields) == (posted, {})
        await leave(stream)
    answer = await site.ask("GET", "/updates/a")
    assert answer["etag"] == posted.partition(":")[2]
    assert answer["push-location"] == '/updates/{channels}; separator=","'


@pytest.mark.parametrize(
    ("root_path", "conf", "root"),
    [
        ("/app", {}, "/app"),
        ("/käse %/", {}, "/k%C3%A4se%20%25"),
        ("//evil.example", {}, "/%2Fevil.example"),
        ("/app", {"subscriber_host": "push.example"}, ""),
    ],
)
async def test_push_location_has_the_path_of_subscriber_url(
    serve: Serve, root_path: str, conf: dict[str, Any], root: str
) -> None:
    """Push-Location has the path of subscriber_url(), in each kind of response."""
    site = serve()
    path = root_path.rstrip("/")
    expected = f'{root}/updates/{{channels}}; separator=","'.encode()
    with override_settings(PUSH_SERVER={**settings.PUSH_SERVER, **conf}):
        for of_channels in ("a", "a,b"):
            stream = await open_stream(
                site, f"{path}/updates/{of_channels}", root_path=root_path
            )
            assert dict(stream.headers)[b"push-location"] == expected
            await leave(stream)
            answer = await site.ask(
                "OPTIONS", f"{path}/updates/{of_channels}", root_path=root_path
            )
            assert answer["push-location"] == expected.decode()


@pytest.mark.parametrize("path", ["/updates/a,,b", "/updates/,a", "/updates/a,%FF"])
async def test_invalid_channel_ids_are_refused(serve: Serve, path: str) -> None:
    site = serve()
    for headers in ([], [EVENTS]):
        assert (await site.ask("GET", path, headers)).status == 400


async def test_at_most_255_channels(serve: Serve) -> None:
    """A channel that is named twice counts once."""
    site = serve(timeout=0.01)
    ids = [str(number) for number in range(256)]
    assert (await site.ask("GET", f"/updates/{','.join(ids)}")).status == 400
    path = f"/updates/{','.join([*ids[:255], *ids[:255]])}"
    assert (await site.ask("GET", path)).status == 304


@pytest.mark.parametrize("position", ["1:2", "1:2,3:4,5:6", "[1:2],[3:4]", "x,y"])
async def test_invalid_position_is_refused(serve: Serve, position: str) -> None:
    site = serve()
    headers = [(b"last-event-id", position.encode())]
    for accept in ([], [EVENTS]):
        answer = await site.ask("GET", "/updates/a,b", [*headers, *accept])
        assert answer.status == 400
    tag = [(b"if-none-match", f'"{position}"'.encode())]
    assert (await site.ask("GET", "/updates/a,b", tag)).status == 400


async def test_first_message_applies_to_a_channel_without_a_position(
    serve: Serve,
) -> None:
    """The setting first_message applies to a channel without a position."""
    site = serve(first_message=-1)
    old = name(await site.post("a", b"a1"))
    await site.post("a", b"a2")
    await site.post("b", b"b1")
    await site.post("b", b"b2")
    time, _, tag = old.partition(":")
    for position in (f"[{old}],-", f"{time}:[{tag}],-"):
        headers = [(b"last-event-id", position.encode())]
        stream = await open_stream(site, "/updates/a,b", headers)
        events = await stream.until(2)
        assert [each.data for each in events] == ["a2", "b2"]
        await leave(stream)


async def test_gap_of_one_channel(serve: Serve) -> None:
    site = serve({"max_messages": 1})
    names = [name(await site.post("a", b"%d" % number)) for number in range(3)]
    headers = [(b"last-event-id", f"[{names[0]}],0:0".encode())]
    stream = await open_stream(site, "/updates/a,b", headers)
    gap, message = await stream.until(2)
    assert gap.data == f'{{"channel": "a", "missed": "{names[1]}"}}'
    assert (gap.name, message.data) == ("push-gap", "2")
    await leave(stream)


async def test_stream_ends_when_its_last_channel_is_deleted(serve: Serve) -> None:
    """The stream ends when its last channel is deleted."""
    site = serve()
    stream = await open_stream(site, "/updates/a,b")
    await until_live("a")
    await site.ask("DELETE", "/send-update/a")
    await stream.until(1)
    await until_live("b")
    await site.post("b", b"1")
    events = await stream.until(2)
    assert (events[0].name, events[0].data) == ("push-gone", '{"channel": "a"}')
    assert events[1].data == "1"
    await site.ask("DELETE", "/send-update/b")
    await stream.until_ended()
    assert (stream.events[2].name, stream.events[2].data) == (
        "push-gone",
        '{"channel": "b"}',
    )


async def test_event_reports_a_missing_channel(serve: Serve) -> None:
    """An event reports a missing channel; 404 means that no channel exists."""
    site = serve(create_on_get=False)
    posted = name(await site.post("b", b"1"))
    stream = await open_stream(site, "/updates/a,b")
    gone, message = await stream.until(2)
    assert {gone.name, message.name} == {"push-gone", "message"}
    assert stream.id == f"-,[{posted}]"
    await leave(stream)
    poll = await site.ask("GET", "/updates/a,b")
    assert (poll.status, poll.body, poll["push-denied"]) == (200, b"1", "a")
    assert (await site.ask("GET", "/updates/x,y", [EVENTS])).status == 404
    assert (await site.ask("GET", "/updates/x,y")).status == 404


async def test_long_poll_returns_one_message_and_the_position(serve: Serve) -> None:
    """A poll gets one message and the position, with which the client asks again."""
    site = serve({"max_messages": 2}, timeout=0.05)
    held = site.exchange("GET", "/updates/a,b").start()
    await until_held("a")
    first = name(await site.post("b", b"1"))
    answer = await held.answer()
    assert (answer.status, answer.body, answer["etag"]) == (200, b"1", f"0:0,[{first}]")
    assert answer["cache-control"] == (f'no-cache, no-transform, etag="0:0,[{first}]"')
    second = name(await site.post("a", b"2"))
    answer = await site.ask("GET", "/updates/a,b", echo(answer))
    assert (answer.body, answer["etag"]) == (b"2", f"[{second}],{first}")
    timeout = await site.ask("GET", "/updates/a,b", echo(answer))
    assert (timeout.status, timeout["etag"]) == (304, f"{second},{first}")
    for number in range(3):
        missed = name(await site.post("a", b"%d" % number))
    answer = await site.ask("GET", "/updates/a,b", echo(timeout))
    assert answer.body == b"1"
    assert answer["push-gap"] is not None
    assert missed


def echo(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return the headers that ask for the message after this response."""
    return [
        (b"if-modified-since", (answer["last-modified"] or "").encode()),
        (b"if-none-match", f'W/"{answer["etag"]}"'.encode()),
    ]


async def test_interval_poll_of_several_channels(serve: Serve) -> None:
    site = serve(polling="interval")
    empty = await site.ask("GET", "/updates/a,b")
    assert (empty.status, empty["etag"]) == (304, "0:0,0:0")
    await site.post("b", b"1")
    assert (await site.ask("GET", "/updates/a,b")).body == b"1"


@pytest.mark.parametrize("path", ["/updates/a", "/updates/a,b"])
async def test_batch_contains_stored_messages_as_frames(
    serve: Serve, path: str
) -> None:
    """A batch waits for the first message, and contains stored messages as frames."""
    site = serve()
    held = site.exchange("GET", f"{path}?batch=1", [EVENTS]).start()
    await until_held("a")
    assert (await site.post("a", b"0")).status == 201
    answer = await held.answer()
    assert answer["content-type"] == "text/event-stream; charset=utf-8"
    assert answer["content-length"] == str(len(answer.body))
    reader = EventReader()
    reader.feed(answer.body)
    assert reader.bodies == ["0"]
    for number in range(1, 251):
        await site.post("a", b"%d" % number)
    lengths = []
    while len(reader.bodies) < 251:
        answer = await site.ask(
            "GET", f"{path}?batch=1&last_event_id={reader.id}", [EVENTS]
        )
        before = len(reader.bodies)
        reader.feed(answer.body)
        lengths.append(len(reader.bodies) - before)
    assert lengths == [100, 100, 50]
    assert reader.bodies == [str(number) for number in range(251)]


async def test_batch_has_a_maximum_size(serve: Serve) -> None:
    """A batch has a maximum size; a larger message is sent alone."""
    site = serve()
    sizes = [400_000, 500_000, 200_000, 1_048_570, 10]
    for size in sizes:
        await site.post("a", b"a" * size)
    reader, counts = EventReader(), []
    while len(reader.bodies) < len(sizes):
        answer = await site.ask(
            "GET", f"/updates/a?batch=1&last_event_id={reader.id or '0:0'}", [EVENTS]
        )
        before = len(reader.bodies)
        reader.feed(answer.body)
        counts.append(len(reader.bodies) - before)
    assert counts == [2, 1, 1, 1]
    assert [len(each) for each in reader.bodies] == sizes


async def test_batch_without_messages_has_the_position(serve: Serve) -> None:
    """A batch without messages has the position; an event reports a deletion."""
    site = serve(timeout=0.05)
    answer = await site.ask("GET", "/updates/a,b?batch=1", [EVENTS])
    assert (answer.status, answer.body) == (200, b"id: 0:0,0:0\n: hi\n\n")
    site = serve()
    held = site.exchange("GET", "/updates/a?batch=1", [EVENTS]).start()
    await until_held("a")
    await site.ask("DELETE", "/send-update/a")
    assert (await held.answer()).status == 410
    held = site.exchange("GET", "/updates/a,b?batch=1", [EVENTS]).start()
    await until_held("a")
    await site.ask("DELETE", "/send-update/a")
    answer = await held.answer()
    assert answer.body.endswith(b'event: push-gone\ndata: {"channel": "a"}\n\n')
    held = site.exchange("GET", "/updates/a,b?batch=1", [EVENTS]).start()
    await until_held("a")
    await hubs.get("default").stop()
    assert b"push-unavailable" in (await held.answer()).body


async def test_disconnect_from_a_batch_is_noticed(serve: Serve) -> None:
    site = serve()
    held = site.exchange("GET", "/updates/a,b?batch=1", [EVENTS]).start()
    await until_held("a")
    held.disconnect()
    await held.end()
    assert not hubs.get("default").waiting


async def test_websocket_frames_of_several_channels(serve: Serve) -> None:
    """Our frames have the channel and its id, those of Nchan the whole position."""
    site = serve(create_on_get=False)
    first = name(await site.post("user%2F7", b"1"))
    path = "/updates/a,user%2F7,none"
    await site.ask("PUT", "/send-update/a")
    ours = SocketExchange(site, path, subprotocols=[OURS])
    nchans = SocketExchange(site, path, subprotocols=[NCHAN])
    assert ours.future
    assert nchans.future
    assert await ours.until(3) == [
        "id: 0:0,0:0,-\n\n",
        f"channel: user%2F7\nid: {first}\n\n1",
        "channel: none\nevent: push-gone\n\n",
    ]
    assert await nchans.until(2) == [
        "id: 0:0,0:0,-\n\n",
        f"id: 0:0,[{first}],-\n\n1",
    ]
    await leave(ours, nchans)  # type: ignore[arg-type]


async def test_websocket_of_one_channel(serve: Serve) -> None:
    site = serve()
    first = name(await site.post("a", b"1"))
    socket = await open_socket(site, "/updates/a", subprotocols=[OURS])
    assert await socket.until(2) == ["id: 0:0\n\n", f"id: {first}\n\n1"]
    await leave(socket)  # type: ignore[arg-type]
