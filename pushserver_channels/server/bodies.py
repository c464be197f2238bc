"""Limit the length of a request's body as soon as its headers have arrived.

Daphne itself reads the whole body, into memory and a file, before it calls the
application.
"""

from __future__ import annotations

from collections.abc import Callable

from pushserver.conf import Location, PublisherLocation, SubscriberLocation
from pushserver_channels.consumers.bodies import MAX_SUBSCRIBER_BODY
from pushserver_channels.exceptions import BodyTooLarge, MessageTooLarge
from pushserver_channels.types import Scope

#: A body up to this many bytes is read, so that the application can answer and the
#: connection is kept, except at subscriber locations.
SMALL_BODY = 65_536

#: Returns the error for a body that is longer than the error's ``max_size``, or None if
#: there is no limit. Called for bodies that :func:`may_be_too_long` names.
FindLimit = Callable[[Scope], MessageTooLarge | None]


def may_be_too_long(method: bytes, length: int | None) -> bool:
    """Return whether a request's body may exceed the limit of its path.

    A POST mostly publishes, so its path is not looked up for a small body.

    Args:
        method: The method.
        length: The bytes of the body that the request announces, None for chunks.
    """
    if length is None:
        return True
    return length > (SMALL_BODY if method == b"POST" else MAX_SUBSCRIBER_BODY)


def find_no_limit(scope: Scope) -> None:
    """Return None, because bodies have no limit."""
    return None


class BodyLimits:
    """The limits of the push locations and of other paths.

    Args:
        find_location: Returns the push location of a scope, None if none matches.
        others: Whether other paths are served, too. Their bodies have no limit here.
    """

    def __init__(
        self, find_location: Callable[[Scope], Location | None], *, others: bool
    ) -> None:
        self._find_location = find_location
        self._others = others

    def __call__(self, scope: Scope) -> MessageTooLarge | None:
        location = self._find_location(scope)
        if location is None and self._others:
            return None
        if isinstance(location, SubscriberLocation):
            return BodyTooLarge(MAX_SUBSCRIBER_BODY)
        if not isinstance(location, PublisherLocation):
            return BodyTooLarge(SMALL_BODY)
        size = location.max_message_size
        if scope["method"] != "POST":
            return BodyTooLarge(max(size, SMALL_BODY))
        return MessageTooLarge(size) if size else None
