"""Where messages are kept."""

from __future__ import annotations

from pushserver.conf import (
    ChannelLayerStoreSettings,
    RedisStoreSettings,
    StoreSettings,
)

from .base import Audience, Store
from .layer import ChannelLayerStore
from .memory import MemoryStore
from .redis import RedisStore, find_servers

__all__ = ["Audience", "Store", "check_store", "make_store"]


def check_store(settings: StoreSettings) -> None:
    """Load what a store needs, so that the first request does not wait for that.

    Raises ``ImproperlyConfigured`` if a package is not installed, or a URL names
    options that there are not.
    """
    if isinstance(settings, RedisStoreSettings):
        find_servers(settings.address)


def make_store(settings: StoreSettings) -> Store:
    """Return a new store of the kind that its settings are for.

    Raises ``ImproperlyConfigured`` if a package that it needs is not installed.
    """
    if isinstance(settings, RedisStoreSettings):
        return RedisStore(settings)
    if isinstance(settings, ChannelLayerStoreSettings):
        return ChannelLayerStore(settings)
    return MemoryStore(settings)
