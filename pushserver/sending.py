"""Messages on their way through the signals, to a publisher."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any, NamedTuple
from urllib.request import Request

from django.conf import settings

from . import signals
from .channel_urls import build_publisher_url, check_channel_id, find_publisher
from .events import find_event_fault
from .exclusion import EXCLUDE_HEADER, find_excluded
from .paths import IrreversiblePattern
from .publishers import Publication, PublishError, Receipt, Update, get_publisher
from .publishers.headers import EVENT_HEADER, TTL_HEADER, check_expires, parse_ttl
from .publishers.http import build_request
from .publishers.idempotency import KEY_HEADER, check_key
from .serializing import serialize

logger = logging.getLogger("pushserver.updates")


class Options(NamedTuple):
    """How a message is sent, as :func:`pushserver.updates.send_update` has it.

    Attributes:
        sender: The sender of the signals.
        later: Whether it is sent later, when the caller may have changed the data.
    """

    sender: object
    already_serialized: bool
    content_type: str | None
    event: str | None
    location: str | None
    keep: bool
    expires: float | None
    idempotency_key: str | None
    exclude: object
    later: bool = False


def prepare(channel_id: object, data: Any, options: Options) -> Sending:
    """Return a message that can be sent.

    Raises ``TypeError`` and ``ValueError`` as :func:`pushserver.updates.send_update`.
    """
    location = find_publisher(options.location)
    update = Update(
        check_channel_id(location, channel_id),
        *serialize(data, options.already_serialized, options.content_type),
        event=check_event(options.event),
        expires=check_expires(options.expires),
        exclude=find_excluded(options.exclude),
    )
    key = check_key(options.idempotency_key)
    publication = Publication(update, location, options.keep, key)
    return Sending(publication, channel_id, data, options)


class Sending:
    """A message that is being sent.

    Args:
        publication: The message, and where and how it is published.
        channel_id: The channel, as the caller named it.
        data: The data, as the caller gave them.
        options: How the caller wants it to be sent.

    Raises ``ValueError`` if the location cannot match the channel id.
    """

    def __init__(
        self,
        publication: Publication,
        channel_id: object,
        data: Any,
        options: Options,
    ) -> None:
        has_receivers = _has_receivers(options.sender)
        if has_receivers and options.later and not isinstance(data, memoryview):
            data = deepcopy(data)
        request = _build_request(publication, has_receivers)
        self._publication = publication
        if request is not None:
            self._publication = publication._replace(request=request)
        # The request is None if there are no receivers or the channel has no URL.
        self._signal_arguments = {
            "sender": options.sender,
            "channel_id": channel_id,
            "data": data,
            "already_serialized": options.already_serialized,
            "request": request,
        }

    @property
    def channel_id(self) -> str:
        """The channel."""
        return self._publication.update.channel_id

    @property
    def publication(self) -> Publication:
        """The message, with the changes that signal receivers have made."""
        if self._publication.request is None:
            return self._publication
        return _take_changes(self._publication, self._publication.request)

    def announce(self) -> None:
        """Send the first signal. What a receiver raises stops the update."""
        signals.pre_send_update.send(**self._signal_arguments)

    async def aannounce(self) -> None:
        """Send the first signal from async code."""
        await signals.pre_send_update.asend(**self._signal_arguments)

    def report(self, response: Receipt | Exception) -> None:
        """Send the second signal. What a receiver raises is logged.

        The update has been published, or its own error is raised.
        """
        signals.post_send_update.send_robust(
            **self._signal_arguments, response=response
        )

    async def areport(self, response: Receipt | Exception) -> None:
        """Send the second signal from async code."""
        await signals.post_send_update.asend_robust(
            **self._signal_arguments, response=response
        )


def send(sending: Sending, ignore_errors: bool) -> Receipt | None:
    """Publish a message, between its signals; return None if an error is ignored."""
    sending.announce()
    try:
        publication = sending.publication
        receipt = get_publisher(publication.location).publish_sync(publication)
    except Exception as error:
        sending.report(error)
        if is_ignored(error, ignore_errors, sending.channel_id):
            return None
        raise
    sending.report(receipt)
    return receipt


async def asend(sending: Sending, ignore_errors: bool) -> Receipt | None:
    """Publish a message from async code, as :func:`send` does."""
    await sending.aannounce()
    try:
        publication = sending.publication
        receipt = await get_publisher(publication.location).publish(publication)
    except Exception as error:
        await sending.areport(error)
        if is_ignored(error, ignore_errors, sending.channel_id):
            return None
        raise
    await sending.areport(receipt)
    return receipt


def is_ignored(error: Exception, ignore_errors: bool, *channel_ids: str) -> bool:
    """Return whether an error is ignored, and log it if so.

    Args:
        error: The error.
        ignore_errors: Whether the caller ignores it.
        channel_ids: The channels on which nothing was published.
    """
    if not isinstance(error, PublishError) or not (
        ignore_errors or getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False)
    ):
        return False
    extra = {"channel_id": ",".join(channel_ids)[:512], "transport": "publisher"}
    logger.warning("%s", error, extra=extra)
    return True


def check_event(event: str | None) -> str | None:
    """Return the name of an event; raise an error if it is not allowed."""
    if event is None:
        return None
    if not isinstance(event, str):
        raise TypeError(f"event must be a str, not {type(event).__name__}.")
    name = event.strip(" \t")  # Not part of a header's value.
    fault = find_event_fault(name)
    if fault is not None:
        raise ValueError(fault)
    return name


def _has_receivers(sender: object) -> bool:
    """Return whether a signal of a sender has receivers."""
    used = (signals.pre_send_update, signals.post_send_update)
    return any(each.has_listeners(sender) for each in used)


def _build_request(publication: Publication, has_receivers: bool) -> Request | None:
    """Return the request for the signals, None without receivers or a URL.

    Raises ``ValueError`` if the location cannot match the channel id.
    """
    try:
        if has_receivers:
            return build_request(publication)
        build_publisher_url(publication.location, publication.update.channel_id)
    except IrreversiblePattern:
        return None  # Direct publishing needs no URL.
    return None


def _take_changes(publication: Publication, request: Request) -> Publication:
    """Return a message with the changes that signal receivers made to its request."""
    body = request.data
    assert isinstance(body, bytes), "It is the body of the message."

    def read(header: str) -> bytes | None:
        value = request.get_header(header.capitalize())
        return value.encode("latin-1") if value else None

    keep, expires = parse_ttl(request.get_header(TTL_HEADER.capitalize()))
    update = publication.update._replace(
        body=body,
        content_type=read("Content-Type"),
        content_encoding=read("Content-Encoding"),
        event=check_event((read(EVENT_HEADER) or b"").decode() or None),
        expires=expires,
        exclude=find_excluded(request.get_header(EXCLUDE_HEADER.capitalize())),
    )
    key = check_key(request.get_header(KEY_HEADER.capitalize()))
    return publication._replace(update=update, keep=keep, key=key)
