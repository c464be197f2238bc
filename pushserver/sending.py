"""A message on its way through the signals, to a publisher."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any
from urllib.request import Request

from . import signals
from .channel_urls import build_publisher_url
from .events import find_event_fault
from .paths import IrreversiblePattern
from .publishers import Publication
from .publishers.headers import EVENT_HEADER, TTL_HEADER, parse_ttl
from .publishers.http import build_request
from .publishers.idempotency import KEY_HEADER, check_key


class Sending:
    """A message that is being sent.

    Args:
        publication: The message, and where and how it is published.
        sender: The sender of the signals.
        channel_id: The channel, as the caller named it.
        data: The data, as the caller gave them.
        already_serialized: Whether they are sent as they are.
        later: Whether it is sent later, when the caller may have changed the data.

    Attributes:
        signal_arguments: The arguments of the signals. Their request is None if they
            have no receivers or the channel has no URL.

    Raises ``ValueError`` if the location cannot match the channel id.
    """

    def __init__(
        self,
        publication: Publication,
        sender: object,
        channel_id: object,
        data: Any,
        already_serialized: bool,
        *,
        later: bool,
    ) -> None:
        request = None
        if _has_receivers(sender):
            request = _build_request(publication)
            if later and not isinstance(data, memoryview):
                data = deepcopy(data)
        else:
            _check_url(publication)
        self._publication = publication._replace(request=request)
        self.signal_arguments = {
            "sender": sender,
            "channel_id": channel_id,
            "data": data,
            "already_serialized": already_serialized,
            "request": request,
        }

    @property
    def publication(self) -> Publication:
        """The message, with the changes that signal receivers have made."""
        if self._publication.request is None:
            return self._publication
        return _take_changes(self._publication, self._publication.request)


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


def _build_request(publication: Publication) -> Request | None:
    """Return the request for the signals, None if the channel has no URL."""
    try:
        return build_request(publication)
    except IrreversiblePattern:
        return None  # Direct publishing needs no URL.


def _check_url(publication: Publication) -> None:
    """Raise ``ValueError`` if the location cannot match the channel id."""
    with suppress(IrreversiblePattern):
        build_publisher_url(publication.location, publication.update.channel_id)


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
    )
    key = check_key(request.get_header(KEY_HEADER.capitalize()))
    return publication._replace(update=update, keep=keep, key=key)
