"""Where presence is possible. Source: streams, section 7."""

from __future__ import annotations

from collections.abc import Iterable

from .base_location import Location
from .locations import SubscriberLocation
from .readers import InvalidSetting


def check_presence(locations: Iterable[Location]) -> None:
    """Raise :class:`InvalidSetting` if a location cannot have presence."""
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
