"""Who may listen to a channel. Source: streams, section 6."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.access import RevocationError, arevoke
from pushserver.updates import subscriber_url
from pushserver_channels.access.revocations import find_hub
from pushserver_channels.hub import hubs
from pushserver_channels.routing import get_application
from tests.waiting import until

from . import rules
from .exchanges import EPOCH, Site, django, id_headers, until_held
from .streams import EVENTS, EventExchange, SocketExchange, open_stream, serving

pytestmark = pytest.mark.usefixtures("nothing_left")

Serving = Callable[..., Site]

ANNA = [(b"x-user", b"anna")]
BOB = [(b"x-user", b"bob")]
OLDEST = [(b"if-modified-since", EPOCH)]


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    with serving(separator=",", timeout=5, keep_alive=0) as serve:
        yield serve


@pytest.fixture(autouse=True)
def fresh_rules() -> Iterator[None]:
    rules.calls.clear()
    rules.banned.clear()
    rules.gate.set()
    yield
    rules.gate.set()


def guarded(serve: Serving, function: str = "may_listen", **options: Any) -> Site:
    return serve(authorize=f"tests.server.rules.{function}", **options)


async def poll(site: Site, path: str, headers: Any) -> int:
    return (await site.ask("GET", path, headers)).status


async def stream(site: Site, path: str, headers: Any) -> int:
    stream = await open_stream(site, path, headers)
    if stream.status == 200:
        stream.disconnect()
    await stream.end()
    assert stream.status is not None
    return stream.status


async def batch(site: Site, path: str, headers: Any) -> int:
    path += "&batch=1" if "?" in path else "?batch=1"
    return (await site.ask("GET", path, [EVENTS, *headers])).status


async def socket(site: Site, path: str, headers: Any) -> int:
    socket = SocketExchange(site, path, headers, ["ws+meta.pushserver"])
    assert socket.future

    def is_known() -> bool:
        socket.read()
        return bool(socket.messages or socket.closed)

    await until(is_known)
    if socket.closed is None:
        socket.disconnect()
        await socket.end()
        return 200
    await socket.end()
    code: int = socket.closed["code"]
    return code - 4000


TRANSPORTS = [poll, stream, batch, socket]
Transport = Callable[[Site, str, Any], Awaitable[int]]


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


# Tokens


def signed(serve: Serving, **options: Any) -> Site:
    return serve(signed=True, **options)


@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_a_signed_url_lets_in(serve: Serving, ask: Transport) -> None:
    """A location with ``signed`` needs a token for the channel."""
    site = signed(serve)
    await site.post("a")
    url = subscriber_url("a", expires=60)
    assert await ask(site, url, OLDEST) == 200
    assert await ask(site, "/updates/a", OLDEST) == 401
    assert await ask(site, url.replace("/a", "/b"), OLDEST) == 401
    assert await ask(site, url[:-1], OLDEST) == 401
    token = url.partition("?token=")[2].encode()
    assert (
        await ask(site, "/updates/a", [*OLDEST, (b"authorization", b"Bearer " + token)])
        == 200
    )


async def test_all_bad_tokens_have_the_same_answer(serve: Serving) -> None:
    """A bad token, an expired one and one for another channel are not told apart."""
    site = signed(serve)
    expired = subscriber_url("a", expires=1e-6)
    answers = [
        await site.ask("GET", url)
        for url in (
            expired,
            subscriber_url("b").replace("/b", "/a"),
            "/updates/a?token=x",
            f"/updates/a?token={'x' * 5000}",
            "/updates/a?token=",
            "/updates/a?token=%ff",
        )
    ]
    assert len({(each.status, each.body) for each in answers}) == 1
    assert answers[0].status == 401
    assert {each["www-authenticate"] for each in answers} == {
        'Bearer error="invalid_token"'
    }
    answer = await site.ask("GET", "/updates/a")
    assert (answer.status, answer["www-authenticate"]) == (401, "Bearer")


async def test_tokens_of_several_channels(serve: Serving) -> None:
    """Tokens of several URLs travel together, and one may have several channels."""
    site = signed(serve)
    await site.post("a", b"1")
    await site.post("b", b"2")
    both = subscriber_url(["a", "b"])
    live = await open_stream(site, both, OLDEST)
    assert {each.data for each in await live.until(2)} == {"1", "2"}
    live.disconnect()
    await live.end()
    tokens = [subscriber_url(each).partition("?")[2] for each in "ab"]
    live = await open_stream(site, f"/updates/a,b?{'&'.join(tokens)}", OLDEST)
    assert {each.data for each in await live.until(2)} == {"1", "2"}
    live.disconnect()
    await live.end()
    answer = await site.ask("GET", f"/updates/a,b?{tokens[1]}", OLDEST)
    assert (answer.status, answer.body, answer["push-denied"]) == (200, b"2", "a")


async def test_a_token_that_expires_ends_the_stream(serve: Serving) -> None:
    site = signed(serve)
    live = await open_stream(site, subscriber_url("a", expires=0.3))
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-expired"]


async def test_a_token_or_the_function(serve: Serving) -> None:
    """A location with both lets in who has a token, or whom the function lets in."""
    site = guarded(serve, signed=True)
    await site.post("anna")
    assert await poll(site, subscriber_url("anna"), OLDEST) == 200
    assert rules.calls == []
    assert await poll(site, "/updates/anna", [*OLDEST, *ANNA]) == 200
    assert await poll(site, "/updates/anna", [*OLDEST, *BOB]) == 403
    assert await poll(site, "/updates/anna?token=x", [*OLDEST, *BOB]) == 401


async def test_a_token_is_for_the_channels_of_one_store() -> None:
    """A token for a channel of one store opens no channel of that name in another."""
    location = {"type": "subscriber", "signed": True, "create_on_get": True}
    conf = {
        "store": {"default": {"type": "memory"}, "other": {"type": "memory"}},
        "locations": [
            {**location, "url": "/updates/(.+)", "name": "first"},
            {**location, "url": "/others/(.+)", "store": "other", "name": "second"},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        site = Site(get_application(django))
        first = subscriber_url("a", location="first")
        second = subscriber_url("a", location="second")
        assert await stream(site, second, []) == 200
        assert await stream(site, first.replace("updates", "others"), []) == 401


async def test_tokens_stand_in_no_log(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = guarded(serve, signed=True)
    url = subscriber_url("failing").replace("/failing", "/exit")
    assert await poll(site, url, []) == 503
    assert url.partition("?token=")[2] not in caplog.text


async def test_a_publisher_needs_no_right_to_listen(serve: Serving) -> None:
    site = guarded(serve)
    assert (await site.post("anna")).status in (201, 202)
    stream = EventExchange(site.application, "GET", "/send-update/anna")
    assert (await stream.answer()).status == 200


# Revocation


@pytest.mark.parametrize("ask", [poll, stream, socket])
async def test_a_revoked_right_ends_at_once(serve: Serving, ask: Transport) -> None:
    """A held request, a stream and a socket end when the user's right is revoked."""
    site = guarded(serve)
    asking = asyncio.ensure_future(hold(ask, site, "/updates/anna", ANNA))
    staying = asyncio.ensure_future(hold(ask, site, "/updates/bob", BOB))
    await until_held("anna")
    await until_held("bob")
    rules.banned.add("anna")
    await arevoke(user="anna")
    assert await asking == 403
    assert await ask(site, "/updates/anna", ANNA) == 403
    await arevoke(channel_id="bob")
    assert await staying == 403
    assert await poll(site, "/updates/bob", [*BOB, *OLDEST]) in (200, 304)


async def test_a_poll_of_who_has_all_messages_is_revoked(serve: Serving) -> None:
    """A request that is held without asking the store ends like others."""
    site = guarded(serve)
    await site.post("anna")
    first = await site.ask("GET", "/updates/anna", [*ANNA, *OLDEST])
    held = await site.hold("/updates/anna", [*ANNA, *id_headers(first)])
    rules.banned.add("anna")
    await arevoke(user="anna")
    assert (await held.answer()).status == 403


async def hold(ask: Transport, site: Site, path: str, headers: Any) -> int:
    """Wait for the end of a subscription, and return why it ended."""
    if ask is poll:
        return (await site.ask("GET", path, headers)).status
    if ask is socket:
        held = SocketExchange(site, path, headers, ["ws+meta.pushserver"])
        return (await held.until_closed() or 0) - 4000
    live = await open_stream(site, path, headers)
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-denied"]
    return 403


async def test_a_revoked_token_is_refused(serve: Serving) -> None:
    """Tokens from before a revocation are refused, and later ones are not."""
    site = signed(serve)
    await site.post("a")
    other = subscriber_url("a", user="bob", session="two")
    old = subscriber_url("a", user="anna", session="one")
    assert await poll(site, old, OLDEST) == 200
    await arevoke(user="anna")
    await until_revoked(1)
    assert await poll(site, old, OLDEST) == 401
    assert await poll(site, other, OLDEST) == 200
    new = subscriber_url("a", user="anna", session="one")
    assert await poll(site, new, OLDEST) == 200
    await arevoke(session="one")
    await until_revoked(2)
    assert await poll(site, new, OLDEST) == 401
    await arevoke(user="bob", channel_id="b")
    await until_revoked(3)
    assert await poll(site, other, OLDEST) == 200
    await arevoke(user="bob", channel_id="a")
    await until_revoked(4)
    assert await poll(site, other, OLDEST) == 401


async def until_revoked(count: int) -> None:
    """Wait until so many revocations were read."""
    (cursor,) = find_hub("default").waiting["revocations"]
    await until(lambda: cursor.count == count)  # type: ignore[attr-defined]


async def test_remembered_permissions_are_forgotten(serve: Serving) -> None:
    """After a revocation the function is asked again, also if it was being asked."""
    site = guarded(serve)
    cookie = [(b"cookie", b"sessionid=anna")]
    await site.post("anna")
    assert await poll(site, "/updates/anna", [*cookie, *OLDEST]) == 200
    rules.banned.add("anna")
    await arevoke(user="anna")
    await until_revoked(1)
    assert await poll(site, "/updates/anna", [*cookie, *OLDEST]) == 403
    rules.banned.clear()
    rules.calls.clear()
    rules.gate.clear()
    asking = site.exchange("GET", "/updates/anna", [*cookie, *OLDEST]).start()
    await until(lambda: rules.calls)
    await arevoke(user="anna")
    await until_revoked(2)
    rules.gate.set()
    assert (await asking.answer()).status == 200
    assert len(rules.calls) == 2


async def test_what_cannot_be_revoked(serve: Serving) -> None:
    """A revocation says why it cannot be made."""
    signed(serve)
    with pytest.raises(ValueError, match="needs a user"):
        await arevoke()
    with pytest.raises(RevocationError, match="memory"):
        await arevoke(user="anna")
    with override_settings(PUSH_SERVER={}), pytest.raises(ValueError, match="nothing"):
        await arevoke(user="anna")
