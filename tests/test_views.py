from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf import LazySettings
from django.core.asgi import get_asgi_application
from django.core.checks.registry import registry
from django.dispatch import Signal
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from pushserver.signals import GuardedSignal, channel_subscribe, channel_unsubscribe
from pushserver.views import INTERNAL_REQUEST

FORM = "application/x-www-form-urlencoded"
OUTSIDE = "203.0.113.9"

#: Sends a request and returns the response's status and text.
Ask = Callable[..., tuple[int, str]]


def ask_wsgi(
    body: bytes | str = "channel_id=news&subscribe=1",
    *,
    path: str = "/passthrough",
    method: str = "POST",
    content_type: str = FORM,
    address: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
    csrf: bool = False,
) -> tuple[int, str]:
    """Send a request to the site as a WSGI server does."""
    client = Client(enforce_csrf_checks=csrf, REMOTE_ADDR=address)
    response = client.generic(method, path, body, content_type, headers=headers)
    return response.status_code, response.content.decode()


def ask_asgi(
    body: bytes | str = "channel_id=news&subscribe=1",
    *,
    path: str = "/passthrough",
    method: str = "POST",
    content_type: str = FORM,
    address: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
    csrf: bool = False,
    scope: dict[str, Any] | None = None,
) -> tuple[int, str]:
    """Send a request to the site as an ASGI server does."""
    body = body.encode() if isinstance(body, str) else body
    raw = [
        (name.lower().encode(), value.encode())
        for name, value in {
            "Host": "testserver",
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items()
    ]
    path, _, query = path.partition("?")
    request = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": raw,
        "client": [address, 4711] if address else None,
        "server": ["127.0.0.1", 80],
        **(scope or {}),
    }

    async def ask() -> tuple[int, str]:
        site = ApplicationCommunicator(get_asgi_application(), request)
        await site.send_input({"type": "http.request", "body": body})
        start = await site.receive_output(5)
        text = b""
        more = True
        while more:
            part = await site.receive_output(5)
            text += part.get("body", b"")
            more = part.get("more_body", False)
        await site.wait(5)
        return start["status"], text.decode()

    answer: tuple[int, str] = async_to_sync(ask)()
    return answer


@pytest.fixture(params=[ask_wsgi, ask_asgi], ids=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Send requests over each of Django's interfaces."""
    function: Ask = request.param
    return function


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The signals of subscriptions that were sent, in order."""
    said: list[tuple[str, dict[str, Any]]] = []

    def hear_subscribe(signal: Signal, **kwargs: Any) -> None:
        said.append(("subscribe", kwargs))

    def hear_unsubscribe(signal: Signal, **kwargs: Any) -> None:
        said.append(("unsubscribe", kwargs))

    channel_subscribe.connect(hear_subscribe)
    channel_unsubscribe.connect(hear_unsubscribe)
    yield said
    channel_subscribe.disconnect(hear_subscribe)
    channel_unsubscribe.disconnect(hear_unsubscribe)


def events(heard: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """Return the names of the events and their channels."""
    return [(event, said["channel_id"]) for event, said in heard]


@pytest.mark.parametrize("event", ["subscribe", "unsubscribe"])
def test_a_form_becomes_a_signal(
    event: str, ask: Ask, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """Each event sends its signal, with the channel and the subscriber's request."""
    status, text = ask(
        f"channel_id=news&{event}=1",
        headers={
            "Cookie": "sessionid=abc",
            "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
            "If-None-Match": "0",
        },
    )
    assert (status, text) == (200, "")
    [(name, said)] = heard
    assert name == event
    assert said["channel_id"] == "news"
    request = said["request"]
    assert isinstance(request, HttpRequest)
    assert request.COOKIES == {"sessionid": "abc"}
    assert request.headers["If-Modified-Since"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert request.headers["If-None-Match"] == "0"
    assert said["sender"].__name__ == "passthrough"


@pytest.fixture
def users(settings: LazySettings) -> Iterator[None]:
    """A site with users; the system checks of their apps are removed after the test."""
    registered = set(registry.registered_checks)
    settings.INSTALLED_APPS = [
        *settings.INSTALLED_APPS,
        "django.contrib.auth",
        "django.contrib.contenttypes",
    ]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    yield
    registry.registered_checks.intersection_update(registered)


@pytest.mark.usefixtures("users")
def test_the_request_has_a_user(
    ask: Ask, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """The request has passed the middleware, which sets the user."""
    ask()
    [(_, said)] = heard
    assert said["request"].user.is_anonymous


@pytest.mark.parametrize(
    "channel_id",
    ["a/b c&d=e%f+g", "käse \U0001f4ec", "x" * 512, "\r\n", "0", "None", "\0", "'\""],
)
def test_any_channel_id_is_accepted(
    channel_id: str, ask: Ask, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """Any text may be the channel id in the form."""
    status, _ = ask(urlencode({"channel_id": channel_id, "unsubscribe": "1"}))
    assert status == 200
    assert events(heard) == [("unsubscribe", channel_id)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "The form has no channel_id."),
        ("subscribe=1", "The form has no channel_id."),
        ("channel_id=&subscribe=1", "The form has no channel_id."),
        ("channel_id=news", "The form has neither subscribe nor unsubscribe."),
        ("channel_id=news&subscribe=", "The form has neither"),
        ("channel_id=news&publish=1", "The form has neither"),
        (b"\x00\xff\xfe", "The form has no channel_id."),
        ('{"channel_id": "news", "subscribe": 1}', "The form has no channel_id."),
    ],
)
def test_an_incomplete_form_is_refused(
    body: bytes | str, reason: str, ask: Ask, heard: list[Any]
) -> None:
    """The response is 403 and names what is missing; no signal is sent."""
    status, text = ask(body)
    assert status == 403
    assert text.startswith(reason)
    assert heard == []


def test_a_form_of_another_type_is_refused(ask: Ask, heard: list[Any]) -> None:
    """A request whose type is not that of a form is refused."""
    assert ask(content_type="application/json")[0] == 403
    assert heard == []


def test_query_string_is_ignored(ask: Ask, heard: list[Any]) -> None:
    """A channel id in the query string is ignored."""
    status, _ = ask("", path="/passthrough?channel_id=news&subscribe=1")
    assert status == 403
    assert heard == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_get_403(method: str, ask: Ask, heard: list[Any]) -> None:
    """Other methods get 403, even with a complete form and an internal address."""
    status, text = ask(method=method)
    assert status == 403
    assert heard == []
    if method != "HEAD":
        assert text == "A passthrough request is a POST.\n"


@pytest.mark.parametrize(
    ("internal_ips", "address", "forwarded_for", "status"),
    [
        (["127.0.0.1"], "127.0.0.1", None, 200),
        (["127.0.0.1"], OUTSIDE, None, 403),
        (["127.0.0.1"], "127.0.0.2", None, 403),
        (["127.0.0.0/8"], "127.0.0.2", None, 200),
        (["::1"], "::1", None, 200),
        (["127.0.0.1"], "::ffff:127.0.0.1", None, 200),
        (["10.0.0.1", "localhost"], "10.0.0.1", None, 200),
        ([], "127.0.0.1", None, 403),
        (["localhost"], "127.0.0.1", None, 403),
        (["127.0.0.1"], "", None, 403),
        (["127.0.0.1"], "unix:", None, 403),
        (["127.0.0.1"], "127.0.0.1", OUTSIDE, 403),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.1", 200),
        (["127.0.0.1"], "127.0.0.1", f"127.0.0.1, {OUTSIDE}", 403),
        (["127.0.0.1"], "127.0.0.1", f"{OUTSIDE}, 127.0.0.1", 403),
        (["127.0.0.1"], "127.0.0.1", "nonsense", 403),
        (["127.0.0.1"], OUTSIDE, "127.0.0.1", 403),
    ],
)
def test_only_internal_ips_may_send_requests(
    internal_ips: list[str],
    address: str,
    forwarded_for: str | None,
    status: int,
    ask: Ask,
    heard: list[Any],
    settings: LazySettings,
) -> None:
    """Only INTERNAL_IPS may send requests; each hop of X-Forwarded-For is checked."""
    settings.INTERNAL_IPS = internal_ips
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    found, text = ask(address=address, headers=headers)
    assert found == status
    assert len(heard) == (status == 200)
    if status == 403:
        assert text == "Only the push server may make passthrough requests.\n"


FOREIGN_PAGES: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://testserver"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN_PAGES)
def test_page_of_another_site_is_refused(
    ask: Ask, heard: list[Any], headers: dict[str, str]
) -> None:
    """A page of another site in a browser at an internal address is refused."""
    status, text = ask(headers=headers)
    assert status == 403
    assert "CSRF_TRUSTED_ORIGINS" in text
    assert heard == []


@pytest.mark.parametrize("headers", [{}, *FOREIGN_PAGES])
def test_subscriber_headers_are_accepted(
    heard: list[Any], headers: dict[str, str]
) -> None:
    """The push server's request may carry the headers of the subscriber's page."""
    status, _ = ask_asgi(headers=headers, scope={INTERNAL_REQUEST: True})
    assert status == 200
    assert len(heard) == 1


def test_marked_request_is_accepted(heard: list[Any], settings: LazySettings) -> None:
    """The marker in the scope is accepted whatever the subscriber's address is."""
    settings.INTERNAL_IPS = []
    status, _ = ask_asgi(
        address=OUTSIDE,
        headers={"X-Forwarded-For": OUTSIDE},
        scope={INTERNAL_REQUEST: True},
    )
    assert status == 200
    assert events(heard) == [("subscribe", "news")]


@pytest.mark.parametrize("mark", ["1", 1, None, False, "True"])
def test_other_value_of_the_marker_is_refused(
    mark: object, heard: list[Any], settings: LazySettings
) -> None:
    """Another value for the marker's key is not accepted."""
    status, _ = ask_asgi(address=OUTSIDE, scope={INTERNAL_REQUEST: mark})
    assert status == 403
    assert heard == []


def test_header_is_not_the_marker(ask: Ask, heard: list[Any]) -> None:
    """A header with the name of the marker has no effect."""
    for name in (INTERNAL_REQUEST, "pushserver-internal", "pushserver_internal"):
        assert ask(address=OUTSIDE, headers={name: "True"})[0] == 403
    assert heard == []


def test_marked_request_needs_a_complete_form(heard: list[Any]) -> None:
    """The marker replaces the address check, but not those of method and form."""
    internal = {INTERNAL_REQUEST: True}
    assert ask_asgi(method="GET", scope=internal)[0] == 403
    assert ask_asgi("channel_id=news", scope=internal)[0] == 403
    assert heard == []


def test_csrf_token_is_not_required(
    ask: Ask, heard: list[Any], settings: LazySettings
) -> None:
    """The push server's request has no CSRF token, and needs none."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    assert ask(csrf=True)[0] == 200
    assert len(heard) == 1


@pytest.mark.usefixtures("users")
def test_login_is_not_required(
    ask: Ask, heard: list[Any], settings: LazySettings
) -> None:
    """The view needs no login, even on a site that requires one."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert ask()[0] == 200
    assert len(heard) == 1
    # Of the tokens the site's function decides, also for visitors.
    assert Client().get("/passthrough/tokens?channel=a").status_code == 200


@pytest.mark.parametrize("path", ["/passthrough", "/passthrough/", "/with-slash/"])
def test_trailing_slash_is_optional(path: str, ask: Ask, heard: list[Any]) -> None:
    """The URLs may be included at any prefix, with or without a trailing slash."""
    assert ask(path=path)[0] == 200
    assert len(heard) == 1


def test_paths_below_the_url_are_not_found(ask: Ask) -> None:
    """Other paths below the prefix are not found."""
    for path in ("/passthrough/x", "/passthroughx", "/passthrough//"):
        assert ask(path=path)[0] == 404


def test_route_has_a_name() -> None:
    """The route has a name for reverse()."""
    assert reverse("pushserver-passthrough") in ("/passthrough", "/with-slash/")


@pytest.mark.parametrize("event", ["subscribe", "unsubscribe"])
def test_exception_of_a_receiver_is_logged(
    event: str,
    ask: Ask,
    heard: list[tuple[str, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exception is logged with its traceback, and later receivers still run."""
    signal = {"subscribe": channel_subscribe, "unsubscribe": channel_unsubscribe}[event]
    later: list[str] = []

    def fail(**kwargs: Any) -> None:
        raise LookupError("a receiver that fails")

    def hear(channel_id: str, **kwargs: Any) -> None:
        later.append(channel_id)

    signal.connect(fail)
    signal.connect(hear)
    try:
        with caplog.at_level(logging.ERROR):
            status, _ = ask(f"channel_id=news&{event}=1")
    finally:
        signal.disconnect(fail)
        signal.disconnect(hear)
    assert status == 200
    assert later == ["news"]
    assert events(heard) == [(event, "news")]
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_system_exit_of_a_receiver_is_logged(
    error: type[BaseException],
    is_async: bool,
    ask: Ask,
    heard: list[tuple[str, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A receiver that raises SystemExit ends neither the view nor the server."""

    def fail(**kwargs: Any) -> None:
        raise error

    async def fail_async(**kwargs: Any) -> None:
        raise error

    receiver = fail_async if is_async else fail
    channel_subscribe.connect(receiver)
    try:
        assert ask()[0] == 200
    finally:
        channel_subscribe.disconnect(receiver)
    assert events(heard) == [("subscribe", "news")]
    [record] = [each for each in caplog.records if each.name == "pushserver.views"]
    assert record.exc_info is not None
    assert error.__name__ in caplog.text


async def test_cancelling_a_signal_cancels_its_receivers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A receiver that is cancelled from outside is not reported as one that failed."""
    started = asyncio.Event()

    async def wait(**kwargs: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    signal = GuardedSignal(exits_main_thread=False, atomic=False)
    signal.connect(wait)
    sending = asyncio.ensure_future(signal.asend_robust(None))
    await started.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not caplog.records


def test_a_receiver_may_be_async(ask: Ask) -> None:
    """A coroutine function can be a receiver."""
    later: list[str] = []

    async def hear(channel_id: str, **kwargs: Any) -> None:
        later.append(channel_id)

    channel_subscribe.connect(hear)
    try:
        assert ask()[0] == 200
    finally:
        channel_subscribe.disconnect(hear)
    assert later == ["news"]
