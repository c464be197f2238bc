"""The nginx configurations of locations that restrict who may listen or publish."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import override_settings
from django.urls import URLPattern

from pushserver.nginx import ProxyConfiguration
from pushserver.updates import subscriber_url
from pushserver.view_paths import find_view_path
from tests import http

from .conformance.servers import Nginx, nginx
from .nginx import PUBLISHER, SUBSCRIBER, write
from .servers import daphne

GUARDS = [{"signed": True}, {"authorize": "tests.server.rules.may_listen"}]


@pytest.mark.parametrize("option", GUARDS)
def test_nchan_asks_django_who_may_listen(option: dict[str, object]) -> None:
    """The request is authorized first; what is not kept is said."""
    text, warnings = write(locations=[PUBLISHER, {**SUBSCRIBER, **option}])
    assert "auth_request /_pushserver/authorize/1;" in text
    view = find_view_path("authorize")
    assert f"http://django{view}?location=1" in text
    (name,) = option
    (warning,) = [each for each in warnings if f"['{name}']" in each]
    for what in ("revoke()", "reauthorize", "does not end"):
        assert what in warning


@pytest.mark.parametrize("option", GUARDS)
@pytest.mark.parametrize("reason", ["passthrough", "no view"])
def test_nchan_serves_no_private_channels_that_it_cannot_guard(
    option: dict[str, object], reason: str, settings: LazySettings
) -> None:
    """Where Nchan cannot ask who may listen, it refuses everybody, and says so."""
    location = {**SUBSCRIBER, **option}
    if reason == "passthrough":
        location["passthrough"] = "/passthrough"
    else:
        settings.ROOT_URLCONF = "tests.test_nginx_access"
    text, warnings = write(locations=[PUBLISHER, location])
    assert "nchan_subscriber" not in text
    assert "return 403;" in text
    (name,) = option
    assert any(f"['{name}'] cannot be kept here" in each for each in warnings)


#: A site without views of ours.
urlpatterns: list[URLPattern] = []


def test_nginx_before_the_push_server_logs_no_tokens() -> None:
    """Requests to signed URLs are not logged, and token holders reach the server."""
    subscriber = {**SUBSCRIBER, "signed": True}
    publisher = {**PUBLISHER, "signed": True}
    text, _ = write(ProxyConfiguration, locations=[publisher, subscriber])
    assert "access_log off;" in text
    assert "deny all;" not in text
    text, _ = write(ProxyConfiguration, locations=[PUBLISHER, SUBSCRIBER])
    assert "access_log off;" not in text
    assert "deny all;" in text


RULE = "tests.server.rules.may_listen"
PAST = "tests.server.rules.past"

LIVE: dict[str, Any] = {
    "locations": [
        {**PUBLISHER, "url": "/send/(.+)"},
        {**SUBSCRIBER, "url": "/updates/(.+)", "authorize": RULE, "separator": ","},
        {**SUBSCRIBER, "url": "/signed/([^/]+)", "signed": True, "name": "signed"},
        {
            **SUBSCRIBER,
            "url": "/both/([^/]+)",
            "signed": True,
            "authorize": RULE,
            "polling": "interval",
            "allow_origin": "https://page.example",
        },
        {**SUBSCRIBER, "url": "/past/([^/]+)", "authorize": PAST},
    ]
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Nginx]:
    """nginx with Nchan in front of a Django that decides who may listen."""
    with ExitStack() as stack:
        django = stack.enter_context(daphne(LIVE, "tests.asgi:django_application"))
        address = f"127.0.0.1:{django.port}"
        server = stack.enter_context(nginx(LIVE, "--django", address))
        for channel_id in ("anna", "anna-1", "bob", "anna/../bob"):
            answer = http.post(f"{server.url}/send/{channel_id}", content=channel_id)
            assert answer.status_code == 202
        yield server


ANNA = {"X-User": "anna"}


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/updates/anna", ANNA, 200),
        ("/updates/anna", {"Cookie": "sessionid=anna"}, 200),
        ("/updates/anna", {}, 403),
        ("/updates/bob", ANNA, 403),
        ("/updates/none", ANNA, 403),
        ("/updates/anna,anna-1", ANNA, 200),
        ("/updates/anna,bob", ANNA, 403),
        # What nginx would take for another channel than Django:
        ("/updates/anna-1/../bob", ANNA, 403),
        ("/updates/anna-1%2f..%2fbob", ANNA, 403),
        ("/updates/anna-1/%2e%2e/bob", ANNA, 403),
        ("/updates//anna", ANNA, 403),
        ("/updates/anna-%2Cbob", ANNA, 403),
        ("/updates/anna-1#x", ANNA, 403),
        ("/updates/anna-1?a=#//x", ANNA, 200),
        ("/updates/%61nna", ANNA, 200),
        ("/updates/failing", ANNA, 500),
        ("/both/anna", ANNA, 200),
        ("/both/bob", ANNA, 403),
        ("/both/bob?token=x", ANNA, 401),
        ("/signed/anna", ANNA, 401),
        ("/past/anna", ANNA, 403),
        ("/updates/anna", {"X-Original-URI": "/updates/anna", "X-User": "bob"}, 403),
        ("/_pushserver/authorize/1", ANNA, 404),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_who_may_listen_to_nchan(
    guarded: Nginx, path: str, headers: dict[str, str], status: int, accept: str
) -> None:
    """Nchan serves only those whom Django lets in."""
    if accept != "*/*" and path.startswith("/both"):
        return  # Interval polls have no streams.
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n{''.join(lines)}\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), 20) as connection:
        connection.sendall(head.encode())
        status_line = connection.makefile("rb").readline()
    assert int(status_line.split(b" ")[1]) == status


@pytest.mark.process
def test_tokens_and_nchan(guarded: Nginx) -> None:
    """A token in the URL or in Authorization lets in, and other tokens do not."""
    with override_settings(PUSH_SERVER=LIVE):
        url = subscriber_url("anna", location="signed")
        other = subscriber_url("bob", location="signed").partition("?")[2]
    token = url.partition("?token=")[2]
    assert http.get(guarded.url + url).text == "anna"
    bearer = {"Authorization": f"Bearer {token}"}
    assert http.get(f"{guarded.url}/signed/anna", headers=bearer).text == "anna"
    answer = http.get(f"{guarded.url}/signed/anna?{other}")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    log = guarded.file.parent / "access.log"
    assert token not in log.read_text()


@pytest.mark.process
def test_a_preflight_request_is_not_refused(guarded: Nginx) -> None:
    origin = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    answer = http.options(f"{guarded.url}/both/bob", headers=origin)
    assert answer.status_code in (200, 204)
    assert "Access-Control-Allow-Origin" in answer.headers
