"""The locations of ``PUSH_SERVER``: a dataclass of settings for each type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pushserver.addresses import AllowedClients

from .readers import (
    InvalidSetting,
    addresses,
    count,
    flag,
    internal_addresses,
    one_of,
    origins,
    path,
    read_section,
    regex,
    seconds,
    setting,
    text,
)

#: The polls, by the setting that chooses one, each with the dotted path of its
#: consumer. It answers what no other transport does.
POLLS = {
    "long": "pushserver_channels.consumers.long_poll.LongPollConsumer",
    "interval": "pushserver_channels.consumers.interval_poll.IntervalPollConsumer",
}

#: What serves subscribers besides the polls: a name, and the dotted path of a consumer
#: whose ``accepts()`` tells which requests are for it.
TRANSPORTS: dict[str, str] = {}


@dataclass(frozen=True)
class Location:
    """A set of URLs, each for one channel.

    Attributes:
        name: Its name, None for none; no other location has it.
        url: Matches the whole path; its one group is the channel id.
        store: The name of the store that keeps the messages.
        max_channel_id_length: Characters; a longer id is refused. 0 for no limit.
    """

    type: str = setting(one_of("publisher", "subscriber"))
    url: re.Pattern[str] = setting(regex)
    name: str | None = setting(text, default=None)
    store: str = setting(text, default="default")
    max_channel_id_length: int = setting(count, default=512)

    @property
    def consumers(self) -> tuple[str, ...]:
        """Dotted paths of its consumers; the first that accepts a request answers."""
        raise TypeError("Each type of location names its own.")


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

    @property
    def consumers(self) -> tuple[str, ...]:
        return ("pushserver_channels.consumers.publisher.PublisherConsumer",)


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

    polling: str = setting(one_of(*POLLS), default="long")
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

    @property
    def consumers(self) -> tuple[str, ...]:
        others = TRANSPORTS.values() if self.polling == "long" else ()
        return (*others, POLLS[self.polling])


LOCATION_TYPES: dict[str, type[Location]] = {
    "publisher": PublisherLocation,
    "subscriber": SubscriberLocation,
}

DEFAULT_LOCATIONS = (
    {"type": "publisher", "prefix": "/publisher/"},
    {"type": "subscriber", "prefix": "/subscriber/"},
)


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


def read_locations(place: str, raw: object) -> tuple[Location, ...]:
    if not isinstance(raw, list | tuple):
        raise InvalidSetting(
            place,
            f"is {raw!r}",
            "It must be a list of locations; a tuple of one ends with a comma.",
        )
    locations = tuple(
        _read_location(f"{place}[{index}]", location)
        for index, location in enumerate(raw)
    )
    _check_names(place, locations)
    return locations


def _check_names(place: str, locations: Iterable[Location]) -> None:
    """Raise :class:`InvalidSetting` if two locations have one name."""
    indexes: dict[str, int] = {}
    for index, location in enumerate(locations):
        if location.name is None:
            continue
        first = indexes.setdefault(location.name, index)
        if first != index:
            raise InvalidSetting(
                f"{place}[{index}]['name']",
                f"is {location.name!r}, as that of location {first}",
                "Give each location a name of its own, or none.",
            )
