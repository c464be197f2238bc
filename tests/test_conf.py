from __future__ import annotations

import dataclasses
import resource
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
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
from pushserver.conf.limits import find_max_held, find_max_held_per_client
from pushserver.paths import match_channel

from .blocks import OLD_BLOCK, location, monitoring, publisher, store, subscriber


def test_old_settings_are_accepted() -> None:
    """The block from the old documentation is accepted with its old meaning."""
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


@pytest.mark.parametrize(
    ("files", "held", "per_client"),
    [
        (64, 32, 8),
        (150, 75, 18),
        (256, 156, 39),
        (1024, 768, 192),
        (65_536, 49_152, 1000),
        (resource.RLIM_INFINITY, 6144, 1000),
    ],
)
def test_default_limits_of_what_is_held(
    files: int, held: int, per_client: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the limits follow from how many files the process may open."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (files, files))
    assert find_max_held() == held
    assert find_max_held_per_client(held) == per_client
    assert find_max_held_per_client(0) == 1000
    conf = read_settings({})
    assert (conf.max_held, conf.max_held_per_client) == (None, None)
    assert tuple(conf.trusted_proxies) == ()
    assert not conf.trusted_proxies.unix


def test_trusted_proxies() -> None:
    """Proxies are addresses, networks and 'unix', or one of them."""
    proxies = read_settings({"trusted_proxies": ["unix", "10.0.0.0/8"]}).trusted_proxies
    assert (tuple(proxies), proxies.unix) == ((ip_network("10.0.0.0/8"),), True)
    [proxy] = read_settings({"trusted_proxies": "::1"}).trusted_proxies
    assert proxy == ip_network("::1")


def test_defaults_without_push_server(settings: LazySettings) -> None:
    """Without PUSH_SERVER a site publishes and subscribes at the default locations."""
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
        "max_empty_channels": 100_000,
        "max_bytes": 268_435_456,
    }
    assert (conf.publisher, conf.publisher_timeout) == ("auto", 5)
    assert conf.on_commit is False
    assert (conf.address, conf.port, conf.servername) == (None, None, None)
    assert (conf.publisher_host, conf.subscriber_host) == (None, None)


def test_location_defaults_are_those_of_the_protocol() -> None:
    """The default values of a location are those of the protocol."""
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
def test_none_means_not_set(key: str) -> None:
    """A key with the value None is treated as missing, as in the old settings."""
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
def test_none_in_a_location_means_not_set(kind: str, key: str) -> None:
    """A location's key with the value None is treated as missing."""
    make = {"publisher": publisher, "subscriber": subscriber}[kind]
    assert location(make(**{key: None})) == location(make())


def test_none_in_a_host_or_store_means_not_set() -> None:
    """A host's or a store's key with the value None is treated as missing."""
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
    """A location names one of several stores; without a name it uses the default."""
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


def test_url_takes_precedence_over_prefix() -> None:
    """A prefix is a pattern followed by the id; a url takes precedence over it."""
    short = {"type": "publisher", "prefix": "/p/"}
    assert location({"locations": [short]}).url.pattern == "/p/(.+)"
    both = {**short, "url": "/u/(.+)"}
    assert location({"locations": [both]}).url.pattern == "/u/(.+)"


def test_prefix_accepts_any_id() -> None:
    """An id below a prefix may be any text, even with line breaks."""
    for each in read_settings({}).locations:
        path = f"/{each.type}/a\nb/c"
        assert match_channel(each.url, path) == "a\nb/c"


def test_locations_that_show_how_a_process_is() -> None:
    """A metrics location answers its path, and a health location two below its own."""
    metrics = location(monitoring(url="/a.b/metrics"))
    assert metrics.paths == ("/a.b/metrics",)
    assert match_channel(metrics.url, "/a.b/metrics") == "/a.b/metrics"
    assert match_channel(metrics.url, "/a-b/metrics") is None
    for url in ("/health", "/health/"):
        health = location(monitoring(type="health", url=url))
        assert health.paths == ("/health/live", "/health/ready")
        assert match_channel(health.url, "/health/ready") == "ready"
        assert match_channel(health.url, "/health/") is None
    assert health.allow_from == location(publisher()).allow_from
    stores = {"default": {"type": "memory"}, "news": {"type": "memory"}}
    conf = read_settings({**monitoring(), "store": stores})
    assert conf.used_stores == ()
    assert conf.drain == 0


def test_empty_list_means_no_locations() -> None:
    """An empty list of locations means that there are none."""
    conf = read_settings({"locations": []})
    assert conf.locations == ()
    assert conf.first_location(PublisherLocation) is None


def test_first_location_of_a_type_is_found() -> None:
    """The first location of a type is found, whatever other locations there are."""
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
    """Origins may be one, a list or a star; they are case-insensitive."""
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
def test_passthrough_uses_the_path_of_a_url(raw: str, path: str) -> None:
    """A passthrough may be a whole URL, as before, or only its path."""
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
def test_allow_from_takes_addresses_networks_or_any(
    raw: Any, networks: list[str] | None
) -> None:
    """allow_from takes addresses and networks (IPv4, IPv6), "any", or [] for none."""
    allowed = location(publisher(allow_from=raw)).allow_from
    expected = None if networks is None else tuple(map(ip_network, networks))
    assert allowed == expected


def test_allow_from_defaults_to_internal_ips_or_loopback(
    settings: LazySettings,
) -> None:
    """allow_from defaults to the current INTERNAL_IPS, or else to loopback."""
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
    """Settings that a test overrides take effect, and the site's again after it."""
    settings.PUSH_SERVER = {"port": 1}
    with override_settings(PUSH_SERVER={"port": 2}):
        assert get_settings().port == 2
        with override_settings(PUSH_SERVER={"port": 3}):
            assert get_settings().port == 3
        assert get_settings().port == 2
    assert get_settings().port == 1


def test_settings_are_read_once(settings: LazySettings) -> None:
    """The settings are read once: each call returns the same object."""
    settings.PUSH_SERVER = {}
    assert get_settings() is get_settings()


def test_settings_cannot_be_changed(settings: LazySettings) -> None:
    """The settings are immutable, also those with default values."""
    conf = read_settings({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        conf.port = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        conf.store["other"] = conf.store["default"]  # type: ignore[index]


def test_reading_does_not_change_the_settings() -> None:
    """Reading the settings does not change the site's dict."""
    block = {"locations": [{"type": "publisher", "prefix": "/p/"}], **store()}
    before = repr(block)
    read_settings(block)
    assert repr(block) == before
