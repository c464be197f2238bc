"""Publishing over HTTP, with connections that are kept alive."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import ssl
from collections import deque
from contextlib import suppress
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
)
from math import inf
from socket import SHUT_RDWR, socket
from time import monotonic
from typing import Any
from urllib.request import Request

from asgiref.sync import sync_to_async

from pushserver.channel_urls import publisher_url
from pushserver.conf import get_settings

from .base import PublishError, Receipt
from .update import Update

#: Seconds after which an idle connection is not used again. A POST cannot be repeated
#: safely, so it must not meet a server that is just closing: uvicorn does after 5.
MAX_IDLE = 4.0

#: Bytes that are read of an answer: channel info is short, and an error page enough.
MAX_ANSWER = 65_536


def build_request(update: Update) -> Request:
    """Return a POST of a message.

    Raises ``ValueError`` if the channel has no URL.
    """
    request = Request(publisher_url(update.channel_id), data=update.body, method="POST")
    for name, value in (
        ("Content-Type", update.content_type),
        ("Content-Encoding", update.content_encoding),
    ):
        if value is not None:
            request.add_header(name, value.decode("latin-1"))
    request.add_header("Accept", "application/json")
    return request


class HTTPPublisher:
    """Publishes with a POST over a connection that is kept alive."""

    def __init__(self) -> None:
        # Idle connections by scheme and host, each with the time of its last use.
        self._idle: dict[tuple[str, str], deque[tuple[HTTPConnection, float]]] = {}
        # A child process must not write into its parent's connections. (Windows has no
        # fork, and no such hook.)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._idle.clear)

    async def publish(self, update: Update, request: Request | None = None) -> Receipt:
        """Send a POST, in a thread, within ``publisher_timeout`` seconds."""
        request = request or build_request(update)
        limit = get_settings().publisher_timeout or inf
        deadline = monotonic() + limit
        # The connection's own limit is for each read; an answer may come in drops.
        sockets: list[socket] = []
        timer = asyncio.get_running_loop().call_later(limit, _abort, sockets)
        try:
            return await sync_to_async(self._post, thread_sensitive=False)(
                request, limit, deadline, sockets
            )
        finally:
            timer.cancel()

    def _post(
        self, request: Request, limit: float, deadline: float, sockets: list[socket]
    ) -> Receipt:
        url = request.full_url
        connection = self._connection(request.type, request.host, limit)
        try:
            connection.request(
                "POST",
                request.selector,
                body=request.data,
                headers={**request.unredirected_hdrs, **request.headers},
            )
            # The connection forgets its socket where the server is going to close it.
            sockets.append(connection.sock)
            if monotonic() >= deadline:
                raise TimeoutError  # Nobody will abort it any more.
            with connection.getresponse() as response:
                body = response.read(MAX_ANSWER)
            is_whole = len(body) < MAX_ANSWER
            if is_whole and response.length:
                raise IncompleteRead(body, response.length)
            if monotonic() >= deadline:
                raise TimeoutError  # What was read may end where it was cut off.
        except (OSError, HTTPException) as error:
            connection.close()
            late = monotonic() >= deadline
            reason = _why_late() if late else _why_unreachable(error)
            raise PublishError(url, reason) from error
        if response.will_close or not is_whole:
            connection.close()
        else:
            idle = self._idle.setdefault((request.type, request.host), deque())
            idle.append((connection, monotonic()))
        if response.status not in (200, 201, 202):
            raise PublishError(url, _why_refused(response, body), response.status)
        return Receipt(response.status, _parse_info(body))

    def _connection(self, scheme: str, host: str, limit: float) -> HTTPConnection:
        timeout = None if limit == inf else limit
        idle = self._idle.get((scheme, host), deque())
        while True:
            try:
                connection, last_used = idle.pop()
            except IndexError:
                break
            if monotonic() - last_used < MAX_IDLE and _is_quiet(connection):
                connection.timeout = timeout
                connection.sock.settimeout(timeout)
                return connection
            connection.close()
        if scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(host, timeout=timeout, context=context)
        return HTTPConnection(host, timeout=timeout)


def _is_quiet(connection: HTTPConnection) -> bool:
    """Return whether an idle connection is open: a closed one has an end to read."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return not selector.select(0)


def _abort(sockets: list[socket]) -> None:
    """End connections from outside of the thread that reads them."""
    for each in sockets:
        with suppress(OSError):
            # Not SSLSocket's own, which takes the layer away that the thread is in.
            socket.shutdown(each, SHUT_RDWR)


def _why_late() -> str:
    return (
        f"no answer within {get_settings().publisher_timeout:g} seconds"
        " (PUSH_SERVER['publisher_timeout']); it may have been published or not."
    )


def _why_unreachable(error: Exception) -> str:
    reason = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        return (
            f"{reason}. PUSH_SERVER['publisher_host'] says 'secure': True; does a"
            " server with a valid certificate speak TLS there?"
        )
    is_named = get_settings().publisher_host
    remedy = "correct" if is_named else "name its address and port in"
    return (
        f"{reason}. Is the push server running there? Start it, or {remedy}"
        " PUSH_SERVER['publisher_host']."
    )


def _why_refused(response: HTTPResponse, body: bytes) -> str:
    reason = f"it answered {response.status} {response.reason}."
    if response.getheader("Content-Type", "").startswith("text/plain"):
        text = body[:500].decode(errors="replace")
        reason += " " + " ".join("".join(filter(str.isprintable, text)).split())
    return reason


def _parse_info(body: bytes) -> dict[str, Any] | None:
    try:
        info = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None
