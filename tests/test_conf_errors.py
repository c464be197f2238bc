from __future__ import annotations

import math
import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from pushserver.conf import get_settings, read_settings
from pushserver.conf.readers import InvalidSetting

from .blocks import monitoring, publisher, store, subscriber

FIRST = "['locations'][0]"

# The value, its place in PUSH_SERVER, and words of the error.
WRONG: list[tuple[Any, str, str]] = [
    (None, "", "must be a dict"),
    ([], "", "must be a dict"),
    ("memory", "", "must be a dict"),
    # Presence
    (subscriber(presence=1), FIRST + "['presence']", "True or False"),
    (subscriber(presence_grace=-1), FIRST + "['presence_grace']", "0 or more"),
    (subscriber(presence_hidden_grace="x"), FIRST + "['presence_hidden_grace']", "0"),
    (subscriber(presence_limit=-1), FIRST + "['presence_limit']", "0"),
    (
        subscriber(presence=True, polling="interval"),
        FIRST + "['presence']",
        "'polling': 'interval'",
    ),
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
    # Addresses and hosts
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
    ({"max_held": -1}, "['max_held']", "0 or more"),
    ({"max_held": "100"}, "['max_held']", "whole number"),
    ({"max_held_per_client": 1.5}, "['max_held_per_client']", "whole number"),
    ({"max_held_per_client": True}, "['max_held_per_client']", "is True"),
    ({"trusted_proxies": "any"}, "['trusted_proxies']", "'any' does not appear"),
    ({"trusted_proxies": ["proxy"]}, "['trusted_proxies']", "'10.0.0.0/8'"),
    ({"trusted_proxies": 7}, "['trusted_proxies']", "is 7"),
    ({"drain": -1}, "['drain']", "number of seconds"),
    ({"drain": "10"}, "['drain']", "is '10'"),
    ({"publisher": "Direct"}, "['publisher']", "Did you mean 'direct'?"),
    ({"publisher": "celery"}, "['publisher']", "'auto', 'direct', 'http', 'locmem'"),
    ({"on_commit": 1}, "['on_commit']", "True or False"),
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
    (store(max_empty_channels=-1), "['store']['max_empty_channels']", "0 or more"),
    (store(max_bytes="256M"), "['store']['max_bytes']", "is '256M'"),
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
    ({"locations": [{"type": "metrics"}]}, FIRST, "has no 'url'"),
    (monitoring(prefix="/m"), FIRST + "['prefix']", "not a known setting"),
    (monitoring(url=r"/metrics$"), FIRST + "['url']", "not a regular expression"),
    (monitoring(url="metrics"), FIRST + "['url']", "as in '/metrics'"),
    (monitoring(url="//metrics"), FIRST + "['url']", "a plain path"),
    (monitoring(type="health", url="/(.+)"), FIRST + "['url']", "a plain path"),
    (monitoring(allow_from=7), FIRST + "['allow_from']", "is 7"),
    (monitoring(store="others"), FIRST + "['store']", "is 'others'"),
    (monitoring(timeout=5), FIRST + "['timeout']", "not a known setting"),
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
    (subscriber(transports=[]), FIRST + "['transports']", "'poll', 'websocket'"),
    (subscriber(transports=["sse"]), FIRST + "['transports']", "holds 'sse'"),
    (subscriber(transports="event-source"), FIRST + "['transports']", "eventsource"),
    (
        subscriber(polling="interval", transports=["poll", "websocket"]),
        FIRST + "['transports']",
        "only 'poll' is possible",
    ),
    (subscriber(separator=",;"), FIRST + "['separator']", "one character"),
    (subscriber(first_message=5), FIRST + "['first_message']", "a negative number"),
    (subscriber(first_message=0), FIRST + "['first_message']", "is 0"),
    (subscriber(first_message=-1.0), FIRST + "['first_message']", "is -1.0"),
    (subscriber(first_message=True), FIRST + "['first_message']", "is True"),
    (subscriber(first_message="new"), FIRST + "['first_message']", "'newest'"),
    (subscriber(event="news"), FIRST + "['event']", "'channel'"),
    (subscriber(keep_alive=-1), FIRST + "['keep_alive']", "number of seconds"),
    (subscriber(stream_duration="1"), FIRST + "['stream_duration']", "is '1'"),
    (subscriber(stream_budget=1.5), FIRST + "['stream_budget']", "whole number"),
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
def test_invalid_setting_names_place_value_and_correction(
    block: Any, place: str, words: str, settings: LazySettings
) -> None:
    """A mistake raises ImproperlyConfigured with place, value and correction."""
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
def test_hint_does_not_suggest_the_given_value(block: Any, place: str) -> None:
    """For a value of the wrong type, the hint does not suggest the value itself."""
    with pytest.raises(InvalidSetting) as caught:
        read_settings(block)
    assert caught.value.place == f"PUSH_SERVER{place}"
    assert not caught.value.hint.startswith("Did you mean")


def test_locations_are_counted_from_zero() -> None:
    """The place in an error counts locations from 0, as Python does."""
    block = {**publisher()}
    block["locations"] += subscriber(polling="no")["locations"]
    with pytest.raises(InvalidSetting, match=re.escape("['locations'][1]['polling']")):
        read_settings(block)


def test_invalid_settings_raise_each_time(settings: LazySettings) -> None:
    """Reading invalid settings again raises the same error."""
    settings.PUSH_SERVER = {"port": "x"}
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="port"):
            get_settings()
