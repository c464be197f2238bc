"""The settings of locations: a dataclass for each type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pushserver.addresses import AllowedClients

from .base_location import Location
from .monitoring import HealthLocation, MetricsLocation, MonitoringLocation
from .readers import (
    InvalidSetting,
    addresses,
    count,
    dotted_path,
    first_message,
    flag,
    internal_addresses,
    names_of,
    one_of,
    origins,
    path,
    read_section,
    regex,
    seconds,
    separator,
    setting,
    text,
)

#: The dotted path of the consumer for each value of ``polling``. It answers the
#: requests that no other transport accepts.
POLLS = {
    "long": "pushserver_channels.consumers.long_poll.LongPollConsumer",
    "interval": "pushserver_channels.consumers.interval_poll.IntervalPollConsumer",
}

#: The name of the polls in ``transports``.
POLL = "poll"

#: Other transports of subscriber locations: the name in ``transports``, and the dotted
#: path of the consumer, whose ``accepts()`` decides which requests it answers.
TRANSPORTS = {
    "websocket": "pushserver_channels.consumers.websocket.WebSocketConsumer",
    "eventsource": "pushserver_channels.consumers.event_source.EventSourceConsumer",
}

#: The consumers that refuse a transport which a location does not allow. A WebSocket is
#: refused if no consumer accepts it.
REFUSALS = {
    POLL: "pushserver_channels.consumers.refusal.RefusedPollConsumer",
    "eventsource": "pushserver_channels.consumers.refusal.RefusedEventSourceConsumer",
}

#: The poll of one channel at a location with presence, and the notice of a page that
#: it is hidden.
PRESENCE_POLL = "pushserver_channels.consumers.presence_poll.PresencePollConsumer"
PRESENCE_NOTICE = "pushserver_channels.consumers.presence_notice.PresenceNoticeConsumer"

#: The poll of several channels.
POLL_OF_SEVERAL = "pushserver_channels.consumers.several_poll.SeveralPollConsumer"


def _transports() -> tuple[str, ...]:
    return (POLL, *TRANSPORTS)


@dataclass(frozen=True)
class PublisherLocation(Location):
    """A location where messages are published.

    Attributes:
        create_on_post: Whether a POST creates a channel that does not exist.
        store_messages: Whether messages are kept for later requests.
        max_message_size: The most bytes of a message, 0 for no limit.
        allow_from: The networks that may publish, and whether clients of unix sockets
            may; None if every client may.
        allow_origin: The origins of other sites whose pages may publish, or ``('*',)``.
        signed: Whether a token of ``publisher_token()`` lets a client publish whose
            address is not in ``allow_from``.
    """

    create_on_post: bool = setting(flag, default=True)
    store_messages: bool = setting(flag, default=True)
    max_message_size: int = setting(count, default=1_048_576)
    allow_from: AllowedClients | None = setting(
        addresses, default_factory=internal_addresses
    )
    allow_origin: tuple[str, ...] = setting(origins, default=())
    signed: bool = setting(flag, default=False)

    @property
    def consumers(self) -> tuple[str, ...]:
        return ("pushserver_channels.consumers.publisher.PublisherConsumer",)


@dataclass(frozen=True)
class SubscriberLocation(Location):
    """A location where messages are received.

    Attributes:
        polling: ``long`` holds a request until there is a message, ``interval``
            answers at once.
        create_on_get: Whether a GET creates a channel that does not exist.
        timeout: Seconds for which a request is held, 0 for one hour.
        timeout_status: The status of the answer after ``timeout``.
        concurrency: What happens if several requests are held on one channel:
            ``broadcast`` holds all, ``last`` ends the older ones with 409, ``first``
            refuses the newer ones with 409.
        allow_origin: The origins whose pages may read the answers, or ``('*',)``.
        allow_credentials: Whether those pages may send cookies.
        passthrough: The path of the Django view that is notified of subscribers.
        inline: Whether a browser may run a message that is opened at its URL as a page
            of the site.
        transports: The names of the transports that it allows; see :attr:`allowed`.
        separator: The character between the ids of several channels in one URL, None
            if a URL has one channel.
        first_message: Where a client begins that names no position: ``oldest``,
            ``newest``, or a negative number, as -5 for the last five messages.
        event: ``channel`` if each event of a stream is named after its channel.
        keep_alive: Seconds after which a comment is sent on an idle stream, 0 for
            never.
        stream_duration: Seconds after which a stream ends, 0 for never.
        stream_budget: The most unsent bytes of a stream, if the server's ``send`` does
            not wait for the client; 0 for no limit.
        authorize: The dotted path of the site's function that decides who may listen,
            None for none.
        signed: Whether a token is needed to listen. None, until the default is applied,
            for the setting of the same name of ``PUSH_SERVER``.
        public: Whether everybody may listen although another location of the store
            restricts it.
        presence: Whether the channel ``presence:<channel_id>`` tells who is on a
            channel.
        presence_grace: Seconds after which a member has left whose last connection or
            held request has ended.
        presence_hidden_grace: The same for a page that has said that it is hidden.
        presence_limit: The most members of a channel that are named; of more only the
            number is told. 0 for no limit.
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
    transports: tuple[str, ...] = setting(names_of(_transports), default=())
    separator: str | None = setting(separator, default=None)
    first_message: str | int = setting(first_message, default="oldest")
    event: str | None = setting(one_of("channel"), default=None)
    keep_alive: float = setting(seconds, default=25)
    stream_duration: float = setting(seconds, default=600)
    stream_budget: int = setting(count, default=1_048_576)
    authorize: str | None = setting(dotted_path, default=None)
    signed: bool | None = setting(flag, default=None)
    public: bool = setting(flag, default=False)
    presence: bool = setting(flag, default=False)
    presence_grace: float = setting(seconds, default=15)
    presence_hidden_grace: float = setting(seconds, default=75)
    presence_limit: int = setting(count, default=1000)

    @property
    def is_guarded(self) -> bool:
        """Whether not everybody may listen."""
        return bool(self.authorize or self.signed)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The names of the transports that it allows, all of them by default."""
        if self.polling == "interval":
            return (POLL,)
        return self.transports or _transports()

    @property
    def consumers(self) -> tuple[str, ...]:
        return self._list_consumers(
            PRESENCE_POLL if self.presence else POLLS[self.polling]
        )

    @property
    def consumers_of_several(self) -> tuple[str, ...]:
        if self.separator is None:
            return ()
        return self._list_consumers(POLL_OF_SEVERAL)

    def _list_consumers(self, poll: str) -> tuple[str, ...]:
        paths = {**TRANSPORTS, POLL: poll}
        refusals = {each: REFUSALS.get(each) for each in paths}
        chosen = {
            each: path if each in self.allowed else refusals[each]
            for each, path in paths.items()
        }
        found = tuple(path for path in chosen.values() if path is not None)
        return (PRESENCE_NOTICE, *found) if self.presence else found


LOCATION_TYPES: dict[str, type[Location]] = {
    "publisher": PublisherLocation,
    "subscriber": SubscriberLocation,
    "metrics": MetricsLocation,
    "health": HealthLocation,
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
    kind: str = one_of(*LOCATION_TYPES)(f"{place}['type']", raw["type"])
    if issubclass(LOCATION_TYPES[kind], MonitoringLocation):
        return read_section(LOCATION_TYPES[kind], place, raw)
    prefix = raw.pop("prefix", None)
    if raw.get("url") is None:
        if prefix is None:
            raise InvalidSetting(
                place, "has no 'url'", "Add a 'url' pattern or a 'prefix'."
            )
        raw["url"] = text(f"{place}['prefix']", prefix) + "(.+)"
        regex(f"{place}['prefix']", raw["url"])  # An error names the prefix.
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
    if isinstance(location, SubscriberLocation):
        _check_transports(place, location)
    return location


def _check_transports(place: str, location: SubscriberLocation) -> None:
    """Raise :class:`InvalidSetting` if interval polling has other transports."""
    others = [each for each in location.transports if each != POLL]
    if others and location.polling == "interval":
        raise InvalidSetting(
            f"{place}['transports']",
            f"holds {others[0]!r} beside 'polling': 'interval'",
            "There only 'poll' is possible; leave 'polling' out.",
        )


def read_locations(place: str, raw: object) -> tuple[Location, ...]:
    """Return the locations from a list of dicts, or raise :class:`InvalidSetting`."""
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
    """Raise :class:`InvalidSetting` if two locations have the same name."""
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
