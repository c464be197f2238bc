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
from .redis import RedisStore

__all__ = ["Audience", "Store", "make_store"]


def make_store(settings: StoreSettings) -> Store:
    """Return a new store of the kind that its settings are for.

    Raises ``ImproperlyConfigured`` if a package that it needs is not installed.
    """
    if isinstance(settings, RedisStoreSettings):
        return RedisStore(settings)
    if isinstance(settings, ChannelLayerStoreSettings):
        return ChannelLayerStore(settings)
    return MemoryStore(settings)
