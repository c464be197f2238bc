"""Send updates from Python code, and build the URLs of channels."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation

from . import signals
from .access.grants import build_user_channel
from .channel_urls import (
    check_channel_id,
    find_publisher,
    publisher_url,
    subscriber_url,
)
from .event_loops import runs_in_event_loop
from .positions import aposition, position
from .publishers import Publication, PublishError, Receipt, Update, get_publisher
from .publishers.headers import check_expires
from .publishers.idempotency import check_key
from .sending import Sending, check_event
from .serializing import serialize
from .transactions import call_after_commit, check_alias, waits_for_commit

__all__ = [
    "aposition",
    "asend_update",
    "position",
    "publisher_url",
    "send_update",
    "subscriber_url",
    "user_channel",
]

logger = logging.getLogger(__name__)


def send_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> Receipt | None:
    """Publish data to all subscribers of a channel.

    Args:
        channel_id: The channel; it is converted by ``str()`` if it is no string.
        data: Anything that ``DjangoJSONEncoder`` can serialize.
        already_serialized: Whether data is a str or bytes to be published as it is.
        ignore_errors: Whether a failure to publish is logged instead of raised, as with
            the setting ``PUSH_SERVER_IGNORE_ERRORS``.
        content_type: The ``Content-Type`` of the message, None for that of JSON. If it
            is set, data that is a str or bytes is published as it is, a str in UTF-8.
        event: The name of the event that ``EventSource`` dispatches, None for none.
        location: The name of a publisher location, whose store keeps the message; None
            for the first one.
        keep: Whether the message is kept for subscribers that come later. False
            delivers it only to those that wait now.
        expires: Seconds after which the message expires, None for the store's limit.
            A fraction is rounded up.
        idempotency_key: From 1 to 255 visible ASCII characters. If an update of the
            channel had the same key within the last five minutes, nothing is published,
            and its receipt is returned. The data are not compared.
        on_commit: Whether the update waits for the commit, if it is sent in an atomic
            block, and is not sent after a rollback. None is the setting ``on_commit``,
            which defaults to False.
        using: The alias of the database that has to commit, None for the default one.

    Returns a receipt. Returns None if publishing failed and errors are ignored, and if
    the update waits for a commit. Then an error of publishing is raised after it, at
    the end of the atomic block.

    Raises:
        PublishError: The push server was not reached or refused the message.
        ValueError: There is no such location, the channel id has no URL there, data
            contains a NaN, content_type is not valid in a header, event is not allowed
            as a name, expires is not more than 0, idempotency_key is no key, or no
            database has the alias.
        TypeError: Data cannot be serialized, the channel id is None or bytes, or
            content_type, event or idempotency_key is no str, or expires is no number.
            Both say which part of data it is, as ``data['items'][3]['price']``.
        SynchronousOnlyOperation: Called in an event loop. Await :func:`asend_update`
            there.
    """
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "send_update() was called in an async function, where it would block the"
            " event loop. Write 'await asend_update(...)' instead."
        )
    later = waits_for_commit(on_commit, using)
    sending = _prepare(
        channel_id,
        data,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        later,
    )
    if later:
        call_after_commit(partial(_send, sending, ignore_errors), using)
        return None
    return _send(sending, ignore_errors)


async def asend_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> Receipt | None:
    """Publish data on a channel: :func:`send_update` for async code.

    Concurrent calls for one channel publish in the order of the calls. Django has no
    transactions in async code, so the update never waits for a commit: ``on_commit`` is
    only there for the same arguments. Within ``sync_to_async`` use ``send_update``.
    """
    check_alias(using)
    sending = _prepare(
        channel_id,
        data,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        later=False,
    )
    await signals.pre_send_update.asend(**sending.signal_arguments)
    try:
        publication = sending.publication
        receipt = await get_publisher(publication.location).publish(publication)
    except Exception as error:
        await signals.post_send_update.asend(**sending.signal_arguments, response=error)
        if _is_ignored(error, ignore_errors):
            return None
        raise
    await signals.post_send_update.asend(**sending.signal_arguments, response=receipt)
    return receipt


def user_channel(user: object) -> str:
    """Return the id of a user's own channel: stable, and impossible to guess.

    It depends on ``SECRET_KEY``, so it changes when that does.

    Args:
        user: A user object or a key.

    Raises ``ValueError`` for an anonymous user.
    """
    return build_user_channel(user)


def _prepare(
    channel_id: object,
    data: Any,
    already_serialized: bool,
    content_type: str | None,
    event: str | None,
    location: str | None,
    keep: bool,
    expires: float | None,
    key: str | None,
    later: bool,
) -> Sending:
    """Return a message that can be sent. Raises as :func:`send_update` does."""
    place = find_publisher(location)
    update = Update(
        check_channel_id(place, channel_id),
        *serialize(data, already_serialized, content_type),
        event=check_event(event),
        expires=check_expires(expires),
    )
    publication = Publication(update, place, keep, check_key(key))
    return Sending(
        publication, send_update, channel_id, data, already_serialized, later=later
    )


def _send(sending: Sending, ignore_errors: bool) -> Receipt | None:
    """Publish a message, between its signals."""
    signals.pre_send_update.send(**sending.signal_arguments)
    try:
        publication = sending.publication
        receipt = get_publisher(publication.location).publish_sync(publication)
    except Exception as error:
        signals.post_send_update.send(**sending.signal_arguments, response=error)
        if _is_ignored(error, ignore_errors):
            return None
        raise
    signals.post_send_update.send(**sending.signal_arguments, response=receipt)
    return receipt


def _is_ignored(error: Exception, ignore_errors: bool) -> bool:
    """Return whether an error is ignored, and log it if so."""
    if not isinstance(error, PublishError) or not (
        ignore_errors or getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False)
    ):
        return False
    logger.warning("%s", error)
    return True
