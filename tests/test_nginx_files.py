from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pushserver.nginx import Configuration, Options

from . import http
from .conformance.servers import Nginx, nginx
from .nginx import KINDS, PUBLISHER, SUBSCRIBER, write
from .servers import ROOT

# Static files


@pytest.mark.parametrize("kind", KINDS)
def test_static_url_becomes_a_location(kind: type[Configuration]) -> None:
    """STATIC_URL becomes a location that serves STATIC_ROOT with content types."""
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
    """A comment explains why static files have no location, and usually a warning."""
    with override_settings(**settings):
        text, warnings = write(kind)
    assert "alias" not in text
    assert sentence in re.sub(r"\n *# ", " ", text)
    assert any(sentence in each for each in warnings) is warns


@pytest.mark.process
@pytest.mark.parametrize("arguments", [[], ["--proxy"]], ids=["Nchan", "proxy"])
def test_nginx_serves_static_files(arguments: list[str]) -> None:
    """nginx serves whole scripts with their type, and nothing outside the folder."""
    with (
        nginx({}, "--django", "127.0.0.1:9", *arguments) as server,
        http.Client(base_url=server.url) as client,
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


@pytest.mark.process
@pytest.mark.parametrize("locations", ODD_LOCATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nginx_accepts_it(
    kind: type[Configuration], locations: list[dict[str, Any]]
) -> None:
    """nginx -t accepts the configuration, whatever the patterns contain."""

    def configure(port: int, directory: Path) -> str:
        options = Options(
            listen=(f"127.0.0.1:{port}",),
            user="root",
            workers="1",
            run_dir=str(directory),
            log_dir=str(directory),
        )
        return write(kind, options, locations=locations)[0]

    with Nginx(configure):
        pass
