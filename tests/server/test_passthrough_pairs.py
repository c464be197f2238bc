from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import override_settings

from pushserver_channels import passthrough
from pushserver_channels.passthrough import CONCURRENCY
from pushserver_channels.routing import get_application
from tests.waiting import until

from .exchanges import Headers, Site, id_headers, until_held
from .passthrough_view import VIEW, View, fail

pytestmark = pytest.mark.usefixtures("nothing_left")


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves locations with passthrough and an application."""
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


async def test_held_poll_sends_two_requests(serve: Serve, view: View) -> None:
    """The view gets a request when a poll is held, and one when it ends."""
    site = serve(view)
    held = await site.hold("/updates/a")
    await until(lambda: view.heard == ["subscribe a"])
    await site.post("a")
    await held.answer()
    await until(lambda: view.heard == ["subscribe a", "unsubscribe a"])


async def test_request_answered_at_once_is_not_reported(
    serve: Serve, view: View
) -> None:
    """A request that is answered at once is not reported to the view."""
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
async def test_request_that_is_not_held_is_not_reported(
    serve: Serve, view: View, options: dict[str, Any]
) -> None:
    """A request that is not held, such as an interval poll, is not reported."""
    site = serve(view, **options)
    assert (await site.ask("GET", "/updates/a")).status in (304, 404)
    await asyncio.sleep(0)
    assert (view.heard, view.running) == ([], 0)


@pytest.mark.parametrize("end", ["delete", "leave", "cancel", "timeout", "conflict"])
async def test_each_end_sends_unsubscribe(serve: Serve, view: View, end: str) -> None:
    """The view gets an unsubscribe request, however the held request ended."""
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
            # A pair is dropped if its subscribe request has not started yet.
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


async def test_subscriber_that_gets_409_is_not_reported(
    serve: Serve, view: View
) -> None:
    """A new subscriber that gets 409 is not reported."""
    site = serve(view, concurrency="first")
    held = await site.hold("/updates/a")
    assert (await site.ask("GET", "/updates/a")).status == 409
    await site.post("a")
    await held.answer()
    await until(lambda: len(view.heard) == 2)
    assert view.heard == ["subscribe a", "unsubscribe a"]


async def test_early_disconnect_makes_a_whole_pair_or_none(
    serve: Serve, view: View
) -> None:
    """A client that leaves right after its request makes a whole pair or none."""
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
async def test_both_requests_have_the_id_headers(
    serve: Serve, view: View, headers: Headers
) -> None:
    """Both requests of a pair have the id headers exactly as they were sent."""
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


async def test_slow_view_delays_no_message(serve: Serve, view: View) -> None:
    """A view that hangs delays no message, and later gets whole pairs.

    Subscribers that came and left meanwhile are not reported.
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


async def test_failing_view_delays_no_message(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A view that fails is logged, and delays no message."""
    site = serve(fail)
    held = await site.hold("/updates/a")
    await site.post("a")
    assert (await held.answer()).status == 200
    await until(lambda: caplog.text.count("ZeroDivisionError: a view") == 2)


async def test_pairs_of_a_reconnecting_subscriber_are_in_order(
    serve: Serve, view: View
) -> None:
    """The pairs of a browser stay in order when it uses another connection."""
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


async def test_many_clients_that_poll_again_lose_no_pair(
    serve: Serve, view: View
) -> None:
    """No pair of 500 clients that poll again after each message is lost."""
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
        # A subscriber that leaves before its turn is not reported.
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


async def test_stopping_server_waits_for_the_view(serve: Serve, view: View) -> None:
    """When the server stops, a request is answered and then waits for the view."""
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


async def test_stopping_server_waits_a_limited_time_for_the_view(
    serve: Serve, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server stops, it waits only a limited time for a view that hangs."""
    monkeypatch.setattr(passthrough, "STOP_TIMEOUT", 0.01)
    site = serve(view)
    view.gate.clear()
    held = await site.hold("/updates/a")
    held.future.cancel()
    assert (await held.answer()).status == 503
    assert view.heard == []
    view.gate.set()
    await until(lambda: len(view.heard) == 2)


async def test_shutdown_waits_for_earlier_requests_to_the_view(
    serve: Serve, view: View
) -> None:
    """The shutdown also waits for the requests about clients that left before."""
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
