"""The URLs at which channels are published and subscribed to."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TypeVar
from urllib.parse import quote

from django.conf import settings
from django.urls import get_script_prefix
from django.utils.http import escape_leading_slashes

from .conf import Location, PublisherLocation, SubscriberLocation, get_settings
from .paths import (
    MAX_CHANNELS,
    build_path,
    build_separated_path,
    build_template,
)

#: Where ``runpushserver`` listens if the settings do not say.
DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001

#: The characters of a site's root path that reverse() does not percent-encode.
_SAFE = "/~:@!$&'()*+,;="

Kind = TypeVar("Kind", bound=Location)


def publisher_url(channel_id: object) -> str:
    """Return the URL at which messages for a channel are published.

    Without a ``publisher_host`` it is a URL of ``runpushserver`` on this machine, below
    ``FORCE_SCRIPT_NAME``. With one, the locations are at the root of that host.

    Raises ``ValueError`` if there is no publisher location or it cannot match the id.
    """
    host = get_settings().publisher_host
    base = (
        host.url if host else _own_url() + quote_root(settings.FORCE_SCRIPT_NAME or "")
    )
    return base + _location_path(PublisherLocation, "publisher", channel_id)


def subscriber_url(channel_id: object) -> str:
    """Return the URL at which a page subscribes to a channel, or to several.

    A list or tuple of channels needs a location with a ``separator``; the first such
    location is used. A repeated channel counts once.

    Without a ``subscriber_host`` it is a path on the page's own host, below the root
    path of the site (``SCRIPT_NAME``) as with ``reverse()``. With one, the locations
    are at the root of that host.

    Raises ``ValueError`` if there is no subscriber location or it cannot match the id.
    """
    host = get_settings().subscriber_host
    base = host.url if host else quote_root(get_script_prefix())
    if isinstance(channel_id, list | tuple):
        return base + _path_of_several(channel_id)
    return base + _location_path(SubscriberLocation, "subscriber", channel_id)


def _path_of_several(channel_ids: Sequence[object]) -> str:
    """Return the path of several channels, or raise ``ValueError``."""
    if len(channel_ids) == 1:
        return _location_path(SubscriberLocation, "subscriber", channel_ids[0])
    for location in get_settings().locations:
        if isinstance(location, SubscriberLocation) and location.separator is not None:
            ids = [check_channel_id(location, each) for each in channel_ids]
            unique = tuple(dict.fromkeys(ids))
            if not 0 < len(unique) <= MAX_CHANNELS:
                raise ValueError(f"A URL has from 1 to {MAX_CHANNELS} channels.")
            return build_separated_path(location.url, unique, location.separator)
    raise ValueError(
        "No subscriber location takes several channels: give one a 'separator', such as"
        " ','."
    )


def check_channel_id(location: Location, channel_id: object) -> str:
    """Return a channel id as a string, converted by ``str()`` if necessary.

    Raises ``TypeError`` for None and bytes, and ``ValueError`` for one that is empty or
    longer than the location allows.
    """
    if channel_id is None or isinstance(channel_id, bytes | bytearray | memoryview):
        raise TypeError(f"A channel id is a text, not {channel_id!r}.")
    channel = str(channel_id)
    limit = location.max_channel_id_length or inf
    if not 0 < len(channel) <= limit:
        raise ValueError(
            f"A channel id has from 1 to {limit} characters; this one has"
            f" {len(channel)}."
        )
    return channel


def find_location(kind: type[Kind], name: str) -> Kind:
    """Return the first location of a kind, or raise ``ValueError``."""
    location = get_settings().first_location(kind)
    if location is None:
        raise ValueError(f"PUSH_SERVER['locations'] has no {name} location.")
    return location


def _location_path(kind: type[Location], name: str, channel_id: object) -> str:
    location = find_location(kind, name)
    checked = check_channel_id(location, channel_id)
    if isinstance(location, SubscriberLocation) and location.separator is not None:
        return build_separated_path(location.url, (checked,), location.separator)
    return build_path(location.url, checked)


def describe_location(location: SubscriberLocation, root: str) -> str | None:
    """Return how pages join the URLs of a location, as in ``Push-Location``.

    Args:
        location: The location.
        root: The root path of the site.

    Returns None if the location takes one channel only.
    """
    if location.separator is None:
        return None
    template = build_template(location.url)
    if template is None:
        return None
    base = "" if get_settings().subscriber_host else quote_root(root)
    return f'{base}{template}; separator="{location.separator}"'


def quote_root(script_name: str) -> str:
    """Return the site's root path, percent-encoded, without a slash at its end."""
    # As reverse() does: a URL that begins with two slashes names a host.
    path: str = escape_leading_slashes(quote(script_name.rstrip("/"), safe=_SAFE))
    return path


def _own_url() -> str:
    """Return the URL at which ``runpushserver`` of this machine listens."""
    conf = get_settings()
    address = conf.address or DEFAULT_ADDRESS
    if address in ("0.0.0.0", "::"):
        address = DEFAULT_ADDRESS  # All addresses; a client cannot connect to it.
    if ":" in address:
        address = f"[{address}]"
    return f"http://{address}:{conf.port or DEFAULT_PORT}"
