"""A Daphne that reports its state: ``python -m tests.live.insides KIND PORT {}``.

The kind is ``stock`` for unmodified Daphne and ``tuned`` for that of runpushserver. The
last argument is a JSON object with times in seconds, after which the server closes an
``idle`` connection, cuts it off if it does not close (``abort``), closes a connection
with too much data ``behind`` a request, and cancels a ``lonely`` application; and at
which it makes its regular ``checks``, which are else made after 1 and 2 seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import Any

from daphne import server as stock
from daphne.http_protocol import WebRequest
from twisted.internet import reactor, tcp

from pushserver_channels.server import connections
from pushserver_channels.server import daphne as tuned

kind, port, settings = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
counted: Counter[str] = Counter()


def count(cls: Any, name: str) -> None:
    """Count the calls of a method."""
    method = getattr(cls, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        counted[name] += 1
        return method(*args, **kwargs)

    setattr(cls, name, counting)


def make_checks_every(seconds: float) -> None:
    """Let Daphne make its regular checks in another interval than 1 or 2 seconds."""

    def hurrying(call_later: Any) -> Any:
        def hurried(delay: float, function: Any, *args: Any, **kwargs: Any) -> Any:
            is_check = getattr(function, "__name__", "").endswith("_checker")
            delay = seconds if is_check else delay
            return call_later(delay, function, *args, **kwargs)

        return hurried

    for scheduler, name in (
        (reactor, "callLater"),
        (reactor._asyncioEventloop, "call_later"),  # type: ignore[attr-defined]
    ):
        setattr(scheduler, name, hurrying(getattr(scheduler, name)))


class Server((stock if kind == "stock" else tuned).Server):  # type: ignore[misc]
    """A server that counts calls and reports its state."""

    def listen_success(self, listening: Any) -> None:
        super().listen_success(listening)
        self.http_factory._logFormatter = self.format_line
        self.http_factory.timeOut = settings.get("idle", 60)

    def format_line(self, *args: Any) -> str:
        counted["lines"] += 1
        return ""

    def insides(self) -> dict[str, Any]:
        """Return the state of the server and the counts."""
        return {
            "requests": len(self.connections),
            "timers": len(reactor.getDelayedCalls()),  # type: ignore[attr-defined]
            "counted": dict(counted),
            "files": len(os.listdir("/proc/self/fd")),
            "loop": type(asyncio.get_running_loop()).__module__,
        }


class Exchange:
    """A request, and the means to answer it."""

    def __init__(self, server: Any, receive: Any, send: Any) -> None:
        self.server = server
        self.receive = receive
        self.send = send

    async def start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        await self.send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )

    async def part(self, body: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, body: bytes, status: int = 200) -> None:
        await self.start(status, (b"content-length", b"%d" % len(body)))
        await self.part(body, more=False)


async def insides(exchange: Exchange) -> None:
    await exchange.answer(json.dumps(exchange.server.insides()).encode())


async def small(exchange: Exchange) -> None:
    await exchange.answer(b"small")


async def echo(exchange: Exchange) -> None:
    body, more = b"", True
    while more:
        message = await exchange.receive()
        body, more = body + message["body"], message["more_body"]
    request = list(exchange.server.connections)[-1]
    counted["forms"] += bool(request.args)
    await exchange.answer(body)


async def large(exchange: Exchange) -> None:
    counted["large"] += 1
    await exchange.answer(b"0123456789" * 1_000_000)


async def parts(exchange: Exchange) -> None:
    await exchange.start(200)
    await exchange.part(b"first")
    assert (await exchange.receive())["type"] == "http.request"
    assert (await exchange.receive())["type"] == "http.disconnect"


async def hold(exchange: Exchange) -> None:
    try:
        while (await exchange.receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        await exchange.answer(b"stopping", status=503)


async def lonely(exchange: Exchange) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        counted["cancelled"] += 1


async def text(exchange: Exchange) -> None:
    await exchange.start(200)
    await exchange.part("no bytes", more=False)  # type: ignore[arg-type]


async def share(exchange: Exchange) -> None:
    receiving = [asyncio.create_task(exchange.receive()) for _ in range(3)]
    assert (await receiving[0])["type"] == "http.request"
    receiving[1].cancel()
    await exchange.start(200)
    await exchange.part(b"shared")
    assert (await receiving[2])["type"] == "http.disconnect"
    counted["shared"] += 1


async def fail(exchange: Exchange) -> None:
    raise ValueError("before the answer")


async def fail_late(exchange: Exchange) -> None:
    await exchange.start(200, (b"content-length", b"10"))
    await exchange.part(b"first")
    raise ValueError("in the answer")


async def socket(exchange: Exchange) -> None:
    assert (await exchange.receive())["type"] == "websocket.connect"
    await exchange.send({"type": "websocket.accept"})
    assert (await exchange.receive())["type"] == "websocket.disconnect"
    counted["sockets"] += 1


answers = {
    "/insides": insides,
    "/small": small,
    "/echo": echo,
    "/large": large,
    "/parts": parts,
    "/hold": hold,
    "/lonely": lonely,
    "/fail": fail,
    "/fail-late": fail_late,
    "/text": text,
    "/share": share,
    "/socket": socket,
}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await answers[scope["path"]](Exchange(server, receive, send))


if __name__ == "__main__":
    connections.PIPELINE_TIMEOUT = settings.get("behind", connections.PIPELINE_TIMEOUT)
    connections.Connection.abortTimeout = settings.get("abort", 15)
    for cls, name in (
        (tcp.Server, "startWriting"),
        (tcp.Server, "writeSomeData"),
        (WebRequest, "check_timeouts"),
    ):
        count(cls, name)
    if "checks" in settings:
        make_checks_every(settings["checks"])
    server = Server(
        application,
        endpoints=[f"tcp:port={port}:interface=127.0.0.1:backlog={tuned.BACKLOG}"],
        application_close_timeout=settings.get("lonely", 10),
    )
    server.run()
