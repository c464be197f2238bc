"""Ask the push server what the pages show."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string

from pushserver.conf import SubscriberLocation, get_settings
from pushserver.presence import PresenceError
from pushserver.presence.names import is_presence_channel
from pushserver.test_environment import reaches_server

from .errors import DashboardError

# Not imported, because the app works without the server.
_OVERVIEW = "pushserver_channels.dashboard.asking.OverviewRequest"
_CHANNEL = "pushserver_channels.dashboard.asking.ChannelRequest"
_DELETION = "pushserver_channels.dashboard.asking.DeletionRequest"
_PRESENCE = "pushserver_channels.presence.asking.PresenceQuestion"

#: The most members of a channel that are named.
MAX_MEMBERS = 200

#: How channels can be sorted.
SORTS = ("held", "messages", "rate", "newest", "id")


def find_overview(store: str, search: str, sort: str, page: int) -> dict[str, Any]:
    """Return how the processes are, and a page of the channels.

    Args:
        store: The name of the store.
        search: A part of the ids of channels, empty for all.
        sort: One of :data:`SORTS`.
        page: The number of the page, from 1.

    Raises :class:`DashboardError`, as all functions here do.
    """
    found: dict[str, Any] = _send(_OVERVIEW, store, search, sort, page)
    return found


def find_channel(store: str, channel_id: str) -> dict[str, Any]:
    """Return what a channel keeps, and how many listen to it."""
    found: dict[str, Any] = _send(_CHANNEL, store, channel_id)
    return found


def delete_channel(store: str, channel_id: str) -> bool:
    """Delete a channel with its messages; return whether there was one."""
    return bool(_send(_DELETION, store, channel_id))


def is_presence(store: str, channel_id: str) -> bool:
    """Return whether a channel tells who is on another one.

    Only the push server changes it, and the rights to it are those to the other one.
    """
    return store in get_settings().presence_stores and is_presence_channel(channel_id)


def find_members(store: str, channel_id: str) -> dict[str, Any] | None:
    """Return who is on a channel, None if the store has no presence.

    Of more than :data:`MAX_MEMBERS` only the number is told.
    """
    if store not in get_settings().presence_stores:
        return None
    try:
        count = _send(_PRESENCE, store, channel_id, "count", "")
        if count > MAX_MEMBERS:
            return {"count": count, "users": [], "others": None}
        users = sorted(_send(_PRESENCE, store, channel_id, "members", ""))
    except PresenceError as error:
        raise DashboardError(str(error)) from error
    return {"count": count, "users": users, "others": max(count - len(users), 0)}


def can_revoke() -> bool:
    """Return whether a location restricts who may listen."""
    return any(
        isinstance(each, SubscriberLocation) and each.is_guarded
        for each in get_settings().locations
    )


def _send(request: str, *arguments: Any) -> Any:
    """Send a request to the push server, and return the answer."""
    if not reaches_server():
        raise DashboardError(
            "In Django's test environment nothing is asked of a push server."
        )
    try:
        kind = import_string(request)
    except ImportError as error:
        raise DashboardError(
            "The dashboard shows the push server of this package, which is not"
            f" installed here: {error}."
        ) from error
    return kind(*arguments).send_sync()
