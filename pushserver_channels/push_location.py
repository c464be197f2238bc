"""The header by which a page joins the URLs of channels of one location."""

from __future__ import annotations

from django.conf import settings

from pushserver.channel_urls import quote_root
from pushserver.conf import SubscriberLocation, get_settings
from pushserver.paths import build_template

from .protocol import Headers


def build_push_location(location: SubscriberLocation, root_path: str) -> Headers:
    """Return the ``Push-Location`` of a location, none if it takes one channel only.

    It has the path of :func:`~pushserver.updates.subscriber_url`, with ``{channels}``
    for the ids.

    Args:
        location: The location.
        root_path: The root path of the site, according to the server.
    """
    if location.separator is None:
        return []
    template = build_template(location.url)
    if template is None:
        return []
    root = ""
    if get_settings().subscriber_host is None:
        root = quote_root(settings.FORCE_SCRIPT_NAME or root_path)
    value = f'{root}{template}; separator="{location.separator}"'
    return [(b"push-location", value.encode())]
