from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.message import Message
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import RequestFactory, override_settings

from pushserver import channel_urls
from pushserver.conf import read_settings
from pushserver.doctor import Finding, echo, requests
from pushserver.doctor.delivery import check_beginning, check_sending
from pushserver.doctor.echo import is_echo_id, make_channel_id, make_echo_id
from pushserver.doctor.findings import Failure, NotApplicable
from pushserver.doctor.locations import find_locations
from pushserver.doctor.passthrough import check_passthrough
from pushserver.doctor.probe import PADDING, Probe
from pushserver.doctor.requests import NO_ANSWER, Response, SentRequest
from pushserver.doctor.scripts import check_script
from pushserver.management.commands.pushserver_doctor import summarize
from pushserver.signals import channel_subscribe

from .conformance.servers import Nginx, environment, need_nginx, nginx
from .doctor import CONF, examine, locations
from .servers import daphne, free_port

# The command


@pytest.fixture(scope="module")
def nchan() -> Iterator[tuple[Nginx, dict[str, Any]]]:
    """nginx with Nchan, and the settings of its site."""
    need_nginx()
    django = daphne(CONF, "tests.asgi:django_application")
    with nginx(CONF, "--django", f"127.0.0.1:{django.port}") as server:
        conf = {**CONF, "publisher_host": f"127.0.0.1:{server.port}"}
        django.env.update(environment(conf))
        with django:
            yield server, conf


@pytest.mark.process
def test_nchan_passes_all_checks(nchan: tuple[Nginx, dict[str, Any]]) -> None:
    """For an nginx set up by pushserver_nginx all checks pass, with exit status 0."""
    server, conf = nchan
    ended = examine(server.url, conf)
    assert ended.returncode == 0, ended.stdout
    assert "ok    passthrough: " in ended.stdout
    assert ended.stdout.endswith("All is well.\n")


@pytest.mark.process
def test_fault_is_printed_with_its_remedy() -> None:
    """Without JSON, a fault is printed as two lines: the fault and the remedy."""
    nobody = f"127.0.0.1:{free_port()}"
    ended = examine(f"http://{nobody}", {**CONF, "publisher_host": nobody})
    assert ended.returncode == 1
    assert "WRONG sending: send_update() of this process fails: Could not" in (
        ended.stdout
    )
    assert "WRONG receiving: " in ended.stdout
    assert "\n      Check that the site is served there" in ended.stdout
    assert ended.stdout.endswith("found a fault.\n")


@pytest.mark.parametrize(
    ("url", "conf", "sentence"),
    [
        ("example.com", CONF, "'example.com' is no URL of a site"),
        ("http://a:b", CONF, "'http://a:b' is no URL of a site"),
        ("http://a?b", CONF, "'http://a?b' is no URL of a site"),
        ("http://a/b c", CONF, "'http://a/b c' is no URL of a site"),
        ("http://.a", CONF, "'http://.a' is no URL of a site"),
        ("http://a", {"prot": 1}, "PUSH_SERVER['prot'] is not a known setting"),
        ("http://a", {"locations": []}, "needs a publisher and a subscriber location"),
        ("http://a", locations({"store_messages": False}), "keeps no messages"),
        ("http://a", locations({"url": r"/send/(\d+)"}), "cannot match it"),
        ("http://a", locations({"max_channel_id_length": 9}), "with ids of 48"),
        (
            "http://a",
            {
                **locations({"store": "other"}),
                "store": dict.fromkeys(("default", "other"), CONF["store"]),
            },
            "No subscriber location has the store",
        ),
    ],
)
def test_invalid_url_or_settings_end_the_command(
    url: str, conf: dict[str, Any], sentence: str
) -> None:
    """A wrong URL or wrong settings end the command with an error message."""
    with (
        override_settings(PUSH_SERVER=conf),
        pytest.raises(CommandError, match=re.escape(sentence)),
    ):
        call_command("pushserver_doctor", url)


def finding(check: str, ok: bool | None, applies: bool = True) -> Finding:
    return Finding(check, ok, "", applies=applies)


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([finding("a", True)], "All is well."),
        (
            [finding("a", True), finding("b", None, applies=False)],
            "With these settings, nothing to check: b.\nAll is well.",
        ),
        (
            [finding("a", True), finding("b", None)],
            "Could not be checked: b.\n"
            "What was checked is right, but not everything could be checked.",
        ),
        (
            [finding("a", False), finding("b", None)],
            "Could not be checked: b.\nOf 2 checks, 1 found a fault.",
        ),
    ],
)
def test_summary_needs_all_checks_to_pass(
    findings: list[Finding], summary: str
) -> None:
    """The summary is positive only if all applicable checks were made and passed."""
    assert summarize(findings) == summary


# Settings


def make_probe(url: str, conf: dict[str, Any]) -> Probe:
    """Return the probe that is passed to a check."""
    settings = read_settings(conf)
    publisher, subscriber = find_locations(settings)
    store = settings.store["default"]
    return Probe(url, publisher, subscriber, store, patience=2, delay=1)


@pytest.mark.parametrize(
    ("conf", "raises"),
    [
        ({}, NotApplicable),
        ({"publisher_host": "127.0.0.1:{port}"}, Failure),
        ({"port": "{port}"}, Failure),
        ({"publisher": "http"}, Failure),
    ],
)
def test_unreachable_default_address_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, conf: dict[str, Any], raises: type[Exception]
) -> None:
    """An unreachable default address is a fault only if a setting refers to it."""
    port = free_port()
    monkeypatch.setattr(channel_urls, "DEFAULT_PORT", port)
    named = {
        key: port if value == "{port}" else value.format(port=port)
        for key, value in conf.items()
    }
    with override_settings(PUSH_SERVER={**CONF, **named}):
        probe = make_probe("http://127.0.0.1:9", {**CONF, **named})
        with pytest.raises(raises) as raised:
            check_sending(probe)
    assert (str(port) in str(raised.value)) is (raises is Failure)


@pytest.mark.parametrize(
    "settings", [{"INSTALLED_APPS": ["pushserver"]}, {"STATIC_URL": None}]
)
def test_a_site_without_static_files(settings: dict[str, Any]) -> None:
    """On a site without static files, the script is not checked."""
    with override_settings(**settings), pytest.raises(NotApplicable):
        check_script(make_probe("http://127.0.0.1:9", CONF))


def test_script_at_another_static_url() -> None:
    """The script is looked for at STATIC_URL, which may be on another host."""
    url = f"http://127.0.0.1:{free_port()}/files/"
    with override_settings(STATIC_URL=url), pytest.raises(Failure, match=url):
        check_script(make_probe("http://127.0.0.1:9", CONF))


def test_poll_is_repeated_for_a_slow_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that ends before the passthrough view has published is repeated."""
    name = Message()
    name["Last-Modified"], name["Etag"] = "Thu, 01 Jan 2026 00:00:00 GMT", "0"
    answers = iter([(200, False), (304, False), (304, False), (200, True)])

    class SentEcho:
        def __init__(
            self, probe: Probe, channel_id: str, headers: dict[str, str]
        ) -> None:
            self.cookie = headers["Cookie"].partition("=")[2]

        def response(self) -> Response:
            status, is_echo = next(answers)
            told = {"type": "pushserver.doctor", "cookie": self.cookie}
            body = json.dumps(told).encode() if is_echo else b""
            return Response(status, name, body, "", 0)

    monkeypatch.setattr(Probe, "ask", lambda *args: SentEcho(*args))
    monkeypatch.setattr(Probe, "publish", lambda probe, channel_id: None)
    probe = make_probe("http://127.0.0.1:9", CONF)
    assert "hears of subscribers" in check_passthrough(probe)


# Servers other than push servers

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("begins", "again", "error"),
    [
        (b"", b"", NO_ANSWER),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", NO_ANSWER),
        (HEAD + b"X: ", b"x", NO_ANSWER),
        (HEAD + b"\r\n", b"x", NO_ANSWER),
        (HEAD + b"Content-Length: 9\r\n\r\nx", None, "the connection was closed"),
        (HEAD + b"Content-Length: 1%s\r\n\r\nx" % (b"0" * 30), None, "closed"),
        (b"SSH-2.0\r\n", None, "the connection was closed"),
        (b"", None, "the connection was closed"),
        (HEAD + b"\r\n" + bytes(9999), None, "the connection was closed"),
    ],
)
def test_endless_response_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, begins: bytes, again: bytes | None, error: str
) -> None:
    """An answer that never ends is abandoned in time, even if bytes keep coming."""
    monkeypatch.setattr(requests, "MAX_ANSWER", 9000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asks = SentRequest(f"http://127.0.0.1:{server.getsockname()[1]}/", patience=0.2)
        connection, _ = server.accept()
        with connection, ThreadPoolExecutor(1) as threads:
            connection.recv(9999)
            connection.sendall(begins)
            if again is None:
                connection.shutdown(socket.SHUT_WR)
            answer = threads.submit(asks.response)
            with suppress(OSError):  # The doctor has closed the connection.
                while not answer.done():
                    connection.sendall(again or b"")
                    sleep(0.01)
            assert answer.result(10).status == 0
            assert error in answer.result().error


def test_compressed_response_is_read() -> None:
    """An answer that a proxy has compressed is read correctly."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asks = SentRequest(f"http://127.0.0.1:{server.getsockname()[1]}/", patience=10)
        connection, _ = server.accept()
        with connection:
            connection.recv(9999)
            connection.sendall(HEAD + b"Content-Encoding: gzip\r\n\r\n")
            connection.sendall(gzip.compress(b"news"))
        answer = asks.response()
    assert (answer.status, answer.body) == (200, b"news")


# The echo


def test_view_answers_only_on_channels_of_the_doctor() -> None:
    """The view answers only on channels that this site's doctor has created."""
    channel_id = make_echo_id()
    assert is_echo_id(channel_id)
    with override_settings(SECRET_KEY="another"):
        assert not is_echo_id(channel_id)
    assert not is_echo_id(make_channel_id())
    assert not is_echo_id("news")
    other = "0" if channel_id[-1] != "0" else "1"
    assert not is_echo_id(channel_id[:-1] + other)


@pytest.mark.parametrize(
    ("cookie", "told"), [("5" * 48, "5" * 48), ("<script>", None), ("", None)]
)
def test_other_client_cannot_choose_the_response_of_the_view(
    monkeypatch: pytest.MonkeyPatch, cookie: str, told: str | None
) -> None:
    """A client that knows a doctor's channel can only make the view send a cookie."""
    sent: list[object] = []
    monkeypatch.setattr(echo, "send_update", lambda *args, **kwargs: sent.append(args))
    request = RequestFactory().post("/passthrough")
    request.COOKIES = {echo.COOKIE: cookie, "sessionid": "secret"}
    channel_id = make_echo_id()
    for each in (channel_id, "news"):
        channel_subscribe.send(None, request=request, channel_id=each)
    assert sent == [(channel_id, {"type": "pushserver.doctor", "cookie": told})]


class ScriptedProbe(Probe):
    """A probe whose requests get the given responses, in order."""

    def __init__(self, *responses: Response, **store: Any) -> None:
        conf = read_settings({**CONF, "store": {**CONF["store"], **store}})
        publisher, subscriber, *_ = find_locations(conf)
        super().__init__(
            *("http://a.example", publisher, subscriber, conf.store["default"]),
            patience=2,
            delay=1,
        )
        self.responses = list(responses)

    def new_channel(self, channel_id: str | None = None) -> str:
        return "a"

    def publish(self, channel_id: str) -> None:
        pass

    def ask(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(response=lambda: self.responses.pop(0))


def response(status: int, tag: int = 0, modified: str = "Sun, 22 Nov 2026") -> Response:
    headers = Message()
    headers["Last-Modified"] = f"{modified} 12:00:00 GMT"
    headers["Etag"] = str(tag)
    body = json.dumps(PADDING).encode() if status == 200 else b""
    return Response(status, headers, body, "" if status else NO_ANSWER, 0.1)


def test_new_clients_begin_with_the_oldest_message() -> None:
    """The check passes if two new clients get the same message."""
    check_beginning(ScriptedProbe(response(200), response(200)))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (response(0), "gets no answer in time instead of the oldest message"),
        (response(200, 1), "gets another message instead of the oldest message"),
        (response(304), "A proxy answers 304 in place of a message"),
    ],
    ids=["held", "next", "not modified"],
)
def test_cache_that_sends_its_own_id_is_detected(second: Response, words: str) -> None:
    """The doctor detects a cache that sends its own id to the server, as Squid does."""
    with pytest.raises(Failure, match=words):
        check_beginning(ScriptedProbe(response(200), second))


def test_short_message_timeout_is_no_fault() -> None:
    """If a message may expire before the second client asks, no fault is reported."""
    check_beginning(ScriptedProbe(response(200), response(0), message_timeout=1))
