"""The template tags ``{% channel_url %}`` and ``{% push_channels %}``."""

from __future__ import annotations

import json
import time
from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context
from django.urls import get_script_prefix
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from pushserver.access.tokens import Expiry
from pushserver.channel_urls import (
    describe_location,
    find_subscriber,
)
from pushserver.event_loops import runs_in_event_loop
from pushserver.positions import Position, position
from pushserver.tab_sharing import find_share
from pushserver.updates import subscriber_url
from pushserver.view_paths import find_view_path

register = template.Library()

#: What HTML would end a script at, or read in it.
_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def channel_url(
    context: Context,
    channel_id: object,
    *others: object,
    expires: Expiry | None = None,
    location: str | None = None,
) -> str:
    """Return the URL at which a page subscribes to a channel, or to several.

    At a location with ``signed`` it has a token for the user and the session of the
    page's request.

    Args:
        context: The context of the template.
        channel_id: The channel.
        others: More channels.
        expires: When the token expires, as in ``subscriber_url()``.
        location: The name of the location, None for the first one that can match.
    """
    channels = [channel_id, *others] if others else channel_id
    return _sign_for_page(context, channels, expires, location)


@register.simple_tag(takes_context=True)
def push_channels(
    context: Context, since: Position | None = None, **channels: object
) -> SafeString:
    """Return the channels of a page, to which ``updates.streams.js`` subscribes.

    Args:
        context: Its request decides who listens, and whose tabs share a connection.
        since: The result of :func:`~pushserver.updates.position`. Without it the page
            begins when the tag is rendered.
        channels: The channel ids, by the names under which processors are registered.

    Raises ``ValueError`` if a channel id is invalid or is missing in ``since``.
    """
    if since is None:
        since = _find_position(channels)
    request = _find_request(context)
    share = None if request is None else find_share(request)
    subscriptions = {}
    for name, channel_id in channels.items():
        try:
            last_id = since[str(channel_id)]
        except KeyError:
            raise ValueError(
                f"The position has no channel {channel_id!r}: name it in"
                " position([...])."
            ) from None
        url = _sign_for_page(context, channel_id, None, None)
        subscription = _describe(url, last_id)
        subscription.update(_describe_tokens(channel_id))
        # Its own location: the first one may not take the channel.
        location = find_subscriber(channel_id, None)[0]
        described = describe_location(location, get_script_prefix())
        if described is not None:
            subscription["location"] = described  # Saves the page a request.
        if share is not None:
            subscription["share"] = share
        subscriptions[name] = subscription
    text = json.dumps(subscriptions).translate(_ESCAPES)
    return format_html(
        '<script type="application/json" data-push-channels>{}</script>',
        mark_safe(text),  # noqa: S308 (escaped above)
    )


def _describe_tokens(channel_id: object) -> dict[str, str]:
    """Return where a page gets new tokens of a channel, empty if it cannot."""
    location = find_subscriber(channel_id, None)[0]
    if not location.signed or location.authorize is None:
        return {}  # The view gives none, because nothing could decide.
    url = find_view_path("tokens")
    return {} if url is None else {"tokenUrl": url, "channel": str(channel_id)}


def _find_request(context: Context) -> HttpRequest | None:
    """Return the request of a page, None if the template was rendered without one."""
    # Django's shortcuts give every template its request; its name in the context needs
    # a context processor.
    request: HttpRequest | None = getattr(context, "request", None)
    return request or context.get("request")


def _sign_for_page(
    context: Context,
    channels: object,
    expires: Expiry | None,
    location: str | None,
) -> str:
    """Return the URL of channels, with a token for the page's user if it needs one."""
    bearer: dict[str, Any] = {}
    request = _find_request(context)
    # Only for a token, because a page that reads the session varies by cookie.
    if request is not None and find_subscriber(channels, location)[0].signed:
        session = getattr(request, "session", None)
        if session is not None:
            session.accessed = True  # So that the page varies by cookie.
        bearer["user"] = getattr(request, "user", None)
        bearer["session"] = None if session is None else session.session_key
    return subscriber_url(channels, expires=expires, location=location, **bearer)


def _find_position(channels: dict[str, object]) -> Position:
    """Return the position now, unknown where it cannot be looked up without waiting."""
    if runs_in_event_loop():
        return {str(each): None for each in channels.values()}
    return position(channels.values())


def _describe(url: str, last_id: str | None) -> dict[str, object]:
    """Return the subscription of a channel, as ``updates.subscribe()`` takes it."""
    if last_id is not None:
        return {"url": url, "after": last_id}
    # From now on; what was published before may be missed, which the page is told. The
    # second before, because the rest of this one may have messages.
    return {"url": url, "after": f"{int(time.time()) - 1}:0", "missed": True}
