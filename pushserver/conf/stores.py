"""The settings of stores: a dataclass for each type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, NamedTuple
from urllib.parse import quote

from django.conf import settings

from pushserver.passwords import SecretText

from .readers import (
    InvalidSetting,
    count,
    key_prefix,
    layer,
    no_channel_limit,
    no_size_limit,
    one_of,
    port,
    read_section,
    redis_url,
    seconds,
    secret,
    setting,
    text,
)


@dataclass(frozen=True)
class StoreSettings:
    """How many messages of a channel are kept, and for how long.

    Attributes:
        type: The type of the store.
        min_messages: The number of messages of a channel that are kept whatever their
            age.
        max_messages: The most messages kept per channel, 0 for no limit.
        message_timeout: Seconds for which a message is kept, 0 for no limit.
        channel_timeout: Seconds after which a channel without messages, subscribers and
            requests is removed, 0 for never.
        max_channels: The most channels, 0 for no limit. Channels that only requests of
            subscribers created do not count.
        max_empty_channels: The most channels of the latter kind, 0 for no limit.
        max_bytes: The most bytes that all kept messages may take, 0 for no limit.
    """

    #: Whether other processes have the same messages.
    shared: ClassVar[bool] = False
    #: The setting that separates stores at one address, empty if none is needed.
    namespace_setting: ClassVar[str] = ""

    type: str = setting(text)
    min_messages: int = setting(count, default=0)
    max_messages: int = setting(count, default=0)
    message_timeout: float = setting(seconds, default=0)
    channel_timeout: float = setting(seconds, default=3600)
    max_channels: int = setting(count, default=0)
    max_empty_channels: int = setting(count, default=100_000)
    max_bytes: int = setting(count, default=268_435_456)

    @property
    def address(self) -> str:
        """The address of the store."""
        return ""

    @property
    def namespace(self) -> str:
        """What separates the store from others at its address."""
        if not self.namespace_setting:
            return ""
        namespace: str = getattr(self, self.namespace_setting)
        return namespace

    @property
    def revocations_namespace(self) -> str:
        """The same for the store that has its revocations."""
        return f"{self.namespace}.revocations"

    @property
    def dashboard_namespace(self) -> str:
        """The same for the store by which dashboards ask its processes."""
        return f"{self.namespace}.dashboard"

    def beside(
        self, namespace: str, message_timeout: float, channel_timeout: float = 0
    ) -> StoreSettings:
        """Return the settings of a store beside this one, without its limits.

        Args:
            namespace: What separates the two, if anything has to.
            message_timeout: Seconds for which a message is kept.
            channel_timeout: Seconds after which a channel that is not used is removed,
                0 for never.
        """
        names = {self.namespace_setting: namespace} if self.namespace_setting else {}
        return replace(
            self,
            **names,
            min_messages=0,
            max_messages=0,
            message_timeout=message_timeout,
            channel_timeout=channel_timeout,
            max_channels=0,
            max_empty_channels=0,
            max_bytes=0,
        )


@dataclass(frozen=True)
class MemoryStoreSettings(StoreSettings):
    """A store in the memory of this process."""


@dataclass(frozen=True)
class RedisStoreSettings(StoreSettings):
    """A store in Redis, for any number of processes.

    Attributes:
        url: The URL of Redis: ``redis://``, ``rediss://`` or ``unix://``. With
            ``+sentinel`` or ``+cluster`` after the scheme it may name several hosts.
        host: The host, if there is no URL.
        port: The port, if there is no URL.
        database: The number of the database, if there is no URL.
        username: The user name, if it is not in the URL.
        password: The password, if it is not in the URL, without percent-encoding.
        key_prefix: The prefix of all keys and pub/sub channels.
    """

    shared: ClassVar[bool] = True
    namespace_setting: ClassVar[str] = "key_prefix"

    max_channels: int = setting(no_channel_limit, default=0)
    max_bytes: int = setting(no_size_limit, default=0)
    # repr=False, because it may hold a password, which error reports must not show.
    url: str | None = setting(redis_url, default=None, repr=False)
    host: str = setting(text, default="127.0.0.1")
    port: int = setting(port, default=6379)
    database: int = setting(count, default=0)
    username: str | None = setting(secret, default=None, repr=False)
    password: str | None = setting(secret, default=None, repr=False)
    key_prefix: str = setting(key_prefix, default="pushserver:")

    @property
    def address(self) -> str:
        """The URL of Redis, as a string whose ``repr()`` hides the password."""
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

    @property
    def revocations_namespace(self) -> str:
        return f"{self.namespace}revocations:"

    @property
    def dashboard_namespace(self) -> str:
        return f"{self.namespace}dashboard:"


@dataclass(frozen=True)
class ChannelLayerStoreSettings(StoreSettings):
    """A store in the memory of each process, with a channel layer between them.

    Attributes:
        alias: The name of the layer in ``CHANNEL_LAYERS``.
        group: The name that separates stores on one layer: processes with the same
            group share their messages.
    """

    namespace_setting: ClassVar[str] = "group"

    alias: str = setting(layer, default="default")
    group: str = setting(text, default="pushserver")

    @property
    def address(self) -> str:
        return self.alias

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """Whether the layer delivers to other processes."""
        return "InMemory" not in settings.CHANNEL_LAYERS[self.alias]["BACKEND"]


class StoreType(NamedTuple):
    """A type of store.

    Attributes:
        settings: The dataclass of its settings.
        store: The dotted path of the class of the store.
    """

    settings: type[StoreSettings]
    store: str


#: The types of stores, by the value of ``type``.
STORE_TYPES = {
    "memory": StoreType(
        MemoryStoreSettings, "pushserver_channels.stores.memory.MemoryStore"
    ),
    "redis": StoreType(
        RedisStoreSettings, "pushserver_channels.stores.redis.RedisStore"
    ),
    "channel_layer": StoreType(
        ChannelLayerStoreSettings, "pushserver_channels.stores.layer.ChannelLayerStore"
    ),
}


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
    store = read_section(STORE_TYPES[kind].settings, place, raw)
    if 0 < store.max_messages < store.min_messages:
        raise InvalidSetting(
            f"{place}['min_messages']",
            f"is {store.min_messages}, more than max_messages ({store.max_messages})",
            "Set max_messages to at least min_messages.",
        )
    return store


def read_stores(place: str, raw: object) -> Mapping[str, StoreSettings]:
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
    _check_distinct(place, stores)
    return MappingProxyType(stores)


def _check_distinct(place: str, stores: Mapping[str, StoreSettings]) -> None:
    """Raise :class:`InvalidSetting` if two stores would share their messages.

    The revocations of a store are in another one, beside it, and so is what dashboards
    ask its processes.
    """
    names: dict[tuple[str, str, str], str] = {}
    for name, store in stores.items():
        if not store.namespace_setting:
            continue
        spaces = [
            (store.type, store.address, each)
            for each in (
                store.namespace,
                store.revocations_namespace,
                store.dashboard_namespace,
            )
        ]
        other = next((names[each] for each in spaces if each in names), None)
        if other is not None:
            raise InvalidSetting(
                f"{place}[{name!r}]",
                f"has the same address as the store {other!r}, so that they"
                " would share their channels",
                f"Give each of them a {store.namespace_setting!r} of its own.",
            )
        names.update(dict.fromkeys(spaces, name))
