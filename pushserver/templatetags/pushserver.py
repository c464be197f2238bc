"""``{% load pushserver %}{% channel_url "channel-id" %}``."""

from __future__ import annotations

from django import template

from pushserver.updates import subscriber_url

register = template.Library()


@register.simple_tag
def channel_url(channel_id: object, *others: object) -> str:
    """Return the URL at which a page subscribes to a channel, or to several."""
    return subscriber_url([channel_id, *others] if others else channel_id)
