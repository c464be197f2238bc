from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from pushserver import __version__

from . import http
from .servers import LOCATIONS, ROOT, ServerProcess, runpushserver, wait_until


def environment(**push_server: object) -> dict[str, str]:
    return {"TEST_PUSH_SERVER": json.dumps({"locations": LOCATIONS, **push_server})}


def failure(*arguments: str) -> str:
    """Return the error with which the command ends in this process."""
    with pytest.raises(CommandError) as caught:
        call_command("runpushserver", *arguments)
    return str(caught.value)


@pytest.fixture(scope="module")
def alone() -> Iterator[ServerProcess]:
    """A server of the push locations alone."""
    with runpushserver("{port}") as server:
        yield server


@pytest.fixture(scope="module")
def whole() -> Iterator[ServerProcess]:
    """A server of the whole site."""
    with runpushserver("--allrequests", "{port}") as server:
        yield server


@pytest.mark.process
def test_serves_only_the_push_locations(alone: ServerProcess) -> None:
    """Push locations are served; any other path is 404 with an explanation."""
    assert http.post(f"{alone.url}/send-update/a", content=b"x").status_code == 202
    assert http.get(f"{alone.url}/updates/a").content == b"x"
    other = http.get(f"{alone.url}/hello")
    assert other.status_code == 404
    assert "push location" in other.text


@pytest.mark.process
def test_prints_versions_settings_and_url(alone: ServerProcess) -> None:
    """The start-up output names the versions, the settings and the URL."""
    wait_until(lambda: "Quit the server" in alone.log())
    lines = alone.log()
    assert "using settings 'tests.settings'" in lines
    assert f"Push server version {__version__} on Daphne" in lines
    assert f"Daphne version {version('daphne')}" in lines
    assert f"running at http://127.0.0.1:{alone.port}/" in lines


@pytest.mark.process
def test_listens_at_the_address_in_the_settings() -> None:
    """Without an argument, the address and port are those of PUSH_SERVER."""
    server = runpushserver()
    server.env.update(environment(address="127.0.0.1", port=server.port))
    with server:
        assert http.get(f"{server.url}/interval/a").status_code == 304


@pytest.mark.process
def test_allrequests_serves_the_whole_site(whole: ServerProcess) -> None:
    """With --allrequests, requests outside the push locations go to Django."""
    assert http.get(f"{whole.url}/hello").text == "hello from Django"
    assert http.get(f"{whole.url}/interval/a").status_code == 304


@pytest.mark.process
def test_allrequests_serves_static_files_under_debug() -> None:
    """With --allrequests and DEBUG, static files are served."""
    server = ServerProcess(
        *(sys.executable, str(ROOT / "manage.py")),
        *("runpushserver", "--allrequests", "{port}"),
        env={"DJANGO_SETTINGS_MODULE": "example_project.settings"},
    )
    with server:
        script = http.get(f"{server.url}/static/pushserver/updates.js")
    assert script.status_code == 200
    assert "javascript" in script.headers["content-type"]


@pytest.mark.process
def test_daphne_is_tuned(whole: ServerProcess) -> None:
    """Its Daphne has a long backlog, tuned connections and rare collections."""
    told = http.get(f"{whole.url}/daphne").json()
    assert told == {
        "backlog": 4096,
        "factory": "pushserver_channels.server.connections",
        "thresholds": [50_000, 5, 100],
        "frozen": True,
    }


def test_other_daphne_servers_are_not_tuned(server: ServerProcess) -> None:
    """A Daphne that is started by other means is not tuned."""
    told = http.get(f"{server.url}/daphne").json()
    assert told["factory"] == "daphne.http_protocol"
    assert told["thresholds"] == list(gc.get_threshold())
    assert not told["frozen"]


@pytest.mark.process
def test_forcehost_redirects_other_hosts() -> None:
    """With --forcehost, requests for another host are redirected permanently."""
    with runpushserver("--allrequests", "--forcehost", "push.test", "{port}") as server:
        url = f"{server.url}/hel%20lo?a=b"
        moved = http.get(url, headers={"Host": f"other.test:{server.port}"})
        wanted = http.get(
            f"{server.url}/hello", headers={"Host": f"PUSH.test:{server.port}"}
        )
        # Appended to the host, this target would turn the host into a user name.
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"GET @evil.example/ HTTP/1.1\r\nHost: other.test\r\n\r\n")
            nonsense = client.recv(65536)
    assert nonsense.startswith(b"HTTP/1.1 400 ")
    assert b"evil" not in nonsense
    assert moved.status_code == 301
    assert moved.headers["location"] == "http://push.test/hel%20lo?a=b"
    assert wanted.status_code == 200


@pytest.mark.process
def test_listens_on_ipv6() -> None:
    """With -6, it listens on the IPv6 loopback address."""
    with http.Client() as client:
        server = runpushserver("-6", "{port}")
        server.host = "::1"
        with server:
            answer = client.get(f"http://[::1]:{server.port}/interval/a")
    assert answer.status_code == 304


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--forcehost", "push.test"], "--allrequests"),
        (["nonsense"], "'nonsense' is not a port"),
        (["127.0.0.1:99999"], "99999 is not a port"),
        (["-6", "127.0.0.1:8000"], "'127.0.0.1' is not an IPv6 address"),
    ],
)
def test_invalid_argument_is_an_error(arguments: list[str], sentence: str) -> None:
    """A wrong argument ends the command with an error that gives the reason."""
    assert sentence in failure(*arguments)


def test_invalid_settings_are_an_error(settings: LazySettings) -> None:
    """A wrong PUSH_SERVER ends the command with an error that names the setting."""
    settings.PUSH_SERVER = {"prot": 1}
    assert "PUSH_SERVER['prot'] is not a known setting" in failure("0")


def test_port_in_use_is_an_error(server: ServerProcess) -> None:
    """A port that is in use ends the command with an error."""
    ended = subprocess.run(
        [sys.executable, "-m", "django", "runpushserver", str(server.port)],
        env={**server.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert f"Cannot listen on 127.0.0.1:{server.port}" in ended.stderr
