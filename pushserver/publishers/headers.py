"""The headers of a POST that say how its message is published: build and parse them."""

from __future__ import annotations

import math
import re

from pushserver.conf import MAX_SECONDS

#: Names the event of a message, as Nchan has it.
EVENT_HEADER = "X-EventSource-Event"

#: Seconds for which a message is kept, as in Web Push (RFC 8030, section 5.2).
TTL_HEADER = "TTL"

_DIGITS = re.compile(r"\d{1,20}", re.ASCII)


def check_expires(expires: float | None) -> int | None:
    """Return the lifetime of a message in whole seconds; a fraction is rounded up.

    Raises ``TypeError`` if it is no number, and ``ValueError`` if it is not more than 0
    or longer than a century.
    """
    if expires is None:
        return None
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise TypeError(
            f"expires must be a number of seconds, not {type(expires).__name__}."
        )
    if not 0 < expires <= MAX_SECONDS:
        raise ValueError(
            f"expires is {expires!r}; it must be more than 0 seconds and at most"
            f" {MAX_SECONDS}. A message that is not to be kept has keep=False."
        )
    return math.ceil(expires)


def build_ttl(keep: bool, expires: float | None) -> str | None:
    """Return the value of ``TTL``, None if a POST needs none.

    Args:
        keep: Whether the message is kept for later requests.
        expires: Seconds after which it expires, None for the store's limit.
    """
    if not keep:
        return "0"
    return None if expires is None else str(math.ceil(expires))


def parse_ttl(value: str | None) -> tuple[bool, int | None]:
    """Return whether a message is kept, and the seconds after which it expires.

    Args:
        value: The value of ``TTL``, None or empty if there is none.

    Raises ``ValueError``.
    """
    if not value:
        return True, None
    text = value.strip(" \t")
    if not _DIGITS.fullmatch(text) or int(text) > MAX_SECONDS:
        raise ValueError(
            f"The header TTL is {value[:80]!r}, not a whole number of seconds from 0 to"
            f" {MAX_SECONDS}."
        )
    seconds = int(text)
    return seconds > 0, seconds or None
