"""Send updates from Python code, and build the URLs of channels."""

from __future__ import annotations

import logging
from typing import Any
from urllib.request import Request

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation

from . import signals
from .access.grants import build_user_channel
from .channel_urls import (
    check_channel_id,
    find_location,
    publisher_url,
    subscriber_url,
)
from .conf import PublisherLocation
from .event_loops import runs_in_event_loop
from .events import find_event_fault
from .paths import IrreversiblePattern
from .positions import aposition, position
from .publishers import PublishError, Receipt, Update, get_publisher
from .publishers.http import EVENT_HEADER, build_request
from .serializing import serialize

__all__ = [
    "aposition",
    "asend_update",
    "position",
    "publisher_url",
    "send_update",
    "subscriber_url",
    "user_channel",
]

logger = logging.getLogger(__name__)


def send_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
) -> Receipt | None:
    """Publish data to all subscribers of a channel.

    Args:
        channel_id: The channel; it is converted by ``str()`` if it is no string.
        data: Anything that ``DjangoJSONEncoder`` can serialize.
        already_serialized: Whether data is a str or bytes to be published as it is.
        ignore_errors: Whether a failure to publish is logged instead of raised, as with
            the setting ``PUSH_SERVER_IGNORE_ERRORS``.
        content_type: The ``Content-Type`` of the message, None for that of JSON. If it
            is set, data that is a str or bytes is published as it is, a str in UTF-8.
        event: The name of the event that ``EventSource`` dispatches, None for none.

    Returns a receipt, or None if publishing failed and errors are ignored.

    Raises:
        PublishError: The push server was not reached or refused the message.
        ValueError: The channel id has no URL, data contains a NaN, content_type is not
            valid in a header, or event is not allowed as a name.
        TypeError: Data cannot be serialized, the channel id is None or bytes, or
            content_type or event is no str. Both say which part of data it is, as
            ``data['items'][3]['price']``.
        SynchronousOnlyOperation: Called in an event loop. Await :func:`asend_update`
            there.
    """
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "send_update() was called in an async function, where it would block the"
            " event loop. Write 'await asend_update(...)' instead."
        )
    sending = _Sending(channel_id, data, already_serialized, content_type, event)
    signals.pre_send_update.send(**sending.signal_arguments)
    try:
        receipt = get_publisher().publish_sync(sending.read_update(), sending.request)
    except Exception as error:
        signals.post_send_update.send(**sending.signal_arguments, response=error)
        if _is_ignored(error, ignore_errors):
            return None
        raise
    signals.post_send_update.send(**sending.signal_arguments, response=receipt)
    return receipt


async def asend_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
) -> Receipt | None:
    """Publish data on a channel: :func:`send_update` for async code.

    Concurrent calls for one channel publish in the order of the calls.
    """
    sending = _Sending(channel_id, data, already_serialized, content_type, event)
    await signals.pre_send_update.asend(**sending.signal_arguments)
    try:
        publisher = get_publisher()
        receipt = await publisher.publish(sending.read_update(), sending.request)
    except Exception as error:
        await signals.post_send_update.asend(**sending.signal_arguments, response=error)
        if _is_ignored(error, ignore_errors):
            return None
        raise
    await signals.post_send_update.asend(**sending.signal_arguments, response=receipt)
    return receipt


def user_channel(user: object) -> str:
    """Return the id of a user's own channel: stable, and impossible to guess.

    It depends on ``SECRET_KEY``, so it changes when that does.

    Args:
        user: A user object or a key.

    Raises ``ValueError`` for an anonymous user.
    """
    return build_user_channel(user)


class _Sending:
    """A message that is being sent.

    Attributes:
        request: The request in the signals, None if they have no receivers or the
            channel has no URL.
        signal_arguments: The arguments of the signals.
    """

    def __init__(
        self,
        channel_id: object,
        data: Any,
        already_serialized: bool,
        content_type: str | None,
        event: str | None,
    ) -> None:
        location = find_location(PublisherLocation, "publisher")
        self._update = Update(
            check_channel_id(location, channel_id),
            *serialize(data, already_serialized, content_type),
            event=_check_event(event),
        )
        self.request = _build_request(self._update)
        self.signal_arguments = {
            "sender": send_update,
            "channel_id": channel_id,
            "data": data,
            "already_serialized": already_serialized,
            "request": self.request,
        }

    def read_update(self) -> Update:
        """Return the message, with the changes that signal receivers made."""
        if self.request is None:
            return self._update
        return _take_changes(self._update, self.request)


def _is_ignored(error: Exception, ignore_errors: bool) -> bool:
    """Return whether an error is ignored, and log it if so."""
    if not isinstance(error, PublishError) or not (
        ignore_errors or getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False)
    ):
        return False
    logger.warning("%s", error)
    return True


def _build_request(update: Update) -> Request | None:
    """Return the request for the signals, None if they have no receivers or no URL.

    Raises ``ValueError`` if the location cannot match the channel id.
    """
    try:
        publisher_url(update.channel_id)
    except IrreversiblePattern:
        return None  # Direct publishing needs no URL.
    used = (signals.pre_send_update, signals.post_send_update)
    if not any(each.has_listeners(send_update) for each in used):
        return None
    return build_request(update)


def _take_changes(update: Update, request: Request) -> Update:
    """Return a message with the changes that signal receivers made to its request."""
    body = request.data
    assert isinstance(body, bytes), "It is the body of the message."

    def read(header: str) -> bytes | None:
        value = request.get_header(header)
        return value.encode("latin-1") if value else None

    return update._replace(
        body=body,
        content_type=read("Content-type"),
        content_encoding=read("Content-encoding"),
        event=_check_event((read(EVENT_HEADER.capitalize()) or b"").decode() or None),
    )


def _check_event(event: str | None) -> str | None:
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
