"""Publishing over HTTP, with connections that are kept alive."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.request import Request

from pushserver.channel_urls import build_publisher_url, publisher_url
from pushserver.conf import get_settings

from .base import LookupFailed, PublishError, Receipt, why_not_started
from .connections import Connections, NoConnectionFree
from .deadline import Deadline
from .headers import EVENT_HEADER, TTL_HEADER, build_ttl
from .http_connection import ServerConnection
from .http_failures import ExchangeFailed, why_refused
from .idempotency import KEY_HEADER, make_retry_key
from .update import Publication
from .workers import NotStarted, workers

#: Seconds after which an idle connection is not used again. Not every server recognizes
#: a repeated POST, so it must not be sent while the server closes the connection, as
#: uvicorn does after 5 seconds.
MAX_IDLE = 4.0

#: Seconds before a POST whose connection has ended is sent again, by attempt. A server
#: that is restarted refuses connections for a moment.
REPEAT_DELAYS = (0.0, 0.1, 0.4, 1.0, 1.0)

#: The id of the last message of a channel that has had none.
NO_MESSAGE = "0:0"

#: The name of the header as ``urllib`` keeps it.
_KEY = KEY_HEADER.capitalize()


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
    for name, text in (
        (TTL_HEADER, build_ttl(publication.keep, update.expires)),
        (KEY_HEADER, publication.key),
    ):
        if text is not None:
            request.add_header(name, text)
    request.add_header("Accept", "application/json")
    return request


class HTTPPublisher:
    """Publishes with a POST over a connection that is kept alive.

    ``publisher_timeout`` limits the name lookup, the connection and the whole answer
    together. Each POST has an idempotency key. A server that recognizes a repeated POST
    sends the key back, so after that a POST is repeated if its connection ends before
    the answer. Other servers (nginx with Nchan) would publish the message twice.
    """

    def __init__(self) -> None:
        self._connections: Connections[ServerConnection] = Connections()
        # The servers that recognize a repeated POST, by scheme and host.
        self._recognizing: set[tuple[str, str]] = set()

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
            raise LookupFailed(url, why_refused(response, body))
        return last_id

    def _post(self, request: Request, deadline: Deadline) -> Receipt:
        url = request.full_url
        if not request.has_header(_KEY):
            request.add_header(KEY_HEADER, make_retry_key())
        try:
            with self._connections.use(deadline):
                response, body = self._exchange(request, deadline)
        except NoConnectionFree as error:
            raise PublishError(url, why_not_started()) from error
        return self._read_receipt(request, response, body)

    def _read_receipt(
        self, request: Request, response: HTTPResponse, body: bytes
    ) -> Receipt:
        """Return the receipt in the answer to a POST."""
        if response.status not in (200, 201, 202):
            reason = why_refused(response, body)
            raise PublishError(request.full_url, reason, response.status)
        if response.getheader(KEY_HEADER) == request.get_header(_KEY):
            self._recognizing.add(_find_place(request))
        else:
            self._recognizing.discard(_find_place(request))
        return Receipt(response.status, _parse_info(body))

    def _exchange(
        self, request: Request, deadline: Deadline
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request; return the response and (the beginning of) its body.

        If the connection ends before the answer, the request is sent again, on another
        connection, if the server would recognize it. Raises :class:`PublishError`.
        """
        try:
            return self._exchange_once(request, deadline)
        except ExchangeFailed as failure:
            recognized = _find_place(request) in self._recognizing
            if not (recognized or request.data is None) or not failure.has_sent:
                raise failure.convert(request) from failure.error
            last = failure
        # The other idle connections have probably ended as well.
        self._connections.close()
        for delay in REPEAT_DELAYS:
            if deadline.is_over:
                break
            with suppress(TimeoutError):  # The deadline may pass just now.
                time.sleep(min(delay, deadline.left() or delay))
            try:
                return self._exchange_once(request, deadline)
            except ExchangeFailed as failure:
                last = failure
        raise last.convert(request, was_sent=True) from last.error

    def _exchange_once(
        self, request: Request, deadline: Deadline
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request once. Raises :class:`ExchangeFailed`."""
        place = _find_place(request)
        connection = None
        try:
            connection = self._connections.take(place, MAX_IDLE)
            connection = connection or ServerConnection(*place)
            connection.connect(deadline)
            connection.send(request)
            response, body = connection.receive()
        except (OSError, HTTPException) as error:
            if connection is not None:
                connection.close()
            has_sent = connection is not None and connection.has_sent
            raise ExchangeFailed(error, deadline, has_sent) from None
        except BaseException:
            # For example a greenlet was killed. The next request on this connection
            # would get the answer to this one.
            if connection is not None:
                connection.close()
            raise
        if connection.is_open:
            self._connections.keep(place, connection, MAX_IDLE)
        return response, body


def _find_place(request: Request) -> tuple[str, str]:
    """Return the scheme and the host of a request."""
    return request.type, request.host


def _parse_info(body: bytes) -> dict[str, Any] | None:
    try:
        info = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None
