from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter

import pytest

from pushserver_channels import passthrough
from pushserver_channels.passthrough import CONCURRENCY, Dispatcher, Passthrough
from pushserver_channels.types import Receive, Scope, Send
from tests.waiting import until

from .exchanges import http_scope
from .passthrough_view import VIEW, View, numbers, respond, subscribe

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_view_gets_subscribe_and_unsubscribe(view: View) -> None:
    """The view gets a request when a subscriber comes, and one when it leaves."""
    dispatcher = Dispatcher(view)
    subscription = subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert view.heard == ["subscribe a"]
    subscription.unsubscribe()
    await dispatcher.drain()
    assert view.heard == ["subscribe a", "unsubscribe a"]


async def test_requests_of_a_subscriber_are_in_order(view: View) -> None:
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


async def test_few_requests_run_at_a_time(view: View) -> None:
    """A few requests run at a time, those of each subscriber in order."""
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


async def test_long_queue_does_not_delay_others(view: View) -> None:
    """A subscriber with many requests does not delay others."""
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
async def test_finished_queue_leaves_nothing(view: View, queues: int) -> None:
    """When all requests were made or withdrawn, nothing is left."""
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
    await until(lambda: dispatcher.is_idle)
    assert (dispatcher.waiting, dispatcher.waiting_size) == (0, 0)


async def test_empty_queue_can_be_used_again(view: View) -> None:
    """The queue of a subscriber can be used again after it was empty."""
    dispatcher = Dispatcher(view)
    for number in range(3):
        subscribe(dispatcher, number, "me")
        await dispatcher.drain()
        await until(lambda: dispatcher.is_idle)
    assert numbers(view.scopes) == [0, 1, 2]


async def test_waiting_subscribe_is_withdrawn_on_disconnect(view: View) -> None:
    """A waiting subscribe request is withdrawn when the subscriber leaves."""
    dispatcher = Dispatcher(view)
    view.gate.clear()
    first = [subscribe(dispatcher, number, number) for number in range(CONCURRENCY)]
    await until(lambda: view.running == CONCURRENCY)
    for number in range(CONCURRENCY, 5000):
        # Half of them wait behind a running request, half in a queue of their own.
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


async def test_waiting_request_takes_little_memory(view: View) -> None:
    """A waiting request takes little more memory than what its subscriber sent."""
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
async def test_number_of_waiting_requests_is_limited(
    view: View,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: str,
    value: int,
) -> None:
    """Beyond the limit, subscribers are not reported, and a line is logged.

    The end of a subscriber that was reported is reported in any case.
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
    # When fewer requests wait, new subscribers are reported again.
    subscribe(dispatcher, 1, "new")
    await dispatcher.drain()
    assert len(view.scopes) == 2 * len(told) + 1


async def test_unreported_subscribers_are_logged_once_an_interval(
    view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is one line for each interval, however many were left out."""
    monkeypatch.setattr(passthrough, "MAX_WAITING", 0)
    monkeypatch.setattr(passthrough, "LOG_INTERVAL", 0.01)
    dispatcher = Dispatcher(view)
    for number in range(10):
        subscribe(dispatcher, number, number)
    assert len(caplog.records) == 1
    await until(lambda: len(caplog.records) == 2)
    assert "told of 10 subscribers" in caplog.text


async def test_number_of_hanging_views_is_limited(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of threads with views that hang is limited."""
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


async def test_second_receive_waits_for_the_response(view: View) -> None:
    """A view that waits for a disconnect gets none before its response."""
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
