"""The one door to ``PUSH_SERVER``: checked, complete, frozen.

Everything else asks :func:`get_settings` at the time of use, so importing this package
costs nothing and ``override_settings`` of a test takes effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from django.conf import settings
from django.core.signals import setting_changed

from .addresses import AllowedClients
from .passwords import SecretText, hide_passwords
from .readers import (
    InvalidSetting,
    address,
    addresses,
    count,
    flag,
    header,
    host,
    internal_addresses,
    key_prefix,
    layer,
    nearest,
    one_of,
    origins,
    path,
    port,
    read_section,
    redis_url,
    regex,
    seconds,
    secret,
    setting,
    text,
    uncounted,
)

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Host:
    """Where clients find the publisher or the subscriber locations."""

    location: str = setting(host)
    secure: bool = setting(flag, default=False)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://{self.location}"


@dataclass(frozen=True)
class StoreSettings:
    """How many messages of a channel are kept, and for how long.

    Attributes:
        min_messages: So many are kept whatever their age.
        max_messages: So many are kept at most, 0 for no limit.
        message_timeout: Seconds for which a message is kept, 0 for ever.
        channel_timeout: Seconds after which a channel with no message, no subscriber
            and no request is forgotten, 0 for never.
        max_channels: So many channels exist at most, 0 for no limit.
    """

    #: Whether other processes see the same messages.
    shared: ClassVar[bool] = False
    #: The setting that keeps stores in one place apart, empty if nothing has to.
    told_apart_by: ClassVar[str] = ""

    type: str = setting(text)
    min_messages: int = setting(count, default=0)
    max_messages: int = setting(count, default=0)
    message_timeout: float = setting(seconds, default=0)
    channel_timeout: float = setting(seconds, default=3600)
    max_channels: int = setting(count, default=0)

    @property
    def address(self) -> str:
        """Where the messages are."""
        return ""


@dataclass(frozen=True)
class MemoryStoreSettings(StoreSettings):
    """A store in this process's memory."""


@dataclass(frozen=True)
class RedisStoreSettings(StoreSettings):
    """A store in Redis, for any number of processes.

    Attributes:
        url: Where Redis is: ``redis://``, ``rediss://`` or ``unix://``; with
            ``+sentinel`` or ``+cluster`` after the scheme, several hosts.
        host: Instead of a URL: its host,
        port: its port,
        database: and the number of its database.
        username: Who asks, beside a URL or a host.
        password: The password, beside a URL or a host, as it is: Django hides it.
        key_prefix: Begins all keys and all names of pub/sub channels.
    """

    shared: ClassVar[bool] = True
    told_apart_by: ClassVar[str] = "key_prefix"

    max_channels: int = setting(uncounted, default=0)
    # It may hold a password, which reports of errors shall not show.
    url: str | None = setting(redis_url, default=None, repr=False)
    host: str = setting(text, default="127.0.0.1")
    port: int = setting(port, default=6379)
    database: int = setting(count, default=0)
    username: str | None = setting(secret, default=None, repr=False)
    password: str | None = setting(secret, default=None, repr=False)
    key_prefix: str = setting(key_prefix, default="pushserver:")

    @property
    def address(self) -> str:
        """Where Redis is, as a URL that does not show its password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = self.url or f"redis://{host}:{self.port}/{self.database}"
        if self.username is None and self.password is None:
            return SecretText(url)
        return SecretText(
            "{0}://{user}:{password}@{2}".format(
                *url.partition("://"),
                user=quote(self.username or "", safe=""),
                password=quote(self.password or "", safe=""),
            )
        )


@dataclass(frozen=True)
class ChannelLayerStoreSettings(StoreSettings):
    """A store in the memory of each process, with a channel layer between them.

    Attributes:
        alias: The layer, in ``CHANNEL_LAYERS``.
        group: Processes with the same group share their messages.
    """

    told_apart_by: ClassVar[str] = "group"

    alias: str = setting(layer, default="default")
    group: str = setting(text, default="pushserver")

    @property
    def address(self) -> str:
        return self.alias

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """Whether the layer reaches other processes."""
        return "InMemory" not in settings.CHANNEL_LAYERS[self.alias]["BACKEND"]


STORE_TYPES: dict[str, type[StoreSettings]] = {
    "memory": MemoryStoreSettings,
    "redis": RedisStoreSettings,
    "channel_layer": ChannelLayerStoreSettings,
}


@dataclass(frozen=True)
class Location:
    """A set of URLs, each for one channel.

    Attributes:
        url: Matches the whole path; its one group is the channel id.
        store: The name of the store that keeps the messages.
        max_channel_id_length: Characters; a longer id is refused. 0 for no limit.
    """

    type: str = setting(one_of("publisher", "subscriber"))
    url: re.Pattern[str] = setting(regex)
    store: str = setting(text, default="default")
    max_channel_id_length: int = setting(count, default=512)


@dataclass(frozen=True)
class PublisherLocation(Location):
    """Where messages are published.

    Attributes:
        create_on_post: Whether a POST creates a channel that does not exist.
        store_messages: Whether messages are kept for who asks later.
        max_message_size: Bytes; a longer body is refused. 0 for no limit.
        allow_from: The networks that may publish, and whether clients of unix sockets
            may; None for any address.
        allow_origin: Origins of other sites whose pages may publish, or ``('*',)``.
    """

    create_on_post: bool = setting(flag, default=True)
    store_messages: bool = setting(flag, default=True)
    max_message_size: int = setting(count, default=1_048_576)
    allow_from: AllowedClients | None = setting(
        addresses, default_factory=internal_addresses
    )
    allow_origin: tuple[str, ...] = setting(origins, default=())


@dataclass(frozen=True)
class SubscriberLocation(Location):
    """Where messages are received.

    Attributes:
        polling: ``long`` holds a request until there is a message, ``interval``
            answers at once.
        create_on_get: Whether a GET creates a channel that does not exist.
        timeout: Seconds for which a request is held, 0 for the longest wait, an hour.
        timeout_status: The status that ends a request held so long.
        concurrency: What happens when two requests are held on one channel:
            ``broadcast`` holds both, ``last`` ends the older ones with 409, ``first``
            refuses the newcomer with 409.
        allow_origin: Origins whose pages may read the answers, or ``('*',)``.
        allow_credentials: Whether those pages may send cookies.
        passthrough: The path of the Django view that hears who comes and goes.
        inline: Whether a browser may run a message that is opened at its URL, as it
            runs a page of the site.
    """

    polling: str = setting(one_of("long", "interval"), default="long")
    create_on_get: bool = setting(flag, default=False)
    timeout: float = setting(seconds, default=55)
    timeout_status: int = setting(one_of(304, 408), default=304)
    concurrency: str = setting(
        one_of("broadcast", "last", "first"), default="broadcast"
    )
    allow_origin: tuple[str, ...] = setting(origins, default=())
    allow_credentials: bool = setting(flag, default=False)
    passthrough: str | None = setting(path, default=None)
    inline: bool = setting(flag, default=False)


LOCATION_TYPES: dict[str, type[Location]] = {
    "publisher": PublisherLocation,
    "subscriber": SubscriberLocation,
}

DEFAULT_LOCATIONS = (
    {"type": "publisher", "prefix": "/publisher/"},
    {"type": "subscriber", "prefix": "/subscriber/"},
)


def _read_host(place: str, raw: object) -> Host:
    return read_section(Host, place, {"location": raw} if isinstance(raw, str) else raw)


def _read_store(place: str, raw: object) -> StoreSettings:
    if not isinstance(raw, Mapping):
        raise InvalidSetting(
            place, f"is {raw!r}", "A store is a dict, as in {'type': 'memory'}."
        )
    if "type" not in raw:
        raise InvalidSetting(place, "has no 'type'", "Add 'type': 'memory'.")
    kind = one_of(*STORE_TYPES)(f"{place}['type']", raw["type"])
    for key in ("host", "port", "database"):
        if raw.get("url") is not None and raw.get(key) is not None:
            raise InvalidSetting(
                f"{place}[{key!r}]", "is given beside a 'url'", "Write it into the URL."
            )
    for key in ("username", "password"):
        if raw.get(key) is not None and "@" in str(raw.get("url") or ""):
            raise InvalidSetting(
                f"{place}[{key!r}]",
                "is given beside a 'url' that has a user or a password itself",
                "Take them out of the URL.",
            )
    store = read_section(STORE_TYPES[kind], place, raw)
    if 0 < store.max_messages < store.min_messages:
        raise InvalidSetting(
            f"{place}['min_messages']",
            f"is {store.min_messages}, more than max_messages ({store.max_messages})",
            "Keep at least as many at most as at least.",
        )
    return store


def _read_stores(place: str, raw: object) -> Mapping[str, StoreSettings]:
    """Return stores by name, from one store or from a dict of named stores."""
    if isinstance(raw, Mapping) and any(
        isinstance(each, Mapping) for each in raw.values()
    ):
        stores = {
            name: _read_store(f"{place}[{name!r}]", store)
            for name, store in raw.items()
        }
    else:
        stores = {"default": _read_store(place, raw)}
    _check_apart(place, stores)
    return MappingProxyType(stores)


def _check_apart(place: str, stores: Mapping[str, StoreSettings]) -> None:
    """Raise :class:`InvalidSetting` if two stores would have the same messages."""
    names: dict[tuple[str, str, object], str] = {}
    for name, store in stores.items():
        if not store.told_apart_by:
            continue
        what = (store.type, store.address, getattr(store, store.told_apart_by))
        if what in names:
            raise InvalidSetting(
                f"{place}[{name!r}]",
                f"is in the same place as the store {names[what]!r}, so that they"
                " would share their channels",
                f"Give each of them a {store.told_apart_by!r} of its own.",
            )
        names[what] = name


def _read_location(place: str, raw: object) -> Location:
    if not isinstance(raw, Mapping):
        raise InvalidSetting(place, f"is {raw!r}", "A location is a dict.")
    raw = dict(raw)
    if "type" not in raw:
        raise InvalidSetting(
            place, "has no 'type'", "Add 'type': 'publisher' or 'type': 'subscriber'."
        )
    kind = one_of(*LOCATION_TYPES)(f"{place}['type']", raw["type"])
    prefix = raw.pop("prefix", None)
    if raw.get("url") is None:
        if prefix is None:
            raise InvalidSetting(
                place, "has no 'url'", "Add a 'url' pattern or a 'prefix'."
            )
        raw["url"] = text(f"{place}['prefix']", prefix) + "(.+)"
        regex(f"{place}['prefix']", raw["url"])  # A mistake in it is told as its own.
    location = read_section(LOCATION_TYPES[kind], place, raw)
    if isinstance(location, SubscriberLocation) and location.allow_credentials:
        if location.allow_origin == ("*",):
            raise InvalidSetting(
                f"{place}['allow_credentials']",
                "cannot be True where allow_origin is '*'",
                "Browsers refuse that; name the origins whose pages may send cookies.",
            )
        if not location.allow_origin:
            raise InvalidSetting(
                f"{place}['allow_credentials']",
                "is True but there is no allow_origin",
                "Name the origins whose pages may send cookies.",
            )
    return location


def _read_locations(place: str, raw: object) -> tuple[Location, ...]:
    if not isinstance(raw, list | tuple):
        raise InvalidSetting(
            place,
            f"is {raw!r}",
            "It must be a list of locations; a tuple of one ends with a comma.",
        )
    return tuple(
        _read_location(f"{place}[{index}]", location)
        for index, location in enumerate(raw)
    )


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
        _read_stores,
        default_factory=lambda: _read_stores("", {"type": "memory"}),
    )
    locations: tuple[Location, ...] = setting(
        _read_locations,
        default_factory=lambda: _read_locations("", DEFAULT_LOCATIONS),
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
                nearest(location.store, conf.store)
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
    if change["setting"] in ("PUSH_SERVER", "INTERNAL_IPS", "CHANNEL_LAYERS"):
        get_settings.cache_clear()


setting_changed.connect(_forget)
