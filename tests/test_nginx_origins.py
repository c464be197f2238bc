from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import read_settings
from pushserver.nginx import NchanConfiguration, Options

from . import http
from .conformance.servers import Nginx, nginx

FRIEND = "https://friend.example"
LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "prefix": "/send-update/"},
    {"type": "publisher", "prefix": "/friends/", "allow_origin": FRIEND},
    {"type": "publisher", "prefix": "/open/", "allow_origin": "*"},
]
CONF = {"store": {"type": "memory", "max_messages": 10}, "locations": LOCATIONS}


@pytest.fixture(scope="module")
def server() -> Iterator[Nginx]:
    """nginx with Nchan, for a site whose only allowed host is 127.0.0.1."""
    with nginx(CONF) as process:
        yield process


OWN = "http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("prefix", "headers", "status"),
    [
        ("/send-update/", {}, 202),
        ("/send-update/", {"Origin": OWN}, 202),
        ("/send-update/", {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 202),
        ("/send-update/", {"Sec-Fetch-Site": "same-origin"}, 202),
        ("/send-update/", {"Origin": "http://evil.example"}, 403),
        ("/send-update/", {"Origin": "http://127.0.0.1"}, 403),
        ("/send-update/", {"Origin": "https://127.0.0.1:{port}"}, 403),
        ("/send-update/", {"Origin": "null"}, 403),
        ("/send-update/", {"Sec-Fetch-Site": "cross-site"}, 403),
        (
            "/send-update/",
            {"Host": "evil.example", "Origin": "http://evil.example"},
            403,
        ),
        ("/send-update/", {"Origin": FRIEND}, 403),
        ("/friends/", {"Origin": FRIEND, "Sec-Fetch-Site": "cross-site"}, 202),
        ("/friends/", {"Origin": OWN}, 202),
        ("/friends/", {"Origin": f"{FRIEND}.evil.example"}, 403),
        ("/friends/", {"Origin": "http://friend.example"}, 403),
        ("/open/", {"Origin": "http://any.example"}, 202),
        ("/open/", {"Origin": "null"}, 403),
        ("/open/", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_nginx_refuses_pages_as_the_push_server_does(
    prefix: str, headers: dict[str, str], status: int, server: Nginx
) -> None:
    """Pages of other origins get 403 with a hint; programs and own pages publish."""
    headers = {name: each.format(port=server.port) for name, each in headers.items()}
    answer = http.post(f"{server.url}{prefix}a", headers=headers, content=b"news")
    assert answer.status_code == status
    if status == 403:
        assert "allow_origin" in answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers


@override_settings(
    ALLOWED_HOSTS=[".site.example", "*"], CSRF_TRUSTED_ORIGINS=["https://*.b.example"]
)
def test_hosts_and_origins_of_django_are_written() -> None:
    """Subdomains match where Django's settings allow them, and "*" is not written."""
    text = NchanConfiguration(read_settings(CONF), Options()).write()
    assert r"(?:[^ /:]+\.)?site\.example)(?::\d+)?)" in text
    assert r"(?:https://(?:[^ /:]+\.)?b\.example) " in text
