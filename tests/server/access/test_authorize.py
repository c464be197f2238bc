"""Who may listen, as a function of the site decides. Source: streams, section 6."""

from __future__ import annotations

import asyncio

import pytest
from django.test import override_settings

from pushserver_channels.access import authorizer
from pushserver_channels.hub import hubs
from pushserver_channels.routing import get_application
from tests.server import rules
from tests.server.exchanges import Site, django, until_held
from tests.server.streams import EVENTS, SocketExchange, open_stream
from tests.waiting import until

from .subscribing import (
    ANNA,
    BOB,
    OLDEST,
    TRANSPORTS,
    Serving,
    Transport,
    batch,
    guarded,
    poll,
    stream,
)

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("function", ["may_listen", "amay_listen"])
@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_the_function_of_the_site_decides(
    serve: Serving, ask: Transport, function: str
) -> None:
    """A subscriber is let in, or refused whether or not the channel exists."""
    site = guarded(serve, function, create_on_get=False)
    await site.post("anna")
    assert await ask(site, "/updates/anna", [*ANNA, *OLDEST]) == 200
    assert await ask(site, "/updates/anna", BOB) == 403
    assert await ask(site, "/updates/bob", ANNA) == 403
    assert await ask(site, "/updates/bob", BOB) == 404


@pytest.mark.parametrize("ask", TRANSPORTS)
@pytest.mark.parametrize("channel_id", ["failing", "exit", "undecided"])
async def test_a_function_that_fails_lets_nobody_in(
    serve: Serving,
    ask: Transport,
    channel_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The subscriber may come back later, and the log says why it failed."""
    site = guarded(serve)
    temporary = 200 if ask in (stream, batch) else 503
    assert await ask(site, f"/updates/{channel_id}", ANNA) == temporary
    assert "authorize" in caplog.text
    assert channel_id not in hubs.get("default").waiting
    answer = await open_stream(site, f"/updates/{channel_id}", ANNA)
    assert [each.name for each in answer.events] == ["push-unavailable"]


@pytest.mark.parametrize(
    ("middleware", "status"), [("Redirect", 403), ("Failing", 503)]
)
async def test_the_middleware_of_the_site_decides_too(
    serve: Serving, middleware: str, status: int
) -> None:
    """A redirect of a middleware is a denial; its failure is temporary."""
    site = guarded(serve)
    with override_settings(MIDDLEWARE=[f"tests.server.rules.{middleware}"]):
        answer = await site.ask("GET", "/updates/anna", ANNA)
    assert answer.status == status
    assert rules.calls == []


async def test_the_request_is_that_of_the_subscriber(
    serve: Serving,
) -> None:
    """The function gets the subscriber's request, with session, without tokens."""
    site = guarded(serve)
    path = "/updates/anna?since=oldest&token=secret&a=1"
    assert await stream(site, path, ANNA) == 200
    ((channel_id, request),) = rules.calls
    assert channel_id == "anna"
    assert request.path == "/updates/anna"
    assert request.META["QUERY_STRING"] == "since=oldest&a=1"
    assert request.session is not None
    assert request.META["REMOTE_ADDR"] == "127.0.0.1"
    assert request.method == "GET"


async def test_a_preflight_asks_nobody(serve: Serving) -> None:
    """Requests that do not subscribe are answered as everywhere."""
    site = guarded(serve)
    assert (await site.ask("OPTIONS", "/updates/anna")).status == 204
    assert (await site.ask("PUT", "/updates/anna")).status == 405
    assert rules.calls == []


async def test_one_call_for_one_session(serve: Serving) -> None:
    """Requests of one session share an answer, also while it is being found."""
    site = guarded(serve)
    cookie = [(b"cookie", b"sessionid=anna")]
    rules.gate.clear()
    held = [site.exchange("GET", "/updates/anna", cookie).start() for _ in range(20)]
    await until(lambda: rules.calls)
    rules.gate.set()
    await until_held("anna", 20)
    assert len(rules.calls) == 1
    await site.post("anna")
    assert {(await each.answer()).status for each in held} == {200}
    assert await poll(site, "/updates/anna", [*cookie, *OLDEST]) == 200
    assert len(rules.calls) == 1
    # Another host may be another site.
    other = [*cookie, (b"host", b"other.example")]
    assert (await site.ask("GET", "/updates/anna", [*other, *OLDEST])).status == 200
    assert len(rules.calls) == 2


async def test_denials_and_strangers_are_asked_each_time(
    serve: Serving,
) -> None:
    """Only grants are remembered, and only of requests that can be told apart."""
    site = guarded(serve)
    await site.post("anna")
    cookie = [(b"cookie", b"sessionid=anna")]
    for _ in range(2):
        assert await poll(site, "/updates/bob", cookie) == 403
    for _ in range(2):
        assert await poll(site, "/updates/anna", [*ANNA, *OLDEST]) == 200
    assert len(rules.calls) == 4


async def test_several_channels(serve: Serving) -> None:
    """Of several channels the refused ones are told, and the others go on."""
    site = guarded(serve)
    await site.post("anna-1", b"one")
    await site.post("bob", b"secret")
    path = "/updates/bob,anna-1,anna-2"
    answer = await site.ask("GET", path, [*ANNA, *OLDEST])
    assert (answer.status, answer.body) == (200, b"one")
    assert answer["push-denied"] == "bob"
    answer = await site.ask("GET", f"{path}?batch=1", [EVENTS, *ANNA, *OLDEST])
    assert b'event: push-denied\ndata: {"channel": "bob"}\n\n' in answer.body
    assert b"secret" not in answer.body
    live = await open_stream(site, path, [*ANNA, *OLDEST])
    events = await live.until(2)
    assert {(each.name, each.data) for each in events} == {
        ("push-denied", '{"channel": "bob"}'),
        ("message", "one"),
    }
    await site.post("bob", b"secret")
    await site.post("anna-2", b"two")
    assert (await live.until(3))[-1].data == "two"
    live.disconnect()
    await live.end()
    assert await poll(site, "/updates/bob,carol", ANNA) == 403
    # One pass through the middleware for all channels of a request.
    assert len({id(request) for _, request in rules.calls}) == 4


async def test_a_right_that_ends(serve: Serving) -> None:
    """A held request or stream ends when the right to listen does."""
    site = guarded(serve)
    answer = await site.ask("GET", "/updates/short", ANNA)
    assert answer.status == 401
    assert answer["www-authenticate"] == 'Bearer error="invalid_token"'
    live = await open_stream(site, "/updates/short", ANNA)
    assert live.status == 200
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-expired"]
    assert live.events[0].data == '{"channel": "short"}'
    answer = await site.ask("GET", "/updates/short?batch=1", [EVENTS, *ANNA])
    assert answer.status == 401
    socket = SocketExchange(site, "/updates/short", ANNA, ["ws+meta.pushserver"])
    assert await socket.until_closed() == 4401
    live = await open_stream(site, "/updates/short,anna", ANNA)
    await live.until(1)
    assert (live.events[0].name, live.has_ended) == ("push-expired", False)
    await site.post("anna", b"still here")
    assert (await live.until(2))[-1].data == "still here"
    live.disconnect()
    await live.end()


async def test_streams_are_asked_again() -> None:
    """A stream ends when the function, asked again, denies."""
    conf = {
        "reauthorize": 0.1,
        "authorize": "tests.server.rules.may_listen",
        "locations": [
            {"type": "publisher", "url": "/send-update/([^/]+)"},
            {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        site = Site(get_application(django))
        live = await open_stream(site, "/updates/anna", ANNA)
        await until(lambda: len(rules.calls) >= 3)
        rules.banned.add("anna")
        await live.until_ended()
    assert [each.name for each in live.events] == ["push-denied"]


async def test_a_client_that_leaves_while_it_is_asked(
    serve: Serving,
) -> None:
    """A client that vanishes takes the answer from no other one."""
    site = guarded(serve)
    cookie = [(b"cookie", b"sessionid=anna")]
    rules.gate.clear()
    first = site.exchange("GET", "/updates/anna", cookie).start()
    await until(lambda: rules.calls)
    second = site.exchange("GET", "/updates/anna", cookie).start()
    await asyncio.sleep(0)
    first.future.cancel()
    rules.gate.set()
    await until_held("anna", 1)
    await site.post("anna")
    assert (await second.answer()).status == 200
    await asyncio.wait([first.future])


async def test_a_function_that_does_not_answer_is_logged_once(
    serve: Serving, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subscribers come back later, and do not fill the log."""
    monkeypatch.setattr(authorizer, "TIMEOUT", 0.05)
    site = guarded(serve)
    rules.gate.clear()
    try:
        asked = [site.ask("GET", "/updates/anna", ANNA) for _ in range(5)]
        answers = await asyncio.gather(*asked)
    finally:
        rules.gate.set()
    assert [each.status for each in answers] == [503] * 5
    assert len([each for each in caplog.messages if "authorize" in each]) == 1
