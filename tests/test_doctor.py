from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from email.message import Message
from getpass import getuser
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import RequestFactory, override_settings

from pushserver import channel_urls
from pushserver.conf import read_settings
from pushserver.doctor import Examination, Finding, echo, processes, requests
from pushserver.doctor.delivery import check_beginning, check_sending
from pushserver.doctor.echo import is_echo_id, make_channel_id, make_echo_id
from pushserver.doctor.findings import Failure, NotApplicable
from pushserver.doctor.locations import find_locations
from pushserver.doctor.passthrough import check_passthrough
from pushserver.doctor.probe import PADDING, Probe
from pushserver.doctor.requests import NO_ANSWER, Response, SentRequest
from pushserver.doctor.scripts import check_script
from pushserver.management.commands.pushserver_doctor import summarize
from pushserver.signals import channel_subscribe

from .conformance.servers import Nginx, environment, need_nginx, nginx
from .servers import ROOT, daphne, free_port

ORIGIN = "https://pages.example"

#: Seconds for which a poll is held.
TIMEOUT = 3

CONF: dict[str, Any] = {
    "store": {"type": "memory", "max_messages": 100},
    "locations": [
        {
            "type": "publisher",
            "url": "/send-update/([^/]+)",
            "max_message_size": 4000,
            "create_on_post": False,
        },
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "timeout": TIMEOUT,
            "timeout_status": 408,
            "allow_origin": ORIGIN,
            "allow_credentials": True,
            "passthrough": "/passthrough",
        },
        {
            "type": "subscriber",
            "url": "/quiet/([^/]+)",
            "create_on_get": True,
            "timeout": TIMEOUT,
            "allow_origin": ORIGIN,
            "allow_credentials": True,
        },
        {
            "type": "subscriber",
            "url": "/interval/([^/]+)",
            "create_on_get": True,
            "polling": "interval",
        },
    ],
}


def subscribing_at(index: int, **settings: Any) -> dict[str, Any]:
    """Return settings whose subscriber location is another one than the server's."""
    publisher, *subscribers = CONF["locations"]
    return {"locations": [publisher, {**subscribers[index], **settings}]}


def locations(publisher: dict[str, Any]) -> dict[str, Any]:
    """Return settings with changes to the publisher location."""
    first, *others = CONF["locations"]
    return {"locations": [{**first, **publisher}, *others]}


@dataclass(frozen=True)
class Fault:
    """A way for nginx to be set up, and what the doctor should say of it.

    Attributes:
        wrong: The checks that find a fault, each with words of what they say.
        proxy: Directives in the location that passes everything to Daphne.
        server: What stands before that location.
        site: What nginx passes everything to, if not to one Daphne.
        open: The checks that cannot be made, None for whichever.
        forwards: Whether nginx says whom it forwards for.
        publishes: Where this process publishes: at the ``server`` behind this nginx,
            through this ``nginx``, or at ``another`` server.
        conf: Settings that the doctor has, other than the server's.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    server: str = ""
    site: str = ""
    open: set[str] | None = None
    forwards: bool = True
    publishes: str = "server"
    conf: dict[str, Any] = field(default_factory=dict)


NAMES = (
    *("sending", "processes", "receiving", "script", "publishing", "etag", "cache"),
    *("delay", "cross-origin", "preflight", "passthrough", "clock", "size", "timeout"),
)

FAULTS = {
    "none": Fault(),
    "none, interval": Fault(conf=subscribing_at(2)),
    "gzip": Fault(
        {"etag": "The Etag of a message is stripped"},
        proxy="gzip on; gzip_proxied any; gzip_types application/json;",
    ),
    "weak etag": Fault(
        {"etag": 'The Etag of a message is weakened: it is W/"0"'},
        proxy="proxy_hide_header Etag; add_header Etag 'W/\"0\"';",
    ),
    "quoted etag": Fault(
        {"etag": 'The Etag of a message is changed: it is "0"'},
        proxy="proxy_hide_header Etag; add_header Etag '\"0\"';",
    ),
    "no date": Fault(
        {"etag": "The Last-Modified of a message is stripped"},
        proxy="proxy_hide_header Last-Modified;",
    ),
    "throttled": Fault(
        {"delay": "buffered or throttled"},
        # Only what is not asked for from the beginning, or all would be slow.
        proxy="limit_rate $slowly;",
    ),
    "short timeout": Fault(
        {"timeout": f"s (504); 'timeout' is {TIMEOUT} s"},
        # Only of polls that are held, as anything may be slow.
        server="""
            proxy_set_header Host $http_host;
            location @later { proxy_pass http://site; proxy_read_timeout 2s; }
            location /updates/ {
                error_page 418 = @later;
                if ($is_later) { return 418; }
                proxy_pass http://site;
            }
        """,
    ),
    "short poll": Fault(
        {"timeout": "s; 'timeout' is 20"},
        conf=subscribing_at(0, timeout=20),
    ),
    "no cors": Fault(
        {
            "cross-origin": "Access-Control-Allow-Origin is missing",
            "preflight": "Access-Control-Allow-Origin is missing",
        },
        proxy="proxy_hide_header Access-Control-Allow-Origin;",
    ),
    "cors twice": Fault(
        {
            "cross-origin": "There are 2 headers Access-Control-Allow-Origin",
            "preflight": "There are 2 headers Access-Control-Allow-Origin",
        },
        proxy="add_header Access-Control-Allow-Origin '*' always;",
    ),
    "no credentials": Fault(
        {
            "cross-origin": "Access-Control-Allow-Credentials is not 'true'",
            "preflight": "Access-Control-Allow-Credentials is not 'true'",
        },
        proxy="proxy_hide_header Access-Control-Allow-Credentials;",
    ),
    "nothing exposed": Fault(
        {"cross-origin": f"Pages of {ORIGIN} may not read last-modified"},
        proxy="proxy_hide_header Access-Control-Expose-Headers;",
    ),
    "no preflight": Fault(
        {"preflight": "A preflight (OPTIONS) is answered 405"},
        proxy="if ($request_method = OPTIONS) { return 405; }",
    ),
    "preflight without headers": Fault(
        {"preflight": "A preflight does not allow if-modified-since"},
        proxy="proxy_hide_header Access-Control-Allow-Headers;",
    ),
    "no cookies": Fault(
        {"passthrough": "without the cookies"},
        proxy="proxy_set_header Cookie '';",
    ),
    "no passthrough": Fault(
        {"passthrough": "does not hear of a subscriber"},
        conf=subscribing_at(1, passthrough="/passthrough"),
    ),
    "clock": Fault(
        {"clock": "The clock at the public URL is"},
        proxy="add_header Date 'Thu, 01 Jan 2026 00:00:00 GMT' always;",
    ),
    "small bodies": Fault(
        {"size": "A message of 4000 bytes, which max_message_size allows, is refused"},
        proxy="client_max_body_size 3000;",
        publishes="nginx",
    ),
    "open to the world": Fault(
        {"publishing": "The publisher location is open to the world"},
        forwards=False,
    ),
    "open by setting": Fault(
        {"publishing": "Everybody may publish: 'allow_from' is 'any'"},
        conf={
            "locations": [
                {**CONF["locations"][0], "allow_from": "any"},
                CONF["locations"][1],
            ]
        },
    ),
    "refused publisher": Fault(
        {"sending": "send_update() of this process fails"},
        server="location /send-update/ { return 403; }",
        publishes="nginx",
    ),
    "another push server": Fault(
        {"receiving": "they lead to different push servers"},
        publishes="another",
        open=set(),
    ),
    "cache": Fault(
        {
            "cache": "a cache answers",
            # What follows from it.
            "delay": "A waiting subscriber gets 304 instead of the message",
            "timeout": "A poll ended after ",
            "passthrough": "does not hear of a subscriber",
        },
        proxy=(
            "proxy_cache answers; proxy_cache_valid any 1m; proxy_cache_lock off;"
            " proxy_ignore_headers Cache-Control Vary Expires;"
        ),
    ),
    "no subscribers": Fault(
        {"receiving": "A subscriber at the public URL gets 404"},
        server="location /updates/ { return 404; }",
    ),
    "ids compared": Fault(
        {"receiving": "A proxy answers 304 in place of a message"},
        # As Varnish does with return (pass).
        server="""location /updates/ {
            add_header Last-Modified 'Sun, 22 Nov 2026 12:00:00 GMT' always;
            return 304;
        }""",
    ),
    "a page everywhere": Fault(
        {"receiving": "gets something else (200) instead of a message"},
        server="location /updates/ { return 200 '<html>'; }",
    ),
    "redirect": Fault(
        {"receiving": "The public URL redirects to https://127.0.0.1/"},
        server="location /updates/ { return 301 https://127.0.0.1/; }",
    ),
    "nobody": Fault(
        {"receiving": "nobody listens there"},
        open=set(NAMES) - {"sending", "receiving"},
    ),
    "broken polls": Fault(
        {
            "delay": "A waiting subscriber gets 502 instead of the message",
            "timeout": "s (502)",
        },
        server="if ($is_later) { return 502; }",
        open={"cache", "passthrough"},
    ),
    "broken publisher": Fault(
        server="location /send-update/ { return 500; }", open={"publishing"}
    ),
    "closed publisher": Fault(
        server="location /send-update/ { return 403; }", open=set()
    ),
    "no pages": Fault(
        {"cross-origin": f"A page of {ORIGIN} gets 403 instead of a message"},
        server="if ($http_origin) { set $page $request_method; }"
        " if ($page = GET) { return 403; }",
        open=set(),
    ),
    "several processes": Fault(
        {"processes": "Several processes answer at the public URL"},
        site="both",
        open=set(NAMES) - {"sending", "processes", "script", "publishing"},
    ),
    "several processes, interval": Fault(
        {"processes": "Several processes answer at the public URL"},
        site="both",
        open={"receiving", "etag", "cache", "clock", "size"},
        conf=subscribing_at(2),
    ),
    "no script": Fault(
        {"script": "updates.js is not served: http://127.0.0.1:"},
        server="location /static/ { return 404; }",
        open=set(),
    ),
    "an old script": Fault(
        {"script": "is another file than the updates.js of version"},
        server="location /static/ { default_type text/javascript; return 200 'old'; }",
        open=set(),
    ),
    "a page for a script": Fault(
        {"script": "its Content-Type is text/html"},
        server="location /static/ { default_type text/html; return 200 '<html>'; }",
        open=set(),
    ),
}


#: Seconds for which the doctor of these tests waits. Long ones, as all is slow where
#: much goes on besides; and nothing here is found by waiting for them in vain.
PATIENCE, DELAY = 6.0, 2.0

#: How many examinations go on at a time: with more of them all are answered late.
AT_ONCE = 24


def faulty_servers(daphne_port: int, other_port: int, ports: dict[str, int]) -> Any:
    """Return what writes an nginx configuration with a server for each fault."""

    def configure(port: int, directory: Path) -> str:
        servers = "".join(
            f"""
            server {{
                listen 127.0.0.1:{ports[name]};
                client_max_body_size 10m;
                {fault.server}
                location / {{
                    proxy_set_header Host $http_host;
                    {_forwarded(fault)}
                    proxy_pass http://{fault.site or f"127.0.0.1:{daphne_port}"};
                    {fault.proxy}
                }}
            }}
            """
            for name, fault in FAULTS.items()
        )
        return f"""
            user {getuser()};
            pid {directory}/pid;
            error_log {directory}/error.log;
            events {{}}
            http {{
                access_log off;
                proxy_cache_path {directory}/cache keys_zone=answers:1m;
                map "$uri $http_if_modified_since" $is_later {{
                    "~^/updates/.+ Thu, 01 Jan 1970" 0;
                    "~^/updates/" 1;
                    default 0;
                }}
                map $is_later $slowly {{ 1 600; default 0; }}
                upstream site {{ server 127.0.0.1:{daphne_port}; }}
                upstream both {{
                    server 127.0.0.1:{daphne_port};
                    server 127.0.0.1:{other_port};
                }}
                {servers}
                server {{ listen 127.0.0.1:{port}; }}
            }}
        """

    return configure


def _forwarded(fault: Fault) -> str:
    if not fault.forwards:
        return ""
    return "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, dict[str, Finding]]]:
    """What the doctor finds in each case, all asked at the same time."""
    ports = {name: free_port() for name in FAULTS}
    with ExitStack() as stack:
        site = stack.enter_context(daphne(CONF, "tests.asgi:application"))
        other = stack.enter_context(daphne(CONF, "tests.asgi:application"))
        stack.enter_context(Nginx(faulty_servers(site.port, other.port, ports)))
        before = ("--django", f"127.0.0.1:{site.port}", "--proxy")
        proxy = stack.enter_context(nginx(CONF, *before))
        urls = {name: f"http://127.0.0.1:{ports[name]}" for name in FAULTS}
        urls |= {"Daphne": site.url, "nginx before Daphne": proxy.url}
        urls["nobody"] = f"http://127.0.0.1:{free_port()}"

        def settings(name: str) -> dict[str, Any]:
            fault = FAULTS.get(name, Fault())
            where = {"server": site.port, "another": other.port}
            port = where.get(fault.publishes) or ports[name]
            return {**CONF, "publisher_host": f"127.0.0.1:{port}", **fault.conf}

        def prepare(name: str) -> Callable[[], dict[str, Finding]]:
            """Return what asks, with the case's settings or else in their own process.

            Where updates are sent is the one setting that is read when they are sent.
            """
            url, conf = urls[name], settings(name)
            if conf["publisher_host"] != settings("none")["publisher_host"]:
                return lambda: findings_of(examine(url, conf, "--json"))
            with override_settings(PUSH_SERVER=conf):
                examination = Examination(url, patience=PATIENCE, delay=DELAY)
            return lambda: {each.check: each for each in examination.run()}

        # nginx takes turns, so few requests find the second process; and many more from
        # all examinations at once would be answered late.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(processes, "MESSAGES", 2)
        patch.setattr(processes, "REQUESTS", 3)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            asks = {name: prepare(name) for name in urls}
            with override_settings(PUSH_SERVER=settings("none")):
                found = {name: threads.submit(ask) for name, ask in asks.items()}
                yield {name: each.result() for name, each in found.items()}


def examine(
    url: str, conf: dict[str, Any], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py pushserver_doctor``."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "django", "pushserver_doctor", url),
            *("--patience", f"{PATIENCE}", "--delay", f"{DELAY}", *arguments),
        ],
        env={**os.environ, **environment(conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def findings_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Finding]:
    """Return what a command has told as JSON; its exit status tells the same."""
    report = json.loads(ended.stdout)
    findings = [Finding(**each) for each in report["findings"]]
    assert report["ok"] is (ended.returncode == 0)
    assert report["ok"] is {True}.issuperset(
        each.ok for each in findings if each.applies
    )
    return {each.check: each for each in findings}


def wrong(findings: dict[str, Finding]) -> set[str]:
    """Return the names of the checks that found a fault."""
    return {name for name, finding in findings.items() if finding.ok is False}


@pytest.mark.parametrize(
    "name", [name for name, fault in FAULTS.items() if fault.wrong or fault.open]
)
def test_a_fault_is_found(reports: dict[str, dict[str, Finding]], name: str) -> None:
    """An nginx with one fault is told of that fault, in words, and of no other."""
    found, fault = reports[name], FAULTS[name]
    assert wrong(found) == set(fault.wrong), found
    for check, words in fault.wrong.items():
        assert words in found[check].text
        assert found[check].advice
    if fault.open is not None:
        assert {name for name in found if found[name].is_inconclusive} == fault.open, (
            found
        )


@pytest.mark.parametrize(
    "name", ["none", "closed publisher", "Daphne", "nginx before Daphne"]
)
def test_all_is_well(reports: dict[str, dict[str, Finding]], name: str) -> None:
    """Where there is no fault, everything was tried and none is found."""
    assert tuple(reports[name]) == NAMES
    assert {finding.ok for finding in reports[name].values()} == {True}, reports[name]


def test_what_does_not_apply(reports: dict[str, dict[str, Finding]]) -> None:
    """What an interval poll has not, nor its location, is not tried."""
    found = reports["none, interval"]
    assert wrong(found) == set(), found
    assert {name for name, finding in found.items() if not finding.applies} == {
        *("delay", "timeout", "cross-origin", "preflight", "passthrough")
    }


# The command


@pytest.fixture(scope="module")
def nchan() -> Iterator[tuple[Nginx, dict[str, Any]]]:
    """nginx with Nchan, and the settings of its site."""
    need_nginx()
    django = daphne(CONF, "tests.asgi:django_application")
    with nginx(CONF, "--django", f"127.0.0.1:{django.port}") as server:
        conf = {**CONF, "publisher_host": f"127.0.0.1:{server.port}"}
        django.env.update(environment(conf))
        with django:
            yield server, conf


@pytest.mark.process
def test_the_command_on_nchan(nchan: tuple[Nginx, dict[str, Any]]) -> None:
    """On an nginx set up by pushserver_nginx all is well, and the exit status is 0."""
    server, conf = nchan
    ended = examine(server.url, conf)
    assert ended.returncode == 0, ended.stdout
    assert "ok    passthrough: " in ended.stdout
    assert ended.stdout.endswith("All is well.\n")


@pytest.mark.process
def test_the_command_says_what_to_do() -> None:
    """Without JSON, a fault is two lines: what is wrong, and what to do."""
    nobody = f"127.0.0.1:{free_port()}"
    ended = examine(f"http://{nobody}", {**CONF, "publisher_host": nobody})
    assert ended.returncode == 1
    assert "WRONG sending: send_update() of this process fails: Could not" in (
        ended.stdout
    )
    assert "WRONG receiving: " in ended.stdout
    assert "\n      Check that the site is served there" in ended.stdout
    assert ended.stdout.endswith("found a fault.\n")


@pytest.mark.parametrize(
    ("url", "conf", "sentence"),
    [
        ("example.com", CONF, "'example.com' is no URL of a site"),
        ("http://a:b", CONF, "'http://a:b' is no URL of a site"),
        ("http://a?b", CONF, "'http://a?b' is no URL of a site"),
        ("http://a/b c", CONF, "'http://a/b c' is no URL of a site"),
        ("http://.a", CONF, "'http://.a' is no URL of a site"),
        ("http://a", {"prot": 1}, "PUSH_SERVER['prot'] is not a known setting"),
        ("http://a", {"locations": []}, "needs a publisher and a subscriber location"),
        ("http://a", locations({"store_messages": False}), "keeps no messages"),
        ("http://a", locations({"url": r"/send/(\d+)"}), "cannot match it"),
        ("http://a", locations({"max_channel_id_length": 9}), "with ids of 48"),
        (
            "http://a",
            {
                **locations({"store": "other"}),
                "store": dict.fromkeys(("default", "other"), CONF["store"]),
            },
            "No subscriber location has the store",
        ),
    ],
)
def test_what_cannot_be_examined(url: str, conf: dict[str, Any], sentence: str) -> None:
    """A wrong URL and wrong settings end the command with a sentence."""
    with (
        override_settings(PUSH_SERVER=conf),
        pytest.raises(CommandError, match=re.escape(sentence)),
    ):
        call_command("pushserver_doctor", url)


def finding(check: str, ok: bool | None, applies: bool = True) -> Finding:
    return Finding(check, ok, "", applies=applies)


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([finding("a", True)], "All is well."),
        (
            [finding("a", True), finding("b", None, applies=False)],
            "With these settings, nothing to check: b.\nAll is well.",
        ),
        (
            [finding("a", True), finding("b", None)],
            "Could not be checked: b.\n"
            "What was checked is right, but not everything could be checked.",
        ),
        (
            [finding("a", False), finding("b", None)],
            "Could not be checked: b.\nOf 2 checks, 1 found a fault.",
        ),
    ],
)
def test_the_summary(findings: list[Finding], summary: str) -> None:
    """All is well only if all checks that apply were made and found nothing."""
    assert summarize(findings) == summary


# Settings


def make_probe(url: str, conf: dict[str, Any]) -> Probe:
    """Return what a check is given."""
    settings = read_settings(conf)
    publisher, subscriber = find_locations(settings)
    store = settings.store["default"]
    return Probe(url, publisher, subscriber, store, patience=2, delay=1)


@pytest.mark.parametrize(
    ("conf", "raises"),
    [
        ({}, NotApplicable),
        ({"publisher_host": "127.0.0.1:{port}"}, Failure),
        ({"port": "{port}"}, Failure),
        ({"publisher": "http"}, Failure),
    ],
)
def test_nothing_is_said_of_an_address_that_no_setting_names(
    monkeypatch: pytest.MonkeyPatch, conf: dict[str, Any], raises: type[Exception]
) -> None:
    """That nobody listens at the default one is a fault only if something says so."""
    port = free_port()
    monkeypatch.setattr(channel_urls, "DEFAULT_PORT", port)
    named = {
        key: port if value == "{port}" else value.format(port=port)
        for key, value in conf.items()
    }
    with override_settings(PUSH_SERVER={**CONF, **named}):
        probe = make_probe("http://127.0.0.1:9", {**CONF, **named})
        with pytest.raises(raises) as raised:
            check_sending(probe)
    assert (str(port) in str(raised.value)) is (raises is Failure)


@pytest.mark.parametrize(
    "settings", [{"INSTALLED_APPS": ["pushserver"]}, {"STATIC_URL": None}]
)
def test_a_site_without_static_files(settings: dict[str, Any]) -> None:
    """Where a site has none, there is no script to look for."""
    with override_settings(**settings), pytest.raises(NotApplicable):
        check_script(make_probe("http://127.0.0.1:9", CONF))


def test_a_script_elsewhere() -> None:
    """The script is looked for where pages look for it, and that may be elsewhere."""
    url = f"http://127.0.0.1:{free_port()}/files/"
    with override_settings(STATIC_URL=url), pytest.raises(Failure, match=url):
        check_script(make_probe("http://127.0.0.1:9", CONF))


def test_a_slow_view_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that ends before the passthrough view has told something is repeated."""
    name = Message()
    name["Last-Modified"], name["Etag"] = "Thu, 01 Jan 2026 00:00:00 GMT", "0"
    answers = iter([(200, False), (304, False), (304, False), (200, True)])

    class SentEcho:
        def __init__(
            self, probe: Probe, channel_id: str, headers: dict[str, str]
        ) -> None:
            self.cookie = headers["Cookie"].partition("=")[2]

        def response(self) -> Response:
            status, is_echo = next(answers)
            told = {"type": "pushserver.doctor", "cookie": self.cookie}
            body = json.dumps(told).encode() if is_echo else b""
            return Response(status, name, body, "", 0)

    monkeypatch.setattr(Probe, "ask", lambda *args: SentEcho(*args))
    monkeypatch.setattr(Probe, "publish", lambda probe, channel_id: None)
    probe = make_probe("http://127.0.0.1:9", CONF)
    assert "hears of subscribers" in check_passthrough(probe)


# Servers that are no push servers

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("begins", "again", "error"),
    [
        (b"", b"", NO_ANSWER),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", NO_ANSWER),
        (HEAD + b"X: ", b"x", NO_ANSWER),
        (HEAD + b"\r\n", b"x", NO_ANSWER),
        (HEAD + b"Content-Length: 9\r\n\r\nx", None, "the connection was closed"),
        (HEAD + b"Content-Length: 1%s\r\n\r\nx" % (b"0" * 30), None, "closed"),
        (b"SSH-2.0\r\n", None, "the connection was closed"),
        (b"", None, "the connection was closed"),
        (HEAD + b"\r\n" + bytes(9999), None, "the connection was closed"),
    ],
)
def test_no_server_keeps_the_doctor(
    monkeypatch: pytest.MonkeyPatch, begins: bytes, again: bytes | None, error: str
) -> None:
    """An answer without end is given up in time, however often a byte of it comes."""
    monkeypatch.setattr(requests, "MAX_ANSWER", 9000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asks = SentRequest(f"http://127.0.0.1:{server.getsockname()[1]}/", patience=0.2)
        connection, _ = server.accept()
        with connection, ThreadPoolExecutor(1) as threads:
            connection.recv(9999)
            connection.sendall(begins)
            if again is None:
                connection.shutdown(socket.SHUT_WR)
            answer = threads.submit(asks.response)
            with suppress(OSError):  # The doctor has hung up.
                while not answer.done():
                    connection.sendall(again or b"")
                    sleep(0.01)
            assert answer.result(10).status == 0
            assert error in answer.result().error


def test_a_compressed_answer_is_read() -> None:
    """What a proxy has compressed is told as it was."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asks = SentRequest(f"http://127.0.0.1:{server.getsockname()[1]}/", patience=10)
        connection, _ = server.accept()
        with connection:
            connection.recv(9999)
            connection.sendall(HEAD + b"Content-Encoding: gzip\r\n\r\n")
            connection.sendall(gzip.compress(b"news"))
        answer = asks.response()
    assert (answer.status, answer.body) == (200, b"news")


# The echo


def test_only_who_knows_the_secret_is_answered() -> None:
    """The view answers on channels that this site's doctor made, and on no others."""
    channel_id = make_echo_id()
    assert is_echo_id(channel_id)
    with override_settings(SECRET_KEY="another"):
        assert not is_echo_id(channel_id)
    assert not is_echo_id(make_channel_id())
    assert not is_echo_id("news")
    other = "0" if channel_id[-1] != "0" else "1"
    assert not is_echo_id(channel_id[:-1] + other)


@pytest.mark.parametrize(
    ("cookie", "told"), [("5" * 48, "5" * 48), ("<script>", None), ("", None)]
)
def test_nobody_can_have_the_view_say_something(
    monkeypatch: pytest.MonkeyPatch, cookie: str, told: str | None
) -> None:
    """Who has seen a doctor's channel can have it say a doctor's cookie, no more."""
    sent: list[object] = []
    monkeypatch.setattr(echo, "send_update", lambda *args, **kwargs: sent.append(args))
    request = RequestFactory().post("/passthrough")
    request.COOKIES = {echo.COOKIE: cookie, "sessionid": "secret"}
    channel_id = make_echo_id()
    for each in (channel_id, "news"):
        channel_subscribe.send(None, request=request, channel_id=each)
    assert sent == [(channel_id, {"type": "pushserver.doctor", "cookie": told})]


class ScriptedProbe(Probe):
    """A probe whose requests get the given responses, in order."""

    def __init__(self, *responses: Response, **store: Any) -> None:
        conf = read_settings({**CONF, "store": {**CONF["store"], **store}})
        publisher, subscriber, *_ = find_locations(conf)
        super().__init__(
            *("http://a.example", publisher, subscriber, conf.store["default"]),
            patience=2,
            delay=1,
        )
        self.responses = list(responses)

    def new_channel(self, channel_id: str | None = None) -> str:
        return "a"

    def publish(self, channel_id: str) -> None:
        pass

    def ask(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(response=lambda: self.responses.pop(0))


def response(status: int, tag: int = 0, modified: str = "Sun, 22 Nov 2026") -> Response:
    headers = Message()
    headers["Last-Modified"] = f"{modified} 12:00:00 GMT"
    headers["Etag"] = str(tag)
    body = json.dumps(PADDING).encode() if status == 200 else b""
    return Response(status, headers, body, "" if status else NO_ANSWER, 0.1)


def test_all_begin_with_the_oldest_message() -> None:
    """It is well where two who begin are given the same message."""
    check_beginning(ScriptedProbe(response(200), response(200)))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (response(0), "gets no answer in time instead of the oldest message"),
        (response(200, 1), "gets another message instead of the oldest message"),
        (response(304), "A proxy answers 304 in place of a message"),
    ],
    ids=["held", "next", "not modified"],
)
def test_a_cache_with_an_id_of_its_own(second: Response, words: str) -> None:
    """A cache that asks with its own id, as Squid's does, is found out."""
    with pytest.raises(Failure, match=words):
        check_beginning(ScriptedProbe(response(200), second))


def test_messages_that_are_kept_briefly() -> None:
    """Where a message may be too old for the second who begins, nobody is blamed."""
    check_beginning(ScriptedProbe(response(200), response(0), message_timeout=1))
