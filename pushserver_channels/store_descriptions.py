"""Describe a store in an error message, without passwords."""

from __future__ import annotations

import re

from pushserver.conf import (
    ChannelLayerStoreSettings,
    RedisStoreSettings,
    StoreSettings,
)


def describe_store(settings: StoreSettings) -> str:
    """Return where a store keeps its messages, in words."""
    if isinstance(settings, RedisStoreSettings):
        return f"Redis at {without_password(settings.address)}"
    if isinstance(settings, ChannelLayerStoreSettings):
        return f"the channel layer {settings.alias!r}"
    return "the push server of this process"


def without_password(url: str) -> str:
    """Return a Redis URL without user, password and options."""
    scheme, separator, rest = url.partition("://")
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    if "@" not in place and any("@" in each for each in options):
        # An option holds an @, or the password holds a ? or # that is not encoded.
        return f"{scheme}{separator}…"
    return f"{scheme}{separator}{place.rpartition('@')[2]}"
