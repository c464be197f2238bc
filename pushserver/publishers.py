"""Ways for a message to reach the push server from Python."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
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
from typing import Any, Protocol
from urllib.request import Request

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .conf import get_settings

#: Named, not imported: a site whose push server is nginx installs this app alone.
DIRECT_PUBLISHER = "pushserver_channels.publishers.DirectPublisher"

#: Seconds after which an idle connection is not used again. A POST cannot be repeated
#: safely, so it must not meet a server that is just closing: uvicorn does after 5.
MAX_IDLE = 4.0

#: Bytes that are read of an answer: channel info is short, and an error page enough.
MAX_ANSWER = 65_536


@dataclass(frozen=True)
class Receipt:
    """What happened to a published message.

    Attributes:
        status: 201 if it was sent to somebody who waited, 202 if not (200 from servers
            that do not tell).
        info: The channel info after it: ``messages``, ``requested`` (seconds),
            ``subscribers`` and ``last_message_id``; None if the server told none.
    """

    status: int
    info: dict[str, Any] | None = None

    @property
    def delivered(self) -> bool:
        """Whether at least one waiting subscriber was sent the message."""
        return self.status == 201


class PublishError(OSError):
    """A message that was not published; its text says where to and what to do.

    Attributes:
        url: The publisher URL, whether or not it was asked.
        reason: Why it was not published.
        status: The status that the push server answered, None if it did not answer.
        place: What was really asked: the URL, or where a store keeps its messages.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        status: int | None = None,
        place: str | None = None,
    ) -> None:
        super().__init__(url, reason)
        self.errno = None  # Which OSError would take the URL for.
        self.url = url
        self.reason = reason
        self.status = status
        self.place = place or url

    def __str__(self) -> str:
        return f"Could not publish to {self.place}: {self.reason}"


class Publisher(Protocol):
    """Publishes messages; how is its own affair."""

    async def publish(self, channel_id: str, request: Request) -> Receipt:
        """Publish the body of a request with its Content-Type on a channel.

        Raises :class:`PublishError`.
        """


class HTTPPublisher:
    """Publishes with a POST over a connection that is kept alive."""

    def __init__(self) -> None:
        # Idle connections by scheme and host, each with the time of its last use.
        self._idle: dict[tuple[str, str], deque[tuple[HTTPConnection, float]]] = {}
        # A child process must not write into its parent's connections. (Windows has no
        # fork, and no such hook.)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._idle.clear)

    async def publish(self, channel_id: str, request: Request) -> Receipt:
        """Send the request, in a thread, within ``publisher_timeout`` seconds."""
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


@lru_cache(maxsize=1)
def _http_publisher() -> HTTPPublisher:
    return HTTPPublisher()


def get_publisher() -> Publisher:
    """Return the publisher that ``PUSH_SERVER['publisher']`` chooses.

    ``auto`` is direct where the store is shared between processes or where the push
    server runs in this process, else HTTP. Raises ``ImproperlyConfigured`` for
    ``direct`` where the server is not installed.
    """
    choice = get_settings().publisher
    if choice != "http":
        try:
            direct = import_string(DIRECT_PUBLISHER)()
        except ImportError as error:
            if choice == "direct":
                raise ImproperlyConfigured(
                    "PUSH_SERVER['publisher'] is 'direct', but the push server is not"
                    f" installed here ({error}). Use 'auto' or 'http'."
                ) from error
        else:
            if choice == "direct" or direct.is_available():
                publisher: Publisher = direct
                return publisher
    return _http_publisher()
