from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pushserver.doctor import Examination, Finding, processes

from .conformance.servers import Nginx, nginx
from .doctor import CONF, DELAY, ORIGIN, PATIENCE, TIMEOUT, examine
from .servers import daphne, free_port

pytestmark = pytest.mark.process


def subscribing_at(index: int, **settings: Any) -> dict[str, Any]:
    """Return settings whose subscriber location differs from the server's."""
    publisher, *subscribers = CONF["locations"]
    return {"locations": [publisher, {**subscribers[index], **settings}]}


@dataclass(frozen=True)
class Fault:
    """An nginx configuration with a fault, and what the doctor should report.

    Attributes:
        wrong: The checks that find a fault, each with words of its text.
        proxy: Directives in the location that passes everything to Daphne.
        server: Directives before that location.
        site: The upstream of nginx, if it is not one Daphne.
        open: The checks that are inconclusive; None if that does not matter.
        forwards: Whether nginx sends the addresses of clients.
        upgrades: Whether nginx passes on upgrades to WebSocket.
        host: The Host that nginx sends to Daphne.
        publishes: Where this process publishes: at the ``server`` behind this nginx,
            through this ``nginx``, or at ``another`` server.
        conf: Settings of the doctor that differ from the server's.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    server: str = ""
    site: str = ""
    open: set[str] | None = None
    forwards: bool = True
    upgrades: bool = True
    host: str = "$http_host"
    publishes: str = "server"
    conf: dict[str, Any] = field(default_factory=dict)


NAMES = (
    *("sending", "processes", "receiving", "script", "publishing", "etag", "cache"),
    *("delay", "stream", "websocket", "cross-origin", "preflight", "passthrough"),
    *("clock", "size", "timeout", "stream-timeout", "websocket-timeout"),
)

#: The location whose streams are silent for longer than the proxy waits, and seconds
#: for which the doctor watches them.
IDLE = {
    "locations": [*CONF["locations"][:2], {**CONF["locations"][4], "keep_alive": 5}]
}
IDLE["locations"][1] = {**IDLE["locations"][1], "transports": ["poll"]}

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
        # Throttle only later requests, so that the other checks are not slow.
        proxy="limit_rate $slowly;",
    ),
    "short timeout": Fault(
        {"timeout": f"s (504); 'timeout' is {TIMEOUT} s"},
        # Shorten only held polls, since any other request may be slow.
        server="""
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_or_upgrade;
            location @later { proxy_pass http://site; proxy_read_timeout 2s; }
            location /updates/ {
                error_page 418 = @later;
                if ($is_later) { return 418; }
                proxy_pass http://site;
            }
        """,
    ),
    "compressed streams": Fault(
        {"stream": "of a stream arrives in"},
        proxy=(
            "proxy_ignore_headers X-Accel-Buffering;"
            " gzip on; gzip_proxied any; gzip_types text/event-stream;"
        ),
    ),
    "no Accept": Fault(
        {"stream": "instead of a stream"},
        proxy="proxy_set_header Accept */*;",
    ),
    "short timeout of streams": Fault(
        {
            "stream-timeout": "An idle stream was cut after ",
            "websocket-timeout": "An idle WebSocket was cut after ",
        },
        server="""
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_or_upgrade;
            location /idle/ { proxy_pass http://site; proxy_read_timeout 2s; }
        """,
        conf=IDLE,
    ),
    "no upgrades": Fault(
        {"websocket": "An upgrade to WebSocket is answered as a poll (200)"},
        upgrades=False,
    ),
    "refused upgrades": Fault(
        {"websocket": "An upgrade to WebSocket gets 403"},
        proxy="if ($http_upgrade) { return 403; }",
    ),
    "another host": Fault(
        {"websocket": "refuses WebSockets of the site's own pages"},
        host="testserver",
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
        # Without streams, which would be watched for 25 seconds.
        conf=subscribing_at(1, passthrough="/passthrough", transports=["poll"]),
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
            # Consequences of the cache.
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
        open={"cache", "passthrough", "stream-timeout", "websocket-timeout"},
    ),
    "broken publisher": Fault(
        server="location /send-update/ { return 500; }", open={"publishing"}
    ),
    "closed publisher": Fault(
        server="location /send-update/ { return 403; }", open=set()
    ),
    "no pages": Fault(
        {
            "cross-origin": f"A page of {ORIGIN} gets 403 instead of a message",
            "websocket": "refuses WebSockets of the site's own pages",
        },
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


#: How many examinations run at once; with more of them answers would be late.
AT_ONCE = 24


def faulty_servers(daphne_port: int, other_port: int, ports: dict[str, int]) -> Any:
    """Return a function that writes an nginx configuration with a server per fault."""

    def configure(port: int, directory: Path) -> str:
        servers = "".join(
            f"""
            server {{
                listen 127.0.0.1:{ports[name]};
                client_max_body_size 10m;
                {fault.server}
                location / {{
                    proxy_set_header Host {fault.host};
                    {_upgrading(fault)}
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
                map $http_upgrade $connection_or_upgrade {{
                    default upgrade;
                    "" close;
                }}
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


def _upgrading(fault: Fault) -> str:
    if not fault.upgrades:
        return ""
    return """
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_or_upgrade;
    """


def _forwarded(fault: Fault) -> str:
    if not fault.forwards:
        return ""
    return "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, dict[str, Finding]]]:
    """Return the doctor's findings for each fault; all are examined at once."""
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
            """Return a function that examines a case, in this or in its own process.

            Of the settings, only publisher_host is read after the function is made.
            """
            url, conf = urls[name], settings(name)
            if conf["publisher_host"] != settings("none")["publisher_host"]:
                return lambda: findings_of(examine(url, conf, "--json"))
            with override_settings(PUSH_SERVER=conf):
                examination = Examination(url, patience=PATIENCE, delay=DELAY)
            return lambda: {each.check: each for each in examination.run()}

        # nginx alternates between the processes, so that few messages find the second
        # one; more from all examinations at once would be answered late.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(processes, "MESSAGES", 2)
        patch.setattr(processes, "REQUESTS", 3)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            asks = {name: prepare(name) for name in urls}
            with override_settings(PUSH_SERVER=settings("none")):
                found = {name: threads.submit(ask) for name, ask in asks.items()}
                yield {name: each.result() for name, each in found.items()}


def findings_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Finding]:
    """Return the findings that a command printed as JSON, and check its exit status."""
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
def test_fault_is_found(reports: dict[str, dict[str, Finding]], name: str) -> None:
    """The doctor reports the one fault of an nginx, in words, and no other."""
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
def test_all_checks_pass_without_a_fault(
    reports: dict[str, dict[str, Finding]], name: str
) -> None:
    """Without a fault, all checks are made and pass."""
    assert tuple(reports[name]) == NAMES
    assert {finding.ok for finding in reports[name].values()} == {True}, reports[name]


def test_inapplicable_checks_are_not_made(
    reports: dict[str, dict[str, Finding]],
) -> None:
    """Checks that do not apply to an interval poll are not made."""
    found = reports["none, interval"]
    assert wrong(found) == set(), found
    assert {name for name, finding in found.items() if not finding.applies} == {
        *("delay", "timeout", "cross-origin", "preflight", "passthrough"),
        *("stream", "websocket", "stream-timeout", "websocket-timeout"),
    }
