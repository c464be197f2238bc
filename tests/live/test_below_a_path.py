"""A site below a path, on each server."""

from __future__ import annotations

import json
import sys

import pytest

from tests import http
from tests.servers import LOCATIONS, ServerProcess

SERVERS = {
    "daphne": ("daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}"),
    "uvicorn, h11": ("uvicorn", "--http", "h11", "--port", "{port}"),
    "uvicorn, httptools": ("uvicorn", "--http", "httptools", "--port", "{port}"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_force_script_name(name: str) -> None:
    """The locations and views are at the URLs that reverse() returns."""
    server = ServerProcess(
        *(sys.executable, "-m", *SERVERS[name], "tests.asgi:application"),
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_SCRIPT_NAME": "/app",
            "TEST_PUSH_SERVER": json.dumps({"locations": LOCATIONS}),
        },
    )
    with server, http.Client(base_url=server.url) as client:
        places = client.get("/app/places/user/abc").json()
        assert places == {"page": "/app/hello", "channel": "/app/updates/user%2Fabc"}
        assert client.get(places["page"]).status_code == 200
        assert client.get("/app/publish/other").json()["status"] == 202
        posted = client.post("/app/send-update/user%2Fabc", content=b"news")
        assert posted.status_code == 202
        for below in (places["channel"], "/updates/user%2Fabc"):
            assert client.get(below).content == b"news"
