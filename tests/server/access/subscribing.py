"""Subscribe to channels to which not everybody may listen, by each transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.server.exchanges import EPOCH, Site
from tests.server.streams import EVENTS, SocketExchange, open_stream
from tests.waiting import until

Serving = Callable[..., Site]

ANNA = [(b"x-user", b"anna")]
BOB = [(b"x-user", b"bob")]
OLDEST = [(b"if-modified-since", EPOCH)]


def guarded(serve: Serving, function: str = "may_listen", **options: Any) -> Site:
    """Return a site of which a function in ``rules`` decides who may listen."""
    return serve(authorize=f"tests.server.rules.{function}", **options)


def signed(serve: Serving, **options: Any) -> Site:
    """Return a site whose URLs need a token."""
    return serve(signed=True, **options)


async def poll(site: Site, path: str, headers: Any) -> int:
    return (await site.ask("GET", path, headers)).status


async def stream(site: Site, path: str, headers: Any) -> int:
    stream = await open_stream(site, path, headers)
    if stream.status == 200:
        stream.disconnect()
    await stream.end()
    assert stream.status is not None
    return stream.status


async def batch(site: Site, path: str, headers: Any) -> int:
    path += "&batch=1" if "?" in path else "?batch=1"
    return (await site.ask("GET", path, [EVENTS, *headers])).status


async def socket(site: Site, path: str, headers: Any) -> int:
    socket = SocketExchange(site, path, headers, ["ws+meta.pushserver"])
    assert socket.future

    def is_known() -> bool:
        socket.read()
        return bool(socket.messages or socket.closed)

    await until(is_known)
    if socket.closed is None:
        socket.disconnect()
        await socket.end()
        return 200
    await socket.end()
    code: int = socket.closed["code"]
    return code - 4000


TRANSPORTS = [poll, stream, batch, socket]
Transport = Callable[[Site, str, Any], Awaitable[int]]
