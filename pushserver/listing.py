"""List the channels that a store has."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from .conf import get_settings, suggest

#: Not imported, because the app works without the server.
_REQUEST = "pushserver_channels.listing.ListingRequest"


class ListingError(Exception):
    """The channels cannot be listed; the text says why."""


class ListedChannel(NamedTuple):
    """A channel in a list.

    Attributes:
        channel_id: The channel.
        messages: The number of messages kept.
        last_message_id: The id of its newest message, ``0:0`` if there was none.
        listening: How many processes have subscribers there.
    """

    channel_id: str
    messages: int
    last_message_id: str
    listening: int


class Listing(NamedTuple):
    """The first of the channels that were found, by their ids.

    Attributes:
        channels: The channels.
        total: How many were found.
    """

    channels: list[ListedChannel]
    total: int


def list_channels(search: str, limit: int, store: str | None = None) -> Listing:
    """Return the channels whose ids contain a text.

    Channels on which only subscribers wait, and nobody has published, are left out.

    Args:
        search: The text, in any case; empty for all.
        limit: The most channels, the first by their ids.
        store: The name of the store, None for ``default`` or the only one.

    Raises :class:`ListingError`.
    """
    names = list(get_settings().store)
    name = store or ("default" if "default" in names else names[0])
    if name not in names:
        hint = suggest(name, names) or f"The stores are {', '.join(names)}."
        raise ListingError(f"There is no store {name!r}. {hint}")
    request: Any = import_string(_REQUEST)(name, search, limit)
    listing: Listing = request.send_sync()
    return listing
