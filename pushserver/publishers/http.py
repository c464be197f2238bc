"""Publishing over HTTP, with connections that are kept alive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.request import Request

from pushserver.channel_urls import build_publisher_url, publisher_url
from pushserver.conf import get_settings
from pushserver.exclusion import EXCLUDE_HEADER

from .base import LookupFailed, PublishError, Receipt, why_not_started
from .connections import NoConnectionFree
from .deadline import Deadline
from .headers import EVENT_HEADER, TTL_HEADER, build_ttl
from .http_exchanges import Exchanges
from .http_failures import why_refused
from .http_posts import add_key, parse_info, post_several, read_receipt
from .idempotency import KEY_HEADER
from .update import Publication
from .workers import NotStarted, workers

#: The id of the last message of a channel that has had none.
NO_MESSAGE = "0:0"


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
        (EXCLUDE_HEADER, update.exclude),
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
        self._exchanges = Exchanges()

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

    def publish_several_sync(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Send messages as POSTs, those of a channel one after the other.

        ``publisher_timeout`` limits each POST, not all of them.
        """
        requests = [each.request or build_request(each) for each in publications]
        channels = [each.update.channel_id for each in publications]
        return post_several(self._exchanges, requests, channels)

    async def publish_several(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Send POSTs in a thread: :meth:`publish_several_sync` for async code."""
        deadline = Deadline(get_settings().publisher_timeout)
        post = partial(self.publish_several_sync, publications)
        try:
            return await workers.run(object(), post, deadline)
        except NotStarted as error:
            urls = (build_request(each).full_url for each in publications)
            failures = [PublishError(each, why_not_started()) for each in urls]
            for failure in failures:
                failure.__cause__ = error
            return [*failures]

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
            with self._exchanges.connections.use(deadline):
                response, body = self._exchanges.exchange(request, deadline)
        except NoConnectionFree as error:
            raise LookupFailed(url, "other requests took all the time.") from error
        except PublishError as error:
            raise LookupFailed(url, error.reason) from error
        if response.status == 404:
            return NO_MESSAGE
        last_id = (parse_info(body) or {}).get("last_message_id")
        if response.status != 200 or not isinstance(last_id, str):
            raise LookupFailed(url, why_refused(response, body))
        return last_id

    def _post(self, request: Request, deadline: Deadline) -> Receipt:
        add_key(request)
        try:
            with self._exchanges.connections.use(deadline):
                response, body = self._exchanges.exchange(request, deadline)
        except NoConnectionFree as error:
            raise PublishError(request.full_url, why_not_started()) from error
        return read_receipt(request, response, body)
