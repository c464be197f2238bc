"""The names of events, by which ``EventSource`` dispatches messages."""

from __future__ import annotations

import re

#: The most characters of a name.
MAX_LENGTH = 128

# A line end would end the field, and some clients drop a NUL.
_UNSAFE = re.compile(r"[\r\n\0]")

#: The events of EventSource itself; ``message`` is the event without a name.
_RESERVED_NAMES = frozenset({"error", "message", "open"})

#: The prefix of the server's own events.
_PREFIX = "push-"


def find_event_fault(name: str) -> str | None:
    """Return why a name is not allowed for an event, None if it is allowed."""
    if not name:
        return "The name of an event is empty."
    if len(name) > MAX_LENGTH:
        return f"The name of an event has at most {MAX_LENGTH} characters."
    if _UNSAFE.search(name):
        return "The name of an event holds a CR, an LF or a NUL."
    if name in _RESERVED_NAMES:
        return (
            f"An event cannot be named {name!r}: EventSource has events of that name."
        )
    if name.startswith(_PREFIX):
        return f"An event cannot be named {name!r}: {_PREFIX}… are the server's own."
    return None
