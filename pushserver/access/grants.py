"""The right to listen to a channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.crypto import salted_hmac
from django.utils.timezone import is_aware

#: Characters of a session's digest: 96 bits.
_DIGEST_LENGTH = 24


@dataclass(frozen=True)
class Grant:
    """The right to listen to a channel, as the function ``authorize`` returns it.

    Attributes:
        user: Who listens: a user object or a key; None for an anonymous visitor.
        until: When the right ends, as an aware datetime; None for the end of the
            session, or never where there is none.
        info: What the presence of the channel tells about the user.

    Raises ``ValueError`` if ``until`` is not aware, and ``TypeError`` if it is no
    datetime.
    """

    user: Any = None
    until: datetime | None = None
    info: Any = None

    def __post_init__(self) -> None:
        if self.until is None:
            return
        if not isinstance(self.until, datetime):
            raise TypeError(f"Grant.until is a datetime or None, not {self.until!r}.")
        if not is_aware(self.until):
            raise ValueError(
                "Grant.until is an aware datetime, as django.utils.timezone.now()"
                " returns it where USE_TZ is True."
            )


def find_user_key(user: object) -> str | None:
    """Return the key of a user, ``str(user.pk)``, None for an anonymous visitor.

    Args:
        user: A user object, a key, or None.
    """
    if user is None:
        return None
    if not hasattr(user, "pk"):
        return str(user)
    return None if user.pk is None else str(user.pk)


def build_user_channel(user: object) -> str:
    """Return the id of a user's own channel, as ``user_channel()`` does."""
    key = find_user_key(user)
    if key is None:
        raise ValueError("An anonymous user has no channel.")
    digest = salted_hmac("pushserver.user_channel", key, algorithm="sha256")
    return f"user-{key}-{digest.hexdigest()[:_DIGEST_LENGTH]}"


def build_session_digest(session_key: str) -> str:
    """Return a digest by which a session can be found, but not used."""
    digest = salted_hmac("pushserver.session", session_key, algorithm="sha256")
    return str(digest.hexdigest())[:_DIGEST_LENGTH]
