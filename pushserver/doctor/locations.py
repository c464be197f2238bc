"""Find the locations that the doctor uses."""

from __future__ import annotations

from pushserver.conf import (
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
)
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
    for subscriber in conf.locations:
        if isinstance(subscriber, SubscriberLocation) and (
            subscriber.store == publisher.store
        ):
            break
    else:
        raise ValueError(
            "No subscriber location has the store of the first publisher location,"
            f" where updates are sent: {publisher.store!r}."
        )
    channel_id = make_channel_id()
    for location in (publisher, subscriber):
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
    return publisher, subscriber
