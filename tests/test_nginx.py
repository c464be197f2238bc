from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from django.core.management import CommandError
from django.test import override_settings

from pushserver.conf import read_settings
from pushserver.nginx import (
    Configuration,
    NchanConfiguration,
    Options,
    ProxyConfiguration,
)
from pushserver.nginx.writer import Untranslatable, literal, quote, translate
from pushserver_channels.sandbox import SANDBOX, is_active
from tests.server.test_sandbox import ACTIVE, PASSIVE

from .conformance.servers import Nginx, configuration, environment, need, nginx
from .conformance.sites import Wire
from .servers import ROOT, ServerProcess, daphne, wait_until, wait_until_held

#: The settings that the documentation of 0.3 proposed, but for the ports.
OLD_SETTINGS: dict[str, Any] = {
    "port": 8001,
    "address": "127.0.0.1",
    "publisher_host": {"location": "127.0.0.1:8001", "secure": False},
    "subscriber_host": {"location": "127.0.0.1:8001", "secure": False},
    "store": {
        "type": "memory",
        "min_messages": 0,
        "max_messages": 100,
        "message_timeout": 10,
    },
    "locations": (
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "polling": "long",
            "create_on_get": True,
            "allow_origin": "http://127.0.0.1:8000",
            "allow_credentials": True,
            "passthrough": "http://127.0.0.1:8000/passthrough",
        },
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
    ),
}

PUBLISHER = {"type": "publisher", "url": "/send/([^/]+)"}
SUBSCRIBER = {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True}
KINDS: list[type[Configuration]] = [NchanConfiguration, ProxyConfiguration]


def write(
    kind: type[Configuration] = NchanConfiguration,
    options: Options | None = None,
    **push_server: Any,
) -> tuple[str, list[str]]:
    """Return the configuration of some settings, and the warnings."""
    written = kind(read_settings(push_server), options or Options())
    return written.write(), written.out.warnings


def lines(text: str) -> list[str]:
    """Return the directives, without comments and blocks."""
    return [each.strip() for each in text.splitlines() if each.strip().endswith(";")]


# Words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", "plain"),
        ("^/updates/([^/]+)$", "^/updates/([^/]+)$"),
        (r"^/(\d+)$", r"^/(\d+)$"),
        ("a b", '"a b"'),
        ("a{2}", '"a{2}"'),
        ('a"b', r'"a\"b"'),
        (r"\n", r"\\n"),
        (r"\\", r"\\\\"),
        ("", '""'),
    ],
)
def test_words_are_quoted_where_nginx_wants_it(text: str, word: str) -> None:
    """A text that means something to nginx is written so that it does not."""
    assert quote(text) == word


def test_texts_that_cannot_be_words() -> None:
    """A line break has no place in the configuration, nor a $ where it is a text."""
    with pytest.raises(Untranslatable, match="cannot be printed"):
        quote("a\nb;")
    with pytest.raises(Untranslatable, match="variable"):
        literal("$host")


@pytest.mark.parametrize(
    ("pattern", "translated"),
    [
        ("/updates/([^/]+)", "/updates/([^/]+)"),
        ("^/updates/([^/]+)$", "/updates/([^/]+)"),
        ("/a/(x|y)", "(?:/a/(x|y))"),
        (r"/price/(.+\$)", r"/price/(.+\$)"),
        ("/(?P<host>[a-z]+)-(?P=host)1", r"/([a-z]+)-(?:\1)1"),
        (r"/\(?P<a>/(.+)", r"/\(?P<a>/(.+)"),
    ],
)
def test_patterns_are_translated(pattern: str, translated: str) -> None:
    """A pattern comes without anchors, and as one piece."""
    assert translate(pattern) == translated


@pytest.mark.parametrize(
    "pattern", [r"/(.+)\Z", r"/(\u0041+)", "(?a)/(.+)", "(?x)/(.+) # all"]
)
def test_patterns_that_nginx_does_not_know(pattern: str) -> None:
    """What only Python understands is refused."""
    with pytest.raises(Untranslatable, match="do not know"):
        translate(pattern)


# Settings


@pytest.mark.parametrize(
    ("setting", "directives"),
    [
        ({"timeout": 20}, ["nchan_subscriber_timeout 20;"]),
        ({"timeout": 0}, ["nchan_subscriber_timeout 0;"]),
        ({"polling": "interval"}, ["nchan_subscriber intervalpoll;"]),
        ({"polling": "long"}, ["nchan_subscriber longpoll;"]),
        ({"create_on_get": False}, ["nchan_subscribe_existing_channels_only on;"]),
        ({"create_on_get": True}, ["nchan_subscribe_existing_channels_only off;"]),
        ({"max_channel_id_length": 40}, ["nchan_max_channel_id_length 40;"]),
        (
            {"allow_origin": "https://a.example", "allow_credentials": True},
            [
                'nchan_access_control_allow_origin "https://a.example";',
                "nchan_access_control_allow_credentials on;",
                "add_header Access-Control-Max-Age 864000;",
            ],
        ),
        (
            {"allow_origin": ["https://a.example", "https://b.example"]},
            [
                'nchan_access_control_allow_origin "https://a.example'
                ' https://b.example";',
                "nchan_access_control_allow_credentials off;",
                "add_header Vary Origin;",
            ],
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
def test_settings_of_a_subscriber(
    setting: dict[str, Any], directives: list[str]
) -> None:
    """Each setting of a subscriber location becomes Nchan's directive."""
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
def test_settings_of_a_publisher(
    kind: type[Configuration], setting: dict[str, Any], directives: list[str]
) -> None:
    """Each setting of a publisher location becomes nginx's directive."""
    if kind is ProxyConfiguration and "store_messages" in setting:
        directives = []
    text, _ = write(kind, locations=[{**PUBLISHER, **setting}])
    assert set(directives) <= set(lines(text))


@pytest.mark.parametrize("kind", KINDS)
def test_anybody_may_publish_where_anybody_may(kind: type[Configuration]) -> None:
    """'any' becomes no rule at all, and a comment that says so."""
    text, _ = write(kind, locations=[{**PUBLISHER, "allow_from": "any"}])
    assert "deny all;" not in lines(text)
    assert "# 'allow_from': 'any'. Everybody may publish here." in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_site_below_a_path(kind: type[Configuration]) -> None:
    """With FORCE_SCRIPT_NAME pages ask below it, and publishers need not."""
    location = {"type": "subscriber", "url": r"/updates/([^/]+)"}
    with override_settings(FORCE_SCRIPT_NAME="/my.app/"):
        text, _ = write(kind, locations=[location])
    assert r"location ~ ^(?:/my\.app)?/updates/([^/]+)$ {" in text


def test_settings_of_a_store() -> None:
    """Limits stand at the publishers of a store, whose channels are a group."""
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
def test_nothing_is_believed_that_clients_say_to_daphne(
    kind: type[Configuration],
) -> None:
    """Wherever nginx asks Django or Daphne, it takes Daphne-Root-Path away."""
    locations = [PUBLISHER, {**SUBSCRIBER, "passthrough": "/passthrough"}]
    text, _ = write(kind, locations=locations)
    for block in text.split("location ")[1:]:
        if re.search("proxy_pass http://(django|pushserver);", block):
            assert 'proxy_set_header Daphne-Root-Path "";' in block


@pytest.mark.parametrize("kind", KINDS)
def test_websockets_of_the_site_go_through(kind: type[Configuration]) -> None:
    """What is not a push location may change its protocol."""
    text, _ = write(kind)
    site = text.partition("location / {")[2]
    assert "proxy_set_header Upgrade $http_upgrade;" in site
    assert "proxy_set_header Connection $push_connection;" in site


def test_stores_stay_apart() -> None:
    """What nginx does not allow in a name makes no two stores one."""
    stores = ("a.b", "a-b")
    text, _ = write(
        store=dict.fromkeys(("default", *stores), {"type": "memory"}),
        locations=[{**PUBLISHER, "store": store} for store in stores],
    )
    groups = [each for each in lines(text) if each.startswith("nchan_channel_group")]
    assert len(set(groups)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_interface_lets_nobody_in(kind: type[Configuration]) -> None:
    """nginx knows no interfaces, and the name of one could be anything."""
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
        ({"store": {"type": "redis"}}, "['type']"),
        ({"servername": "mine"}, "['servername']"),
        ({"publisher": "direct"}, "['publisher']"),
        ({"publisher_host": "127.0.0.1:8000"}, "['publisher_host']"),
        ({"locations": [{**SUBSCRIBER, "concurrency": "last"}]}, "['concurrency']"),
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
def test_what_a_setting_cannot_become(push_server: dict[str, Any], place: str) -> None:
    """It is a warning that names the setting, and the same in a comment."""
    text, warnings = write(**push_server)
    warning = next(each for each in warnings if place in each)
    assert warning in re.sub(r"\n *# ", " ", text)


def test_settings_that_all_become_something() -> None:
    """Nothing is warned of where Nchan does what the settings say."""
    _, warnings = write(
        publisher="http",
        store={"type": "memory", "max_messages": 100, "message_timeout": 60},
        locations=[PUBLISHER, {**SUBSCRIBER, "timeout_status": 408}],
    )
    assert warnings == []


def test_settings_of_a_proxy_all_become_something() -> None:
    """In front of Daphne all settings are served, so nothing is warned of."""
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
def test_a_passthrough_that_django_would_refuse(
    internal_ips: list[str], django: str, warns: bool
) -> None:
    """It is warned of where the view will not know nginx for what it is."""
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
def test_nginx_listens_where_updates_are_sent(
    push_server: dict[str, Any], listen: list[str]
) -> None:
    """With Nchan it takes the place of the push server on this machine."""
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
def test_nginx_does_not_listen_where_updates_are_sent(
    publisher_host: str | None, listen: str, warns: bool
) -> None:
    """Whoever says where nginx listens is told if publishers do not find it there."""
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
def test_the_push_server_behind_a_proxy(
    push_server: dict[str, Any], server: str
) -> None:
    """It is where updates are sent on this machine, else where the site is."""
    configuration = ProxyConfiguration(read_settings(push_server), Options())
    assert configuration.pushserver == server
    told = ProxyConfiguration(read_settings(push_server), Options(pushserver="a:1"))
    assert told.pushserver == "a:1"


@pytest.mark.parametrize(
    ("allow_from", "warns"),
    [(["10.0.0.0/8"], True), (["10.0.0.0/8", "127.0.0.1"], False), ("any", False)],
)
def test_publishers_that_daphne_would_refuse(allow_from: Any, warns: bool) -> None:
    """For Daphne each publisher comes from nginx, too, so nginx has to be allowed."""
    locations = [{**PUBLISHER, "allow_from": allow_from}]
    _, warnings = write(ProxyConfiguration, locations=locations)
    assert any("does not hold 127.0.0.1" in each for each in warnings) == warns


@pytest.mark.parametrize(
    ("allow_from", "warns"),
    [(["10.0.0.1"], True), (["10.0.0.1", "unix"], False), ("any", False)],
)
def test_daphne_behind_nginx_on_a_unix_socket(allow_from: Any, warns: bool) -> None:
    """nginx comes by the socket then, which has to be allowed."""
    location = {**PUBLISHER, "allow_from": allow_from}
    options = Options(django="unix:/run/site.sock")
    _, warnings = write(ProxyConfiguration, options, locations=[location])
    assert any("does not hold 'unix'" in each for each in warnings) == warns


def test_the_server_is_named_after_the_subscribers_host() -> None:
    """Pages ask for subscriber_host, so this is the server's name."""
    text, _ = write(subscriber_host={"location": "push.example:8443", "secure": True})
    assert "server_name push.example;" in lines(text)


# Static files


@pytest.mark.parametrize("kind", KINDS)
def test_static_files_come_from_the_disk(kind: type[Configuration]) -> None:
    """STATIC_URL is a location that reads STATIC_ROOT, with the types of files."""
    with override_settings(STATIC_URL="files/", STATIC_ROOT="/srv/a site/files"):
        text, warnings = write(kind)
    block = text.partition("location /files/ {")[2]
    assert 'alias "/srv/a site/files/";' in block
    assert "text/javascript js mjs;" in block
    assert not any("STATIC" in each for each in warnings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("settings", "sentence", "warns"),
    [
        ({"STATIC_ROOT": None}, "STATIC_ROOT is not set", True),
        ({"STATIC_ROOT": ""}, "STATIC_ROOT is not set", True),
        ({"STATIC_ROOT": "/srv/$x"}, "takes for a variable", True),
        ({"STATIC_URL": "/"}, "not a folder", True),
        ({"STATIC_URL": "https://cdn.example/"}, "on another host", False),
        ({"STATIC_URL": None}, "no STATIC_URL", False),
        ({"INSTALLED_APPS": ["pushserver"]}, "no 'django.contrib", False),
    ],
)
def test_static_files_that_nginx_cannot_serve(
    kind: type[Configuration], settings: dict[str, Any], sentence: str, warns: bool
) -> None:
    """Why there is no location is a sentence in the file, and mostly a warning."""
    with override_settings(**settings):
        text, warnings = write(kind)
    assert "alias" not in text
    assert sentence in re.sub(r"\n *# ", " ", text)
    assert any(sentence in each for each in warnings) is warns


@pytest.mark.parametrize("arguments", [[], ["--proxy"]], ids=["Nchan", "proxy"])
def test_nginx_serves_static_files(arguments: list[str]) -> None:
    """Scripts are sent as scripts and whole, nothing from outside of the folder."""
    with (
        nginx({}, "--django", "127.0.0.1:9", *arguments) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        script = client.get("/static/pushserver/updates.js")
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        file = ROOT / "pushserver/static/pushserver/updates.js"
        assert script.content == file.read_bytes()
        assert client.get("/static/pushserver/none.js").status_code == 404
        assert client.get("/static../apps.py").status_code == 502  # Django's


# nginx itself


ODD_LOCATIONS: list[list[dict[str, Any]]] = [
    [{**PUBLISHER, "url": None, "prefix": "/send/"}],
    [{**SUBSCRIBER, "url": r"/u/([0-9a-f]{4,40})"}],
    [{**SUBSCRIBER, "url": r"/(?:en|sl)/u/(?P<id>[^/]+)"}],
    [{**SUBSCRIBER, "url": "/u/(?P<host>[^/]+)", "passthrough": "/heard"}],
    [{**SUBSCRIBER, "url": r'/with space/"quoted";\#/(.+)', "passthrough": "/p a"}],
    [
        {**SUBSCRIBER, "url": f"/{number}/(.+)", "passthrough": "/heard"}
        for number in range(3)
    ],
]


@pytest.mark.parametrize("locations", ODD_LOCATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nginx_accepts_it(
    kind: type[Configuration], locations: list[dict[str, Any]]
) -> None:
    """Whatever the patterns hold, nginx -t finds no fault."""

    def configure(port: int, directory: Path) -> str:
        options = Options(
            *((f"127.0.0.1:{port}",), "127.0.0.1:8000", None, "root", "1"),
            *(str(directory), str(directory)),
        )
        return write(kind, options, locations=locations)[0]

    with Nginx(configure):
        pass


# The command


def test_the_command_prints_and_warns() -> None:
    """The configuration goes to stdout, warnings to stderr."""
    ended = subprocess.run(
        [sys.executable, "-m", "django", "pushserver_nginx"],
        env={
            **environment({"locations": [SUBSCRIBER]}),
            "PATH": "",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0
    assert "nchan_subscriber longpoll;" in ended.stdout
    assert "Warning: PUSH_SERVER['locations'][0]['timeout_status']" in ended.stderr


def test_the_command_tells_wrong_settings() -> None:
    """A wrong PUSH_SERVER ends the command with a sentence that names the place."""
    sentence = re.escape("PUSH_SERVER['prot'] is not a known setting")
    with pytest.raises(CommandError, match=sentence):
        configuration({"prot": 1})


def test_the_command_tells_wrong_options() -> None:
    """What nginx could not read as a word ends the command with a sentence."""
    text = configuration({}, "--listen", "80; include secrets")
    assert 'listen "80; include secrets";' in text
    with pytest.raises(CommandError, match=re.escape("'$user' holds a '$'")):
        configuration({}, "--user", "$user")


# Live, with the settings of old


@pytest.fixture(scope="module")
def old_site() -> Iterator[tuple[ServerProcess, Nginx]]:
    """nginx with Nchan before a Django that knows nothing of our server."""
    need(shutil.which("curl"), "curl", "apt install curl")
    with ExitStack() as stack:
        django = stack.enter_context(
            daphne(OLD_SETTINGS, "tests.asgi:django_application")
        )
        address = f"127.0.0.1:{django.port}"
        yield django, stack.enter_context(nginx(OLD_SETTINGS, "--django", address))


def curl(*arguments: str) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers and the body that curl is answered."""
    done = subprocess.run(
        ["curl", "-s", "-i", "-m", "20", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *fields = head.split("\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(status.split()[1]), headers, body


def test_the_walk_through(old_site: tuple[ServerProcess, Nginx]) -> None:
    """With curl: publish, receive, wait with the name of what was received, delete."""
    _, server = old_site
    publisher, subscriber = f"{server.url}/send-update/a", f"{server.url}/updates/a"
    status, _, body = curl(publisher, "-d", "hello")
    assert status == 202
    assert "queued messages: 1" in body
    status, headers, body = curl(subscriber)
    assert (status, body) == (200, "hello")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Etag"] == "0"
    name = [f"If-Modified-Since: {headers['Last-Modified']}", "If-None-Match: 0"]
    command = ["curl", "-s", "-m", "20", subscriber, "-H", name[0], "-H", name[1]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        wait_until_held(publisher)
        assert curl(publisher, "-d", "news")[0] == 201
        assert waiting.communicate()[0] == b"news"
    assert curl(publisher, "-X", "DELETE")[0] == 200


def test_passthrough_arrives_in_django(old_site: tuple[ServerProcess, Nginx]) -> None:
    """The view hears of who came through nginx, from nginx, with their cookies."""
    django, server = old_site
    url = f"{server.url}/updates/passthrough"

    def heard() -> list[dict[str, Any]]:
        answer = httpx.get(f"{django.url}/heard", params={"channel": "passthrough"})
        events: list[dict[str, Any]] = answer.json()["heard"]
        return events

    command = ["curl", "-s", "-m", "20", url, "-H", "Cookie: sessionid=me"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        wait_until_held(f"{server.url}/send-update/passthrough")
        (subscribed,) = heard()
        waiting.terminate()
    wait_until(lambda: len(heard()) == 2)
    assert subscribed["cookies"] == {"sessionid": "me"}
    assert subscribed["address"] == "127.0.0.1"
    assert [each["event"] for each in heard()] == ["subscribe", "unsubscribe"]


def test_send_update_publishes_to_it(old_site: tuple[ServerProcess, Nginx]) -> None:
    """With nginx as publisher_host, send_update of any process arrives."""
    _, server = old_site
    conf = {**OLD_SETTINGS, "publisher_host": f"127.0.0.1:{server.port}"}
    script = (
        "import django; django.setup()\n"
        "from pushserver.updates import send_update\n"
        "print(send_update('č & co', {'type': 'answer'}).status)"
    )
    sent = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sent.stdout == "202\n", sent.stderr
    answer = httpx.get(f"{server.url}/updates/%C4%8D%20%26%20co")
    assert answer.json() == {"type": "answer"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_polls_go_on_without_django() -> None:
    """Where Django is down, nobody hears of subscribers but they are served."""
    with nginx(OLD_SETTINGS, "--django", "127.0.0.1:9") as alone:
        assert httpx.post(f"{alone.url}/send-update/a", content=b"x").status_code == 202
        assert httpx.get(f"{alone.url}/updates/a").content == b"x"


def test_no_worker_dies(old_site: tuple[ServerProcess, Nginx]) -> None:
    """Clients that hang up at any time, and bad requests, leave the worker alive."""
    _, server = old_site
    path, publisher = "/updates/hang-up", f"{server.url}/send-update/hang-up"
    for count in (0, 20):
        wires = [Wire(server.url) for _ in range(20)]
        for wire in wires:
            wire.send("GET", path)
        if count:
            wait_until_held(publisher, count)
        for wire in wires:
            wire.close()
    wait_until_held(publisher, 0)
    bad = {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert httpx.get(server.url + path, headers=bad).status_code == 400
    assert httpx.post(publisher, content=b"x").status_code == 202
    log = server.file.parent / "error.log"
    assert "exited on signal" not in log.read_text()


def test_no_limit_is_no_limit() -> None:
    """A limit of 0 is none: of messages, of their age and size, of channel ids."""
    unlimited = {"max_channel_id_length": 0}
    conf = {
        "store": {"type": "memory"},
        "locations": [
            {**PUBLISHER, **unlimited, "max_message_size": 0},
            {**SUBSCRIBER, **unlimited},
        ],
    }
    with nginx(conf) as server, httpx.Client(base_url=server.url) as client:
        for number in range(30):
            client.post("/send/a", content=b"%d" % number)
        info = client.get("/send/a", headers={"Accept": "text/json"})
        assert json.loads(info.text)["messages"] == 30
        assert client.get("/updates/a").content == b"0"
        long = "x" * 2000
        sent = client.post(f"/send/{long}", content=bytes(2_000_000))
        assert sent.status_code == 202
        assert len(client.get(f"/updates/{long}").content) == 2_000_000


def test_several_workers_share_messages() -> None:
    """By default there is a worker for each processor, and all serve all channels."""
    conf = {
        "store": {"type": "memory", "max_messages": 100},
        "locations": [PUBLISHER, {**SUBSCRIBER, "passthrough": "/passthrough"}],
    }
    assert "worker_processes auto;" in configuration(conf)
    # A port at which there is nobody: Django does not matter here.
    options = ("--workers", "4", "--django", "127.0.0.1:9")
    with nginx(conf, *options) as server, httpx.Client(base_url=server.url) as client:
        close = {"Connection": "close"}  # Another worker may take the next one.
        for number in range(20):
            sent = client.post(f"/send/{number}", content=b"x", headers=close)
            assert sent.status_code == 202
            assert client.get(f"/updates/{number}", headers=close).content == b"x"


def test_messages_are_sandboxed() -> None:
    """nginx adds the headers with which the push server keeps browsers from running."""
    conf = {
        "store": {"type": "memory", "max_messages": 100},
        "locations": [
            PUBLISHER,
            {**SUBSCRIBER, "polling": "interval"},
            {**SUBSCRIBER, "url": "/long/([^/]+)", "timeout": 1},
            {**SUBSCRIBER, "url": "/inline/([^/]+)", "inline": True},
            {**SUBSCRIBER, "url": "/hears/([^/]+)", "passthrough": "/passthrough"},
        ],
    }
    sniff, policy = "X-Content-Type-Options", "Content-Security-Policy"
    options = ("--workers", "1", "--django", "127.0.0.1:9")
    with nginx(conf, *options) as server, httpx.Client(base_url=server.url) as client:
        for number, content_type in enumerate([*ACTIVE, *PASSIVE]):
            if content_type is None or not content_type.strip():
                headers = {}
            else:
                headers = {b"content-type": content_type.strip()}
            url = f"/send/{number}"
            assert client.post(url, content=b"x", headers=headers).status_code == 202
            for location in ("updates", "long", "hears", "inline"):
                answer = client.get(f"/{location}/{number}")
                assert answer.status_code == 200
                assert answer.headers[sniff] == "nosniff"
                expected = None
                if is_active(content_type) and location != "inline":
                    expected = SANDBOX[1].decode()
                assert answer.headers.get(policy) == expected, content_type
        for method, url, status in [
            ("PATCH", "/updates/0", 405),
            ("GET", "/send/none", 404),
            ("GET", "/long/none", 408),
            ("POST", "/send/0", 413),
        ]:
            body = bytes(2_000_000) if method == "POST" else b""
            refused = client.request(method, url, content=body)
            assert refused.status_code == status
            assert refused.headers[sniff] == "nosniff"


class Keeping(Thread):
    """A server that answers each request of one connection and never closes it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_closed_by_nginx = False
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, self.listener:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.is_closed_by_nginx = True


@pytest.mark.parametrize("arguments", [[], ["--proxy"]], ids=["nchan", "proxy"])
def test_nginx_closes_idle_connections_first(arguments: list[str]) -> None:
    """A POST never meets a connection that uvicorn or gunicorn is closing."""
    django = Keeping()
    conf = {"locations": [PUBLISHER, SUBSCRIBER]}
    with nginx(conf, *arguments, "--django", f"127.0.0.1:{django.port}") as server:
        assert httpx.post(f"{server.url}/form").status_code == 200
        wait_until(lambda: django.is_closed_by_nginx)


@pytest.mark.parametrize("kind", KINDS)
def test_connections_are_kept_shorter_than_by_any_server(
    kind: type[Configuration],
) -> None:
    """Each upstream is left after a second; gunicorn closes after two, uvicorn five."""
    text, _ = write(kind, **OLD_SETTINGS)
    assert text.count("keepalive_timeout 1s;") == text.count("upstream ")
