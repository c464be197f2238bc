"""Where presence is possible. Source: streams, section 7."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .base_location import Location
from .locations import SubscriberLocation
from .readers import InvalidSetting
from .stores import StoreSettings


def check_presence(
    locations: Iterable[Location], stores: Mapping[str, StoreSettings]
) -> None:
    """Raise :class:`InvalidSetting` if a location cannot have presence.

    Args:
        locations: The locations, whose stores exist.
        stores: The stores by name.
    """
    for index, location in enumerate(locations):
        if not isinstance(location, SubscriberLocation) or not location.presence:
            continue
        place = f"PUSH_SERVER['locations'][{index}]['presence']"
        if location.polling == "interval":
            raise InvalidSetting(
                place,
                "is True beside 'polling': 'interval'",
                "A member is who has an open connection or a held request, and there"
                " are none; leave 'polling' out.",
            )
        if not stores[location.store].can_have_presence:
            raise InvalidSetting(
                place,
                f"is True, but the store {location.store!r} is a channel layer",
                "A layer keeps nothing that processes share, so none of them could know"
                " who has left when another one ends. Use a store of type 'redis', or"
                " 'memory' for a single process.",
            )
