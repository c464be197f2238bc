from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from pushserver_channels import passthrough
from pushserver_channels.passthrough import (
    CONCURRENCY,
    Dispatcher,
    Passthrough,
    Subscription,
)
from pushserver_channels.routing import get_application
from pushserver_channels.types import Receive, Scope, Send

from .exchanges import Headers, Site, http_scope, id_headers, until, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")

VIEW = "/passthrough"


class View:
    """A site's application that hears passthrough requests.

    Attributes:
        heard: What it was told, as events like ``subscribe a``.
        scopes: The scopes of the requests.
        gate: Closed, it keeps all requests from being answered.
        status: What it answers.
        most: How many requests ran at once at most.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 200
        self.running = 0
        self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != VIEW:
            await respond(send, 299)
            return
        self.running += 1
        self.most = max(self.most, self.running)
        message = await receive()
        assert message["type"] == "http.request"
        assert not message.get("more_body")
        await self.gate.wait()
        self.running -= 1
        form = parse_qs(message["body"].decode(), strict_parsing=True)
        event = "subscribe" if form.get("subscribe") == ["1"] else "unsubscribe"
        assert form == {"channel_id": form["channel_id"], event: ["1"]}
        self.heard.append(f"{event} {form['channel_id'][0]}")
        self.bodies.append(message["body"])
        self.scopes.append(scope)
        await respond(send, self.status)


async def respond(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


@pytest.fixture
async def view() -> View:
    return View()


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve locations with passthrough, before an application."""
    changes: list[Any] = []

    def serve(application: Any, **options: Any) -> Site:
        conf = {
            "locations": [
                {"type": "publisher", "url": "/send-update/([^/]+)"},
                {
                    "type": "subscriber",
                    "url": "/updates/([^/]+)",
                    "create_on_get": True,
                    "passthrough": VIEW,
                    **options,
                },
            ]
        }
        changes.append(override_settings(PUSH_SERVER=conf))
        changes[-1].enable()
        return Site(get_application(application))

    yield serve
    for change in reversed(changes):
        change.disable()


# The dispatcher


def subscribe(dispatcher: Dispatcher, number: int, who: object) -> Subscription:
    """Tell the view of a subscriber, which has a number to be known by."""
    headers = [(b"cookie", b"id=%s" % str(who).encode()), (b"x-number", b"%d" % number)]
    scope = http_scope("GET", "/updates/a", headers)
    return Passthrough(dispatcher, VIEW).subscribe(scope, "a")


def numbers(scopes: list[Scope]) -> list[int]:
    """Return the numbers of the subscribers whose requests these are."""
    return [int(dict(scope["headers"])[b"x-number"]) for scope in scopes]


async def test_a_request_is_made(view: View) -> None:
    """A subscriber is told to the application as a request, and so is its end."""
    dispatcher = Dispatcher(view)
    subscription = subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert view.heard == ["subscribe a"]
    subscription.unsubscribe()
    await dispatcher.drain()
    assert view.heard == ["subscribe a", "unsubscribe a"]


async def test_order_of_a_queue(view: View) -> None:
    """The requests of one subscriber are made one after the other, in order."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    for number in range(50):
        subscribe(dispatcher, number, "me")
    await until(lambda: view.running)
    assert view.running == 1
    view.gate.set()
    await dispatcher.drain()
    assert numbers(view.scopes) == list(range(50))
    assert view.most == 1


async def test_many_queues(view: View) -> None:
    """The requests of many are made a few at a time, each one's in order."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    for number in range(1000):
        subscribe(dispatcher, number, number % 100)
    await until(lambda: view.running == CONCURRENCY)
    view.gate.set()
    await dispatcher.drain()
    assert view.most == CONCURRENCY
    told = numbers(view.scopes)
    assert len(told) == 1000
    for who in range(100):
        mine = [number for number in told if number % 100 == who]
        assert mine == list(range(who, 1000, 100))


async def test_queues_take_turns(view: View) -> None:
    """A subscriber with many requests does not keep others waiting."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    for number in range(1000):
        subscribe(dispatcher, number, "busy")
    subscribe(dispatcher, 5000, "other")
    view.gate.set()
    await until(lambda: 5000 in numbers(view.scopes), interval=0)
    assert len(view.heard) < 10
    await dispatcher.drain()
    assert len(view.heard) == 1001


@pytest.mark.parametrize("queues", [1, 100])
async def test_nothing_is_left_of_a_queue(view: View, queues: int) -> None:
    """When all was told, or taken back, nothing is left."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    subscriptions = [
        subscribe(dispatcher, number, number % queues) for number in range(99)
    ]
    await until(lambda: view.running)
    for subscription in subscriptions[::2]:
        subscription.unsubscribe()
    view.gate.set()
    await dispatcher.drain()
    for subscription in subscriptions:
        subscription.unsubscribe()
        subscription.unsubscribe()
    await dispatcher.drain()
    assert Counter(view.heard).total() % 2 == 0
    await until(lambda: not dispatcher._workers)
    assert (dispatcher.waiting, dispatcher.waiting_size) == (0, 0)
    assert not dispatcher._queues
    assert not dispatcher._ready


async def test_a_queue_goes_on_later(view: View) -> None:
    """A subscriber of whom all was told is told of again."""
    dispatcher = Dispatcher(view)
    for number in range(3):
        subscribe(dispatcher, number, "me")
        await dispatcher.drain()
        await until(lambda: not dispatcher._workers)
    assert numbers(view.scopes) == [0, 1, 2]


async def test_who_leaves_before_its_turn_is_not_told(view: View) -> None:
    """A subscribe that still waits when the subscriber leaves is taken back."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    first = [subscribe(dispatcher, number, number) for number in range(CONCURRENCY)]
    await until(lambda: view.running == CONCURRENCY)
    for number in range(CONCURRENCY, 5000):
        # Half of them wait behind a request that is being made, half in their own turn.
        subscribe(dispatcher, number, number % (2 * CONCURRENCY)).unsubscribe()
        assert dispatcher.waiting == 0
    last = subscribe(dispatcher, 5000, 0)
    for subscription in first:
        subscription.unsubscribe()
    assert dispatcher.waiting == CONCURRENCY + 1
    view.gate.set()
    await dispatcher.drain()
    assert sorted(numbers(view.scopes)) == [*sorted([*range(CONCURRENCY)] * 2), 5000]
    last.unsubscribe()
    await dispatcher.drain()
    assert numbers(view.scopes)[-1] == 5000


async def test_what_waits_is_small(view: View) -> None:
    """A subscriber whose requests wait takes little more than what it sent."""
    dispatcher = Dispatcher(view)
    headers = [(b"x-%d" % number, b"v" * 30) for number in range(20)]
    view.gate.clear()

    def fill() -> None:
        for number in range(1000):
            scope = http_scope("GET", "/updates/a", headers, client=("::1", number))
            scope["something-large"] = bytes(100_000)
            Passthrough(dispatcher, VIEW).subscribe(scope, f"channel-{number}")

    tracemalloc.start()
    try:
        fill()
        took = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert dispatcher.waiting == 1000
    assert 800_000 < dispatcher.waiting_size < 2_500_000
    assert took < dispatcher.waiting_size * 1.5
    view.gate.set()
    await dispatcher.drain()


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_WAITING", 10), ("MAX_WAITING_SIZE", 12_000)]
)
async def test_there_is_a_bound_on_what_waits(
    view: View,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: str,
    value: int,
) -> None:
    """Beyond it a view hears neither of a subscriber nor of its end, which is logged.

    Of whom it has heard, it hears the end in any case.
    """
    monkeypatch.setattr(passthrough, limit, value)
    dispatcher = Dispatcher(view)
    view.gate.clear()
    known = [subscribe(dispatcher, number, number) for number in range(CONCURRENCY)]
    await until(lambda: view.running == CONCURRENCY)
    others = [subscribe(dispatcher, number, number) for number in range(100, 200)]
    waiting = dispatcher.waiting
    assert 5 <= waiting <= 20
    for subscription in known:
        subscription.unsubscribe()
    assert dispatcher.waiting == waiting + CONCURRENCY
    assert "is slower than subscribers come and go" in caplog.text
    view.gate.set()
    await dispatcher.drain()
    for subscription in others:
        subscription.unsubscribe()
    await dispatcher.drain()
    told = Counter(numbers(view.scopes))
    assert set(told.values()) == {2}
    assert len(told) == CONCURRENCY + waiting
    left_out = 100 - waiting
    assert f"No passthrough view was told of {left_out} subscribers" in caplog.text
    assert len(caplog.records) == 2
    # As soon as fewer wait, new ones are told again.
    subscribe(dispatcher, 1, "new")
    await dispatcher.drain()
    assert len(view.scopes) == 2 * len(told) + 1


async def test_the_log_tells_now_and_then_how_many_were_left_out(
    view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a line in an interval, however many were left out."""
    monkeypatch.setattr(passthrough, "MAX_WAITING", 0)
    monkeypatch.setattr(passthrough, "LOG_INTERVAL", 0.01)
    dispatcher = Dispatcher(view)
    for number in range(10):
        subscribe(dispatcher, number, number)
    assert len(caplog.records) == 1
    await until(lambda: len(caplog.records) == 2)
    assert "told of 10 subscribers" in caplog.text


async def test_requests_that_last_too_long_are_bounded(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views that hang do not take more and more threads."""
    monkeypatch.setattr(passthrough, "VIEW_TIMEOUT", 0.001)
    monkeypatch.setattr(passthrough, "MAX_OVERDUE", 10)
    view.gate.clear()
    dispatcher = Dispatcher(view)
    for number in range(30):
        subscribe(dispatcher, number, number)
    await until(lambda: view.running == 10)
    await until(lambda: dispatcher.waiting + view.running + CONCURRENCY == 30)
    view.gate.set()
    await dispatcher.drain()
    await until(lambda: len(view.heard) == 30)
    assert view.most == 10


async def test_the_second_receive_waits(view: View) -> None:
    """A view that listens for the client's disconnect hears none before its answer."""
    order = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        listening = asyncio.create_task(receive())  # type: ignore[arg-type]
        listening.add_done_callback(lambda task: order.append(task.result()["type"]))
        for _ in range(10):
            await asyncio.sleep(0)
        order.append("answered")
        await respond(send, 200)
        await listening

    dispatcher = Dispatcher(application)
    subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert order == ["answered", "http.disconnect"]


async def end_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing."""


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("a view that fails")


async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200)
    raise ZeroDivisionError("a view that fails")


async def give_up(scope: Scope, receive: Receive, send: Send) -> None:
    raise asyncio.CancelledError


async def take_too_long(scope: Scope, receive: Receive, send: Send) -> None:
    raise asyncio.TimeoutError


async def exit_process(scope: Scope, receive: Receive, send: Send) -> None:
    sys.exit(3)


async def exit_in_a_task(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.wait([asyncio.ensure_future(exit_process(scope, receive, send))])
    await respond(send, 500)


async def exit_in_a_thread(scope: Scope, receive: Receive, send: Send) -> None:
    await sync_to_async(sys.exit)(3)


async def exit_in_a_task_of_a_thread(
    scope: Scope, receive: Receive, send: Send
) -> None:
    await sync_to_async(async_to_sync(exit_process))(scope, receive, send)


async def interrupt(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyboardInterrupt


async def end_as_a_generator(scope: Scope, receive: Receive, send: Send) -> None:
    raise GeneratorExit


@pytest.mark.parametrize(
    ("broken", "logged"),
    [
        (end_early, "answered None"),
        (fail, "ZeroDivisionError"),
        (fail_late, "ZeroDivisionError"),
        (give_up, "passthrough view at /passthrough"),
        (take_too_long, "passthrough view at /passthrough"),
        (exit_process, "SystemExit(3) was raised, which would have ended"),
        (exit_in_a_task, "answered 500"),
        (exit_in_a_thread, "SystemExit(3) was raised"),
        (exit_in_a_task_of_a_thread, "SystemExit(3) was raised"),
        (interrupt, "KeyboardInterrupt() was raised"),
        (end_as_a_generator, "GeneratorExit"),
    ],
)
async def test_a_view_that_fails(
    view: View, caplog: pytest.LogCaptureFixture, broken: Any, logged: str
) -> None:
    """A view that fails, or would end the process, is logged, and others are told."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if numbers([scope])[0] % 2:
            await view(scope, receive, send)
        else:
            await broken(scope, receive, send)

    dispatcher = Dispatcher(application)
    for number in range(40):
        subscribe(dispatcher, number, number % 10)
    await asyncio.wait_for(dispatcher.drain(), 5)
    assert len(view.heard) == 20
    assert logged in caplog.text
    assert {each.levelno for each in caplog.records} == {logging.ERROR}
    # Complaints of the event loop come with the end of a task.
    gc.collect()
    caplog.records[:] = [each for each in caplog.records if each.name != "asyncio"]


async def test_other_tasks_are_made_as_they_were(view: View) -> None:
    """What is not of such a request may end its event loop, in a task made as ever."""
    loop = asyncio.get_running_loop()
    made = []

    def make(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make)
    for _ in range(2):
        dispatcher = Dispatcher(view)
        subscribe(dispatcher, 1, "me")
        await dispatcher.drain()
    work = asyncio.sleep(0)
    task = loop.create_task(work, name="a name")
    assert made[-1] is work
    assert task.get_name() == "a name"
    await task


@pytest.mark.parametrize("status", [302, 400, 403, 404, 500])
async def test_a_status_that_is_no_success(
    view: View, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A view that answers an error is logged with what nobody heard."""
    view.status = status
    dispatcher = Dispatcher(view)
    subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert f"answered {status}" in caplog.text
    assert "channel_id=a&subscribe=1" in caplog.text


@pytest.mark.parametrize("status", [200, 204])
async def test_a_status_that_is_a_success(
    view: View, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A view that answers any success is not logged."""
    view.status = status
    dispatcher = Dispatcher(view)
    subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert caplog.records == []


async def test_a_view_that_never_answers(
    view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A view that never answers is given up, logged, and the lines move on."""
    monkeypatch.setattr(passthrough, "VIEW_TIMEOUT", 0.01)
    view.gate.clear()
    dispatcher = Dispatcher(view)
    for number in range(2 * CONCURRENCY):
        subscribe(dispatcher, number, number)
    await until(lambda: view.running > CONCURRENCY)
    view.gate.set()
    await dispatcher.drain()
    assert "takes too long" in caplog.text


async def test_a_blocking_view_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Django view that hangs in its thread is given up too, and blocks nobody."""
    monkeypatch.setattr(passthrough, "VIEW_TIMEOUT", 0.05)
    let_go = threading.Event()
    heard: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        if request.COOKIES["id"] != "free":
            let_go.wait(30)
        heard.append(request.COOKIES["id"])
        return HttpResponse()

    urlconf = type("urlconf", (), {"urlpatterns": [path("passthrough", view)]})
    with override_settings(ROOT_URLCONF=urlconf):
        dispatcher = Dispatcher(get_asgi_application())
        for number in range(CONCURRENCY):
            subscribe(dispatcher, number, number)
        subscribe(dispatcher, 1, "free")
        try:
            await until(lambda: heard)
            assert heard == ["free"]
        finally:
            let_go.set()
        await until(lambda: len(heard) == 1 + CONCURRENCY)
    assert "takes too long" in caplog.text


def test_another_loop(caplog: pytest.LogCaptureFixture) -> None:
    """A dispatcher goes on where another event loop runs than before."""
    views = []
    left: list[Subscription] = []

    async def subscribe_and_leave() -> None:
        view = View()
        view.gate.clear()
        dispatcher._application = view
        left.extend(subscribe(dispatcher, number, "me") for number in range(2))
        await until(lambda: view.running)

    async def subscribe_again() -> None:
        view = View()
        views.append(view)
        dispatcher._application = view
        subscribe(dispatcher, 2, "me")
        left[1].unsubscribe()  # It has never been told, and never will be.
        await dispatcher.drain()

    dispatcher = Dispatcher(fail)
    asyncio.run(subscribe_and_leave())
    asyncio.run(subscribe_again())
    assert numbers(views[0].scopes) == [2]


# The request that a view gets


async def one_notice(view: View, channel_id: str = "a", **scope: Any) -> Scope:
    scope = {**http_scope("GET", "/updates/a?query=1"), **scope}
    told = Passthrough(Dispatcher(view), VIEW)
    subscription = told.subscribe(scope, channel_id)
    await told.drain_before_exit()
    subscription.unsubscribe()
    await told.drain_before_exit()
    assert len(view.scopes) == 2
    return view.scopes[0]


async def test_the_request(view: View) -> None:
    """The view gets a POST of a form, as if the subscriber had made it."""
    scope = await one_notice(view, headers=[(b"cookie", b"a=b")])
    assert view.bodies == [b"channel_id=a&subscribe=1", b"channel_id=a&unsubscribe=1"]
    assert (scope["type"], scope["method"]) == ("http", "POST")
    assert (scope["path"], scope["raw_path"]) == (VIEW, VIEW.encode())
    assert scope["query_string"] == b""
    assert scope["client"] == ["127.0.0.1", 40_000]
    assert (scope["scheme"], scope["http_version"]) == ("http", "1.1")
    headers = dict(scope["headers"])
    assert headers == {
        b"cookie": b"a=b",
        b"content-type": b"application/x-www-form-urlencoded",
        b"content-length": b"24",
    }


async def test_headers_that_are_passed_on(view: View) -> None:
    """The subscriber's own headers come with both requests, exactly as it sent them."""
    sent = [
        (b"host", b"example.com"),
        (b"cookie", b"sessionid=1"),
        (b"cookie", b"csrftoken=2"),
        (b"if-modified-since", b"Thu, 1 Jan 1970 00:00:00 GMT"),
        (b"if-none-match", b'W/"0"'),
        (b"authorization", b"Bearer \xff"),
        (b"origin", b"https://example.com"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"user-agent", b"test"),
        (b"x-cookie", b"3"),
        (b"accept-language", b"sl"),
    ]
    await one_notice(view, headers=sent)
    for scope in view.scopes:
        assert scope["headers"][: len(sent)] == sent


@pytest.mark.parametrize(
    "name",
    [
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    ],
)
async def test_headers_that_are_not_passed_on(view: View, name: bytes) -> None:
    """What belongs to the subscriber's connection or body does not come with them."""
    scope = await one_notice(view, headers=[(name, b"100"), (b"x-kept", b"1")])
    assert [key for key, _ in scope["headers"]] == [
        b"x-kept",
        b"content-type",
        b"content-length",
    ]
    assert b"100" not in dict(scope["headers"]).values()


@pytest.mark.parametrize(
    "channel_id",
    ["a b", "a&subscribe=0", "a=b", "%", "+", "\u20ac", "\U0001f600", "a/b", "\x00\n"],
)
async def test_any_channel_id(view: View, channel_id: str) -> None:
    """Any channel id reaches the view as it is."""
    await one_notice(view, channel_id)
    assert view.heard == [f"subscribe {channel_id}", f"unsubscribe {channel_id}"]
    for scope, body in zip(view.scopes, view.bodies, strict=True):
        assert dict(scope["headers"])[b"content-length"] == b"%d" % len(body)


async def test_the_subscribers_scope_is_left_alone(view: View) -> None:
    """What the view's request is made of stays as it was."""
    scope = http_scope("GET", "/updates/a")
    before = {**scope, "headers": list(scope["headers"])}
    told = Passthrough(Dispatcher(view), VIEW)
    told.subscribe(scope, "a")
    await told.drain_before_exit()
    assert scope == before


# Around held requests


async def test_a_pair(serve: Serve, view: View) -> None:
    """A held request is told at its start and at its end."""
    site = serve(view)
    held = await site.hold("/updates/a")
    await until(lambda: view.heard == ["subscribe a"])
    await site.post("a")
    await held.answer()
    await until(lambda: view.heard == ["subscribe a", "unsubscribe a"])


async def test_a_request_answered_at_once(serve: Serve, view: View) -> None:
    """A request that is answered at once was never a subscription."""
    site = serve(view)
    await site.post("a")
    assert (await site.ask("GET", "/updates/a")).status == 200
    bad = [(b"if-none-match", b"x")]
    assert (await site.ask("GET", "/updates/a", bad)).status == 400
    assert (await site.ask("PATCH", "/updates/a")).status == 405
    assert (await site.ask("OPTIONS", "/updates/a")).status == 204
    held = await site.hold("/updates/b")
    await site.post("b")
    await held.answer()
    await until(lambda: len(view.heard) == 2)
    assert view.heard == ["subscribe b", "unsubscribe b"]


@pytest.mark.parametrize("options", [{"create_on_get": False}, {"polling": "interval"}])
async def test_a_request_that_is_not_held(
    serve: Serve, view: View, options: dict[str, Any]
) -> None:
    """A request that is not held is not told, nor is any interval poll."""
    site = serve(view, **options)
    assert (await site.ask("GET", "/updates/a")).status in (304, 404)
    await asyncio.sleep(0)
    assert (view.heard, view.running) == ([], 0)


@pytest.mark.parametrize("end", ["delete", "leave", "cancel", "timeout", "conflict"])
async def test_each_end_is_told(serve: Serve, view: View, end: str) -> None:
    """Whatever ends a held request, its end is told."""
    options: dict[str, Any] = {}
    if end == "timeout":
        options["timeout"] = 0.001
    elif end == "conflict":
        options["concurrency"] = "last"
    site = serve(view, **options)
    if end == "timeout":
        await site.ask("GET", "/updates/a")
    else:
        held = await site.hold("/updates/a")
        if end == "delete":
            await site.ask("DELETE", "/send-update/a")
        elif end == "leave":
            held.disconnect()
        elif end == "cancel":
            held.future.cancel()
        else:
            # A pair of which the view has not begun to hear is not told at all.
            await until(lambda: len(view.heard) == 1)
            newer = site.exchange("GET", "/updates/a").start()
            await held.end()
            await until(lambda: len(view.heard) == 3)
            newer.disconnect()
            await newer.end()
        await held.end()
    pairs = 2 if end == "conflict" else 1
    await until(lambda: len(view.heard) == 2 * pairs)
    assert Counter(view.heard) == {"subscribe a": pairs, "unsubscribe a": pairs}


async def test_the_newcomer_of_first(serve: Serve, view: View) -> None:
    """A newcomer that is refused with 409 was never a subscription."""
    site = serve(view, concurrency="first")
    held = await site.hold("/updates/a")
    assert (await site.ask("GET", "/updates/a")).status == 409
    await site.post("a")
    await held.answer()
    await until(lambda: len(view.heard) == 2)
    assert view.heard == ["subscribe a", "unsubscribe a"]


async def test_a_client_that_leaves_at_once(serve: Serve, view: View) -> None:
    """A client that leaves right after its request makes no pair or a whole one."""
    site = serve(view)
    for _ in range(20):
        exchange = site.exchange("GET", "/updates/a").start()
        exchange.disconnect()
        await exchange.end()
    await until(lambda: len(view.heard) % 2 == 0 and not view.running)
    count = Counter(view.heard)
    assert count["subscribe a"] == count["unsubscribe a"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT")],
        [
            (b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT"),
            (b"if-none-match", b'W/"7"'),
        ],
    ],
)
async def test_both_id_headers(serve: Serve, view: View, headers: Headers) -> None:
    """Both requests of a pair carry the id headers exactly as they were sent."""
    site = serve(view)
    held = await site.hold("/updates/a", [*headers, (b"cookie", b"a=b")])
    await site.post("a")
    await held.answer()
    await until(lambda: len(view.scopes) == 2)
    for scope in view.scopes:
        sent = dict(scope["headers"])
        assert sent[b"cookie"] == b"a=b"
        for name in (b"if-modified-since", b"if-none-match"):
            assert sent.get(name) == dict(headers).get(name)


async def test_a_slow_view_delays_no_message(serve: Serve, view: View) -> None:
    """Messages are delivered while the view hangs, and later it is told of whole pairs.

    Who has come and gone meanwhile is not told.
    """
    site = serve(view)
    view.gate.clear()
    for number in range(20):
        held = await site.hold(f"/updates/{number}")
        assert (await site.post(f"{number}")).status == 201
        assert (await held.answer()).status == 200
    assert view.heard == []
    view.gate.set()
    await until(lambda: len(view.heard) == 2 * CONCURRENCY)
    for number in range(CONCURRENCY):
        mine = [each for each in view.heard if each.split()[1] == str(number)]
        assert mine == [f"subscribe {number}", f"unsubscribe {number}"]


async def test_a_failing_view_delays_no_message(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A view that fails is logged, and messages are delivered all the same."""
    site = serve(fail)
    held = await site.hold("/updates/a")
    await site.post("a")
    assert (await held.answer()).status == 200
    await until(lambda: caplog.text.count("ZeroDivisionError: a view") == 2)


async def test_order_of_a_subscriber_that_comes_back(serve: Serve, view: View) -> None:
    """A browser comes back on another connection; its pairs stay in order."""
    site = serve(view)
    headers: list[tuple[bytes, bytes]] = []
    for number in range(10):
        cookie = (b"cookie", b"sessionid=1")
        held = await site.hold(
            "/updates/a", [*headers, cookie], client=["127.0.0.1", 1000 + number]
        )
        await until(lambda number=number: len(view.heard) == 2 * number + 1)
        await site.post("a")
        headers = id_headers(await held.answer())
    await until(lambda: len(view.heard) == 20)
    assert view.heard == ["subscribe a", "unsubscribe a"] * 10


async def test_many_come_back_on_one_message(serve: Serve, view: View) -> None:
    """500 clients that poll again after each message lose no pair, in no order."""
    site = serve(view)
    clients = 500

    async def poll(number: int) -> None:
        headers: list[tuple[bytes, bytes]] = []
        cookie = (b"cookie", b"id=%d" % number)
        for _ in range(4):
            answer = await site.ask("GET", "/updates/a", [*headers, cookie])
            headers = id_headers(answer)

    polls = [asyncio.ensure_future(poll(number)) for number in range(clients)]
    for number in range(4):
        await until_held("a", clients)
        # Who leaves before its turn is not told of.
        told = clients * (2 * number + 1)
        await until(lambda told=told: len(view.heard) == told)
        assert (await site.post("a")).status == 201
    await asyncio.gather(*polls)
    await until(lambda: len(view.heard) == clients * 8, timeout=30)
    assert view.most <= CONCURRENCY
    order: dict[bytes, list[str]] = {}
    for scope, event in zip(view.scopes, view.heard, strict=True):
        order.setdefault(dict(scope["headers"])[b"cookie"], []).append(event)
    assert len(order) == clients
    for events in order.values():
        assert events == ["subscribe a", "unsubscribe a"] * 4


async def test_a_stopping_server_waits_for_the_view(serve: Serve, view: View) -> None:
    """A request that ends with the server is answered, and then waits for the view."""
    site = serve(view)
    view.gate.clear()
    held = await site.hold("/updates/a")
    held.future.cancel()
    await until(lambda: not held.is_silent)
    assert not held.future.done()
    view.gate.set()
    answer = await held.answer()
    assert answer.status == 503
    assert view.heard == ["subscribe a", "unsubscribe a"]


async def test_a_stopping_server_does_not_wait_for_long(
    serve: Serve, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stops does not wait for ever for a view that hangs."""
    monkeypatch.setattr(passthrough, "STOP_TIMEOUT", 0.01)
    site = serve(view)
    view.gate.clear()
    held = await site.hold("/updates/a")
    held.future.cancel()
    assert (await held.answer()).status == 503
    assert view.heard == []
    view.gate.set()
    await until(lambda: len(view.heard) == 2)


async def test_the_end_of_the_server_waits_for_the_view(
    serve: Serve, view: View
) -> None:
    """Of who has left by then the view is told before the server ends, too."""
    site = serve(view)
    lifespan = ApplicationCommunicator(site.application, {"type": "lifespan"})
    await lifespan.send_input({"type": "lifespan.startup"})
    assert (await lifespan.receive_output())["type"] == "lifespan.startup.complete"
    held = await site.hold("/updates/a")
    await until(lambda: view.heard == ["subscribe a"])
    view.gate.clear()
    held.disconnect()
    await held.end()
    await lifespan.send_input({"type": "lifespan.shutdown"})
    assert await lifespan.receive_nothing(0.05)
    view.gate.set()
    assert (await lifespan.receive_output())["type"] == "lifespan.shutdown.complete"
    assert view.heard == ["subscribe a", "unsubscribe a"]
