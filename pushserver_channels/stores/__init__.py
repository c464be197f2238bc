"""Stores, which keep the messages of channels."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.module_loading import import_string

from pushserver.conf import STORE_TYPES, StoreSettings

from .base import AppendCancelled, Audience, CommonStore, Entry, Store

__all__ = [
    "AppendCancelled",
    "Audience",
    "CommonStore",
    "Entry",
    "Store",
    "check_store",
    "make_store",
]


def find_store(settings: StoreSettings) -> type[Store]:
    """Return the class of stores for these settings."""
    store: type[Store] = import_string(STORE_TYPES[settings.type].store)
    return store


def check_store(settings: StoreSettings) -> None:
    """Check the settings of a store and import its packages before the first request.

    Raises ``ImproperlyConfigured`` if a package is not installed, or if a URL has
    unknown options.
    """
    find_store(settings).check(settings)


def make_store(settings: StoreSettings) -> Store:
    """Return a new store.

    Raises ``ImproperlyConfigured`` if a package that it needs is not installed.
    """
    make: Callable[[StoreSettings], Store] = find_store(settings)
    return make(settings)
