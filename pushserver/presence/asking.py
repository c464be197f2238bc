"""Ask who is on a channel, from any process."""

from __future__ import annotations

import json
from typing import Any

from django.utils.module_loading import import_string

from pushserver.access.grants import find_user_key
from pushserver.conf import SubscriberLocation, get_settings
from pushserver.test_environment import reaches_server

#: Not imported, because the app works without the server.
_QUESTION = "pushserver_channels.presence.asking.PresenceQuestion"


class PresenceError(Exception):
    """Who is on a channel could not be found out; the text says why."""


def members(channel_id: object, *, location: str | None = None) -> dict[str, Any]:
    """Return who is on a channel: what is told about each user, by the user's key.

    Args:
        channel_id: The channel.
        location: The name of a location with presence, None if all of them have the
            same store.

    Raises:
        ValueError: There is no such location.
        PresenceError: The push server or its store was not reached. With a store in
            memory the push server has to run in this process.
        SynchronousOnlyOperation: Called in the event loop of the push server. Await
            :func:`amembers` there.
    """
    found: dict[str, Any] = _ask(channel_id, location, "members")
    return found


async def amembers(
    channel_id: object, *, location: str | None = None
) -> dict[str, Any]:
    """Return who is on a channel: :func:`members` for async code."""
    found: dict[str, Any] = await _aask(channel_id, location, "members")
    return found


def count(channel_id: object, *, location: str | None = None) -> int:
    """Return how many are on a channel, users and anonymous visitors.

    The arguments and what is raised are those of :func:`members`.
    """
    found: int = _ask(channel_id, location, "count")
    return found


async def acount(channel_id: object, *, location: str | None = None) -> int:
    """Return how many are on a channel: :func:`count` for async code."""
    found: int = await _aask(channel_id, location, "count")
    return found


def is_present(
    channel_id: object, user: object, *, location: str | None = None
) -> bool:
    """Return whether a user is on a channel. An anonymous one never is.

    Args:
        channel_id: The channel.
        user: A user object or a key.
        location: As of :func:`members`, as is what is raised.
    """
    key = find_user_key(user)
    return key is not None and bool(_ask(channel_id, location, "has", key))


async def ais_present(
    channel_id: object, user: object, *, location: str | None = None
) -> bool:
    """Return whether a user is on a channel: :func:`is_present` for async code."""
    key = find_user_key(user)
    return key is not None and bool(await _aask(channel_id, location, "has", key))


def _ask(channel_id: object, location: str | None, what: str, key: str = "") -> Any:
    store = _find_store(location)
    if not reaches_server():
        return _find_nobody(what)
    question = import_string(_QUESTION)(store, str(channel_id), what, key)
    return _read(question.send_sync())


async def _aask(
    channel_id: object, location: str | None, what: str, key: str = ""
) -> Any:
    store = _find_store(location)
    if not reaches_server():
        return _find_nobody(what)
    return _read(
        await import_string(_QUESTION)(store, str(channel_id), what, key).send()
    )


def _read(answer: Any) -> Any:
    """Return the answer, with what is told about members read from JSON."""
    if isinstance(answer, dict):
        return {key: json.loads(info) for key, info in answer.items()}
    return answer


def _find_nobody(what: str) -> Any:
    """Return the answer about a channel on which nobody is, as in most tests."""
    return {"members": {}, "count": 0, "has": False}[what]


def _find_store(location: str | None) -> str:
    """Return the name of the store of a location with presence."""
    found = [
        each
        for each in get_settings().locations
        if isinstance(each, SubscriberLocation)
        and each.presence
        and location in (None, each.name)
    ]
    stores = list(dict.fromkeys(each.store for each in found))
    if not stores:
        named = "" if location is None else f" named {location!r}"
        raise ValueError(
            f"No subscriber location{named} has presence: give one 'presence': True."
        )
    if len(stores) > 1:
        raise ValueError(
            "Locations of several stores have presence: name one by location=."
        )
    return stores[0]
