"""The presence of the stores of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from pushserver.conf import (
    ChannelLayerStoreSettings,
    RedisStoreSettings,
    get_settings,
)
from pushserver.presence.names import is_presence_channel
from pushserver_channels.hub import Hub, hubs

from .base import PresenceStore
from .layer import LayerPresence
from .memory import MemoryPresence
from .presence import Presence
from .state import PresenceReads, States
from .telling import Teller

#: Not imported, because it needs redis-py.
_REDIS_PRESENCE = "pushserver_channels.presence.redis.RedisPresence"

teller = Teller()


class HubPresence(NamedTuple):
    """What a hub has for presence.

    Attributes:
        presence: Who is on its channels.
        reads: Reads its channels.
    """

    presence: Presence
    reads: PresenceReads


def find_presence(store: str, address: Sequence[Any] | None = None) -> HubPresence:
    """Return the presence of a store, for the running event loop.

    Args:
        store: The name of the store.
        address: As of ``HubRegistry.get()``.
    """
    return find_presence_of(hubs.get(store, address), store)


def find_presence_of(hub: Hub, store: str) -> HubPresence:
    """Return the presence of the hub of a store."""
    known = hub.presence
    if not isinstance(known, HubPresence):
        kept: PresenceStore
        settings = get_settings().store[store]
        if isinstance(settings, RedisStoreSettings):
            kept = import_string(_REDIS_PRESENCE)(hub)
        elif isinstance(settings, ChannelLayerStoreSettings):
            kept = LayerPresence(hub, is_alone=not settings.shared)
        else:
            kept = MemoryPresence(hub)
        # Visitors cause them: publishers must not be refused because of these.
        hub.store.exempt(is_presence_channel)
        presence = Presence(hub, kept, teller)
        known = HubPresence(presence, PresenceReads(hub.store, States(presence)))
        hub.presence = known
    return known
