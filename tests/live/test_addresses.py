from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests import http
from tests.servers import ServerProcess

SERVERS = {
    "daphne": ["daphne", "-v", "0", "-u", "{socket}"],
    "uvicorn-h11": ["uvicorn", "--http", "h11", "--uds", "{socket}"],
    "uvicorn-httptools": ["uvicorn", "--http", "httptools", "--uds", "{socket}"],
    "granian": ["granian", "--interface", "asgi", "--uds", "{socket}"],
}

#: One location for each rule, at ``/<name>/<channel>``.
LOCATIONS = [
    {"type": "publisher", "prefix": f"/{name}/", "allow_from": allowed}
    for name, allowed in {
        "unix": ["unix"],
        "both": ["127.0.0.1", "unix"],
        "loopback": ["127.0.0.1"],
        "any": "any",
    }.items()
]


class UnixServer(ServerProcess):
    """A server that listens on a unix socket only."""

    def __init__(self, name: str, path: Path) -> None:
        command = [part.format(socket=path) for part in SERVERS[name]]
        super().__init__(
            *(sys.executable, "-m", *command, "tests.asgi:application"),
            env={
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "TEST_PUSH_SERVER": json.dumps({"locations": LOCATIONS}),
            },
        )
        self.path = path

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.path)) == 0


@contextmanager
def serve(name: str) -> Iterator[httpx.Client]:
    """Run a server on a Unix socket, and yield a client for it."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "socket"
        with (
            UnixServer(name, path),
            http.Client(
                transport=http.HTTPTransport(uds=str(path)), base_url="http://site"
            ) as client,
        ):
            yield client


def post(client: httpx.Client, path: str, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=b"news", headers=sent)


@pytest.mark.parametrize("name", SERVERS)
def test_publishing_over_a_unix_socket_is_allowed_with_unix(name: str) -> None:
    """Clients of the socket may publish with "unix", if proxies name no address."""
    with serve(name) as client:
        for path in ("/unix/a", "/both/a", "/any/a"):
            assert post(client, path).status_code == 202
        refused = post(client, "/loopback/a")
        assert refused.status_code == 403
        assert "'unix' in the location's allow_from" in refused.text
        outside = {
            "X_Forwarded_For": "203.0.113.9",
            "Forwarded": 'for="[2001:db8::1]:4711"',
            "CF_Connecting_IP": "203.0.113.9",
            "True_Client_IP": "unknown",
            "X_Real_IP": "unix",
        }
        for header, value in outside.items():
            for path in ("/unix/a", "/both/a", "/loopback/a"):
                assert post(client, path, **{header: value}).status_code == 403
            assert post(client, "/any/a", **{header: value}).status_code == 202
        inside = {"X_Forwarded_For": "127.0.0.1:4711", "Forwarded": "for=127.0.0.1"}
        assert post(client, "/both/a", **inside).status_code == 202
        assert post(client, "/unix/a", **inside).status_code == 403
