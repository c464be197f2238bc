"""The URLs at which channels are published and subscribed to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.urls import get_script_prefix
from django.utils.http import escape_leading_slashes

from .access.tokens import Expiry, make_token
from .conf import (
    Location,
    PublisherLocation,
    SubscriberLocation,
    get_settings,
    suggest,
)
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


def publisher_url(channel_id: object, *, location: str | None = None) -> str:
    """Return the URL at which messages for a channel are published.

    Without a ``publisher_host`` it is a URL of ``runpushserver`` on this machine, below
    ``FORCE_SCRIPT_NAME``. With one, the locations are at the root of that host.

    Args:
        channel_id: The channel.
        location: The name of a publisher location, None for the first one.

    Raises ``ValueError`` if there is no such location or it cannot match the id.

    >>> publisher_url("user/7")
    'http://127.0.0.1:8001/publisher/user/7'
    """
    found = find_publisher(location)
    return build_publisher_url(found, check_channel_id(found, channel_id))


def build_publisher_url(location: PublisherLocation, channel_id: str) -> str:
    """Return the URL at which messages for a channel are published at a location.

    Raises ``ValueError`` if the location cannot match the id.
    """
    host = get_settings().publisher_host
    base = (
        host.url if host else _own_url() + quote_root(settings.FORCE_SCRIPT_NAME or "")
    )
    return base + build_path(location.url, channel_id)


def subscriber_url(
    channel_id: object,
    *,
    expires: Expiry | None = None,
    user: object = None,
    session: str | None = None,
    info: Any = None,
    location: str | None = None,
    since: Mapping[str, str | None] | None = None,
) -> str:
    """Return the URL at which a page subscribes to a channel, or to several.

    A list or tuple of channels needs a location with a ``separator``. A repeated
    channel counts once.

    Without a ``subscriber_host`` it is a path on the page's own host, below the root
    path of the site (``SCRIPT_NAME``) as with ``reverse()``. With one, the locations
    are at the root of that host.

    At a location with ``signed`` the URL has a token, which lets whoever has the URL
    listen until it expires.

    Args:
        channel_id: The channel, or a list or tuple of them.
        expires: When the token expires: seconds from now, a timedelta or an aware
            datetime. None is the setting ``token_max_age``, which is also the most.
        user: Who listens: a user object or a key; None for an anonymous visitor.
        session: The key of the user's session, with which the token can be revoked.
        info: What the presence of the channels tells about the user, as JSON.
        location: The name of a subscriber location, None for the first one that can
            match the id.
        since: The result of :func:`~pushserver.updates.position`, after which the page
            begins, as ``?last_event_id=``. Without it, a client that sends no id begins
            as the location says.

    Raises ``ValueError`` if there is no such location, if it cannot match the id, if it
    reads no tokens although ``expires`` is given, if the token has expired already, or
    if a channel is missing in ``since``.

    >>> subscriber_url("news")
    '/subscriber/news'
    >>> subscriber_url("news", since={"news": "1795350764:2"})
    '/subscriber/news?last_event_id=1795350764:2'
    """
    found, channel_ids, path = find_subscriber(channel_id, location)
    url = _add_base(path)
    query = []
    if found.signed:
        token = make_token(
            found.store,
            channel_ids,
            expires=expires,
            user=user,
            session_key=session,
            info=info,
        )
        query.append(f"token={token}")
    elif expires is not None:
        raise ValueError(
            "The subscriber location of this channel reads no tokens: give it 'signed':"
            " True, or name another one by location=."
        )
    if since is not None:
        ids = [
            find_last_id(since, each) or build_id_before_now() for each in channel_ids
        ]
        query.append(f"last_event_id={','.join(ids)}")
    return f"{url}?{'&'.join(query)}" if query else url


def build_subscriber_url(location: SubscriberLocation, channel_id: str) -> str:
    """Return the URL of a channel at a location, with a token of nobody if needed.

    Raises ``ValueError`` if the location cannot match the id.
    """
    ids = (check_channel_id(location, channel_id),)
    url = _add_base(_build_path(location, ids))
    return f"{url}?token={make_token(location.store, ids)}" if location.signed else url


def _add_base(path: str) -> str:
    """Return the URL of a path of a subscriber location."""
    host = get_settings().subscriber_host
    return (host.url if host else quote_root(get_script_prefix())) + path


def find_last_id(since: Mapping[str, str | None], channel_id: object) -> str | None:
    """Return the id of a channel in a position, None if it is unknown.

    Raises ``ValueError`` if the position does not have the channel.
    """
    try:
        return since[str(channel_id)]
    except KeyError:
        raise ValueError(
            f"The position has no channel {channel_id!r}: name it in position([...])."
        ) from None


def build_id_before_now() -> str:
    """Return the id after which a page begins whose position is unknown."""
    # The second before, because the rest of this one may have messages.
    return f"{int(time.time()) - 1}:0"


def find_subscriber(
    channel_id: object, name: str | None
) -> tuple[SubscriberLocation, tuple[str, ...], str]:
    """Return a location, the channel ids and their path, or raise ``ValueError``.

    Args:
        channel_id: The channel, or a list or tuple of them.
        name: The name of the location, None for the first one that can match.
    """
    several = isinstance(channel_id, list | tuple)
    channel_ids = tuple(channel_id) if several else (channel_id,)  # type: ignore[arg-type]
    locations: list[SubscriberLocation] = [
        each
        for each in get_settings().locations
        if isinstance(each, SubscriberLocation) and name in (None, each.name)
    ]
    if not locations and name is not None:
        raise ValueError(f"No subscriber location has the name {name!r}.")
    if not locations:
        raise ValueError("PUSH_SERVER['locations'] has no subscriber location.")
    if len(channel_ids) != 1:
        locations = [each for each in locations if each.separator is not None]
        if not locations:
            raise ValueError(
                "No subscriber location takes several channels: give one a 'separator',"
                " such as ','."
            )
    first_error = None
    for location in locations:
        try:
            ids = tuple(
                dict.fromkeys(check_channel_id(location, each) for each in channel_ids)
            )
            return location, ids, _build_path(location, ids)
        except ValueError as error:
            first_error = first_error or error
    assert first_error is not None, "There is a location."
    raise first_error


def _build_path(location: Location, channel_ids: tuple[str, ...]) -> str:
    """Return the path of channels at a location, or raise ``ValueError``."""
    if not 0 < len(channel_ids) <= MAX_CHANNELS:
        raise ValueError(f"A URL has from 1 to {MAX_CHANNELS} channels.")
    separator = getattr(location, "separator", None)
    if separator is None:
        return build_path(location.url, channel_ids[0])
    return build_separated_path(location.url, channel_ids, separator)


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


def find_publisher(name: str | None = None) -> PublisherLocation:
    """Return a publisher location, or raise ``ValueError``.

    Args:
        name: Its name, None for the first one.
    """
    conf = get_settings()
    if name is None:
        location = conf.first_location(PublisherLocation)
        if location is None:
            raise ValueError("PUSH_SERVER['locations'] has no publisher location.")
        return location
    named = {each.name: each for each in conf.locations if each.name is not None}
    found = named.get(name)
    if isinstance(found, PublisherLocation):
        return found
    if found is not None:
        raise ValueError(f"The location {name!r} is a {found.type} location.")
    known = [
        each
        for each, location in named.items()
        if isinstance(location, PublisherLocation)
    ]
    names = f"Named are {', '.join(map(repr, known))}." if known else "None has a name."
    raise ValueError(
        f"No publisher location has the name {name!r}. {suggest(name, known) or names}"
    )


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
