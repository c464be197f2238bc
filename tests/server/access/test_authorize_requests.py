"""The request that ``authorize`` gets, and the middleware that it goes through."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.signals import request_finished
from django.test import override_settings

from tests.server import middleware, rules
from tests.server.exchanges import until_held
from tests.waiting import until

from .subscribing import ANNA, OLDEST, Serving, guarded

pytestmark = pytest.mark.usefixtures("nothing_left")

HEADERS = [*ANNA, *OLDEST]
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


@pytest.fixture(autouse=True)
def fresh_middleware() -> None:
    """Forget the instances of middleware that were made before."""
    middleware.instances.clear()


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["django.middleware.cache.UpdateCacheMiddleware", SESSIONS], 200),
        (["django.middleware.common.CommonMiddleware", SESSIONS], 200),
        (["django.middleware.locale.LocaleMiddleware", SESSIONS], 200),
        (["django.middleware.http.ConditionalGetMiddleware", SESSIONS], 200),
        (["tests.server.middleware.OtherUrls"], 200),
        ([SESSIONS, "tests.server.middleware.OtherRequest"], 200),
        (["tests.server.middleware.asynchronous", SESSIONS], 200),
        (["tests.server.middleware.RefusesAfterwards"], 403),
        (["tests.server.middleware.Exits"], 503),
    ],
)
async def test_middleware(serve: Serving, names: list[str], status: int) -> None:
    """A subscriber is let in each time, unless a middleware refuses."""
    site = guarded(serve)
    await site.post("anna")
    if "django.middleware.cache.UpdateCacheMiddleware" in names:
        names = [*names, "django.middleware.cache.FetchFromCacheMiddleware"]
    finished: list[object] = []

    def note(sender: object, **kwargs: Any) -> None:
        finished.append(sender)

    request_finished.connect(note)
    try:
        with override_settings(MIDDLEWARE=names):
            for _ in range(2):
                answer = await site.ask("GET", "/updates/anna", HEADERS)
                assert answer.status == status
    finally:
        request_finished.disconnect(note)
    assert len(finished) == 2  # It closes database connections.


async def test_all_threads_share_the_middleware(serve: Serving) -> None:
    """The middleware is loaded once, although many subscribers come at once."""
    site = guarded(serve)
    rules.gate.clear()
    with override_settings(MIDDLEWARE=["tests.server.middleware.OtherUrls"]):
        held = [
            site.exchange("GET", "/updates/anna", HEADERS).start() for _ in range(8)
        ]
        await until(lambda: len(rules.calls) == 8)
        rules.gate.set()
        await until_held("anna", 8)
        await site.post("anna")
        assert {(await each.answer()).status for each in held} == {200}
    assert middleware.instances == ["OtherUrls"]


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("is_async", 304),
        ("returns_coroutine", 304),
        ("bad_host", 403),
        ("far_away", 304),
        ("stop_iteration", 503),
        ("cancelled", 503),
        ("endless_recursion", 503),
    ],
)
async def test_functions(serve: Serving, function: str, status: int) -> None:
    """Whatever a function is and raises, there is an answer."""
    site = serve(authorize=f"tests.server.rules.{function}", polling="interval")
    answer = await site.ask("GET", "/updates/anna", HEADERS)
    assert answer.status == status


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("q=%C3%BC&token=secret", "q=%C3%BC"),
        ("q=%FF&to%6ben=secret&token=x&r=a+b%20c", "q=%FF&r=a+b%20c"),
        ("q=\u00fc", "q=%C3%BC"),
        ("a&token&b=", "a&b="),
    ],
)
async def test_the_query(serve: Serving, query: str, seen: str) -> None:
    """The function gets the query as it was sent, without tokens."""
    site = guarded(serve)
    await site.post("anna")
    scope = {"query_string": query.encode()}
    answer = await site.ask("GET", "/updates/anna", HEADERS, **scope)
    assert answer.status == 200
    ((_, request),) = rules.calls
    assert request.META["QUERY_STRING"] == seen


async def test_cookies_in_several_lines(serve: Serving) -> None:
    """HTTP/2 may divide cookies, which are put together again."""
    site = guarded(serve)
    await site.post("anna")
    lines = [(b"cookie", b"a=1"), (b"cookie", b"sessionid=anna"), *OLDEST]
    assert (await site.ask("GET", "/updates/anna", lines)).status == 200
    ((_, request),) = rules.calls
    assert request.COOKIES == {"a": "1", "sessionid": "anna"}


async def test_another_cookie_is_another_subscriber(serve: Serving) -> None:
    """A right is not given to others who share ``Authorization`` or the session."""
    site = guarded(serve, "by_other_cookie")
    await site.post("anna")
    shared = [(b"authorization", b"Basic c2l0ZTpzaXRl"), *OLDEST]
    for cookie in (b"who=%b", b"sessionid=x; who=%b"):
        anna, bob = ([*shared, (b"cookie", cookie % who)] for who in (b"anna", b"bob"))
        assert (await site.ask("GET", "/updates/anna", anna)).status == 200
        assert (await site.ask("GET", "/updates/anna", bob)).status == 403
        assert (await site.ask("GET", "/updates/anna", shared)).status == 403


@pytest.mark.parametrize("accept", [b"*/*", b"text/event-stream"])
async def test_too_long_body_is_refused_first(serve: Serving, accept: bytes) -> None:
    """The function is not asked about a request whose body is too long."""
    site = guarded(serve)
    headers = [*HEADERS, (b"accept", accept)]
    answer = await site.ask("GET", "/updates/anna", headers, b"x" * 2000)
    assert answer.status == 413
    assert rules.calls == []
    held = site.exchange("GET", "/updates/anna", headers, b"x" * 1000).start()
    await until_held("anna")
    await site.post("anna")
    await site.ask("DELETE", "/send-update/anna")  # This ends a stream.
    assert b"news" in (await held.answer()).body
    assert len(rules.calls) == 1
