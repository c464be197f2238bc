"""End the right to listen: of a user, of a session, on a channel."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

from django.utils.module_loading import import_string

from pushserver.conf import SubscriberLocation, get_settings
from pushserver.presence.names import find_subject
from pushserver.test_environment import reaches_server

from .grants import build_session_digest, find_user_key

logger = logging.getLogger(__name__)

#: Not imported, because the app works without the server.
_PUBLISHER = "pushserver_channels.access.revoking.RevocationPublisher"


class RevocationError(Exception):
    """A revocation did not reach the push server; the text says why."""


def revoke(
    *, user: object = None, channel_id: object = None, session: str | None = None
) -> None:
    """End the right to listen of all requests and streams to which the arguments apply.

    They end within a second. Tokens that were issued before are refused from then on,
    and the function ``authorize`` is asked again. With several arguments all of them
    must apply.

    Args:
        user: A user object or a key.
        channel_id: A channel.
        session: The key of a session.

    Raises:
        ValueError: There is no argument, no location restricts who may listen, or the
            channel tells who is on another one: rights are those to the other one.
        RevocationError: The push server was not reached. With a store in memory it has
            to run in this process.
        SynchronousOnlyOperation: Called in the event loop of the push server. Await
            :func:`arevoke` there.
    """
    _publish(_build_record(user, channel_id, session))


async def arevoke(
    *, user: object = None, channel_id: object = None, session: str | None = None
) -> None:
    """End the right to listen: :func:`revoke` for async code."""
    record = _build_record(user, channel_id, session)
    failure = None
    for store in _list_reached_stores():
        try:
            await import_string(_PUBLISHER)(store, record).send()
        except RevocationError as error:
            failure = error  # The other stores should have it nevertheless.
    if failure is not None:
        raise failure


def revoke_on_logout() -> None:
    """End the right to listen of a session when its user logs out.

    Call it in the ``ready()`` of an app. It needs sessions whose key does not change
    with their data, so not those in signed cookies.
    """
    from django.contrib.auth.signals import user_logged_out

    user_logged_out.connect(_revoke_session, dispatch_uid="pushserver.logout")


def _revoke_session(request: Any, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    if session is None or not session.session_key:
        return
    try:
        # The signal is sent before the session is deleted.
        _publish(_build_record(None, None, session.session_key, ends_session=True))
    except Exception:
        # The user must be logged out nevertheless, which comes after the signal.
        extra = {"reason": "failed"}
        text = "The session that has logged out may go on listening"
        logger.exception(text, extra=extra)


def _publish(record: bytes) -> None:
    """Publish a revocation for all stores that need it."""
    failure = None
    for store in _list_reached_stores():
        try:
            import_string(_PUBLISHER)(store, record).send_sync()
        except RevocationError as error:
            failure = error  # The other stores should have it nevertheless.
    if failure is not None:
        raise failure


def _build_record(
    user: object,
    channel_id: object,
    session: str | None,
    *,
    ends_session: bool = False,
) -> bytes:
    """Return a revocation as it is published, or raise ``ValueError``.

    Args:
        user: As of :func:`revoke`.
        channel_id: As of :func:`revoke`.
        session: As of :func:`revoke`.
        ends_session: Whether the session itself ends, so that ``authorize`` is not
            asked about it until the session has certainly been deleted.
    """
    if channel_id is not None:
        _check_channel(str(channel_id))
    record = {
        "user": find_user_key(user),
        "channel": None if channel_id is None else str(channel_id),
        "session": None if session is None else build_session_digest(session),
    }
    if user is not None and record["user"] is None:
        raise ValueError("An anonymous user has no key: name the session.")
    if not any(each is not None for each in record.values()):
        raise ValueError("revoke() needs a user, a channel_id or a session.")
    content = {**record, "time": time.time()}
    if ends_session:
        content["ends_session"] = True
    return json.dumps(content).encode()


def _check_channel(channel_id: str) -> None:
    """Raise ``ValueError`` for a channel to which there are no rights of its own."""
    subject = find_subject(channel_id)
    if subject != channel_id and set(_list_stores()) <= get_settings().presence_stores:
        raise ValueError(
            f"The right to listen to {channel_id!r} is that to {subject!r}: revoke"
            " this one."
        )


def _list_reached_stores() -> list[str]:
    """Return the names of the stores that need a revocation, none without a server."""
    stores = list(_list_stores())
    return stores if reaches_server() else []


def _list_stores() -> Iterator[str]:
    """Yield the names of the stores whose channels not everybody may listen to."""
    names = dict.fromkeys(
        each.store
        for each in get_settings().locations
        if isinstance(each, SubscriberLocation) and each.is_guarded
    )
    if not names:
        raise ValueError(
            "No subscriber location restricts who may listen: there is nothing to"
            " revoke. Set 'authorize' or 'signed'."
        )
    yield from names
