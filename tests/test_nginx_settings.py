from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import read_settings
from pushserver.nginx import Configuration, Options, ProxyConfiguration

from .nginx import KINDS, OLD_SETTINGS, PUBLISHER, SUBSCRIBER, write


def lines(text: str) -> list[str]:
    """Return the directives, without comments and blocks."""
    return [each.strip() for each in text.splitlines() if each.strip().endswith(";")]


@pytest.mark.parametrize(
    ("setting", "directives"),
    [
        ({"timeout": 20}, ["nchan_subscriber_timeout 20;"]),
        ({"timeout": 0}, ["nchan_subscriber_timeout 0;"]),
        ({"polling": "interval"}, ["nchan_subscriber intervalpoll;"]),
        (
            {"polling": "long"},
            [
                "nchan_subscriber eventsource websocket longpoll;",
                'nchan_websocket_client_heartbeat "ping" "pong";',
            ],
        ),
        ({"transports": ["poll"]}, ["nchan_subscriber longpoll;"]),
        ({"transports": "eventsource"}, ["nchan_subscriber eventsource;"]),
        ({"keep_alive": 2.5}, ["nchan_eventsource_ping_interval 3;"]),
        ({"separator": ","}, ['nchan_channel_id_split_delimiter ",";']),
        ({"first_message": -5}, ["nchan_subscriber_first_message -5;"]),
        ({"first_message": "newest"}, ["nchan_subscriber_first_message newest;"]),
        ({"create_on_get": False}, ["nchan_subscribe_existing_channels_only on;"]),
        ({"create_on_get": True}, ["nchan_subscribe_existing_channels_only off;"]),
        ({"max_channel_id_length": 40}, ["nchan_max_channel_id_length 40;"]),
        (
            {"allow_origin": "https://a.example", "allow_credentials": True},
            [
                'nchan_access_control_allow_origin "https://a.example'
                ' $scheme://$http_host";',
                "nchan_access_control_allow_credentials on;",
                "add_header Access-Control-Max-Age 864000;",
            ],
        ),
        (
            {"allow_origin": ["https://a.example", "https://b.example"]},
            [
                'nchan_access_control_allow_origin "https://a.example'
                ' https://b.example $scheme://$http_host";',
                "nchan_access_control_allow_credentials off;",
                "add_header Vary Origin;",
            ],
        ),
        (
            {"allow_origin": "https://a.example", "transports": ["poll"]},
            ['nchan_access_control_allow_origin "https://a.example";'],
        ),
        (
            {"allow_origin": "*"},
            [
                'nchan_access_control_allow_origin "*";',
                "nchan_access_control_allow_credentials off;",
            ],
        ),
        (
            {"passthrough": "/heard"},
            [
                "auth_request /_pushserver/subscribe;",
                "post_action /_pushserver/unsubscribe;",
                'proxy_set_header X-Forwarded-For "";',
            ],
        ),
    ],
)
def test_subscriber_settings_become_directives(
    setting: dict[str, Any], directives: list[str]
) -> None:
    """Each setting of a subscriber location is written as a directive of Nchan."""
    text, _ = write(locations=[{**SUBSCRIBER, **setting}])
    assert set(directives) <= set(lines(text))


@pytest.mark.parametrize(
    ("setting", "directives"),
    [
        ({"store_messages": False}, ["nchan_store_messages off;"]),
        ({"max_message_size": 1000}, ["client_max_body_size 1000;"]),
        ({"allow_from": ["10.0.0.0/8"]}, ["allow 10.0.0.0/8;", "deny all;"]),
        ({"allow_from": ["10.0.0.1"]}, ["allow 10.0.0.1;", "deny all;"]),
        ({"allow_from": ["::1"]}, ["allow ::1;", "deny all;"]),
        ({"allow_from": []}, ["deny all;"]),
        ({"allow_from": ["::1", "unix"]}, ["allow ::1;", "allow unix:;", "deny all;"]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_publisher_settings_become_directives(
    kind: type[Configuration], setting: dict[str, Any], directives: list[str]
) -> None:
    """Each setting of a publisher location is written as a directive of nginx."""
    if kind is ProxyConfiguration and "store_messages" in setting:
        directives = []
    text, _ = write(kind, locations=[{**PUBLISHER, **setting}])
    assert set(directives) <= set(lines(text))


@pytest.mark.parametrize("kind", KINDS)
def test_allow_from_any_becomes_a_comment(kind: type[Configuration]) -> None:
    """An allow_from of "any" becomes a comment instead of an access rule."""
    text, _ = write(kind, locations=[{**PUBLISHER, "allow_from": "any"}])
    assert "deny all;" not in lines(text)
    assert "# 'allow_from': 'any'. Everybody may publish here." in text


@pytest.mark.parametrize("kind", KINDS)
def test_force_script_name(kind: type[Configuration]) -> None:
    """With FORCE_SCRIPT_NAME locations also match below that path."""
    location = {"type": "subscriber", "url": r"/updates/([^/]+)"}
    with override_settings(FORCE_SCRIPT_NAME="/my.app/"):
        text, _ = write(kind, locations=[location])
    assert r"location ~ ^(?:/my\.app)?/updates/([^/]+)$ {" in text


def test_store_limits_become_directives() -> None:
    """Limits of a store are written into its publisher locations, with a group."""
    text, _ = write(
        store={
            "news": {"type": "memory", "max_messages": 7, "message_timeout": 90},
            "default": {"type": "memory", "max_messages": 3},
        },
        locations=[{**PUBLISHER, "store": "news"}],
    )
    assert "nchan_message_buffer_length 7;" in lines(text)
    assert "nchan_message_timeout 90s;" in lines(text)
    assert "nchan_channel_group news;" in lines(text)


@pytest.mark.parametrize("kind", KINDS)
def test_daphne_root_path_is_removed(
    kind: type[Configuration],
) -> None:
    """nginx removes Daphne-Root-Path from all requests to Django or Daphne."""
    locations = [PUBLISHER, {**SUBSCRIBER, "passthrough": "/passthrough"}]
    text, _ = write(kind, locations=locations)
    for block in text.split("location ")[1:]:
        if re.search("proxy_pass http://(django|pushserver);", block):
            assert 'proxy_set_header Daphne-Root-Path "";' in block


@pytest.mark.parametrize("kind", KINDS)
def test_websockets_of_the_site_are_proxied(kind: type[Configuration]) -> None:
    """Requests outside the push locations may upgrade to WebSocket."""
    text, _ = write(kind)
    site = text.partition("location / {")[2]
    assert "proxy_set_header Upgrade $http_upgrade;" in site
    assert "proxy_set_header Connection $push_connection;" in site


def test_stores_have_different_groups() -> None:
    """Stores whose names differ only in special characters have different groups."""
    stores = ("a.b", "a-b")
    text, _ = write(
        store=dict.fromkeys(("default", *stores), {"type": "memory"}),
        locations=[{**PUBLISHER, "store": store} for store in stores],
    )
    groups = [each for each in lines(text) if each.startswith("nchan_channel_group")]
    assert len(set(groups)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_address_with_an_interface_is_left_out(kind: type[Configuration]) -> None:
    """An address with a network interface is left out, as nginx has no such rules."""
    allow_from = ["::1", "fe80::1%eth0; allow all"]
    text, _ = write(kind, locations=[{**PUBLISHER, "allow_from": allow_from}])
    rules = [each for each in lines(text) if each.startswith(("allow", "deny"))]
    assert rules == ["allow ::1;", "deny all;"]


@pytest.mark.parametrize(
    ("push_server", "place"),
    [
        ({"store": {"type": "memory", "min_messages": 2}}, "['min_messages']"),
        ({"store": {"type": "memory"}}, "['max_messages']"),
        ({"store": {"type": "memory", "message_timeout": 0.5}}, "['message_timeout']"),
        ({"store": {"type": "memory", "channel_timeout": 5}}, "['channel_timeout']"),
        ({"store": {"type": "memory", "max_channels": 5}}, "['max_channels']"),
        (
            {"store": {"type": "memory", "max_empty_channels": 5}},
            "['max_empty_channels']",
        ),
        ({"store": {"type": "memory", "max_bytes": 5}}, "['max_bytes']"),
        ({"store": {"type": "redis"}}, "['type']"),
        ({"servername": "mine"}, "['servername']"),
        ({"publisher": "direct"}, "['publisher']"),
        ({"publisher_host": "127.0.0.1:8000"}, "['publisher_host']"),
        ({"locations": [{**SUBSCRIBER, "concurrency": "last"}]}, "['concurrency']"),
        ({"locations": [{**SUBSCRIBER, "event": "channel"}]}, "['event']"),
        ({"locations": [{**SUBSCRIBER, "presence": True}]}, "['presence']"),
        ({"locations": [SUBSCRIBER]}, "['timeout_status']"),
        ({"locations": [{**PUBLISHER, "create_on_post": False}]}, "['create_on_post']"),
        ({"locations": [{**PUBLISHER, "url": r"/p/(\w+)"}]}, "['url']"),
        ({"locations": [{**PUBLISHER, "url": r"/p/(.+)\Z"}]}, "['url']"),
        (
            {"locations": [{**SUBSCRIBER, "url": "/\n(.+)", "passthrough": "/pt"}]},
            "['url']",
        ),
        (
            {"locations": [{**PUBLISHER, "allow_from": ["fe80::1%eth0; return 200"]}]},
            "['allow_from']",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_without_an_equivalent_give_a_warning(
    push_server: dict[str, Any], place: str
) -> None:
    """A setting without an equivalent gives a warning, and the same as a comment."""
    text, warnings = write(**push_server)
    warning = next(each for each in warnings if place in each)
    assert warning in re.sub(r"\n *# ", " ", text)


def test_supported_settings_of_nchan_give_no_warning() -> None:
    """There is no warning where Nchan supports all settings."""
    _, warnings = write(
        publisher="http",
        store={"type": "memory", "max_messages": 100, "message_timeout": 60},
        locations=[PUBLISHER, {**SUBSCRIBER, "timeout_status": 408}],
    )
    assert warnings == []


def test_all_settings_in_front_of_daphne_give_no_warning() -> None:
    """There is no warning in front of Daphne, since it supports all settings."""
    locations = [PUBLISHER, {**SUBSCRIBER, "concurrency": "last"}]
    _, warnings = write(ProxyConfiguration, locations=locations)
    assert warnings == []


@pytest.mark.parametrize(
    ("internal_ips", "django", "warns"),
    [
        ([], "127.0.0.1:8000", True),
        (["127.0.0.1"], "127.0.0.1:8000", False),
        (["127.0.0.1"], "[::1]:8000", True),
        ([], "app.internal:8000", False),
        (["127.0.0.1"], "unix:/run/site.sock", True),
    ],
)
def test_passthrough_that_django_would_refuse_is_a_warning(
    internal_ips: list[str], django: str, warns: bool
) -> None:
    """A warning appears if the passthrough view would refuse requests from nginx."""
    with override_settings(INTERNAL_IPS=internal_ips):
        _, warnings = write(
            options=Options(django=django),
            publisher="http",
            store={"type": "memory", "max_messages": 1},
            locations=[{**SUBSCRIBER, "timeout": 0, "passthrough": "/heard"}],
        )
    assert bool(warnings) is warns


@pytest.mark.parametrize(
    ("push_server", "listen"),
    [
        ({}, ["80", "127.0.0.1:8001"]),
        ({"port": 9000}, ["80", "127.0.0.1:9000"]),
        ({"address": "::1", "port": 9000}, ["80", "[::1]:9000"]),
        ({"publisher_host": "localhost:9001"}, ["80", "127.0.0.1:9001"]),
        ({"publisher_host": "push.example"}, ["80"]),
        ({"publisher_host": "127.0.0.1:8000"}, ["80"]),
    ],
)
def test_nginx_listens_at_publisher_host(
    push_server: dict[str, Any], listen: list[str]
) -> None:
    """With Nchan, nginx listens at the push server's address on this machine."""
    text, _ = write(**push_server)
    assert re.findall(r"^ +listen (?!unix)(.+);$", text, re.MULTILINE) == listen


@pytest.mark.parametrize(
    ("publisher_host", "listen", "warns"),
    [
        (None, "80", True),
        (None, "127.0.0.1:8001", False),
        ("127.0.0.1:8001", "8001", False),
        ("127.0.0.1:8001", "*:8001", False),
        ("127.0.0.1:8001", "[::]:8001", True),
        ("127.0.0.1:8001", "10.0.0.1:8001", True),
        ("localhost:8001", "127.0.0.1:8001", False),
        ("127.0.0.1:8001", "localhost:8001", False),
        ("127.0.0.1:8001", "www.example.com:8001", False),
        ("[::1]:8001", "[::]:8001", False),
        ("[::1]:8001", "8001", True),
        ("127.0.0.1", "80", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "unix:/run/site.sock", True),
        ("push.example", "443", False),
    ],
)
def test_publisher_host_elsewhere_is_a_warning(
    publisher_host: str | None, listen: str, warns: bool
) -> None:
    """A warning appears if nginx does not listen at publisher_host."""
    _, warnings = write(
        options=Options(listen=(listen,)), publisher_host=publisher_host, locations=[]
    )
    told = [each for each in warnings if "'publisher_host'" in each]
    assert len(told) == warns, warnings
    assert all("add --listen" in each for each in told)


@pytest.mark.parametrize(
    ("push_server", "server"),
    [
        ({}, "127.0.0.1:8000"),
        ({"port": 8001}, "127.0.0.1:8001"),
        ({"address": "::1", "port": 8001}, "[::1]:8001"),
        ({"publisher_host": "127.0.0.1:9001"}, "127.0.0.1:9001"),
        ({"publisher_host": "push.example"}, "127.0.0.1:8000"),
    ],
)
def test_upstream_is_the_push_server(push_server: dict[str, Any], server: str) -> None:
    """The upstream is the push server on this machine, or else the site's address."""
    configuration = ProxyConfiguration(read_settings(push_server), Options())
    assert configuration.pushserver == server
    told = ProxyConfiguration(read_settings(push_server), Options(pushserver="a:1"))
    assert told.pushserver == "a:1"


@pytest.mark.parametrize(
    ("allow_from", "warns"),
    [(["10.0.0.0/8"], True), (["10.0.0.0/8", "127.0.0.1"], False), ("any", False)],
)
def test_allow_from_without_nginx_is_a_warning(allow_from: Any, warns: bool) -> None:
    """A warning appears if allow_from excludes nginx, from which publishers come."""
    locations = [{**PUBLISHER, "allow_from": allow_from}]
    _, warnings = write(ProxyConfiguration, locations=locations)
    assert any("does not hold 127.0.0.1" in each for each in warnings) == warns


@pytest.mark.parametrize(
    ("allow_from", "warns"),
    [(["10.0.0.1"], True), (["10.0.0.1", "unix"], False), ("any", False)],
)
def test_allow_from_without_unix_sockets_is_a_warning(
    allow_from: Any, warns: bool
) -> None:
    """A warning appears if allow_from excludes unix sockets, which nginx uses."""
    location = {**PUBLISHER, "allow_from": allow_from}
    options = Options(django="unix:/run/site.sock")
    _, warnings = write(ProxyConfiguration, options, locations=[location])
    assert any("does not hold 'unix'" in each for each in warnings) == warns


def test_server_name_is_subscriber_host() -> None:
    """The server name is that of subscriber_host, to which pages send requests."""
    text, _ = write(subscriber_host={"location": "push.example:8443", "secure": True})
    assert "server_name push.example;" in lines(text)


@pytest.mark.parametrize("kind", KINDS)
def test_idle_connections_end_before_those_of_upstreams(
    kind: type[Configuration],
) -> None:
    """nginx closes idle connections after 1 s; gunicorn does after 2 s, uvicorn 5 s."""
    text, _ = write(kind, **OLD_SETTINGS)
    assert text.count("keepalive_timeout 1s;") == text.count("upstream ")


def test_locations_that_show_how_a_process_is() -> None:
    """A proxy passes on health and refuses metrics; Nchan has neither."""
    shown: list[dict[str, Any]] = [
        {"type": "metrics", "url": "/metrics"},
        {"type": "health", "url": "/health"},
    ]
    locations = [PUBLISHER, SUBSCRIBER, *shown]
    text, warnings = write(ProxyConfiguration, locations=locations)
    assert not any("metrics" in each or "health" in each for each in warnings)
    metrics, _, health = text.partition(" ^(/metrics)$ ")[2].partition(" ^(?:/health")
    assert "return 404;" in metrics.partition("}")[0]
    assert "proxy_pass http://django;" in health.partition("}")[0]
    text, warnings = write(locations=locations)
    assert "location ~ ^(/metrics)$" not in text
    left_out = [each for each in warnings if "which Nchan does not have" in each]
    assert len(left_out) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_share_an_upstream(kind: type[Configuration]) -> None:
    """Each process of the site is a server of the upstream, whatever it has failed."""
    options = Options(django="127.0.0.1:8001", more_django=("127.0.0.1:8002",))
    text, _ = write(kind, options)
    upstream = text.partition("upstream django {")[2].partition("}")[0]
    lines = [each.strip() for each in upstream.splitlines()]
    assert "server 127.0.0.1:8001 max_fails=0;" in lines
    assert "server 127.0.0.1:8002 max_fails=0;" in lines


def test_several_push_servers() -> None:
    """The push locations have an upstream of all of their processes."""
    options = Options(pushserver="a:1", more_pushserver=("b:2",))
    text, _ = write(ProxyConfiguration, options)
    upstream = text.partition("upstream pushserver {")[2].partition("}")[0]
    assert "server a:1 max_fails=0;" in upstream
    assert "server b:2 max_fails=0;" in upstream
    assert "max_fails" not in text.partition("upstream django {")[2].partition("}")[0]
