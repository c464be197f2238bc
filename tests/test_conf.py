from __future__ import annotations

import dataclasses
import math
import re
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pushserver.addresses import LOOPBACK
from pushserver.conf import (
    Host,
    Location,
    PublisherLocation,
    SubscriberLocation,
    get_settings,
    read_settings,
)
from pushserver.conf.readers import InvalidSetting
from pushserver.paths import match_channel

# fmt: off
#: The block of the documentation of django-pushserver 0.3, word for word.
OLD_BLOCK = {
    'port': 8001,
    'address': '127.0.0.1',
    'publisher_host': {'location': '127.0.0.1:8001', 'secure': True},
    'subscriber_host': {'location': '127.0.0.1:8001', 'secure': False},
    'store': {'type': 'memory', 'min_messages': 0, 'max_messages': 100, 'message_timeout': 10},  # noqa: E501
    'locations': (
        {'type': 'subscriber', 'url': r'/updates/([^/]+)', 'polling': 'long', 'create_on_get': True,  # noqa: E501
         'allow_origin': 'http://127.0.0.1:8000', 'allow_credentials': True,
         'passthrough': 'http://127.0.0.1:8000/passthrough'},
        {'type': 'publisher', 'url': r'/send-update/([^/]+)'},
    ),
}
# fmt: on


def subscriber(**keys: Any) -> dict[str, Any]:
    """Return a block with one subscriber location."""
    return {"locations": [{"type": "subscriber", "url": "/updates/(.+)", **keys}]}


def publisher(**keys: Any) -> dict[str, Any]:
    """Return a block with one publisher location."""
    return {"locations": [{"type": "publisher", "url": "/send-update/(.+)", **keys}]}


def store(**keys: Any) -> dict[str, Any]:
    """Return a block with one store."""
    return {"store": {"type": "memory", **keys}}


def location(block: dict[str, Any]) -> Any:
    """Return the first location of a block, as it was read."""
    return read_settings(block).locations[0]


FIRST = "['locations'][0]"

# What stands there, where it stands after PUSH_SERVER, and words of the sentence.
WRONG: list[tuple[Any, str, str]] = [
    (None, "", "must be a dict"),
    ([], "", "must be a dict"),
    ("memory", "", "must be a dict"),
    # Keys
    ({"locatons": ()}, "['locatons']", "Did you mean 'locations'?"),
    ({"LOCATIONS": ()}, "['LOCATIONS']", "Known are address, port"),
    ({1: 2}, "[1]", "not a known setting"),
    (store(max_mesages=1), "['store']['max_mesages']", "Did you mean 'max_messages'?"),
    (subscriber(pollin="long"), FIRST + "['pollin']", "Did you mean 'polling'?"),
    (publisher(polling="long"), FIRST + "['polling']", "not a known setting"),
    (publisher(create_on_get=True), FIRST + "['create_on_get']", "'create_on_post'?"),
    (publisher(name=7), FIRST + "['name']", "must be a text"),
    (
        {"locations": [{"type": "publisher", "prefix": "/a/", "name": "n"}] * 2},
        "['locations'][1]['name']",
        "that of location 0",
    ),
    (
        {"publisher_host": {"location": "a", "secur": True}},
        "['publisher_host']['secur']",
        "Did you mean 'secure'?",
    ),
    # Where to listen and where to find it
    ({"port": "8001"}, "['port']", "is '8001'"),
    ({"port": 0}, "['port']", "from 1 to 65535"),
    ({"port": 65536}, "['port']", "from 1 to 65535"),
    ({"port": -1}, "['port']", "is -1"),
    ({"port": True}, "['port']", "is True"),
    ({"port": 8001.0}, "['port']", "whole number"),
    ({"address": 127}, "['address']", "must be a text"),
    ({"address": b"127.0.0.1"}, "['address']", "must be a text"),
    ({"address": ""}, "['address']", "is ''"),
    ({"address": "not an address"}, "['address']", "not an address"),
    ({"address": "127.0.0.1:8001"}, "['address']", "127.0.0.1:8001"),
    ({"publisher_host": 8001}, "['publisher_host']", "is 8001"),
    ({"publisher_host": ""}, "['publisher_host']", "is ''"),
    ({"publisher_host": {}}, "['publisher_host']", "has no 'location'"),
    (
        {"subscriber_host": {"location": None}},
        "['subscriber_host']['location']",
        "is None",
    ),
    (
        {"subscriber_host": {"location": "a", "secure": 1}},
        "['subscriber_host']['secure']",
        "True or False",
    ),
    ({"publisher_host": "http://a:8001"}, "['publisher_host']", "http://a:8001"),
    ({"publisher_host": "127.0.0.1:80/"}, "['publisher_host']", "127.0.0.1:80/"),
    ({"publisher_host": "127.0.0.1:http"}, "['publisher_host']", "127.0.0.1:http"),
    ({"publisher_host": "127.0.0.1:99999"}, "['publisher_host']", "99999"),
    ({"publisher_host": "127.0.0.1:\u0668\u0660"}, "['publisher_host']", "127.0.0.1:"),
    ({"publisher_host": "[::::]:80"}, "['publisher_host']", "[::::]"),
    ({"publisher_host": "me@push"}, "['publisher_host']", "me@push"),
    ({"subscriber_host": "push server"}, "['subscriber_host']", "push server"),
    ({"subscriber_host": "[::1"}, "['subscriber_host']", "[::1"),
    ({"servername": "x\r\nSet-Cookie: y"}, "['servername']", "printable ASCII"),
    ({"servername": "käse"}, "['servername']", "printable ASCII"),
    ({"servername": 1}, "['servername']", "must be a text"),
    ({"publisher": "Direct"}, "['publisher']", "Did you mean 'direct'?"),
    ({"publisher": "celery"}, "['publisher']", "'auto', 'direct', 'http'"),
    ({"publisher_timeout": -1}, "['publisher_timeout']", "is -1"),
    ({"publisher_timeout": "5"}, "['publisher_timeout']", "number of seconds"),
    ({"publisher_timeout": math.nan}, "['publisher_timeout']", "nan"),
    ({"publisher_timeout": math.inf}, "['publisher_timeout']", "inf"),
    ({"publisher_timeout": 1e300}, "['publisher_timeout']", "1e+300"),
    # Stores
    ({"store": "memory"}, "['store']", "A store is a dict"),
    ({"store": {}}, "['store']", "has no 'type'"),
    ({"store": {"type": "memry"}}, "['store']['type']", "Did you mean 'memory'?"),
    ({"store": {"type": "disk"}}, "['store']['type']", "is 'disk'"),
    ({"store": {"type": None}}, "['store']['type']", "is None"),
    ({"store": {"max_messages": 5}}, "['store']", "has no 'type'"),
    ({"store": {"default": {}}}, "['store']['default']", "has no 'type'"),
    (
        {"store": {"default": {"type": "memory", "max_messages": "1"}}},
        "['store']['default']['max_messages']",
        "whole number",
    ),
    ({"store": {"other": {"type": "memory"}}}, "", "'default'"),
    (store(max_messages=-1), "['store']['max_messages']", "0 or more"),
    (store(max_messages=1.5), "['store']['max_messages']", "whole number"),
    (store(min_messages=3, max_messages=2), "['store']['min_messages']", "(2)"),
    (store(message_timeout="10"), "['store']['message_timeout']", "is '10'"),
    (store(message_timeout=math.nan), "['store']['message_timeout']", "nan"),
    (store(channel_timeout=False), "['store']['channel_timeout']", "is False"),
    (store(max_channels="many"), "['store']['max_channels']", "is 'many'"),
    # Locations
    ({"locations": {"type": "publisher"}}, "['locations']", "a list of locations"),
    ({"locations": "/updates/(.+)"}, "['locations']", "a list of locations"),
    ({"locations": 1}, "['locations']", "a list of locations"),
    ({"locations": [None]}, FIRST, "is None"),
    ({"locations": ["/updates/(.+)"]}, FIRST, "is a dict"),
    ({"locations": [{"url": "/(.+)"}]}, FIRST, "has no 'type'"),
    ({"locations": [{"type": "publisher"}]}, FIRST, "has no 'url'"),
    ({"locations": [{"type": "publish", "url": "/(.+)"}]}, FIRST + "['type']", "er'?"),
    ({"locations": [{"type": ["publisher"], "url": "/(.+)"}]}, FIRST + "['type']", "["),
    ({"locations": [{"type": None, "url": "/(.+)"}]}, FIRST + "['type']", "is None"),
    (subscriber(url="/updates/"), FIRST + "['url']", "has 0 groups"),
    (subscriber(url="/(a)/(b)"), FIRST + "['url']", "has 2 groups"),
    (subscriber(url="/updates/(.+"), FIRST + "['url']", "does not compile"),
    (subscriber(url="/updates/(?P<.+)"), FIRST + "['url']", "does not compile"),
    (subscriber(url="/a{99999999999}/(.+)"), FIRST + "['url']", "does not compile"),
    (subscriber(url=b"/updates/(.+)"), FIRST + "['url']", "must be a text"),
    (subscriber(url=re.compile("/(.+)")), FIRST + "['url']", "must be a text"),
    (subscriber(url=""), FIRST + "['url']", "must be a text"),
    ({"locations": [{"type": "publisher", "prefix": 5}]}, FIRST + "['prefix']", "is 5"),
    (
        {"locations": [{"type": "publisher", "prefix": "/a("}]},
        FIRST + "['prefix']",
        "does not compile",
    ),
    (subscriber(polling="wait"), FIRST + "['polling']", "'long', 'interval'"),
    (subscriber(polling="lnog"), FIRST + "['polling']", "Did you mean 'long'?"),
    (subscriber(create_on_get="yes"), FIRST + "['create_on_get']", "True or False"),
    (subscriber(create_on_get=1), FIRST + "['create_on_get']", "is 1"),
    (subscriber(timeout=-0.1), FIRST + "['timeout']", "is -0.1"),
    (subscriber(timeout=math.nan), FIRST + "['timeout']", "nan"),
    (subscriber(timeout_status=200), FIRST + "['timeout_status']", "is 200"),
    (subscriber(timeout_status="304"), FIRST + "['timeout_status']", "304, 408"),
    (subscriber(timeout_status=304.0), FIRST + "['timeout_status']", "304, 408"),
    (subscriber(timeout_status=True), FIRST + "['timeout_status']", "304, 408"),
    (subscriber(concurrency="lsat"), FIRST + "['concurrency']", "'last'?"),
    (subscriber(allow_origin="example.com"), FIRST + "['allow_origin']", "a scheme"),
    (subscriber(allow_origin="http://a/"), FIRST + "['allow_origin']", "http://a/"),
    (subscriber(allow_origin=["http://a", "*"]), FIRST + "['allow_origin']", "alone"),
    (subscriber(allow_origin=["http://a", 5]), FIRST + "['allow_origin']", "holds 5"),
    (subscriber(allow_origin=[]), FIRST + "['allow_origin']", "is []"),
    (subscriber(allow_origin=True), FIRST + "['allow_origin']", "is True"),
    (subscriber(allow_origin="http://a\r\nb"), FIRST + "['allow_origin']", "a scheme"),
    (subscriber(allow_origin="http://a\0b"), FIRST + "['allow_origin']", "a scheme"),
    (
        subscriber(allow_origin="*", allow_credentials=True),
        FIRST + "['allow_credentials']",
        "'*'",
    ),
    (
        subscriber(allow_origin=("*",), allow_credentials=True),
        FIRST + "['allow_credentials']",
        "'*'",
    ),
    (subscriber(allow_credentials=True), FIRST + "['allow_credentials']", "no allow_o"),
    (subscriber(passthrough="passthrough"), FIRST + "['passthrough']", "no path"),
    (subscriber(passthrough="http://a:80"), FIRST + "['passthrough']", "no path"),
    (subscriber(passthrough="http://[::1/x"), FIRST + "['passthrough']", "[::1/x"),
    (subscriber(passthrough="/x?a=1"), FIRST + "['passthrough']", "whose query"),
    (subscriber(passthrough=True), FIRST + "['passthrough']", "must be a text"),
    (subscriber(store="deflt"), FIRST + "['store']", "Did you mean 'default'?"),
    (subscriber(store="x"), FIRST + "['store']", "The stores are 'default'."),
    (subscriber(store=0), FIRST + "['store']", "must be a text"),
    (
        publisher(create_on_post=None, store_messages=0),
        FIRST + "['store_messages']",
        "",
    ),
    (publisher(max_message_size="1M"), FIRST + "['max_message_size']", "is '1M'"),
    (publisher(max_message_size=1e6), FIRST + "['max_message_size']", "whole number"),
    (publisher(max_channel_id_length=-5), FIRST + "['max_channel_id_length']", "-5"),
    (publisher(allow_from="localhost"), FIRST + "['allow_from']", "'localhost'"),
    (publisher(allow_from=["10.0.0.0/33"]), FIRST + "['allow_from']", "10.0.0.0/33"),
    (publisher(allow_from=["any"]), FIRST + "['allow_from']", "or 'any'"),
    (publisher(allow_from=True), FIRST + "['allow_from']", "is True"),
    (publisher(allow_from=[1]), FIRST + "['allow_from']", "no address"),
    (publisher(allow_from={"10.0.0.1": 1}), FIRST + "['allow_from']", "a list"),
]


@pytest.mark.parametrize(
    ("block", "place", "words"),
    WRONG,
    ids=[f"{place or 'block'}-{words}" for _, place, words in WRONG],
)
def test_a_wrong_setting_is_a_sentence_that_names_its_place(
    block: Any, place: str, words: str, settings: LazySettings
) -> None:
    """A mistake is ImproperlyConfigured: where it is, what it is, what to write."""
    settings.PUSH_SERVER = block
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    sentence = str(caught.value)
    assert sentence.startswith(f"PUSH_SERVER{place}")
    assert words in sentence
    assert sentence[-1] in ".?"
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("block", "place"),
    [
        (subscriber(timeout_status="304"), FIRST + "['timeout_status']"),
        (subscriber(polling=["long"]), FIRST + "['polling']"),
    ],
)
def test_a_hint_offers_nothing_that_stands_there_already(
    block: Any, place: str
) -> None:
    """Of a value of the wrong type, the hint shows the right ones as Python does."""
    with pytest.raises(InvalidSetting) as caught:
        read_settings(block)
    assert caught.value.place == f"PUSH_SERVER{place}"
    assert not caught.value.hint.startswith("Did you mean")


def test_the_second_location_is_called_the_second() -> None:
    """The place counts locations as Python does."""
    block = {**publisher()}
    block["locations"] += subscriber(polling="no")["locations"]
    with pytest.raises(InvalidSetting, match=re.escape("['locations'][1]['polling']")):
        read_settings(block)


def test_a_mistake_is_told_each_time(settings: LazySettings) -> None:
    """Who asks again for wrong settings gets the same error, not a half-read block."""
    settings.PUSH_SERVER = {"port": "x"}
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="port"):
            get_settings()


def test_the_old_block_is_accepted_word_for_word() -> None:
    """The block that all old sites have copied means what it meant."""
    conf = read_settings(OLD_BLOCK)
    assert (conf.address, conf.port) == ("127.0.0.1", 8001)
    assert conf.publisher_host == Host("127.0.0.1:8001", secure=True)
    assert conf.publisher_host.url == "https://127.0.0.1:8001"
    assert conf.subscriber_host == Host("127.0.0.1:8001", secure=False)
    assert conf.subscriber_host.url == "http://127.0.0.1:8001"
    kept = conf.store["default"]
    assert (kept.min_messages, kept.max_messages, kept.message_timeout) == (0, 100, 10)
    first, second = conf.locations
    assert isinstance(first, SubscriberLocation)
    assert first.url.pattern == r"/updates/([^/]+)"
    assert (first.polling, first.create_on_get) == ("long", True)
    assert first.allow_origin == ("http://127.0.0.1:8000",)
    assert first.allow_credentials
    assert first.passthrough == "/passthrough"
    assert isinstance(second, PublisherLocation)
    assert second.create_on_post


def test_no_setting_is_all_defaults(settings: LazySettings) -> None:
    """A site without PUSH_SERVER publishes and subscribes at the default locations."""
    del settings.PUSH_SERVER
    conf = get_settings()
    assert conf == read_settings({})
    publishing, subscribing = conf.locations
    assert isinstance(publishing, PublisherLocation)
    assert isinstance(subscribing, SubscriberLocation)
    assert publishing.url.pattern == "/publisher/(.+)"
    assert subscribing.url.pattern == "/subscriber/(.+)"
    assert dataclasses.asdict(conf.store["default"]) == {
        "type": "memory",
        "min_messages": 0,
        "max_messages": 0,
        "message_timeout": 0,
        "channel_timeout": 3600,
        "max_channels": 0,
    }
    assert (conf.publisher, conf.publisher_timeout) == ("auto", 5)
    assert (conf.address, conf.port, conf.servername) == (None, None, None)
    assert (conf.publisher_host, conf.subscriber_host) == (None, None)


def test_the_defaults_of_locations_are_those_of_the_protocol() -> None:
    """What a location does not say is as the protocol has it."""
    sends, holds = location(publisher()), location(subscriber())
    assert (sends.create_on_post, sends.store_messages) == (True, True)
    assert sends.max_message_size == 1_048_576
    assert sends.max_channel_id_length == holds.max_channel_id_length == 512
    assert (holds.polling, holds.create_on_get) == ("long", False)
    assert (holds.timeout, holds.timeout_status) == (55, 304)
    assert holds.concurrency == "broadcast"
    assert (holds.allow_origin, holds.allow_credentials) == ((), False)
    assert holds.passthrough is None
    assert sends.store == holds.store == "default"


KEYS: dict[str, list[str]] = {
    "": [field.name for field in dataclasses.fields(read_settings({}))],
    "publisher": [field.name for field in dataclasses.fields(PublisherLocation)],
    "subscriber": [field.name for field in dataclasses.fields(SubscriberLocation)],
}


@pytest.mark.parametrize("key", KEYS[""])
def test_none_stands_for_not_set(key: str) -> None:
    """A key that is None is as if it were not there, as in the old settings."""
    assert read_settings({key: None}) == read_settings({})


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (kind, key)
        for kind in ("publisher", "subscriber")
        for key in KEYS[kind]
        if key not in ("type", "url")
    ],
)
def test_none_in_a_location_stands_for_not_set(kind: str, key: str) -> None:
    """A location's key that is None is as if it were not there."""
    make = {"publisher": publisher, "subscriber": subscriber}[kind]
    assert location(make(**{key: None})) == location(make())


def test_none_in_a_host_or_store_stands_for_not_set() -> None:
    """A key of a host or a store that is None is as if it were not there."""
    host = {"location": "a", "secure": None}
    assert read_settings({"publisher_host": host}).publisher_host == Host("a")
    assert read_settings(store(max_messages=None)) == read_settings(store())
    named = {"locations": [{"type": "publisher", "prefix": "/p/", "url": None}]}
    assert location(named).url.pattern == "/p/(.+)"


@pytest.mark.parametrize("key", ["publisher_host", "subscriber_host"])
@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ({"location": "127.0.0.1:8001"}, "http://127.0.0.1:8001"),
        ({"location": "push.example.com", "secure": True}, "https://push.example.com"),
        ({"location": "[::1]:8001", "secure": False}, "http://[::1]:8001"),
        ("localhost", "http://localhost"),
    ],
)
def test_a_host_is_a_dict_or_a_string(key: str, raw: Any, url: str) -> None:
    """A plain string is a host without TLS."""
    host = getattr(read_settings({key: raw}), key)
    assert host.url == url


def test_stores_have_names() -> None:
    """Of several stores each location picks one, and the default where it says none."""
    conf = read_settings(
        {
            "store": {
                "default": {"type": "memory"},
                "news": {"type": "memory", "max_messages": 1},
            },
            "locations": [
                {"type": "publisher", "prefix": "/a/"},
                {"type": "publisher", "prefix": "/b/", "store": "news"},
            ],
        }
    )
    assert [each.store for each in conf.locations] == ["default", "news"]
    assert conf.store["news"].max_messages == 1
    assert conf.store["default"].max_messages == 0


def test_a_prefix_is_short_for_a_pattern_and_loses_against_one() -> None:
    """A prefix is followed by the id; a url, if there is one, counts alone."""
    short = {"type": "publisher", "prefix": "/p/"}
    assert location({"locations": [short]}).url.pattern == "/p/(.+)"
    both = {**short, "url": "/u/(.+)"}
    assert location({"locations": [both]}).url.pattern == "/u/(.+)"


def test_a_prefix_takes_any_id() -> None:
    """Under a prefix an id may be any text, a line break in it, too."""
    for each in read_settings({}).locations:
        path = f"/{each.type}/a\nb/c"
        assert match_channel(each.url, path) == "a\nb/c"


def test_no_locations_are_none() -> None:
    """An empty list of locations is meant so."""
    conf = read_settings({"locations": []})
    assert conf.locations == ()
    assert conf.first_location(PublisherLocation) is None


def test_the_first_location_of_a_kind_wins() -> None:
    """The first of a kind is found whatever stands between."""
    block = {
        "locations": [
            *subscriber(url="/a/(.+)")["locations"],
            *publisher(url="/b/(.+)")["locations"],
            *subscriber(url="/c/(.+)")["locations"],
            *publisher(url="/d/(.+)")["locations"],
        ]
    }
    conf = read_settings(block)
    for kind, pattern in (
        (SubscriberLocation, "/a/(.+)"),
        (PublisherLocation, "/b/(.+)"),
        (Location, "/a/(.+)"),
    ):
        found = conf.first_location(kind)
        assert found is not None
        assert found.url.pattern == pattern


@pytest.mark.parametrize(
    ("raw", "origins"),
    [
        ("http://127.0.0.1:8000", ("http://127.0.0.1:8000",)),
        ("HTTPS://Example.COM", ("https://example.com",)),
        (["http://a", "http://b:1"], ("http://a", "http://b:1")),
        (("http://a",), ("http://a",)),
        ("*", ("*",)),
        (["*"], ("*",)),
        ("http://[::1]:8000", ("http://[::1]:8000",)),
        ("chrome-extension://abcdef", ("chrome-extension://abcdef",)),
    ],
)
def test_origins_are_one_or_several(raw: Any, origins: tuple[str, ...]) -> None:
    """An origin, a list of them or a star; upper and lower case are the same."""
    assert location(subscriber(allow_origin=raw)).allow_origin == origins


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/passthrough", "/passthrough"),
        ("http://127.0.0.1:8000/passthrough", "/passthrough"),
        ("https://example.com/a/b/", "/a/b/"),
        ("/", "/"),
        ("/käse", "/käse"),
        ("http://127.0.0.1:8000/a%20b", "/a b"),
    ],
)
def test_of_a_passthrough_url_the_path_counts(raw: str, path: str) -> None:
    """The old form, a whole URL, and the path alone name the same view."""
    assert location(subscriber(passthrough=raw)).passthrough == path


@pytest.mark.parametrize(
    ("raw", "networks"),
    [
        ("any", None),
        ("10.0.0.1", ["10.0.0.1/32"]),
        (["10.0.0.0/8", "::1"], ["10.0.0.0/8", "::1/128"]),
        (("10.1.2.3/8",), ["10.0.0.0/8"]),
        ({"::1"}, ["::1/128"]),
        ([], []),
    ],
)
def test_who_may_publish_is_addresses_networks_or_any(
    raw: Any, networks: list[str] | None
) -> None:
    """Addresses and networks of both families, and "any" on purpose; [] is nobody."""
    allowed = location(publisher(allow_from=raw)).allow_from
    expected = None if networks is None else tuple(map(ip_network, networks))
    assert allowed == expected


def test_who_may_publish_is_else_internal_ips_else_loopback(
    settings: LazySettings,
) -> None:
    """INTERNAL_IPS may publish, loopback where it is empty; a change takes effect."""
    settings.PUSH_SERVER = publisher()
    for internal_ips, networks in (
        (["192.0.2.1", "no address"], (ip_network("192.0.2.1"),)),
        ([], LOOPBACK),
        (["localhost"], LOOPBACK),
    ):
        settings.INTERNAL_IPS = internal_ips
        sends = get_settings().first_location(PublisherLocation)
        assert sends is not None
        assert sends.allow_from == networks


def test_overridden_settings_take_effect(settings: LazySettings) -> None:
    """A test's settings count from then on, and the site's again after it."""
    settings.PUSH_SERVER = {"port": 1}
    with override_settings(PUSH_SERVER={"port": 2}):
        assert get_settings().port == 2
        with override_settings(PUSH_SERVER={"port": 3}):
            assert get_settings().port == 3
        assert get_settings().port == 2
    assert get_settings().port == 1


def test_settings_are_read_once(settings: LazySettings) -> None:
    """Asking for the settings costs nothing: it is the same object each time."""
    settings.PUSH_SERVER = {}
    assert get_settings() is get_settings()


def test_settings_cannot_be_changed(settings: LazySettings) -> None:
    """What was read is frozen, also what was not set."""
    conf = read_settings({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        conf.port = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        conf.store["other"] = conf.store["default"]  # type: ignore[index]


def test_reading_leaves_the_block_as_it_is() -> None:
    """The site's own dict is not written to."""
    block = {"locations": [{"type": "publisher", "prefix": "/p/"}], **store()}
    before = repr(block)
    read_settings(block)
    assert repr(block) == before
