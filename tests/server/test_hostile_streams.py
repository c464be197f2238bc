"""Streams and sockets of clients that send nonsense, or vanish at the wrong moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from autobahn.exception import Disconnected

from pushserver_channels.consumers.base import is_disconnect
from pushserver_channels.consumers.stream_cursor import StreamCursor
from pushserver_channels.hub import hubs
from pushserver_channels.stores.memory import MemoryStore
from tests.waiting import until

from .exchanges import Site
from .passthrough_view import VIEW, View
from .streams import (
    EVENTS,
    EventExchange,
    SocketExchange,
    leave,
    open_socket,
    open_stream,
    serving,
    until_live,
)

pytestmark = pytest.mark.usefixtures("nothing_left")

Serve = Callable[..., Site]

NCHAN = "ws+meta.nchan"
OURS = "ws+meta.pushserver"

#: The most bytes of a close reason (RFC 6455, section 5.5).
MAX_REASON = 123

#: What ends a stream.
ENDINGS = ("leave", "delete", "cancel", "stop", "duration", "conflict")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a subscriber location that takes several channels."""
    with serving(separator=",") as serve:
        yield serve


class Gate:
    """Holds back what the store finds on one channel."""

    def __init__(self, channel_id: str, patch: pytest.MonkeyPatch) -> None:
        self.looked, self.opened = asyncio.Event(), asyncio.Event()
        store = hubs.get("default").store
        find = store.next

        async def find_later(asked: str, *args: Any, **options: Any) -> Any:
            found = await find(asked, *args, **options)
            if asked == channel_id:
                self.looked.set()
                await self.opened.wait()
            return found

        patch.setattr(store, "next", find_later)


# Positions


@pytest.mark.parametrize(
    "query",
    ["", "?last_event_id=", "?last_event_id=newest", "?lastEventId=oldest", "?x=1:2"],
)
@pytest.mark.parametrize("headers", [[], [(b"if-none-match", b"3")]])
async def test_nchan_client_without_an_id_gets_the_position(
    serve: Serve, query: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Nchan's frames begin with the position, unless the request has an id.

    Neither an empty value nor ``oldest`` nor ``newest`` is one, nor a tag without its
    date.
    """
    site = serve()
    await site.post("a", b"1")
    path = f"/updates/a{query}"
    socket = await open_socket(site, path, headers, subprotocols=[NCHAN])
    [first, *_] = await socket.until(1)
    assert str(first).startswith("id: ")
    assert str(first).endswith("\n\n")
    socket.disconnect()
    await socket.end()


@pytest.mark.parametrize(
    "headers",
    [
        [(b"last-event-id", b"1:2")],
        [(b"if-modified-since", b"Thu, 01 Jan 1970 00:00:00 GMT")],
    ],
)
async def test_nchan_client_with_an_id_gets_no_position(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """Nchan's client would take it for an empty message."""
    site = serve()
    await site.post("a", b"1")
    socket = await open_socket(site, "/updates/a", headers, [NCHAN])
    [first, *_] = await socket.until(1)
    assert str(first).endswith("\n\n1")
    socket.disconnect()
    await socket.end()


@pytest.mark.parametrize("path", ["/updates/a", "/updates/a,b"])
@pytest.mark.parametrize(
    "value", ["999999999999:1", "253402300800:0", "1:9999999999999999999"]
)
async def test_ids_without_a_valid_date_are_refused(
    serve: Serve, path: str, value: str
) -> None:
    """An id whose time has no date is refused on each transport, before a stream."""
    site = serve(timeout=0.01)
    value = value if "," not in path else f"[{value}],-"
    query = f"{path}?last_event_id={value}"
    for headers in ([], [EVENTS]):
        answer = await site.ask("GET", query, headers)
        assert answer.status == 400
        assert b"last_event_id" in answer.body
    socket = SocketExchange(site, query)
    assert await socket.until_closed() == 4400


async def test_last_id_with_a_valid_date(serve: Serve) -> None:
    site = serve(timeout=0.01)
    answer = await site.ask("GET", "/updates/a?last_event_id=253402300799:1")
    assert answer.status == 304
    assert answer["last-modified"] == "Fri, 31 Dec 9999 23:59:59 GMT"


@pytest.mark.parametrize("tag", ["²", "٣", "[1:2", "1:2]", '"', "W/", ",", "-,-,-"])
async def test_invalid_tags_of_several_channels_are_refused(
    serve: Serve, tag: str
) -> None:
    site = serve(timeout=0.01)
    headers = [(b"if-none-match", tag.encode("utf-8"))]
    for more in ([], [EVENTS]):
        answer = await site.ask("GET", "/updates/a,b", [*headers, *more])
        assert answer.status == 400, answer.body
    headers = [(b"if-none-match", b"\xb2")]
    assert (await site.ask("GET", "/updates/a,b", headers)).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/updates/a?last_event_id=" + "%C3%BC" * 80,
        "/updates/a?last_event_id=" + "%F0%9F%98%80" * 80,
        "/updates/a?last_event_id=" + "x" * 5000,
        "/updates/a?last_event_id=%0d%0a%00",
    ],
)
async def test_close_reason_fits_into_its_frame(serve: Serve, path: str) -> None:
    """A longer one is an error in some servers, which then send no code at all."""
    socket = SocketExchange(serve(), path)
    assert await socket.until_closed() == 4400
    assert socket.closed is not None
    reason = socket.closed["reason"]
    assert "last_event_id" in reason
    assert len(reason.encode()) <= MAX_REASON


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"origin", b"http://["),
        (b"origin", b"http://a:99999999999"),
        (b"origin", b"\xff\x00" * 5000),
        (b"origin", b""),
        (b"host", b"[" + b"x" * 9000),
        (b"host", b"a:b:c"),
        (b"cookie", b"a=" + b"x" * 9000),
    ],
)
async def test_invalid_headers_of_a_websocket(
    serve: Serve, header: bytes, value: bytes
) -> None:
    """The socket is refused or opened, and nothing fails."""
    site = serve()
    headers = [(b"origin", b"http://a"), (header, value)]
    if header == b"cookie":
        headers = headers[1:]
    socket = SocketExchange(site, "/updates/a", headers)
    assert socket.future
    await asyncio.sleep(0)
    if header == b"cookie":
        socket.disconnect()
    assert await socket.until_closed() == (None if header == b"cookie" else 4403)


# Many channels


async def test_stream_of_255_channels(serve: Serve) -> None:
    """Each message once, in the order of its channel, with the whole position."""
    site = serve()
    ids = [f"c{number}" for number in range(255)]
    stream = await open_stream(site, "/updates/" + ",".join(ids))
    await until_live("c254")
    for body in (b"1", b"2"):
        for each in ids:
            await site.post(each, body)
    await stream.until(510)
    assert [each.fields["channel"] for each in stream.events] == ids * 2
    position = stream.id
    await leave(stream)
    headers = [(b"last-event-id", position.encode())]
    again = await open_stream(site, "/updates/" + ",".join(ids), headers)
    await site.post("c7", b"3")
    assert [each.data for each in await again.until(1)] == ["3"]
    await leave(again)


# Clients and channels that go at the wrong moment


@pytest.mark.parametrize("ending", ["delete", "leave", "stop"])
async def test_deletion_or_stop_before_the_response_head(
    serve: Serve, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several channels is deleted, or all ends, before the head is sent."""
    site = serve()
    for each in ("a", "b"):
        await site.post(each, b"0")
    gate = Gate("b", monkeypatch)
    stream = EventExchange(site.application, "GET", "/updates/a,b", [EVENTS])
    stream.start()
    await gate.looked.wait()
    stopping = None
    if ending == "delete":
        await site.ask("DELETE", "/send-update/a")
        await until(lambda: "a" not in hubs.get("default").waiting)
    elif ending == "leave":
        stream.disconnect()
    else:
        stopping = asyncio.ensure_future(hubs.get("default").stop())
        await asyncio.sleep(0)
    stream.read()
    assert stream.status is None
    assert stream.text == ""
    gate.opened.set()
    if ending == "delete":
        events = await stream.until(2)
        assert sorted(each.name for each in events) == ["message", "push-gone"]
        assert stream.text.startswith("retry: ")
        await leave(stream)
    elif ending == "leave":
        await stream.end()
    else:
        await stream.until_ended()
        assert stopping is not None
        await stopping
        assert "push-unavailable" in stream.text


@pytest.mark.parametrize("path", ["/updates/a", "/updates/a,b"])
@pytest.mark.parametrize("create", [False, True])
async def test_stream_does_not_recreate_a_deleted_channel(
    serve: Serve, path: str, create: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookups of a stream do not create a deleted channel again."""
    site = serve(create_on_get=create)
    for body in (b"1", b"2"):
        await site.post("a", body)
    await site.post("b", b"3")
    hub = hubs.get("default")
    find, lookups = hub.store.next, Counter[str]()

    async def find_and_delete(channel_id: str, *args: Any, **options: Any) -> Any:
        found = await find(channel_id, *args, **options)
        lookups[channel_id] += 1
        if channel_id == "a" and lookups["a"] == 2:  # The first is before the head.
            await hub.delete("a")
        return found

    monkeypatch.setattr(hub.store, "next", find_and_delete)
    stream = EventExchange(site.application, "GET", path, [EVENTS])
    stream.start()
    await until(lambda: stream.read() or "push-gone" in stream.text)
    assert await site.info("a") is None
    await leave(stream)


@pytest.mark.parametrize("create", [False, True])
async def test_stream_ends_when_the_store_is_emptied(
    serve: Serve, create: bool
) -> None:
    """A channel that is gone without a word ends where a GET would not create it."""
    site = serve(create_on_get=create)
    await site.post("a", b"1")
    stream = await open_stream(site, "/updates/a")
    await stream.until(1)
    await until_live("a")
    store = hubs.get("default").store
    assert isinstance(store, MemoryStore)
    store.channels.clear()
    (cursor,) = hubs.get("default").waiting["a"]
    assert isinstance(cursor, StreamCursor)
    cursor.is_behind = True
    cursor.stream.start_catch_up(None)
    if create:
        await until_live("a")
        assert "push-gone" not in stream.text
        await leave(stream)
    else:
        await stream.until_ended()
        assert "push-gone" in stream.text


@pytest.mark.parametrize("subprotocol", [None, OURS])
async def test_websocket_cancelled_before_its_first_frame(
    serve: Serve, subprotocol: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Daphne cancels what it runs when it stops; the client is told to come back."""
    site = serve()
    await site.post("a", b"0")
    gate = Gate("a", monkeypatch)
    offered = [] if subprotocol is None else [subprotocol]
    socket = SocketExchange(site, "/updates/a", subprotocols=offered)
    assert socket.future
    await gate.looked.wait()
    socket.future.cancel()
    assert await socket.until_closed() == (1012 if subprotocol is None else 4503)


@pytest.mark.parametrize("subprotocol", [None, OURS])
async def test_websocket_with_a_failing_store(
    serve: Serve, subprotocol: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients without a subprotocol reconnect only after 1012."""
    site = serve()

    async def fail(*args: Any, **options: Any) -> None:
        raise ZeroDivisionError("the store has a fault")

    monkeypatch.setattr(hubs.get("default").store, "next", fail)
    offered = [] if subprotocol is None else [subprotocol]
    socket = SocketExchange(site, "/updates/a", subprotocols=offered)
    assert await socket.until_closed() == (1012 if subprotocol is None else 4503)


@pytest.mark.parametrize("subprotocol", [None, NCHAN, OURS])
async def test_many_pings_are_answered(serve: Serve, subprotocol: str | None) -> None:
    """Each is answered while the client reads, and messages come between them."""
    site = serve()
    offered = [] if subprotocol is None else [subprotocol]
    socket = await open_socket(site, "/updates/a", subprotocols=offered)
    await until_live("a")
    for _ in range(500):
        socket.say("ping")
    await site.post("a", b"1")

    def has_come() -> bool:
        socket.read()
        return any(str(each).endswith("1") for each in socket.messages)

    await until(has_come)
    assert "pong" in socket.messages
    socket.disconnect()
    await socket.end()


# Passthrough


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        *product(("socket", "stream"), ENDINGS),
        ("socket", "too long"),
    ],
)
@pytest.mark.parametrize("channels", [["a"], ["a", "b"]], ids=["one", "two"])
async def test_streams_send_events_in_pairs(
    serve: Serve, view: View, kind: str, ending: str, channels: list[str]
) -> None:
    """Once for each channel at the start and once at the end, whatever ends it."""
    options: dict[str, Any] = {"passthrough": VIEW}
    if ending == "duration":
        options["stream_duration"] = 0.2
    if ending == "conflict":
        options["concurrency"] = "last"
    site = serve(application=view, **options)
    path = "/updates/" + ",".join(channels)
    held: Any
    if kind == "socket":
        held = SocketExchange(site, path, subprotocols=[OURS])
        assert held.future
    else:
        held = await open_stream(site, path)
    await until(lambda: len(view.heard) == len(channels))
    assert view.heard == [f"subscribe {each}" for each in channels]
    assert {each["method"] for each in view.scopes} == {"POST"}
    assert {each["type"] for each in view.scopes} == {"http"}
    expected = Counter(
        f"{event} {each}" for event in ("subscribe", "unsubscribe") for each in channels
    )
    if ending == "leave":
        held.disconnect()
    elif ending == "delete":
        for each in channels:
            await site.ask("DELETE", f"/send-update/{each}")
    elif ending == "cancel":
        held.future.cancel()
    elif ending == "stop":
        await hubs.get("default").stop()
    elif ending == "too long":
        held.say("a" * 1025)
    elif ending == "conflict":
        newer = await open_stream(site, path)
        await held.end()
        await leave(newer)
        expected += expected
    await held.end()
    await until(lambda: len(view.heard) >= expected.total())
    assert Counter(view.heard) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), True),
        (RuntimeError("TCPTransport closed=True: the handler is closed"), True),
        (Disconnected("Attempt to send on a closed protocol"), True),
        (RuntimeError("Another one."), False),
        (ValueError("the handler is closed"), False),
    ],
)
def test_errors_of_closed_connections(error: Exception, expected: bool) -> None:
    """The errors of all servers count as disconnects, and are not logged."""
    assert is_disconnect(error) == expected
