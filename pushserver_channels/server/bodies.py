"""How long a request's body may be, decided when its headers have come.

Daphne reads a body to its end, into memory and a file, before the application is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from pushserver.conf import Location, PublisherLocation
from pushserver_channels.exceptions import BodyTooLarge, MessageTooLarge
from pushserver_channels.types import Scope

#: Bytes that are read whatever the application makes of them. It answers better than
#: the server can, and the connection is kept.
SMALL_BODY = 65_536

#: Returns the error that a body is answered with which is longer than its ``max_size``,
#: None where there is no limit. Asked for bodies that may be larger than SMALL_BODY.
FindLimit = Callable[[Scope], MessageTooLarge | None]


def find_no_limit(scope: Scope) -> None:
    """Let each body be as long as it is."""
    return None


class BodyLimits:
    """The limits of a server: those of the push locations, and of other paths.

    Args:
        find_location: Returns the push location of a scope, None where none matches.
        others: Whether paths that are no push location are served, with bodies as long
            as the site allows.
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
        if not isinstance(location, PublisherLocation):
            return BodyTooLarge(SMALL_BODY)
        size = location.max_message_size
        if scope["method"] != "POST":
            return BodyTooLarge(max(size, SMALL_BODY))
        return MessageTooLarge(size) if size else None
