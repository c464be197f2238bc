"""Find the locations that the doctor uses."""

from __future__ import annotations

from pushserver.conf import (
    Location,
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
)
from pushserver.conf.locations import POLL
from pushserver.paths import build_path

from .echo import make_channel_id


def find_locations(
    conf: PushServerSettings,
) -> tuple[PublisherLocation, SubscriberLocation]:
    """Return the publisher location of this process, and a subscriber location for it.

    Both have the same store. Raises ``ValueError``, with a message to show, if the
    settings have no such locations.
    """
    publisher = conf.first_location(PublisherLocation)
    if publisher is None or conf.first_location(SubscriberLocation) is None:
        raise ValueError(
            "PUSH_SERVER['locations'] needs a publisher and a subscriber location."
        )
    if not publisher.store_messages:
        raise ValueError(
            "The first publisher location, where updates are sent, keeps no messages,"
            " so the doctor could not receive any."
        )
    subscribers = [
        each
        for each in conf.locations
        if isinstance(each, SubscriberLocation) and each.store == publisher.store
    ]
    if not subscribers:
        raise ValueError(
            "No subscriber location has the store of the first publisher location,"
            f" where updates are sent: {publisher.store!r}."
        )
    pollable = [each for each in subscribers if POLL in each.allowed]
    subscriber = next((each for each in pollable if lets_in(each)), None)
    subscriber = subscriber or next(iter(pollable), None)
    if subscriber is None:
        raise ValueError(
            "A doctor receives by polls, and no subscriber location of the store"
            f" {publisher.store!r} has them in its 'transports'."
        )
    for location in (publisher, subscriber):
        _check_channel_ids(location)
    return publisher, subscriber


def find_stream_locations(
    conf: PushServerSettings, publisher: PublisherLocation
) -> dict[str, SubscriberLocation]:
    """Return the location of each transport that is not a poll, by its name.

    A transport is left out if no location of the publisher's store allows it, or only
    to whom the site's function ``authorize`` lets in.
    """
    found: dict[str, SubscriberLocation] = {}
    for location in conf.locations:
        if not isinstance(location, SubscriberLocation):
            continue
        if location.store != publisher.store or not lets_in(location):
            continue
        try:
            _check_channel_ids(location)
        except ValueError:
            continue  # Another location may have channels for a doctor.
        for transport in location.allowed:
            if transport != POLL:
                found.setdefault(transport, location)
    return found


def lets_in(location: SubscriberLocation) -> bool:
    """Return whether the doctor may listen at a location: to all, or with a token."""
    return bool(location.signed) or not location.is_guarded


def _check_channel_ids(location: Location) -> None:
    """Raise ``ValueError`` if a location cannot have the channels of the doctor."""
    channel_id = make_channel_id()
    try:
        build_path(location.url, channel_id)
    except ValueError as error:
        raise ValueError(f"A doctor needs channels of its own. {error}") from error
    if 0 < location.max_channel_id_length < len(channel_id):
        raise ValueError(
            "A doctor needs channels of its own, with ids of"
            f" {len(channel_id)} characters; 'max_channel_id_length' of"
            f" {location.url.pattern!r} is {location.max_channel_id_length}."
        )
