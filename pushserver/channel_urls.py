"""Where a channel is: the URLs at which it is published and subscribed to."""

from __future__ import annotations

from math import inf
from typing import TypeVar
from urllib.parse import quote

from django.conf import settings
from django.urls import get_script_prefix
from django.utils.http import escape_leading_slashes

from .conf import Location, PublisherLocation, SubscriberLocation, get_settings
from .paths import build_path

#: Where ``runpushserver`` listens if the settings do not say.
DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001

#: What reverse() leaves as it is in the path of a site.
_SAFE = "/~:@!$&'()*+,;="

Kind = TypeVar("Kind", bound=Location)


def publisher_url(channel_id: object) -> str:
    """Return the URL at which messages for a channel are published.

    Without a ``publisher_host`` it is that of ``runpushserver`` on this machine, below
    ``FORCE_SCRIPT_NAME``. A host that is named has the locations at its root.

    Raises ``ValueError`` if there is no publisher location or it cannot match the id.
    """
    host = get_settings().publisher_host
    base = host.url if host else _own_url() + _quote(settings.FORCE_SCRIPT_NAME or "")
    return base + _location_path(PublisherLocation, "publisher", channel_id)


def subscriber_url(channel_id: object) -> str:
    """Return the URL at which a page subscribes to a channel.

    Without a ``subscriber_host`` it is a path, for the host that the page is from, and
    below the path of the site there (``SCRIPT_NAME``) as ``reverse()`` has it. A host
    that is named has the locations at its root.

    Raises ``ValueError`` if there is no subscriber location or it cannot match the id.
    """
    host = get_settings().subscriber_host
    base = host.url if host else _quote(get_script_prefix())
    return base + _location_path(SubscriberLocation, "subscriber", channel_id)


def check_channel_id(location: Location, channel_id: object) -> str:
    """Return a channel id as the text that it is, or becomes by ``str()``.

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
    return build_path(location.url, check_channel_id(location, channel_id))


def _quote(script_name: str) -> str:
    """Return the path below which a site is, encoded and without a slash at its end."""
    # As reverse() has it: two slashes would begin the name of a host.
    path: str = escape_leading_slashes(quote(script_name.rstrip("/"), safe=_SAFE))
    return path


def _own_url() -> str:
    """Return where ``runpushserver`` of this machine listens."""
    conf = get_settings()
    address = conf.address or DEFAULT_ADDRESS
    if address in ("0.0.0.0", "::"):
        address = DEFAULT_ADDRESS  # It listens everywhere; one cannot connect there.
    if ":" in address:
        address = f"[{address}]"
    return f"http://{address}:{conf.port or DEFAULT_PORT}"
