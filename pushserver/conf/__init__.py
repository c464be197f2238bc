"""The one door to ``PUSH_SERVER``: checked, complete, frozen.

Everything else asks :func:`get_settings` at the time of use, so importing this package
costs nothing and ``override_settings`` of a test takes effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.core.signals import setting_changed

from pushserver.passwords import hide_passwords

from .locations import (
    DEFAULT_LOCATIONS,
    LOCATION_TYPES,
    POLLS,
    TRANSPORTS,
    Location,
    PublisherLocation,
    SubscriberLocation,
    read_locations,
)
from .readers import (
    InvalidSetting,
    address,
    flag,
    header,
    host,
    one_of,
    port,
    read_section,
    seconds,
    setting,
    suggest,
)
from .stores import (
    STORE_TYPES,
    ChannelLayerStoreSettings,
    MemoryStoreSettings,
    RedisStoreSettings,
    StoreSettings,
    StoreType,
    read_stores,
)

__all__ = [
    "ChannelLayerStoreSettings",
    "Host",
    "InvalidSetting",
    "LOCATION_TYPES",
    "Location",
    "MemoryStoreSettings",
    "POLLS",
    "PublisherLocation",
    "PushServerSettings",
    "RedisStoreSettings",
    "STORE_TYPES",
    "StoreSettings",
    "StoreType",
    "SubscriberLocation",
    "TRANSPORTS",
    "get_settings",
    "read_settings",
]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Host:
    """Where clients find the publisher or the subscriber locations."""

    location: str = setting(host)
    secure: bool = setting(flag, default=False)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://{self.location}"


def _read_host(place: str, raw: object) -> Host:
    return read_section(Host, place, {"location": raw} if isinstance(raw, str) else raw)


@dataclass(frozen=True)
class PushServerSettings:
    """``PUSH_SERVER``, with defaults.

    Attributes:
        address: Where ``runpushserver`` listens, None for loopback.
        port: Where ``runpushserver`` listens, None for 8001 (8000 for the whole site).
        publisher_host: Where publishers find the push server, None for this machine.
        subscriber_host: Where pages find it, None for the host of the page.
        servername: The ``Server`` header, None for the server's own.
        publisher: ``auto``, ``direct`` or ``http``: how ``send_update`` publishes.
        publisher_timeout: Seconds that publishing over HTTP may take.
        store: The stores by name.
        locations: In the order in which they are tried.
    """

    address: str | None = setting(address, default=None)
    port: int | None = setting(port, default=None)
    publisher_host: Host | None = setting(_read_host, default=None)
    subscriber_host: Host | None = setting(_read_host, default=None)
    servername: str | None = setting(header, default=None)
    publisher: str = setting(one_of("auto", "direct", "http"), default="auto")
    publisher_timeout: float = setting(seconds, default=5)
    store: Mapping[str, StoreSettings] = setting(
        read_stores,
        default_factory=lambda: read_stores("", {"type": "memory"}),
    )
    locations: tuple[Location, ...] = setting(
        read_locations,
        default_factory=lambda: read_locations("", DEFAULT_LOCATIONS),
    )

    def first_location(self, kind: type[Kind]) -> Kind | None:
        """Return the first location of a kind, which wins where a URL is built."""
        return next((each for each in self.locations if isinstance(each, kind)), None)


def read_settings(raw: object) -> PushServerSettings:
    """Return ``PUSH_SERVER`` checked and completed.

    Raises :class:`InvalidSetting`, an ``ImproperlyConfigured``, at the first mistake.
    """
    conf = read_section(PushServerSettings, "PUSH_SERVER", raw)
    for index, location in enumerate(conf.locations):
        if location.store not in conf.store:
            raise InvalidSetting(
                f"PUSH_SERVER['locations'][{index}]['store']",
                f"is {location.store!r}, which is not in PUSH_SERVER['store']",
                suggest(location.store, conf.store)
                or f"The stores are {', '.join(map(repr, conf.store))}.",
            )
    return conf


@lru_cache(maxsize=1)
def get_settings() -> PushServerSettings:
    """Return the site's ``PUSH_SERVER``; no such setting is an empty one."""
    hide_passwords()
    return read_settings(getattr(settings, "PUSH_SERVER", {}))


def _forget(**change: Any) -> None:
    if change["setting"] == "PUSH_SERVER":
        hide_passwords()
    if change["setting"] in (
        "PUSH_SERVER",
        "CHANNEL_LAYERS",
        "FORCE_SCRIPT_NAME",
        "INTERNAL_IPS",
    ):
        get_settings.cache_clear()


setting_changed.connect(_forget)
