"""Send updates from Python code, and build the URLs of channels."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.request import Request

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

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
from .rendering import HTML, TemplateName, arender_html, render_html

__all__ = [
    "aposition",
    "arender_update",
    "asend_update",
    "position",
    "publisher_url",
    "render_update",
    "send_update",
    "subscriber_url",
    "user_channel",
]

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/json; charset=utf-8"

#: Characters that would end a header, or that proxies refuse in one.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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
            content_type or event is no str.
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


def render_update(
    channel_id: object,
    template: TemplateName,
    context: dict[str, Any] | None = None,
    *,
    request: HttpRequest | None = None,
    content_type: str = HTML,
    **options: Any,
) -> Receipt | None:
    """Render a template at once, and publish the text.

    All subscribers get the same text. So it must have nothing that only the user of the
    request may see, and no ``{% csrf_token %}``.

    Args:
        channel_id: The channel.
        template: The name of a template, or names of which the first that exists is
            used.
        context: The context of the template.
        request: A request for the context processors, None to render without them.
        content_type: The ``Content-Type`` of the message.
        options: Other arguments of :func:`send_update`, such as ``event``.

    Returns and raises as :func:`send_update` does. Also raises what loading and
    rendering the template raises, such as ``TemplateDoesNotExist``.
    """
    text = render_html(template, context, request)
    return send_update(channel_id, text, content_type=content_type, **options)


async def arender_update(
    channel_id: object,
    template: TemplateName,
    context: dict[str, Any] | None = None,
    *,
    request: HttpRequest | None = None,
    content_type: str = HTML,
    **options: Any,
) -> Receipt | None:
    """Render a template, and publish the text: :func:`render_update` for async code.

    The template is rendered in a thread, so it may query the database.
    """
    text = await arender_html(template, context, request)
    return await asend_update(channel_id, text, content_type=content_type, **options)


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
            *_serialize(data, already_serialized, content_type),
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


def _serialize(
    data: Any, already_serialized: bool, content_type: str | None
) -> tuple[bytes, bytes]:
    """Return data as a body and its Content-Type."""
    header = CONTENT_TYPE if content_type is None else _check_header(content_type)
    is_text = isinstance(data, str | bytes | bytearray | memoryview)
    if already_serialized or (content_type is not None and is_text):
        body = _as_bytes(data)
    else:
        # JSON has no NaN: browsers could not parse the update.
        body = json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False).encode()
    return body, header.encode("latin-1")


def _check_header(content_type: str) -> str:
    """Return a ``Content-Type`` as it is sent; raise an error if it is invalid."""
    if not isinstance(content_type, str):
        raise TypeError(
            "content_type must be a str, as in 'text/html; charset=utf-8', not"
            f" {type(content_type).__name__}."
        )
    if _CONTROL.search(content_type):
        raise ValueError(f"content_type holds a control character: {content_type!r}.")
    header = content_type.strip(" ")  # Not part of a header's value.
    if not header:
        raise ValueError(
            "content_type is empty; leave it out for JSON, or write what data is, as in"
            " 'text/html; charset=utf-8'."
        )
    try:
        header.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"content_type cannot stand in a header, which is Latin-1: {header!r}."
        ) from None
    return header


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


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        "Data that is already serialized must be str or bytes, not"
        f" {type(data).__name__}."
    )
