"""The baseline of streams: a minimal bare ASGI application for server-sent events.

The publisher calls the ``send`` of each stream, one after the other. No message is
stored, checked or sent again, so no other server of streams on the same ASGI server can
be much faster.

    POST /send-update/<channel>    201, or 202 if there is no stream
    GET /updates/<channel>         a stream of the messages
"""

from __future__ import annotations

from typing import Any

from .bare import ACCEPTED, Event, Receive, Send

HEAD: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}

channels: dict[str, dict[object, Send]] = {}


async def application(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
    streams = channels.setdefault(scope["path"].rpartition("/")[2], {})
    if scope["method"] == "POST":
        start, body = await publish(streams, receive)
        await send(start)
        await send(body)
        return
    await send(HEAD)
    await send(build_part(b": hi\n\n"))
    key = object()
    streams[key] = send
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        del streams[key]


async def publish(streams: dict[object, Send], receive: Receive) -> tuple[Event, Event]:
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    part = build_part(b"id: 1795350764:1\ndata: " + body + b"\n\n")
    for send in list(streams.values()):
        await send(part)
    return ACCEPTED[bool(streams)]


def build_part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}
