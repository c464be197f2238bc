"""Who is on a channel. Source: streams, section 7."""

from .asking import (
    PresenceError,
    acount,
    ais_present,
    amembers,
    count,
    is_present,
    members,
)

__all__ = [
    "PresenceError",
    "acount",
    "ais_present",
    "amembers",
    "count",
    "is_present",
    "members",
]
