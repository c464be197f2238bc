"""Where messages are kept, in words for errors: without passwords."""

from __future__ import annotations

import re

from pushserver.conf import (
    ChannelLayerStoreSettings,
    RedisStoreSettings,
    StoreSettings,
)


def describe_store(settings: StoreSettings) -> str:
    """Return where a store keeps its messages, as an error names it."""
    if isinstance(settings, RedisStoreSettings):
        return f"Redis at {without_password(settings.address)}"
    if isinstance(settings, ChannelLayerStoreSettings):
        return f"the channel layer {settings.alias!r}"
    return "the push server of this process"


def without_password(url: str) -> str:
    """Return the URL of a Redis without its user, password and options."""
    scheme, separator, rest = url.partition("://")
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    if "@" not in place and any("@" in each for each in options):
        # Either an option holds it, or a password that is not encoded goes on there.
        return f"{scheme}{separator}…"
    return f"{scheme}{separator}{place.rpartition('@')[2]}"
