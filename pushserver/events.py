"""The name of a message's event, which a browser's ``EventSource`` tells it by."""

from __future__ import annotations

import re

#: Characters of a name.
MAX_LENGTH = 128

# They would end the field, or, a NUL, be dropped by some clients.
_UNSAFE = re.compile(r"[\r\n\0]")

#: What EventSource fires itself, and what an event without a name is.
_TAKEN = frozenset({"error", "message", "open"})

#: The events of the server itself.
_OURS = "push-"


def find_event_fault(name: str) -> str | None:
    """Return why an event cannot have a name, None if it can."""
    if not name:
        return "The name of an event is empty."
    if len(name) > MAX_LENGTH:
        return f"The name of an event has at most {MAX_LENGTH} characters."
    if _UNSAFE.search(name):
        return "The name of an event holds a CR, an LF or a NUL."
    if name in _TAKEN:
        return (
            f"An event cannot be named {name!r}: EventSource has events of that name."
        )
    if name.startswith(_OURS):
        return f"An event cannot be named {name!r}: {_OURS}… are the server's own."
    return None
