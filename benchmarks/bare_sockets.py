"""The baseline of WebSockets: a minimal bare ASGI application.

The publisher calls the ``send`` of each socket, one after the other, as in
:mod:`.bare_streams`.

    POST /send-update/<channel>    201, or 202 if there is no socket
    GET /updates/<channel>         a WebSocket that gets the messages
"""

from __future__ import annotations

from .bare import ACCEPTED, Event, Receive, Send

channels: dict[str, dict[object, Send]] = {}


async def application(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] not in ("http", "websocket"):
        raise ValueError(f"Only HTTP and WebSockets are served here, not {scope}.")
    sockets = channels.setdefault(scope["path"].rpartition("/")[2], {})
    if scope["type"] == "http":
        start, body = await publish(sockets, receive)
        await send(start)
        await send(body)
        return
    await receive()
    await send({"type": "websocket.accept"})
    key = object()
    sockets[key] = send
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        del sockets[key]


async def publish(sockets: dict[object, Send], receive: Receive) -> tuple[Event, Event]:
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    event = {"type": "websocket.send", "text": body.decode()}
    for send in list(sockets.values()):
        await send(event)
    return ACCEPTED[bool(sockets)]
