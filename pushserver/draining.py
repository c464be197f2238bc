"""Let processes of the push server end what they hold, without stopping them."""

from __future__ import annotations

import json
from typing import Any

from django.utils.module_loading import import_string

from .conf import get_settings

#: Not imported, because the app works without the server.
_REQUEST = "pushserver_channels.drains.ordering.DrainRequest"


class DrainError(Exception):
    """The processes were not reached; the text says why."""


def drain(process: str | None, *, undo: bool = False) -> int | None:
    """Let processes drain: they are not ready any more, and end what they hold.

    They go on serving the requests that come.

    Args:
        process: The name of a process as in the metrics, such as ``web1:4711``, or that
            of a machine for all of its processes; None for all that share the store.
        undo: Whether they serve as before instead.

    Returns how many processes have read it, whether or not it is for them; None if the
    store does not tell.

    Raises:
        DrainError: The store was not reached, none is shared, or ``drain`` is not set.
        SynchronousOnlyOperation: Called in the event loop of the push server. Await
            :func:`adrain` there.
    """
    count: int | None = _build_request(process, undo).send_sync()
    return count


async def adrain(process: str | None, *, undo: bool = False) -> int | None:
    """Let processes drain: :func:`drain` for async code."""
    count: int | None = await _build_request(process, undo).send()
    return count


def _build_request(process: str | None, undo: bool) -> Any:
    """Return the request that tells the processes. Raises :class:`DrainError`."""
    settings = get_settings()
    if not settings.drain:
        raise DrainError(
            "PUSH_SERVER['drain'] is not set: set the seconds over which a process ends"
            " what it holds, such as 10."
        )
    store = settings.shared_store
    if store is None:
        raise DrainError(
            "The processes share no store, such as Redis, by which they could be"
            " told. Send SIGTERM to a process that is to drain and to stop."
        )
    order = json.dumps({"process": process, "drains": not undo}).encode()
    return import_string(_REQUEST)(store, order)
