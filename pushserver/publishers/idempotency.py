"""Keys by which a repeated message is recognized, as in ``Idempotency-Key``."""

from __future__ import annotations

import re
import secrets

#: Names the key of a POST. The server repeats it in its answer if it recognizes it.
KEY_HEADER = "Idempotency-Key"

#: The most characters of a key.
MAX_LENGTH = 255

#: Seconds for which a key counts.
LIFETIME = 300

#: The same for a key that a publisher made for its own retries, which follow at once.
RETRY_LIFETIME = 60

#: The beginning of a key that a publisher made for its own retries.
RETRY_PREFIX = "retry-"

#: Such a key. A key that a site has chosen may begin with the same word.
_RETRY_KEY = re.compile(RETRY_PREFIX + "[0-9a-f]{32}")

_VISIBLE = re.compile(r"[!-~]+", re.ASCII)


def check_key(key: str | None) -> str | None:
    """Return an idempotency key.

    Raises ``TypeError`` or ``ValueError`` if it is none.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        raise TypeError(f"idempotency_key must be a str, not {type(key).__name__}.")
    fault = find_key_fault(key)
    if fault is not None:
        raise ValueError(fault)
    return key


def find_key_fault(key: str) -> str | None:
    """Return why a text is no idempotency key, None if it is one."""
    if len(key) > MAX_LENGTH:
        return f"An idempotency key has at most {MAX_LENGTH} characters."
    if not _VISIBLE.fullmatch(key):
        return (
            "An idempotency key consists of visible ASCII characters, without spaces;"
            f" this one is {key!r}."
        )
    return None


def make_retry_key() -> str:
    """Return a key that no other message has."""
    return RETRY_PREFIX + secrets.token_hex(16)


def find_lifetime(key: str) -> int:
    """Return the seconds for which a key counts."""
    return RETRY_LIFETIME if _RETRY_KEY.fullmatch(key) else LIFETIME
