"""Publishing over HTTP, with connections that are kept alive."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from functools import partial
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
)
from typing import Any
from urllib.request import Request

from pushserver.channel_urls import build_publisher_url, publisher_url
from pushserver.conf import get_settings

from .base import LookupFailed, PublishError, Receipt, why_not_started
from .connections import Connections, NoConnectionFree
from .deadline import Deadline
from .headers import EVENT_HEADER, TTL_HEADER, build_ttl
from .sockets import TimedSocket, open_socket
from .update import Publication
from .workers import NotStarted, workers

#: Seconds after which an idle connection is not used again. A POST cannot be repeated
#: safely, so it must not be sent while the server closes the connection, as uvicorn
#: does after 5 seconds.
MAX_IDLE = 4.0

#: The id of the last message of a channel that has had none.
NO_MESSAGE = "0:0"

#: The most bytes that are read of an answer. Channel info is shorter.
MAX_ANSWER = 65_536


def build_request(publication: Publication) -> Request:
    """Return a POST of a message.

    Raises ``ValueError`` if the channel has no URL.
    """
    update = publication.update
    url = build_publisher_url(publication.location, update.channel_id)
    request = Request(url, data=update.body, method="POST")
    for name, value in (
        ("Content-Type", update.content_type),
        ("Content-Encoding", update.content_encoding),
        (EVENT_HEADER, None if update.event is None else update.event.encode()),
    ):
        if value is not None:
            request.add_header(name, value.decode("latin-1"))
    ttl = build_ttl(publication.keep, update.expires)
    if ttl is not None:
        request.add_header(TTL_HEADER, ttl)
    request.add_header("Accept", "application/json")
    return request


class HTTPPublisher:
    """Publishes with a POST over a connection that is kept alive.

    ``publisher_timeout`` limits the name lookup, the connection and the whole answer
    together.
    """

    def __init__(self) -> None:
        self._connections: Connections[_Connection] = Connections()

    def publish_sync(self, publication: Publication) -> Receipt:
        """Send a message, or the request that is given for it, as a POST.

        Raises :class:`PublishError`.
        """
        deadline = Deadline(get_settings().publisher_timeout)
        request = publication.request or build_request(publication)
        return self._post(request, deadline)

    async def publish(self, publication: Publication) -> Receipt:
        """Send a POST in a thread: :meth:`publish_sync` for async code."""
        deadline = Deadline(get_settings().publisher_timeout)
        request = publication.request or build_request(publication)
        post = partial(self._post, request, deadline)
        try:
            return await workers.run(publication.update.channel_id, post, deadline)
        except NotStarted as error:
            raise PublishError(request.full_url, why_not_started()) from error

    def find_last_ids_sync(self, channel_ids: Sequence[str]) -> list[str]:
        """Ask for the channel info of each channel.

        Raises :class:`LookupFailed`.
        """
        deadline = Deadline(get_settings().publisher_timeout)
        return [self._get_last_id(each, deadline) for each in channel_ids]

    async def find_last_ids(self, channel_ids: Sequence[str]) -> list[str]:
        """Ask in a thread: :meth:`find_last_ids_sync` for async code."""
        deadline = Deadline(get_settings().publisher_timeout)
        ids = []
        for channel_id in channel_ids:
            get = partial(self._get_last_id, channel_id, deadline)
            try:
                ids.append(await workers.run(channel_id, get, deadline))
            except NotStarted as error:
                url = publisher_url(channel_id)
                raise LookupFailed(url, "other requests took all the time.") from error
        return ids

    def _get_last_id(self, channel_id: str, deadline: Deadline) -> str:
        url = publisher_url(channel_id)
        request = Request(url, headers={"Accept": "application/json"}, method="GET")
        try:
            with self._connections.use(deadline):
                response, body = self._exchange(request, deadline)
        except NoConnectionFree as error:
            raise LookupFailed(url, "other requests took all the time.") from error
        except PublishError as error:
            raise LookupFailed(url, error.reason) from error
        if response.status == 404:
            return NO_MESSAGE
        last_id = (_parse_info(body) or {}).get("last_message_id")
        if response.status != 200 or not isinstance(last_id, str):
            raise LookupFailed(url, _why_refused(response, body))
        return last_id

    def _post(self, request: Request, deadline: Deadline) -> Receipt:
        url = request.full_url
        try:
            with self._connections.use(deadline):
                response, body = self._exchange(request, deadline)
        except NoConnectionFree as error:
            raise PublishError(url, why_not_started()) from error
        if response.status not in (200, 201, 202):
            raise PublishError(url, _why_refused(response, body), response.status)
        return Receipt(response.status, _parse_info(body))

    def _exchange(
        self, request: Request, deadline: Deadline
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request; return the response and (the beginning of) its body."""
        place = (request.type, request.host)
        connection = None
        try:
            connection = self._connections.take(place, MAX_IDLE)
            connection = connection or _Connection(*place)
            connection.connect(deadline)
            response, body = connection.send(request)
        except (OSError, HTTPException) as error:
            if connection is not None:
                connection.close()
            late = deadline.is_over or isinstance(error, TimeoutError)
            if late and deadline.seconds:
                has_sent = connection is not None and connection.has_sent
                reason = _why_late(has_sent, publishes=request.data is not None)
            else:
                reason = _why_unreachable(error)
            raise PublishError(request.full_url, reason) from error
        except BaseException:
            # For example a greenlet was killed. The next request on this connection
            # would get the answer to this one.
            if connection is not None:
                connection.close()
            raise
        if connection.is_open:
            self._connections.keep(place, connection, MAX_IDLE)
        return response, body


class _Connection:
    """A connection to a push server.

    Args:
        scheme: ``http`` or ``https``.
        host: The host, with or without a port.

    Raises ``HTTPException`` if the host is invalid.
    """

    def __init__(self, scheme: str, host: str) -> None:
        kind = HTTPSConnection if scheme == "https" else HTTPConnection
        self._http = kind(host)
        self._socket: TimedSocket | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent on it."""
        return self._http.sock is not None

    @property
    def has_sent(self) -> bool:
        """Whether a part of the request may have been sent."""
        return self._socket is not None and self._socket.has_sent

    def connect(self, deadline: Deadline) -> None:
        """Connect if it is not connected, and set the deadline of all operations."""
        if self._socket is not None:
            self._socket.start(deadline)
            return
        host, port = self._http.host, self._http.port
        connection = open_socket(host, port, deadline)
        if isinstance(self._http, HTTPSConnection):
            try:
                context = ssl.create_default_context()
                connection.settimeout(deadline.left())
                connection = context.wrap_socket(connection, server_hostname=host)
            except BaseException:
                connection.close()
                raise
        # It has the methods of a socket that http.client uses.
        self._socket = self._http.sock = TimedSocket(connection, deadline)

    def send(self, request: Request) -> tuple[HTTPResponse, bytes]:
        """Send a request; return the response and (the beginning of) its body."""
        self._http.request(
            request.get_method(),
            request.selector,
            body=request.data,
            headers={**request.unredirected_hdrs, **request.headers},
        )
        with self._http.getresponse() as response:
            body = response.read(MAX_ANSWER)
        is_whole = len(body) < MAX_ANSWER
        if is_whole and response.length:
            raise IncompleteRead(body, response.length)
        if response.will_close or not is_whole:
            self.close()
        return response, body

    def is_quiet(self) -> bool:
        """Return whether it is open: a closed one has an end to read."""
        return self._socket is not None and self._socket.is_quiet()

    def close(self) -> None:
        """Close it."""
        self._http.close()
        if self._socket is not None:
            # http.client drops the socket if the server announces to close it.
            self._socket.close()


def _why_late(sent: bool, *, publishes: bool) -> str:
    """Return the reason of a request whose time limit passed.

    Args:
        sent: Whether a part of the request may have been sent.
        publishes: Whether the request publishes a message.
    """
    limit = (
        f"within {get_settings().publisher_timeout:g} seconds"
        " (PUSH_SERVER['publisher_timeout'])"
    )
    if sent:
        outcome = "; it may have been published or not" if publishes else ""
        return f"no answer {limit}{outcome}."
    outcome = "; it was not published" if publishes else ""
    return (
        f"no connection {limit}{outcome}. Is the push server running there? Start it,"
        " or correct PUSH_SERVER['publisher_host']."
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
