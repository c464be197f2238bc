"""Where and how a page can subscribe to a channel, for the live view of the wire."""

from __future__ import annotations

from typing import NamedTuple

from pushserver.channel_urls import build_subscriber_url
from pushserver.conf import SubscriberLocation, get_settings

#: What the transports of a location are called.
NAMES = {
    "poll": "Long poll",
    "eventsource": "Server-sent events",
    "websocket": "WebSocket",
}

INTERVAL_POLL = "Interval poll"


class Transport(NamedTuple):
    """A way to subscribe to a channel.

    Attributes:
        kind: ``poll``, ``interval``, ``eventsource`` or ``websocket``.
        name: What a page calls it.
        location: The index of the location in ``PUSH_SERVER``.
        url: The URL without a token.
    """

    kind: str
    name: str
    location: int
    url: str


def list_transports(store: str, channel_id: str) -> list[Transport]:
    """Return the ways to subscribe to a channel, those of the first location first."""
    found = []
    for index, location in enumerate(get_settings().locations):
        if not isinstance(location, SubscriberLocation) or location.store != store:
            continue
        try:
            url = build_subscriber_url(location, channel_id)
        except ValueError:
            continue  # The location cannot match the channel.
        for kind in filter(location.allowed.__contains__, NAMES):
            name = NAMES[kind]
            if kind == "poll" and location.polling == "interval":
                kind, name = "interval", INTERVAL_POLL
            found.append(Transport(kind, name, index, url.partition("?")[0]))
    return found


def find_url(store: str, channel_id: str, index: str) -> str | None:
    """Return the URL of a channel at a location, with a token if it needs one.

    The token is of nobody, so that its bearer is not named where presence is told.

    Args:
        store: The name of the store.
        channel_id: The channel.
        index: The index of the location in ``PUSH_SERVER``.

    Returns None if there is no such location.
    """
    for each in list_transports(store, channel_id):
        if str(each.location) == index:
            location = get_settings().locations[each.location]
            assert isinstance(location, SubscriberLocation), "By list_transports()."
            return build_subscriber_url(location, channel_id)
    return None
