"""Who may share a connection in a browser."""

from __future__ import annotations

from django.contrib.sessions.backends import signed_cookies
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

#: The characters of a digest that are used: 128 bits.
LENGTH = 32

#: Of users that are not logged in. No primary key is equal to it: those have a prefix.
ANONYMOUS = "anonymous"


def find_share(request: HttpRequest) -> str | None:
    """Return the name under which tabs of a browser share a connection.

    It is a digest of the user and the session, so another user, and the same user after
    logging out, has another one. Visitors without a session have one in common: the
    server sees no difference between their tabs.

    The response depends on the cookie then, and ``SessionMiddleware`` adds it to the
    header ``Vary``.

    Returns:
        None if the user is unknown, because this is an event loop in which the database
        cannot be asked.
    """
    try:
        user = _find_user(request)
    except SynchronousOnlyOperation:
        return None
    # The user first: it makes an expired session a session without a key.
    value = f"{user} {_find_session_key(request)}"
    digest: str = salted_hmac("pushserver.share", value, algorithm="sha256").hexdigest()
    return digest[:LENGTH]


def _find_user(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return ANONYMOUS
    return f"user {user.pk}"


def _find_session_key(request: HttpRequest) -> str:
    session = getattr(request, "session", None)
    # That of a signed cookie is its content, which is different on each page.
    if session is None or isinstance(session, signed_cookies.SessionStore):
        return ""
    return session.session_key or ""
