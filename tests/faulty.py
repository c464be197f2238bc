"""The bare application of the benchmarks with a fault, to test the load generator."""

from __future__ import annotations

import os

from benchmarks import bare
from benchmarks.bare import Event, Receive, Send

FAULT = os.environ["FAULT"]


async def application(scope: Event, receive: Receive, send: Send) -> None:
    """Answer as the bare application does, with the fault that ``FAULT`` names."""
    subscribes = scope["method"] == "GET"

    async def send_faulty(event: Event) -> None:
        await send(spoil(event) if subscribes else event)

    if ("failed" if subscribes else "unpublished") == FAULT:
        raise RuntimeError("That is what it is asked for.")
    await bare.application(scope, receive, send_faulty)


def spoil(event: Event) -> Event:
    """Return an event with the fault."""
    if event["type"] == "http.response.start":
        headers = dict(event["headers"])
        if FAULT == "doubled":
            headers[b"etag"] = b"0"
        if FAULT == "longer":
            headers[b"content-length"] = b"%d" % (int(headers[b"content-length"]) + 1)
        return {**event, "headers": list(headers.items())}
    body = event["body"]
    if FAULT == "damaged":
        body = body.replace(b"pad", b"dap")
    if FAULT == "longer":
        body += b" "
    return {**event, "body": body}
