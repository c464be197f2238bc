"""The settings in ``PUSH_SERVER``: validated, with defaults, immutable.

All other modules call :func:`get_settings` when they need a setting, so importing this
package reads nothing, and ``override_settings`` takes effect in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.core.signals import setting_changed

from pushserver.addresses import AllowedClients
from pushserver.passwords import hide_passwords

from .access import apply_access_defaults
from .base_location import Location
from .limits import trusted_proxies
from .locations import (
    DEFAULT_LOCATIONS,
    LOCATION_TYPES,
    POLLS,
    TRANSPORTS,
    PublisherLocation,
    SubscriberLocation,
    read_locations,
)
from .monitoring import HealthLocation, MetricsLocation, MonitoringLocation
from .presence import check_presence
from .readers import (
    MAX_SECONDS,
    InvalidSetting,
    address,
    count,
    dotted_path,
    flag,
    header,
    header_names,
    host,
    one_of,
    port,
    positive_seconds,
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
    "HealthLocation",
    "Host",
    "InvalidSetting",
    "LOCATION_TYPES",
    "Location",
    "MAX_SECONDS",
    "MemoryStoreSettings",
    "MetricsLocation",
    "MonitoringLocation",
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
    "suggest",
]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Host:
    """The host at which clients reach the publisher or the subscriber locations.

    Attributes:
        location: The host, with a port unless it is the default one.
        secure: Whether the URL is https.
    """

    location: str = setting(host)
    secure: bool = setting(flag, default=False)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://{self.location}"


def _read_host(place: str, raw: object) -> Host:
    return read_section(Host, place, {"location": raw} if isinstance(raw, str) else raw)


@dataclass(frozen=True)
class PushServerSettings:
    """The settings in ``PUSH_SERVER``, with defaults.

    Attributes:
        address: The address on which ``runpushserver`` listens, None for loopback.
        port: The port on which ``runpushserver`` listens, None for 8001 (8000 for the
            whole site).
        publisher_host: The host at which publishers reach the push server, None for
            this machine.
        subscriber_host: The host at which pages reach the push server, None for the
            host of the page.
        servername: The value of the ``Server`` header, None for the server's own.
        publisher: How ``send_update`` publishes: ``auto``, ``direct``, ``http`` or
            ``locmem``.
        publisher_timeout: Seconds after which a publish fails, 0 for no limit.
        on_commit: Whether ``send_update`` waits for the commit of the transaction in
            which it is called, if it is not told.
        store: The stores by name.
        locations: The locations, in the order in which they are tried.
        authorize: The default of ``authorize`` for subscriber locations.
        signed: The default of ``signed`` for subscriber locations.
        authorize_for: Seconds for which a right that ``authorize`` granted is
            remembered, 0 for not at all.
        authorize_vary: The headers on which ``authorize`` depends besides cookies and
            ``Authorization``, in lower case.
        reauthorize: Seconds after which ``authorize`` is asked again about a request
            that is still held, or a stream; 0 for never.
        token_max_age: Seconds for which a token is valid at most, and by default.
        max_held: How many requests, streams and sockets of subscribers a process holds
            at once; 0 for no limit, None for what its open files allow.
        max_held_per_client: How many of these may come from one address; 0 for no
            limit, None for a default that applies to public addresses only.
        trusted_proxies: The proxies whose ``X-Forwarded-For`` is believed.
        drain: Seconds over which a process that gets SIGTERM ends what it holds, before
            the server stops, and one that is told to drain; 0 to stop at once.
    """

    address: str | None = setting(address, default=None)
    port: int | None = setting(port, default=None)
    publisher_host: Host | None = setting(_read_host, default=None)
    subscriber_host: Host | None = setting(_read_host, default=None)
    servername: str | None = setting(header, default=None)
    publisher: str = setting(one_of("auto", "direct", "http", "locmem"), default="auto")
    publisher_timeout: float = setting(seconds, default=5)
    on_commit: bool = setting(flag, default=False)
    store: Mapping[str, StoreSettings] = setting(
        read_stores,
        default_factory=lambda: read_stores("", {"type": "memory"}),
    )
    locations: tuple[Location, ...] = setting(
        read_locations,
        default_factory=lambda: read_locations("", DEFAULT_LOCATIONS),
    )
    authorize: str | None = setting(dotted_path, default=None)
    signed: bool = setting(flag, default=False)
    authorize_for: float = setting(seconds, default=30)
    authorize_vary: tuple[str, ...] = setting(header_names, default=())
    reauthorize: float = setting(seconds, default=300)
    token_max_age: float = setting(positive_seconds, default=3600)
    max_held: int | None = setting(count, default=None)
    max_held_per_client: int | None = setting(count, default=None)
    trusted_proxies: AllowedClients = setting(
        trusted_proxies, default_factory=AllowedClients
    )
    drain: float = setting(seconds, default=0)

    @property
    def used_stores(self) -> tuple[str, ...]:
        """The names of the stores that have the channels of a location."""
        locations = (
            each.store
            for each in self.locations
            if not isinstance(each, MonitoringLocation)
        )
        return tuple(dict.fromkeys(locations))

    @property
    def shared_store(self) -> str | None:
        """The name of the first of these that several processes share, or None."""
        return next(
            (each for each in self.used_stores if self.store[each].shared), None
        )

    @property
    def presence_stores(self) -> frozenset[str]:
        """The names of the stores of which a location has presence."""
        return frozenset(
            each.store
            for each in self.locations
            if isinstance(each, SubscriberLocation) and each.presence
        )

    def first_location(self, kind: type[Kind]) -> Kind | None:
        """Return the first location of a type, which is used to build URLs, or None."""
        return next((each for each in self.locations if isinstance(each, kind)), None)


def read_settings(raw: object) -> PushServerSettings:
    """Return validated settings from the value of ``PUSH_SERVER``.

    Raises :class:`InvalidSetting`, an ``ImproperlyConfigured``, for the first error.
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
    check_presence(conf.locations)
    locations = apply_access_defaults(conf.locations, conf.authorize, conf.signed)
    return replace(conf, locations=locations)


@lru_cache(maxsize=1)
def get_settings() -> PushServerSettings:
    """Return the site's settings. ``PUSH_SERVER`` defaults to ``{}``."""
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
