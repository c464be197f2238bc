"""The header by which a page joins the URLs of channels of one location."""

from __future__ import annotations

from django.conf import settings

from pushserver.channel_urls import describe_location
from pushserver.conf import SubscriberLocation

from .protocol import Headers


def build_push_location(location: SubscriberLocation, root_path: str) -> Headers:
    """Return the ``Push-Location`` of a location, none if it takes one channel only.

    It has the path of :func:`~pushserver.updates.subscriber_url`, with ``{channels}``
    for the ids.

    Args:
        location: The location.
        root_path: The root path of the site, according to the server.
    """
    value = describe_location(location, settings.FORCE_SCRIPT_NAME or root_path)
    return [] if value is None else [(b"push-location", value.encode())]
