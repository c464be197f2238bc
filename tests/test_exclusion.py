"""The page that is not to hear of an update: how it is named, and told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.http import HttpRequest
from django.test import RequestFactory

from pushserver.exclusion import find_excluded
from pushserver.updates import send_update
from tests import http
from tests.live.conftest import settings_on
from tests.servers import ServerProcess, daphne
from tests.valkey import Valkey


def request(client_id: str | None) -> HttpRequest:
    headers = {} if client_id is None else {"Push-Client": client_id}
    return RequestFactory().get("/", headers=headers)


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (None, None),
        ("k3v-_Z", "k3v-_Z"),
        (request("k3v"), "k3v"),
        (request(None), None),
        (request(""), None),
        (request("a b"), None),
        (request("a" * 65), None),
        (request("ä"), None),
    ],
)
def test_how_a_page_is_named(exclude: object, expected: str | None) -> None:
    """By its id, or by its request, which may have none or a wrong one."""
    assert find_excluded(exclude) == expected


@pytest.mark.parametrize("wrong", ["", "a b", "a" * 65, "ä", "a\r\nb"])
def test_wrong_ids(wrong: str) -> None:
    with pytest.raises(ValueError, match="no id of a page"):
        send_update("news", {}, exclude=wrong)
    with pytest.raises(TypeError, match="not int"):
        send_update("news", {}, exclude=7)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["memory", "redis"])
def push(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server with each kind of store."""
    if request.param == "memory":
        with daphne() as server:
            yield server
        return
    with Valkey() as store, daphne(settings_on(store)) as server:
        yield server


@pytest.mark.process
def test_transports(push: ServerProcess, settings: LazySettings) -> None:
    """Polls, streams and batches tell which page is not to hear of a message."""
    settings.PUSH_SERVER = {
        "publisher": "http",
        "publisher_host": f"127.0.0.1:{push.port}",
        "locations": [{"type": "publisher", "url": "/send-update/([^/]+)"}],
    }
    send_update("excluded", [1], exclude="k3v")
    url = f"{push.url}/updates/excluded"
    assert http.get(url).headers["Push-Exclude"] == "k3v"
    stream = {"Accept": "text/event-stream"}
    batch = http.get(f"{url}?batch=1", headers=stream).text
    assert "\nexclude: k3v\n" in batch
    send_update("others", [1])
    assert "Push-Exclude" not in http.get(f"{push.url}/updates/others").headers


@pytest.mark.process
def test_wrong_header(push: ServerProcess) -> None:
    """A POST that names a page wrongly is refused, and publishes nothing."""
    url = f"{push.url}/send-update/wrong"
    answer = http.post(url, content=b"a", headers={"Push-Exclude": "a b"})
    assert answer.status_code == 400
    assert "Push-Exclude" in answer.text
    assert http.get(url).status_code == 404
