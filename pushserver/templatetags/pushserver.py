"""The template tags of pages that subscribe, and of the updates that they hear."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context
from django.urls import get_script_prefix
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from pushserver import presence
from pushserver.access.tokens import Expiry
from pushserver.channel_urls import (
    build_id_before_now,
    describe_location,
    find_last_id,
    find_subscriber,
)
from pushserver.event_loops import runs_in_event_loop
from pushserver.positions import Position, position
from pushserver.tab_sharing import find_share
from pushserver.updates import subscriber_url
from pushserver.view_paths import find_view_path

register = template.Library()

logger = logging.getLogger(__name__)

#: The ends of lines in server-sent events.
_LINE_END = re.compile(r"\r\n|\r|\n")

#: What HTML would end a script at, or read in it.
_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def channel_url(
    context: Context,
    channel_id: object,
    *others: object,
    expires: Expiry | None = None,
    location: str | None = None,
    since: Position | None = None,
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
        since: The result of :func:`~pushserver.updates.position`, after which the page
            begins.
    """
    channels = [channel_id, *others] if others else channel_id
    return _sign_for_page(context, channels, expires, location, since)


@register.simple_tag(takes_context=True)
def turbo_stream_from(
    context: Context,
    channel_id: object,
    *others: object,
    expires: Expiry | None = None,
    location: str | None = None,
    since: Position | None = None,
) -> SafeString:
    """Return the element with which a page of Turbo subscribes to channels.

    The arguments are those of ``{% channel_url %}``. Without ``since`` the page begins
    when the tag is rendered, because each page that Turbo visits subscribes anew.
    """
    channels = [channel_id, *others]
    if since is None:
        since = _find_position(channels)
    url = _sign_for_page(
        context, channels if others else channel_id, expires, location, since
    )
    return format_html('<turbo-stream-source src="{}"></turbo-stream-source>', url)


@register.simple_tag
def presence_count(channel_id: object, location: str | None = None) -> int | str:
    """Return how many are on a channel, users and anonymous visitors.

    It is empty if that cannot be found out without waiting, as in an async view, or if
    the push server or its store is not reached, which the log says.

    Args:
        channel_id: The channel.
        location: The name of a location with presence, as in
            :func:`pushserver.presence.count`.
    """
    if runs_in_event_loop():
        return ""
    try:
        return presence.count(channel_id, location=location)
    except presence.PresenceError as error:
        logger.warning(
            "Who is on the channel %s is not known: %s",
            channel_id,
            error,
            extra={"channel_id": str(channel_id), "reason": "unavailable"},
        )
        return ""


@register.simple_block_tag(end_name="enddatastar_elements")
def datastar_elements(
    content: str, selector: str | None = None, mode: str | None = None
) -> SafeString:
    """Return HTML as the data of Datastar's event ``datastar-patch-elements``.

    Args:
        content: The HTML between this tag and ``{% enddatastar_elements %}``.
        selector: The CSS selector of the element that is patched, None to find it by
            the ``id`` of the HTML.
        mode: What is done with it: ``outer``, ``inner``, ``replace``, ``prepend``,
            ``append``, ``before``, ``after`` or ``remove``; None for Datastar's
            default, which is ``outer``.
    """
    named = {"selector": selector, "mode": mode}
    lines = [
        # One line each, or the rest of it would be read as data of its own.
        f"{name} {_LINE_END.sub(' ', str(value))}"
        for name, value in named.items()
        if value is not None
    ]
    lines += (f"elements {line}" for line in _LINE_END.split(content.strip()))
    return mark_safe("\n".join(lines))  # noqa: S308 (content is a rendered template)


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
        since = _find_position(channels.values())
    request = _find_request(context)
    share = None if request is None else find_share(request)
    subscriptions = {}
    for name, channel_id in channels.items():
        last_id = find_last_id(since, channel_id)
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
    since: Position | None = None,
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
    return subscriber_url(
        channels, expires=expires, location=location, since=since, **bearer
    )


def _find_position(channels: Iterable[object]) -> Position:
    """Return the position now, unknown where it cannot be looked up without waiting."""
    if runs_in_event_loop():
        return {str(each): None for each in channels}
    return position(channels)


def _describe(url: str, last_id: str | None) -> dict[str, object]:
    """Return the subscription of a channel, as ``updates.subscribe()`` takes it."""
    if last_id is not None:
        return {"url": url, "after": last_id}
    # From now on; what was published before may be missed, which the page is told.
    return {"url": url, "after": build_id_before_now(), "missed": True}
