"""Which subscriber locations are open to everybody. Source: streams, section 6."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .base_location import Location
from .locations import SubscriberLocation
from .readers import InvalidSetting


def apply_access_defaults(
    locations: Iterable[Location], authorize: str | None, signed: bool
) -> tuple[Location, ...]:
    """Return the locations, the subscriber locations with the defaults for access.

    Args:
        locations: The locations as they are set.
        authorize: The setting ``PUSH_SERVER['authorize']``.
        signed: The setting ``PUSH_SERVER['signed']``.

    Raises :class:`InvalidSetting`.
    """
    found = tuple(
        replace(
            each,
            authorize=each.authorize or authorize,
            signed=signed if each.signed is None else each.signed,
        )
        if isinstance(each, SubscriberLocation) and not each.public
        else each
        for each in locations
    )
    _check_public(found)
    _check_stores(found)
    return found


def _check_public(locations: Iterable[Location]) -> None:
    """Raise :class:`InvalidSetting` if a public location restricts who may listen."""
    for index, location in enumerate(locations):
        if not isinstance(location, SubscriberLocation) or not location.public:
            continue
        for name in ("authorize", "signed"):
            if getattr(location, name):
                raise InvalidSetting(
                    f"PUSH_SERVER['locations'][{index}]['public']",
                    f"is True beside {name!r}",
                    f"Everybody may listen, or {name!r} decides: leave one of them"
                    " out.",
                )


def _check_stores(locations: Iterable[Location]) -> None:
    """Raise :class:`InvalidSetting` if a location opens the channels of another one.

    Channels belong to stores: whoever may listen at one location of a store gets the
    messages of all.
    """
    guards: dict[str, int] = {}
    subscribers = [
        (index, each)
        for index, each in enumerate(locations)
        if isinstance(each, SubscriberLocation)
    ]
    for index, location in subscribers:
        if location.is_guarded:
            guards.setdefault(location.store, index)
    for index, location in subscribers:
        guard = guards.get(location.store)
        if guard is None or location.is_guarded or location.public:
            continue
        raise InvalidSetting(
            f"PUSH_SERVER['locations'][{index}]",
            f"is open to everybody, but location {guard} of the same store"
            f" {location.store!r} is not, and they have the same channels",
            "Give it 'authorize' or 'signed', or 'public': True if everybody may read"
            " all channels of the store there.",
        )
