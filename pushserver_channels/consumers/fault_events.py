"""The events that report why a stream is no longer subscribed to a channel.

Source: streams, sections 3 and 4.
"""

from __future__ import annotations

from pushserver_channels.exceptions import (
    AccessDenied,
    ChannelGone,
    ChannelNotFound,
    Conflict,
    GrantExpired,
    PushError,
    Unauthorized,
)

#: The names of the events, by the class of the error.
FAULT_EVENTS: dict[type[PushError], str] = {
    AccessDenied: "push-denied",
    Unauthorized: "push-denied",
    GrantExpired: "push-expired",
    ChannelGone: "push-gone",
    ChannelNotFound: "push-gone",
    Conflict: "push-conflict",
}


def find_fault_event(error: PushError) -> str:
    """Return the name of the event that reports the fault of a channel."""
    return FAULT_EVENTS.get(type(error), "push-denied")
