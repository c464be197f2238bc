"""Who is on a channel, asked from any process."""

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
