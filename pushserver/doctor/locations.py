"""Where this process publishes, and where that can be received."""

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
    """Return where this process publishes, and where that can be received.

    Raises ``ValueError``, with a sentence, where nothing can be examined.
    """
    publisher = conf.first_location(PublisherLocation)
    if publisher is None or conf.first_location(SubscriberLocation) is None:
        raise ValueError(
            "PUSH_SERVER['locations'] needs a publisher and a subscriber location."
        )
    if not publisher.store_messages:
        raise ValueError(
            "The first publisher location, where updates are sent, keeps no messages."
            " So there is nothing that could be received when it is asked for."
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
