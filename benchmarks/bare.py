"""The baseline: a minimal long-poll server as a bare ASGI application.

It keeps the last messages of each channel and answers as the protocol says, but it
checks nothing, removes nothing and does not notice disconnects. Almost all of its time
is that of the ASGI server, so no push server on the same one can be much faster.

    POST /send-update/<channel>    201, or 202 without a waiting subscriber
    GET /updates/<channel>         the message after If-None-Match, as soon as it exists
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

#: The number of messages kept per channel.
KEPT = 100


class Channel:
    def __init__(self) -> None:
        self.answers: dict[int, tuple[Event, Event]] = {}
        self.newest = 0
        self.waiting: list[asyncio.Future[tuple[Event, Event]]] = []


channels: dict[str, Channel] = {}

#: The channel info in the answer to a publisher; here it is always the same.
INFO = (
    b"queued messages: 100\r\nlast requested: 1 sec. ago\r\n"
    b"active subscribers: 0\r\nlast message id: 1795350764:1"
)


def build_accepted(status: int) -> tuple[Event, Event]:
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(INFO)),
    ]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": INFO},
    )


ACCEPTED = build_accepted(202), build_accepted(201)


async def application(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
    channel_id = scope["path"].rpartition("/")[2]
    channel = channels.get(channel_id)
    if channel is None:
        channel = channels[channel_id] = Channel()
    if scope["method"] == "POST":
        start, body = await publish(channel, receive)
    else:
        start, body = await subscribe(channel, scope)
    await send(start)
    await send(body)


async def publish(channel: Channel, receive: Receive) -> tuple[Event, Event]:
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    channel.newest += 1
    answer = build_answer(channel.newest, body)
    channel.answers[channel.newest] = answer
    channel.answers.pop(channel.newest - KEPT, None)
    waiting, channel.waiting = channel.waiting, []
    for each in waiting:
        if not each.done():
            each.set_result(answer)
    return ACCEPTED[bool(waiting)]


async def subscribe(channel: Channel, scope: Event) -> tuple[Event, Event]:
    seen = int(dict(scope["headers"]).get(b"if-none-match", 0))
    if seen < channel.newest:
        return channel.answers[max(seen + 1, channel.newest - KEPT + 1)]
    future = asyncio.get_running_loop().create_future()
    channel.waiting.append(future)
    return await future


def build_answer(number: int, body: bytes) -> tuple[Event, Event]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"last-modified", b"Sat, 22 Nov 2026 12:00:00 GMT"),
        (b"etag", b"%d" % number),
    ]
    return (
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
    )
