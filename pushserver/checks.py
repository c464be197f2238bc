"""System checks of ``PUSH_SERVER``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import Resolver404, resolve

from .addresses import LOOPBACK
from .conf import (
    ChannelLayerStoreSettings,
    Location,
    MonitoringLocation,
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from .conf.readers import InvalidSetting
from .passwords import holds_password
from .paths import build_path, decode_path, match_channel

#: Channel ids of several kinds, because a pattern may match letters or digits only.
EXAMPLE_IDS = (
    "channel",
    "7",
    "a-7",
    "A_7",
    "a/7",
    "0b45f9a2-6c1d-4d5e-8f7a-9b0c1d2e3f4a",
)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return an error for the first invalid setting, or all warnings."""
    try:
        conf = get_settings()
    except InvalidSetting as error:
        return [
            Error(f"{error.place} {error.reason}.", error.hint, id="pushserver.E001")
        ]
    return [
        *_hidden_locations(conf),
        *_open_behind_proxy(conf),
        *_unresolved_passthroughs(conf),
        *_direct_without_shared_store(conf),
        *_unbounded_stores(conf),
        *_lossy_stores(conf),
        *_open_to_every_page(conf),
        *_sockets_without_library(conf),
    ]


def _sockets_without_library(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning if uvicorn is installed without a library for WebSockets."""
    serves_sockets = any(
        isinstance(location, SubscriberLocation) and "websocket" in location.allowed
        for location in conf.locations
    )
    is_installed = importlib.util.find_spec
    if not serves_sockets or not is_installed("uvicorn"):
        return
    if not any(is_installed(name) for name in ("websockets", "wsproto")):
        yield Warning(
            "uvicorn is installed without a library for WebSockets: it answers them as"
            " plain requests.",
            "pip install websockets, if uvicorn serves the push locations; or leave"
            " 'websocket' out of the 'transports' of the locations.",
            id="pushserver.W013",
        )


def check_passwords(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each URL of a store that holds a password."""
    try:
        stores = get_settings().store
    except InvalidSetting:
        return []  # check_settings() reports it.
    return [
        Warning(
            f"The URL of the store {name!r} holds a password. Django's debug page and"
            " mails about errors do not show it, but other programs that collect"
            " settings or local variables may.",
            "Take it out of the URL and give it as 'password', a name that they hide.",
            id="pushserver.W012",
        )
        for name, store in stores.items()
        if holds_password(getattr(store, "url", None) or "")
    ]


def _hidden_locations(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each location that never answers a request.

    The pattern of an earlier location matches all of its example paths.
    """
    for index, location in enumerate(conf.locations):
        paths = list(_example_paths(location))
        for earlier, other in enumerate(conf.locations[:index]):
            if paths and all(match_channel(other.url, path) for path in paths):
                yield Warning(
                    f"PUSH_SERVER['locations'][{index}] is hidden by [{earlier}]: both"
                    f" match {paths[0]!r}, and the first one answers.",
                    "Put the narrower pattern first, or tell them apart by a prefix.",
                    id="pushserver.W001",
                )
                break


def _example_paths(location: Location) -> Iterator[str]:
    """Yield a path for each of :data:`EXAMPLE_IDS` that a location accepts."""
    if isinstance(location, MonitoringLocation):
        yield from location.paths
        return
    for channel_id in EXAMPLE_IDS:
        try:
            yield decode_path(build_path(location.url, channel_id).encode())
        except ValueError:
            continue


def _open_behind_proxy(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each publisher location that a proxy may open to all clients.

    A location that allows loopback addresses or unix sockets also allows a proxy that
    connects by them, and so each client of that proxy.
    """
    # With these two settings a site says that it is behind a reverse proxy.
    proxied = settings.USE_X_FORWARDED_HOST or settings.SECURE_PROXY_SSL_HEADER
    if not proxied:
        return
    for index, location in enumerate(conf.locations):
        if not isinstance(location, PublisherLocation) or location.allow_from is None:
            continue
        if location.allow_from.unix:
            yield Warning(
                f"PUSH_SERVER['locations'][{index}] lets clients of unix sockets"
                " publish, and the site is behind a proxy: if the proxy connects by a"
                " unix socket, the requests of all its clients come by this socket.",
                "Keep the proxy from passing on the publisher location, or have it send"
                " X-Forwarded-For, whose addresses must then be allowed too.",
                id="pushserver.W002",
            )
        if any(
            network.overlaps(own)
            for network in location.allow_from
            for own in LOOPBACK
            if network.version == own.version
        ):
            yield Warning(
                f"PUSH_SERVER['locations'][{index}] lets this machine publish, and the"
                " site is behind a proxy: if the proxy runs on this machine, the"
                " requests of all its clients come from this machine.",
                "Keep the proxy from passing on the publisher location, or have it send"
                " X-Forwarded-For, whose addresses must then be allowed too.",
                id="pushserver.W002",
            )


def _unresolved_passthroughs(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each ``passthrough`` path that no URL pattern matches."""
    for index, location in enumerate(conf.locations):
        if not isinstance(location, SubscriberLocation) or not location.passthrough:
            continue
        if not _resolves(location.passthrough):
            yield Warning(
                f"PUSH_SERVER['locations'][{index}]['passthrough'] is"
                f" {location.passthrough!r}, which no URL of this site matches.",
                "Add path('passthrough', include('pushserver.urls')) to the URLconf.",
                id="pushserver.W003",
            )


def _resolves(path: str) -> bool:
    """Return whether a URL pattern of the site matches a path."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def _direct_without_shared_store(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning if processes publish directly into a store they do not share."""
    location = conf.first_location(PublisherLocation)
    if location is None or conf.publisher != "direct":
        return
    if not conf.store[location.store].shared:
        yield Warning(
            "PUSH_SERVER['publisher'] is 'direct', and the store is in the memory of"
            " the push server's process: other processes cannot publish.",
            "Use 'auto', which publishes over HTTP from there.",
            id="pushserver.W004",
        )


def _unbounded_stores(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each store that never removes a message."""
    for name, store in conf.store.items():
        if not store.max_messages and not store.message_timeout:
            yield Warning(
                f"The store {name!r} keeps every message for ever: its memory grows"
                " until the process ends.",
                "Set max_messages, message_timeout, or both.",
                id="pushserver.W005",
            )


def _lossy_stores(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each store on a channel layer, which may lose messages."""
    for name, store in conf.store.items():
        if isinstance(store, ChannelLayerStoreSettings):
            reach = (
                "a channel layer, which delivers at most once, and only to processes"
                " that are running at that time"
                if store.shared
                else "a channel layer in memory, which reaches no other process"
            )
            yield Warning(
                f"The store {name!r} sends messages to other processes by {reach}.",
                "Use a store of the type 'redis', which loses none, or silence this"
                " warning if clients can do without those they miss.",
                id="pushserver.W006",
            )


def _open_to_every_page(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield a warning for each publisher location that allows pages of all origins."""
    for index, location in enumerate(conf.locations):
        if isinstance(location, PublisherLocation) and "*" in location.allow_origin:
            yield Warning(
                f"PUSH_SERVER['locations'][{index}]['allow_origin'] is '*': every page"
                " on the Web can publish, if it is open in a browser whose address is"
                " allowed to publish.",
                "Name the origins of the pages that publish.",
                id="pushserver.W011",
            )


def check_publisher(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if messages are recorded in place of being sent."""
    try:
        publisher = get_settings().publisher
    except InvalidSetting:
        return []  # check_settings() reports it.
    if publisher != "locmem":
        return []
    return [
        Warning(
            "PUSH_SERVER['publisher'] is 'locmem': messages are recorded in the memory"
            " of the process that publishes, and sent to nobody.",
            "Leave it out. In Django's test environment 'auto' does the same.",
            id="pushserver.W018",
        )
    ]
