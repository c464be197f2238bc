"""The position of a page: after which messages its own data are."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.core.exceptions import SynchronousOnlyOperation

from .channel_urls import check_channel_id, find_publisher
from .event_loops import runs_in_event_loop
from .publishers import LookupFailed, get_publisher

__all__ = ["Position", "aposition", "position"]

logger = logging.getLogger(__name__)

#: The id of the last message of each channel, ``0:0`` if there was none, and None if it
#: could not be found out.
Position = dict[str, str | None]


def position(channel_ids: Iterable[object]) -> Position:
    """Return the ids of the last messages of channels, for ``{% push_channels %}``.

    Call it before the queries of a page. Then the page misses nothing that is published
    while it is made, and nothing older arrives again. If the push server or its store
    is unavailable, that is logged, and the page gets a gap with its first message.

    Args:
        channel_ids: The channels, at the first publisher location.

    Returns the id of each channel, ``0:0`` if it has had no message, None if it could
    not be found out.

    Raises ``ValueError`` if a channel id is invalid, and ``SynchronousOnlyOperation``
    in an event loop: await :func:`aposition` there.
    """
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "position() was called in an async function, where it would block the event"
            " loop. Write 'await aposition(...)' instead."
        )
    channels = _check(channel_ids)
    try:
        ids = get_publisher(find_publisher()).find_last_ids_sync(channels)
    except LookupFailed as error:
        return _report_unknown(channels, error)
    return dict(zip(channels, ids, strict=True))


async def aposition(channel_ids: Iterable[object]) -> Position:
    """Return the ids of the last messages: :func:`position` for async code."""
    channels = _check(channel_ids)
    try:
        ids = await get_publisher(find_publisher()).find_last_ids(channels)
    except LookupFailed as error:
        return _report_unknown(channels, error)
    return dict(zip(channels, ids, strict=True))


def _check(channel_ids: Iterable[object]) -> list[str]:
    if isinstance(channel_ids, str | bytes):
        raise TypeError("Give a list of channel ids, as in position(['news']).")
    location = find_publisher()
    ids = [check_channel_id(location, each) for each in channel_ids]
    return list(dict.fromkeys(ids))


def _report_unknown(channels: list[str], error: LookupFailed) -> Position:
    extra = {"channel_id": ",".join(channels), "reason": "unavailable"}
    logger.warning("%s", error, extra=extra)
    return dict.fromkeys(channels)
