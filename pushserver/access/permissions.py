"""What the server keeps of a right to listen."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Permission:
    """A right to listen to one channel that was granted to a subscriber.

    Attributes:
        user: The key of the user, None for an anonymous visitor.
        session: The digest of the session, None if there is none.
        until: The Unix time at which it ends, in seconds.
        issued_at: The Unix time at which it was granted, in seconds.
        info: What the presence of the channel tells about the user.
        is_signed: Whether a token granted it, so that it is never asked for again.
        known: How many revocations were known when it was asked for, 0 for a token.
    """

    user: str | None = None
    session: str | None = None
    until: float = inf
    issued_at: float = 0.0
    info: Any = None
    is_signed: bool = False
    known: int = 0
