"""Where messages are kept."""

from __future__ import annotations

from pushserver.conf import MemoryStoreSettings, StoreSettings

from .base import Audience, Store
from .memory import MemoryStore

__all__ = ["Audience", "Store", "make_store"]


def make_store(settings: StoreSettings) -> Store:
    """Return a new store of the kind that its settings are for."""
    kinds = {MemoryStoreSettings: MemoryStore}
    return kinds[type(settings)](settings)  # type: ignore[index]
