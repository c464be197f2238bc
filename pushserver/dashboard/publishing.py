"""Publish what a user has typed."""

from __future__ import annotations

from pushserver.channel_urls import check_channel_id
from pushserver.conf import PublisherLocation, get_settings
from pushserver.publishers import Publication, Receipt, Update
from pushserver.sending import Options, Sending, check_event, send
from pushserver.serializing import serialize
from pushserver.updates import send_update


def publish_text(
    store: str, channel_id: str, text: str, content_type: str, event: str
) -> Receipt:
    """Publish a text on a channel, at the first publisher location of its store.

    Args:
        store: The name of the store.
        channel_id: The channel.
        text: The text.
        content_type: Its type, empty for none.
        event: The name of the event, empty for none.

    Raises ``ValueError`` if it cannot be published, and ``PublishError`` if it was not.
    """
    location = _find_location(store)
    # A browser ends the lines of a form by CR LF.
    data = text.replace("\r\n", "\n")
    kind = content_type or None
    update = Update(
        check_channel_id(location, channel_id),
        *serialize(data, True, kind),
        event=check_event(event or None),
    )
    if kind is None:
        update = update._replace(content_type=None)
    limit = location.max_message_size
    if 0 < limit < len(update.body):
        raise ValueError(f"A message has at most {limit} bytes here.")
    options = Options(
        send_update, True, kind, event or None, None, True, None, None, None
    )
    publication = Publication(update, location, True, None)
    receipt = send(Sending(publication, channel_id, data, options), False)
    assert receipt is not None, "Errors are not ignored."
    return receipt


def _find_location(store: str) -> PublisherLocation:
    """Return the first publisher location of a store, or raise ``ValueError``."""
    for location in get_settings().locations:
        if isinstance(location, PublisherLocation) and location.store == store:
            return location
    raise ValueError(f"No publisher location has the store {store!r}.")
