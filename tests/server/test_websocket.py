"""WebSockets on one channel, over ASGI in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from channels.routing import URLRouter
from django.test import override_settings
from django.urls import re_path

from pushserver_channels.hub import hubs
from pushserver_channels.routing import get_application
from tests.waiting import until

from .exchanges import Site, django
from .streams import SocketExchange, build_settings, name, open_socket, until_live

pytestmark = pytest.mark.usefixtures("nothing_left")

Serve = Callable[..., Site]

NCHAN = "ws+meta.nchan"
OURS = "ws+meta.pushserver"
JSON = [(b"content-type", b"application/json")]


@pytest.fixture(params=["include", "splice"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Return a function that serves two locations, as application and in a router."""
    changes = ExitStack()

    def serve(store: dict[str, Any] | None = None, **options: Any) -> Site:
        conf = build_settings(store, **options)
        changes.enter_context(override_settings(PUSH_SERVER=conf))
        if request.param == "include":
            return Site(get_application(django))
        from pushserver_channels.routing import urlpatterns

        return Site(URLRouter([*urlpatterns, re_path("", django)]))

    with changes:
        yield serve


async def leave(*sockets: SocketExchange) -> None:
    for socket in sockets:
        socket.disconnect()
        await socket.end()


async def refusal(site: Site, path: str = "/updates/a", **options: Any) -> int | None:
    """Return the code with which an accepted WebSocket is closed."""
    socket = SocketExchange(site, path, **options)
    code = await socket.until_closed()
    assert socket.accepted is not None
    return code


async def test_frames_without_a_subprotocol(serve: Serve) -> None:
    site = serve()
    socket = await open_socket(site, "/updates/a", subprotocols=["chat"])
    assert socket.accepted == {"type": "websocket.accept", "subprotocol": None}
    await until_live("a")
    assert (await site.post("a", b"{}", JSON)).status == 201
    await site.post("a", b"\xff")
    await site.post("a", b"")
    assert await socket.until(3) == ["{}", b"\xff", ""]
    await leave(socket)


async def test_frames_of_nchan(serve: Serve) -> None:
    """The frames are those of Nchan; a client without a position gets one first."""
    site = serve()
    socket = await open_socket(site, "/updates/a", subprotocols=["chat", NCHAN])
    assert socket.accepted is not None
    assert socket.accepted["subprotocol"] == NCHAN
    first = name(await site.post("a", b"{}", JSON))
    second = name(await site.post("a", b"\xff"))
    assert await socket.until(3) == [
        "id: 0:0\n\n",
        f"id: {first}\ncontent-type: application/json\n\n{{}}",
        f"id: {second}\n\n".encode() + b"\xff",
    ]
    again = f"/updates/a?last_event_id={first}"
    other = await open_socket(site, again, subprotocols=[NCHAN], held=2)
    assert await other.until(1) == [f"id: {second}\n\n".encode() + b"\xff"]
    await leave(socket, other)


async def test_frames_of_the_own_subprotocol(serve: Serve) -> None:
    site = serve({"max_messages": 2})
    names = [name(await site.post("a", b"%d" % number)) for number in range(4)]
    path = f"/updates/a?last_event_id={names[0]}"
    socket = await open_socket(site, path, subprotocols=[OURS])
    await socket.until(3)
    story = [*JSON, (b"x-eventsource-event", b"story")]
    last = name(await site.post("a", b"{}", story))
    assert await socket.until(4) == [
        f"id: {names[0]}\n\n",
        f"id: {names[2]}\npush-gap: {names[1]}\n\n2",
        f"id: {names[3]}\n\n3",
        f"id: {last}\nevent: story\ncontent-type: application/json\n\n{{}}",
    ]
    await leave(socket)


async def test_ping(serve: Serve) -> None:
    """A ping gets a pong, and other messages are ignored."""
    site = serve()
    socket = await open_socket(site, "/updates/a")
    for text in ("hello", "ping", "publish"):
        socket.say(text)
    socket.say(data=b"ping")
    assert await socket.until(1) == ["pong"]
    socket.say("ping")
    assert await socket.until(2) == ["pong", "pong"]
    await leave(socket)


@pytest.mark.parametrize("what", [{"text": "a" * 1025}, {"data": b"a" * 1025}])
async def test_too_long_client_message_is_refused(
    serve: Serve, what: dict[str, Any]
) -> None:
    site = serve()
    socket = await open_socket(site, "/updates/a")
    socket.say(**what)
    assert await socket.until_closed() == 1009


@pytest.mark.parametrize("query", ["?last_event_id=x", "?lastEventId=1:2,3:4"])
async def test_invalid_position_is_refused(serve: Serve, query: str) -> None:
    assert await refusal(serve(), f"/updates/a{query}") == 4400


async def test_missing_channel_is_refused(serve: Serve) -> None:
    assert await refusal(serve(create_on_get=False)) == 4404


async def test_invalid_channel_id_is_refused(serve: Serve) -> None:
    assert await refusal(serve(max_channel_id_length=3), "/updates/abcd") == 4400


async def test_too_many_channels(serve: Serve) -> None:
    site = serve({"max_channels": 1})
    await site.post("b", b"1")
    assert await refusal(site, subprotocols=[OURS]) == 4503


async def test_conflicts(serve: Serve) -> None:
    site = serve(concurrency="first")
    socket = await open_socket(site, "/updates/a")
    assert await refusal(site) == 4409
    await leave(socket)
    site = serve(concurrency="last")
    socket = await open_socket(site, "/updates/a")
    other = SocketExchange(site, "/updates/a")
    assert other.future
    assert await socket.until_closed() == 4409
    await leave(other)


async def test_deleted_channel_closes_the_websocket(serve: Serve) -> None:
    site = serve()
    socket = await open_socket(site, "/updates/a")
    await site.ask("DELETE", "/send-update/a")
    assert await socket.until_closed() == 4410


@pytest.mark.parametrize(("subprotocol", "code"), [(OURS, 4503), (None, 1012)])
async def test_stopping_server_closes_the_websocket(
    serve: Serve, subprotocol: str | None, code: int
) -> None:
    """A client without a subprotocol gets 1012, since it reconnects only then."""
    site = serve()
    offered = [] if subprotocol is None else [subprotocol]
    socket = await open_socket(site, "/updates/a", subprotocols=offered)
    await hubs.get("default").stop()
    assert await socket.until_closed() == code


async def test_websocket_ends_after_its_duration(serve: Serve) -> None:
    """A WebSocket without a subprotocol stays open, as its client could not resume."""
    site = serve(stream_duration=0.05)
    bare = await open_socket(site, "/updates/a")
    socket = await open_socket(site, "/updates/a", subprotocols=[OURS], held=2)
    assert await socket.until_closed() == 4408
    await site.post("a", b"1")
    assert await bare.until(1) == ["1"]
    await leave(bare)


@pytest.mark.parametrize(
    ("origin", "allow_origin", "hosts", "allowed"),
    [
        (None, None, ["testserver"], True),
        (b"http://testserver", None, ["testserver"], True),
        (b"http://testserver", None, ["*"], True),
        (b"http://testserver", None, ["other"], False),
        (b"https://testserver", None, ["testserver"], False),
        (b"http://testserver:81", None, ["testserver"], False),
        (b"http://evil.example", None, ["testserver"], False),
        (b"http://evil.example", "http://evil.example", ["testserver"], True),
        (b"http://evil.example", "*", ["testserver"], True),
        (b"https://trusted.example", None, ["testserver"], True),
        (b"null", "*", ["testserver"], False),
    ],
)
async def test_another_origin_is_refused(
    serve: Serve,
    origin: bytes | None,
    allow_origin: str | None,
    hosts: list[str],
    allowed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another origin is refused before the accept, and the log names the remedy."""
    options = {} if allow_origin is None else {"allow_origin": allow_origin}
    site = serve(**options)
    headers = [] if origin is None else [(b"origin", origin)]
    trusted = ["https://*.example"] if origin == b"https://trusted.example" else []
    with override_settings(ALLOWED_HOSTS=hosts, CSRF_TRUSTED_ORIGINS=trusted):
        socket = SocketExchange(site, "/updates/a", headers)
        assert socket.future

        def is_known() -> bool:
            socket.read()
            return socket.accepted is not None or socket.closed is not None

        await until(is_known)
        assert (socket.accepted is not None) is allowed
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        if allowed:
            await leave(socket)
            assert not warnings
        else:
            await socket.end()
            assert origin is not None
            assert origin.decode() in warnings[0].getMessage()
            assert "allow_origin" in warnings[0].getMessage()


async def test_handshake_is_refused_if_websockets_are_not_allowed(serve: Serve) -> None:
    """The handshake is refused if the location does not allow WebSockets."""
    site = serve(transports=["poll", "eventsource"])
    socket = SocketExchange(site, "/updates/a")
    await socket.until_closed()
    assert (socket.accepted, socket.closed) == (None, {"type": "websocket.close"})
