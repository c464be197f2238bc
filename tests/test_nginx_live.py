from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread
from typing import Any

import pytest

from pushserver_channels.sandbox import SANDBOX, is_active
from tests.server.test_sandbox import ACTIVE, PASSIVE

from . import http
from .conformance.servers import Nginx, configuration, environment, need, nginx
from .conformance.sites import Wire
from .nginx import OLD_SETTINGS, PUBLISHER, SUBSCRIBER
from .servers import ROOT, ServerProcess, daphne, wait_until, wait_until_held

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def old_site() -> Iterator[tuple[ServerProcess, Nginx]]:
    """nginx with Nchan, in front of a Django without our push server."""
    need(shutil.which("curl"), "curl", "apt install curl")
    with ExitStack() as stack:
        django = stack.enter_context(
            daphne(OLD_SETTINGS, "tests.asgi:django_application")
        )
        address = f"127.0.0.1:{django.port}"
        yield django, stack.enter_context(nginx(OLD_SETTINGS, "--django", address))


def curl(*arguments: str) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers and the body of curl's response."""
    done = subprocess.run(
        ["curl", "-s", "-i", "-m", "20", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *fields = head.split("\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(status.split()[1]), headers, body


def test_curl_walkthrough(old_site: tuple[ServerProcess, Nginx]) -> None:
    """curl can publish, receive, poll for the next message, and delete a channel."""
    _, server = old_site
    publisher, subscriber = f"{server.url}/send-update/a", f"{server.url}/updates/a"
    status, _, body = curl(publisher, "-d", "hello")
    assert status == 202
    assert "queued messages: 1" in body
    status, headers, body = curl(subscriber)
    assert (status, body) == (200, "hello")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Etag"] == "0"
    name = [f"If-Modified-Since: {headers['Last-Modified']}", "If-None-Match: 0"]
    command = ["curl", "-s", "-m", "20", subscriber, "-H", name[0], "-H", name[1]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        wait_until_held(publisher)
        assert curl(publisher, "-d", "news")[0] == 201
        assert waiting.communicate()[0] == b"news"
    assert curl(publisher, "-X", "DELETE")[0] == 200


def test_passthrough_arrives_in_django(old_site: tuple[ServerProcess, Nginx]) -> None:
    """The view gets passthrough requests from nginx with the subscriber's cookies."""
    django, server = old_site
    url = f"{server.url}/updates/passthrough"

    def heard() -> list[dict[str, Any]]:
        answer = http.get(f"{django.url}/heard", params={"channel": "passthrough"})
        events: list[dict[str, Any]] = answer.json()["heard"]
        return events

    command = ["curl", "-s", "-m", "20", url, "-H", "Cookie: sessionid=me"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        wait_until_held(f"{server.url}/send-update/passthrough")
        (subscribed,) = heard()
        waiting.terminate()
    wait_until(lambda: len(heard()) == 2)
    assert subscribed["cookies"] == {"sessionid": "me"}
    assert subscribed["address"] == "127.0.0.1"
    assert [each["event"] for each in heard()] == ["subscribe", "unsubscribe"]


def test_send_update_publishes_to_it(old_site: tuple[ServerProcess, Nginx]) -> None:
    """With nginx as publisher_host, send_update from any process arrives."""
    _, server = old_site
    conf = {**OLD_SETTINGS, "publisher_host": f"127.0.0.1:{server.port}"}
    script = (
        "import django; django.setup()\n"
        "from pushserver.updates import send_update\n"
        "print(send_update('č & co', {'type': 'answer'}).status)"
    )
    sent = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sent.stdout == "202\n", sent.stderr
    answer = http.get(f"{server.url}/updates/%C4%8D%20%26%20co")
    assert answer.json() == {"type": "answer"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_polls_continue_without_django() -> None:
    """While Django is down there is no passthrough, but subscribers are served."""
    with nginx(OLD_SETTINGS, "--django", "127.0.0.1:9") as alone:
        assert http.post(f"{alone.url}/send-update/a", content=b"x").status_code == 202
        assert http.get(f"{alone.url}/updates/a").content == b"x"


def test_disconnects_and_bad_requests_end_no_worker(
    old_site: tuple[ServerProcess, Nginx],
) -> None:
    """Clients that disconnect at any time, and bad requests, do not end the worker."""
    _, server = old_site
    path, publisher = "/updates/hang-up", f"{server.url}/send-update/hang-up"
    for count in (0, 20):
        wires = [Wire(server.url) for _ in range(20)]
        for wire in wires:
            wire.send("GET", path)
        if count:
            wait_until_held(publisher, count)
        for wire in wires:
            wire.close()
    wait_until_held(publisher, 0)
    bad = {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert http.get(server.url + path, headers=bad).status_code == 400
    assert http.post(publisher, content=b"x").status_code == 202
    log = server.file.parent / "error.log"
    assert "exited on signal" not in log.read_text()


def test_limit_of_zero_means_no_limit() -> None:
    """A limit of 0 means no limit for messages, their age and size, and channel ids."""
    unlimited = {"max_channel_id_length": 0}
    conf = {
        "store": {"type": "memory"},
        "locations": [
            {**PUBLISHER, **unlimited, "max_message_size": 0},
            {**SUBSCRIBER, **unlimited},
        ],
    }
    with nginx(conf) as server, http.Client(base_url=server.url) as client:
        for number in range(30):
            client.post("/send/a", content=b"%d" % number)
        info = client.get("/send/a", headers={"Accept": "text/json"})
        assert json.loads(info.text)["messages"] == 30
        assert client.get("/updates/a").content == b"0"
        long = "x" * 2000
        sent = client.post(f"/send/{long}", content=bytes(2_000_000))
        assert sent.status_code == 202
        assert len(client.get(f"/updates/{long}").content) == 2_000_000


def test_several_workers_share_messages() -> None:
    """By default there is a worker for each processor, and all serve all channels."""
    conf = {
        "store": {"type": "memory", "max_messages": 100},
        "locations": [PUBLISHER, {**SUBSCRIBER, "passthrough": "/passthrough"}],
    }
    assert "worker_processes auto;" in configuration(conf)
    # A port without a server, since Django is not needed here.
    options = ("--workers", "4", "--django", "127.0.0.1:9")
    with nginx(conf, *options) as server, http.Client(base_url=server.url) as client:
        close = {"Connection": "close"}  # Another worker may serve the next request.
        for number in range(20):
            sent = client.post(f"/send/{number}", content=b"x", headers=close)
            assert sent.status_code == 202
            assert client.get(f"/updates/{number}", headers=close).content == b"x"


def test_messages_are_sandboxed() -> None:
    """nginx adds the headers that prevent browsers from running messages."""
    conf = {
        "store": {"type": "memory", "max_messages": 100},
        "locations": [
            PUBLISHER,
            {**SUBSCRIBER, "polling": "interval"},
            {**SUBSCRIBER, "url": "/long/([^/]+)", "timeout": 1},
            {**SUBSCRIBER, "url": "/inline/([^/]+)", "inline": True},
            {**SUBSCRIBER, "url": "/hears/([^/]+)", "passthrough": "/passthrough"},
        ],
    }
    sniff, policy = "X-Content-Type-Options", "Content-Security-Policy"
    options = ("--workers", "1", "--django", "127.0.0.1:9")
    with nginx(conf, *options) as server, http.Client(base_url=server.url) as client:
        for number, content_type in enumerate([*ACTIVE, *PASSIVE]):
            if content_type is None or not content_type.strip():
                headers = {}
            else:
                headers = {b"content-type": content_type.strip()}
            url = f"/send/{number}"
            assert client.post(url, content=b"x", headers=headers).status_code == 202
            for location in ("updates", "long", "hears", "inline"):
                answer = client.get(f"/{location}/{number}")
                assert answer.status_code == 200
                assert answer.headers[sniff] == "nosniff"
                expected = None
                if is_active(content_type) and location != "inline":
                    expected = SANDBOX[1].decode()
                assert answer.headers.get(policy) == expected, content_type
        for method, url, status in [
            ("PATCH", "/updates/0", 405),
            ("GET", "/send/none", 404),
            ("GET", "/long/none", 408),
            ("POST", "/send/0", 413),
        ]:
            body = bytes(2_000_000) if method == "POST" else b""
            refused = client.request(method, url, content=body)
            assert refused.status_code == status
            assert refused.headers[sniff] == "nosniff"


class Keeping(Thread):
    """A server that answers all requests of one connection and never closes it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_closed_by_nginx = False
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, self.listener:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.is_closed_by_nginx = True


@pytest.mark.parametrize("arguments", [[], ["--proxy"]], ids=["nchan", "proxy"])
def test_nginx_closes_idle_connections_first(arguments: list[str]) -> None:
    """nginx closes idle upstream connections before uvicorn or gunicorn does."""
    django = Keeping()
    conf = {"locations": [PUBLISHER, SUBSCRIBER]}
    with nginx(conf, *arguments, "--django", f"127.0.0.1:{django.port}") as server:
        assert http.post(f"{server.url}/form").status_code == 200
        wait_until(lambda: django.is_closed_by_nginx)
