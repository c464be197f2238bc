"""Tokens: signed rights to listen to channels, or to publish on them.

A token is checked without a request to the site and without a database. It is made by
:mod:`django.core.signing`, so ``SECRET_KEY_FALLBACKS`` count.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.signing import BadSignature, Signer

from pushserver.conf import get_settings

from .grants import build_session_digest, find_user_key
from .permissions import Permission

#: Seconds from now, a time from now, or a time.
Expiry = float | timedelta | datetime

_SUBSCRIBE_SALT = "pushserver.subscribe"
_PUBLISH_SALT = "pushserver.publish"

#: The most characters of a token that is read.
MAX_LENGTH = 4096


class InvalidToken(ValueError):
    """A token is malformed, was not signed here, or has expired."""


class SubscriberToken(NamedTuple):
    """The content of a token that lets its bearer listen to channels.

    Attributes:
        store: The store of the channels.
        channel_ids: The channels.
        permission: The right to listen to each of them.
    """

    store: str
    channel_ids: frozenset[str]
    permission: Permission


def make_token(
    store: str,
    channel_ids: Iterable[str],
    *,
    expires: Expiry | None = None,
    user: object = None,
    session_key: str | None = None,
    info: Any = None,
) -> str:
    """Return a token that lets its bearer listen to channels.

    Args:
        store: The name of the store of the channels.
        channel_ids: The channels.
        expires: Seconds from now, a timedelta or an aware datetime. None is the
            setting ``token_max_age``, which is also the most.
        user: Who listens: a user object or a key; None for an anonymous visitor.
        session_key: The key of the user's session, with which the right can be
            revoked; None for none.
        info: What the presence of the channels tells about the user, as JSON.

    Raises ``ValueError`` if the token has expired already or would be too long, and
    ``TypeError`` if ``info`` is no JSON or ``expires`` has another type.
    """
    now = time.time()
    content: dict[str, Any] = {
        "c": list(channel_ids),
        "i": round(now, 6),
        "e": round(now + _limit(expires, now), 6),
    }
    optional = {
        "b": None if store == "default" else store,
        "u": find_user_key(user),
        "s": None if session_key is None else build_session_digest(session_key),
        "n": info,
    }
    content.update({key: each for key, each in optional.items() if each is not None})
    return _sign(_SUBSCRIBE_SALT, content)


def read_token(token: str) -> SubscriberToken:
    """Return the content of a token. Raises :class:`InvalidToken`."""
    content = _unsign(_SUBSCRIBE_SALT, token)
    permission = Permission(
        user=content.get("u"),
        session=content.get("s"),
        until=content["e"],
        issued_at=content["i"],
        info=content.get("n"),
        is_signed=True,
    )
    return SubscriberToken(
        content.get("b", "default"), frozenset(content["c"]), permission
    )


def publisher_token(channel_id: object, *, expires: Expiry | None = None) -> str:
    """Return a token that lets its bearer publish at locations with ``signed``.

    Args:
        channel_id: The channel, None for all channels.
        expires: As in :func:`make_token`.

    Raises ``ValueError`` if the token has expired already.
    """
    now = time.time()
    content = {
        "c": None if channel_id is None else str(channel_id),
        "e": round(now + _limit(expires, now), 6),
    }
    return _sign(_PUBLISH_SALT, content)


def may_publish(token: str, channel_id: str) -> bool:
    """Return whether a token lets its bearer publish on a channel."""
    try:
        content = _unsign(_PUBLISH_SALT, token)
    except InvalidToken:
        return False
    return content["c"] is None or content["c"] == channel_id


def _limit(expires: Expiry | None, now: float) -> float:
    """Return the seconds that a token is valid.

    Raises ``ValueError`` if there are none.
    """
    most = get_settings().token_max_age
    if expires is None:
        return most
    if isinstance(expires, timedelta):
        seconds = expires.total_seconds()
    elif isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise ValueError(f"expires is an aware datetime, not {expires!r}.")
        seconds = expires.timestamp() - now
    elif isinstance(expires, int | float) and not isinstance(expires, bool):
        seconds = float(expires)
    else:
        raise TypeError(f"expires is a number of seconds, not {expires!r}.")
    if not seconds > 0:
        raise ValueError(f"A token that expires after {seconds:g} seconds is useless.")
    return min(seconds, most)


def _sign(salt: str, content: dict[str, Any]) -> str:
    """Return a token. Raises ``ValueError`` if it would be too long to be read."""
    token: str = Signer(salt=salt).sign_object(content)
    if len(token) > MAX_LENGTH:
        raise ValueError(
            f"The token has {len(token)} characters, more than {MAX_LENGTH}: name"
            " fewer channels, or give it less info."
        )
    return token


def _unsign(salt: str, token: str) -> dict[str, Any]:
    """Return what was signed. Raises :class:`InvalidToken`, also if it has expired."""
    if len(token) > MAX_LENGTH or not token.isascii():
        raise InvalidToken
    try:
        content: dict[str, Any] = Signer(salt=salt).unsign_object(token)
    except (BadSignature, ValueError):
        raise InvalidToken from None
    if content["e"] <= time.time():
        raise InvalidToken
    return content
