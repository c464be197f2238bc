"""System checks: what is wrong with ``PUSH_SERVER``, in a sentence and a hint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import Resolver404, resolve
from django.utils.regex_helper import normalize

from .addresses import LOOPBACK
from .conf import (
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from .paths import match_channel
from .readers import InvalidSetting


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return an error for the first setting that cannot be served, or all warnings."""
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
    ]


def _hidden_locations(conf: PushServerSettings) -> Iterator[CheckMessage]:
    for index, location in enumerate(conf.locations):
        for path in _example_paths(location.url.pattern):
            for earlier, other in enumerate(conf.locations[:index]):
                if match_channel(other.url, path) is None:
                    continue
                yield Warning(
                    f"PUSH_SERVER['locations'][{index}] is hidden by [{earlier}]: both"
                    f" match {path!r}, and the first one answers.",
                    "Put the narrower pattern first, or tell them apart by a prefix.",
                    id="pushserver.W001",
                )
                break


def _example_paths(pattern: str) -> Iterator[str]:
    """Yield a path that a pattern matches, if one can be told from it."""
    try:
        forms = normalize(pattern)
    except NotImplementedError:
        return
    for form, groups in forms:
        if len(groups) == 1:
            yield form % {groups[0]: "channel"}
            return


def _open_behind_proxy(conf: PushServerSettings) -> Iterator[CheckMessage]:
    # These two settings are how a Django site says that a reverse proxy is before it.
    proxied = settings.USE_X_FORWARDED_HOST or settings.SECURE_PROXY_SSL_HEADER
    if not proxied:
        return
    for index, location in enumerate(conf.locations):
        if not isinstance(location, PublisherLocation) or not location.allow_from:
            continue
        if any(
            network.overlaps(own)
            for network in location.allow_from
            for own in LOOPBACK
            if network.version == own.version
        ):
            yield Warning(
                f"PUSH_SERVER['locations'][{index}] lets this machine publish, and the"
                " site is behind a proxy: if the proxy runs here, everybody's requests"
                " come from here.",
                "Keep the proxy from passing on the publisher location, or have it send"
                " X-Forwarded-For, whose addresses must then be allowed too.",
                id="pushserver.W002",
            )


def _unresolved_passthroughs(conf: PushServerSettings) -> Iterator[CheckMessage]:
    for index, location in enumerate(conf.locations):
        if not isinstance(location, SubscriberLocation) or not location.passthrough:
            continue
        try:
            resolve(location.passthrough)
        except Resolver404:
            yield Warning(
                f"PUSH_SERVER['locations'][{index}]['passthrough'] is"
                f" {location.passthrough!r}, which no URL of this site matches.",
                "Add path('passthrough', include('pushserver.urls')) to the URLconf.",
                id="pushserver.W003",
            )


def _direct_without_shared_store(conf: PushServerSettings) -> Iterator[CheckMessage]:
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
    for name, store in conf.store.items():
        if not store.max_messages and not store.message_timeout:
            yield Warning(
                f"The store {name!r} keeps every message for ever: its memory grows"
                " until the process ends.",
                "Set max_messages, message_timeout, or both.",
                id="pushserver.W005",
            )
