"""What a cache in front of the push server does, and what the doctor reports."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from .conformance.servers import Nginx, need, need_nginx
from .doctor import CONF, examine
from .servers import ServerProcess, daphne

pytestmark = [pytest.mark.process, pytest.mark.left_to_all("caches")]

PATHS = "^/(updates|quiet|interval)/"

#: Configurations that the documentation recommends, and others that do not work.
VARNISH = {
    "pipe": (True, f'sub vcl_recv {{ if (req.url ~ "{PATHS}") {{ return (pipe); }} }}'),
    "pass, unset": (
        True,
        f'sub vcl_recv {{ if (req.url ~ "{PATHS}") {{ return (pass); }} }}'
        " sub vcl_deliver { unset req.http.If-None-Match;"
        " unset req.http.If-Modified-Since; }",
    ),
    "pass": (
        False,
        f'sub vcl_recv {{ if (req.url ~ "{PATHS}") {{ return (pass); }} }}',
    ),
    "nothing": (False, ""),
}
SQUID = {
    "cache deny": (True, f"acl updates urlpath_regex {PATHS}\ncache deny updates"),
    "nothing": (False, ""),
}
NGINX = {
    "off": (True, "proxy_cache off;"),
    "bypass": (False, "proxy_cache_bypass 1; proxy_no_cache 1;"),
    "nothing": (False, ""),
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    """A Daphne, and settings that publish to it directly and not through a proxy."""
    # These caches would pass on WebSockets only with more configuration.
    locations = [
        {**each, "transports": ["poll", "eventsource"]}
        if each["type"] == "subscriber" and each.get("polling") != "interval"
        else each
        for each in CONF["locations"]
    ]
    conf = {**CONF, "locations": locations}
    with daphne(conf) as server:
        yield server, {**conf, "publisher_host": f"127.0.0.1:{server.port}"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can read: caches started by root change users."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def varnish(upstream: ServerProcess, configuration: str, folder: Path) -> ServerProcess:
    """Return a Varnish in front of a server."""
    need(shutil.which("varnishd"), "Varnish", "apt-get install varnish")
    backend = f'backend default {{ .host = "127.0.0.1"; .port = "{upstream.port}"; }}'
    file = folder / "site.vcl"
    file.write_text(f"vcl 4.1;\n{backend}\n{configuration}\n")
    return ServerProcess(
        *("varnishd", "-F", "-a", "127.0.0.1:{port}", "-f", str(file)),
        *("-n", str(folder / "work"), "-s", "malloc,16m"),
    )


def squid(upstream: ServerProcess, configuration: str, folder: Path) -> ServerProcess:
    """Return a Squid in front of a server."""
    need(shutil.which("squid"), "Squid", "apt-get install squid")
    server = ServerProcess("squid", "-N", "-f", str(folder / "squid.conf"))
    (folder / "squid.conf").write_text(
        f"""
        http_port 127.0.0.1:{server.port} accel defaultsite=127.0.0.1
        cache_peer 127.0.0.1 parent {upstream.port} 0 no-query originserver
        http_access allow all
        pid_filename none
        access_log none
        cache_log {folder}/cache.log
        cache_mem 16 MB
        shutdown_lifetime 1 seconds
        """.replace("        ", "")
        + configuration
        + "\n"
    )
    return server


def nginx(upstream: ServerProcess, configuration: str, folder: Path) -> ServerProcess:
    """Return an nginx with a cache in front of a server."""
    need_nginx()

    def configure(port: int, directory: Path) -> str:
        return f"""
            user {getuser()};
            pid {directory}/pid;
            error_log stderr;
            include /etc/nginx/modules-enabled/*.conf;
            events {{}}
            http {{
                proxy_cache_path {directory}/cache keys_zone=all:1m;
                server {{
                    listen 127.0.0.1:{port};
                    proxy_cache all;
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $remote_addr;
                    location / {{ proxy_pass {upstream.url}; }}
                    location ~ {PATHS} {{
                        {configuration}
                        proxy_pass {upstream.url};
                    }}
                }}
            }}
        """

    return Nginx(configure)


CACHES = {
    "Varnish": (varnish, VARNISH),
    "Squid": (squid, SQUID),
    "nginx": (nginx, NGINX),
}


@pytest.mark.skipif(sys.platform != "linux", reason="as packaged for Linux")
@pytest.mark.parametrize(
    ("cache", "configuration"),
    [(cache, each) for cache, (_, known) in CACHES.items() for each in known],
)
def test_doctor_accepts_the_documented_caches(
    served: tuple[ServerProcess, dict[str, Any]],
    folder: Path,
    cache: str,
    configuration: str,
) -> None:
    """The doctor accepts the documented cache configurations and reports the others."""
    server, conf = served
    start, known = CACHES[cache]
    works, text = known[configuration]
    with start(server, text, folder) as proxy:
        ended = examine(proxy.url, conf, "--json")
    report = json.loads(ended.stdout)
    wrong = [each for each in report["findings"] if each["ok"] is False]
    assert report["ok"] == (not wrong) == works, report
    if wrong:
        assert any(cache.lower() in each["advice"].lower() for each in wrong), wrong
