"""A passthrough view that records its requests."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from pushserver_channels.passthrough import Dispatcher, Passthrough, Subscription
from pushserver_channels.types import Receive, Scope, Send

from .exchanges import http_scope

VIEW = "/passthrough"


class View:
    """An application of a site that records passthrough requests.

    Attributes:
        heard: The events that it received, such as ``subscribe a``.
        scopes: The scopes of the requests.
        gate: If cleared, no request is answered.
        status: The status of the responses.
        most: The highest number of concurrent requests.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 200
        self.running = 0
        self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != VIEW:
            await respond(send, 299)
            return
        self.running += 1
        self.most = max(self.most, self.running)
        message = await receive()
        assert message["type"] == "http.request"
        assert not message.get("more_body")
        await self.gate.wait()
        self.running -= 1
        form = parse_qs(message["body"].decode(), strict_parsing=True)
        event = "subscribe" if form.get("subscribe") == ["1"] else "unsubscribe"
        assert form == {"channel_id": form["channel_id"], event: ["1"]}
        self.heard.append(f"{event} {form['channel_id'][0]}")
        self.bodies.append(message["body"])
        self.scopes.append(scope)
        await respond(send, self.status)


async def respond(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


def subscribe(dispatcher: Dispatcher, number: int, who: object) -> Subscription:
    """Report a subscriber, which has a number, and return its subscription."""
    headers = [(b"cookie", b"id=%s" % str(who).encode()), (b"x-number", b"%d" % number)]
    scope = http_scope("GET", "/updates/a", headers)
    return Passthrough(dispatcher, VIEW).subscribe(scope, "a")


def numbers(scopes: list[Scope]) -> list[int]:
    """Return the number of the subscriber of each request."""
    return [int(dict(scope["headers"])[b"x-number"]) for scope in scopes]


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("a view that fails")
