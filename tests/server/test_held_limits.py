"""How many requests, streams and sockets of subscribers are held at once."""

from __future__ import annotations

import asyncio
import json
import resource
from typing import Any

import pytest

from pushserver.conf import read_settings
from pushserver_channels.consumers.base import PushConsumer
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import hubs
from pushserver_channels.stores import memory
from tests.waiting import until

from . import rules
from .exchanges import Exchange, Serve, Site, until_held, until_idle
from .holding import Hold, batch, poll, socket, stream
from .streams import EVENTS, SocketExchange, open_stream

pytestmark = pytest.mark.usefixtures("nothing_left")

TRANSPORTS: list[Hold] = [poll, batch, stream, socket]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[HeldLimits]:
    """The counters that applications make, the newest last."""
    made = []
    init = HeldLimits.__init__

    def record(self: HeldLimits, *args: Any) -> None:
        init(self, *args)
        made.append(self)

    monkeypatch.setattr(HeldLimits, "__init__", record)
    return made


def end(exchange: Exchange) -> None:
    """Let the client of a request disconnect."""
    if isinstance(exchange, SocketExchange):
        exchange.disconnect()
    else:
        Exchange.disconnect(exchange)


async def refused(site: Site, path: str, hold: Hold) -> tuple[Any, ...]:
    """Return the status and the text of a refusal, or its event or close code."""
    exchange = await hold(site, path)
    if isinstance(exchange, SocketExchange):
        code = await exchange.until_closed()
        assert exchange.accepted is not None
        return (code, exchange.closed["reason"]) if exchange.closed else (None,)
    answer = await exchange.answer()
    if hold is poll:
        assert 1 <= int(answer["retry-after"] or 0) <= 5
    assert answer["connection"] == "close"
    return answer.status, answer.body.decode()


@pytest.mark.parametrize("path", ["/updates/a", "/updates/a,b"])
@pytest.mark.parametrize("hold", TRANSPORTS)
@pytest.mark.parametrize("limit", ["max_held", "max_held_per_client"])
async def test_more_than_the_limit_is_refused(
    serve: Serve, limits: list[HeldLimits], limit: str, hold: Hold, path: str
) -> None:
    """What is over a limit is refused by each transport, until one of them ends."""
    site = serve(subscriber={"separator": ","}, **{limit: 2})
    held = [await hold(site, path) for _ in range(2)]
    await until_held("a", 2)
    assert limits[-1].held == 2
    says = {"max_held": "Too many subscribers", "max_held_per_client": "Your address"}
    for other in TRANSPORTS:
        status, text = await refused(site, path, other)
        if other in (batch, stream):
            assert status == 200
            assert "event: push-unavailable\ndata: {" in text
            assert text.startswith("retry: ")
        else:
            code = 503 if limit == "max_held" else 429
            assert status == (code if other is poll else 4429)
            assert text.startswith(says[limit])
    assert limits[-1].held == 2
    end(held[0])
    await until(lambda: limits[-1].held == 1)
    held.append(await hold(site, path))
    await until_held("a", 2)
    for each in held[1:]:
        end(each)
    for each in held:
        await each.end()
    assert limits[-1].held == 0
    assert limits[-1].clients == {}


async def test_what_does_not_count(serve: Serve) -> None:
    """Interval polls, other methods and publishers are answered at the limit."""
    site = serve(max_held=1)
    held = await site.hold("/updates/a")
    assert (await site.ask("GET", "/interval/b")).status == 304
    assert (await site.ask("OPTIONS", "/updates/a")).status == 204
    assert (await site.ask("PATCH", "/updates/a")).status == 405
    assert (await site.ask("GET", "/updates/")).status == 400
    assert (await site.ask("GET", "/updates/a")).status == 503
    assert (await site.post("a")).status == 201
    assert (await held.answer()).body == b"news"
    # Answered at once, so that it counts no longer.
    for _ in range(3):
        assert (await site.ask("GET", "/updates/a")).body == b"news"


async def test_limits_of_zero(serve: Serve) -> None:
    """0 means no limit, and no address is looked at."""
    site = serve(max_held=0, max_held_per_client=0)
    held = [site.exchange("GET", "/updates/a", client=3).start() for _ in range(5)]
    await until_held("a", 5)
    await site.post("a")
    assert [(await each.answer()).status for each in held] == [200] * 5


async def test_clients_have_separate_limits(serve: Serve) -> None:
    """Each address has a limit of its own, and unix sockets have none."""
    site = serve(max_held_per_client=1)
    clients = [["192.0.2.1", 1], ["192.0.2.2", 1], ["2001:db8::1", 1], None, None]
    others = {"server": None}
    held = [
        site.exchange("GET", "/updates/a", client=each, **(others if not each else {}))
        for each in clients
    ]
    for each in held:
        each.start()
    await until_held("a", 5)
    for client in (["192.0.2.2", 2], ["2001:db8::2", 1], ["::ffff:192.0.2.1", 1]):
        assert (await site.ask("GET", "/updates/a", client=client)).status == 429
    await site.post("a")
    assert [(await each.answer()).status for each in held] == [200] * 5


async def test_addresses_that_a_trusted_proxy_forwards(serve: Serve) -> None:
    """Behind a trusted proxy, each forwarded address has a limit of its own."""
    site = serve(max_held_per_client=1, trusted_proxies=["127.0.0.1"])
    first, second = (
        [(b"x-forwarded-for", b"1.1.1.1")],
        [(b"x-forwarded-for", b"8.8.8.8")],
    )
    held = [
        await site.hold("/updates/a", first),
        await site.hold("/updates/a", second),
    ]
    forged = [(b"x-forwarded-for", b"9.9.9.9"), *first]
    for headers in (first, second, forged):
        assert (await site.ask("GET", "/updates/a", headers)).status == 429
    socket = SocketExchange(site, "/updates/a", first)
    assert await socket.until_closed() == 4429
    await site.post("a")
    assert [(await each.answer()).status for each in held] == [200] * 2


async def test_the_default_applies_to_public_addresses(serve: Serve) -> None:
    """By default a client holds a quarter of the process, if its address is public."""
    site = serve(max_held=40)
    held = [
        site.exchange("GET", "/updates/a", client=["8.8.8.8", 1]).start()
        for _ in range(10)
    ]
    await until_held("a", 10)
    assert (await site.ask("GET", "/updates/a", client=["8.8.8.8", 1])).status == 429
    # A proxy that is not named, or a gateway, with any number of clients.
    held += [
        site.exchange("GET", "/updates/a", client=["10.0.0.1", 1]).start()
        for _ in range(11)
    ]
    await until_held("a", 21)
    await site.post("a")
    assert [(await each.answer()).status for each in held] == [200] * 21


async def test_nothing_is_spent_over_the_limit(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the limit, neither the site's function nor the store is asked."""
    rules.calls.clear()
    path = "tests.server.rules.may_listen"
    site = serve(subscriber={"authorize": path}, max_held=1)
    held = await site.hold("/updates/public", [(b"x-user", b"anna")])
    before = len(rules.calls)
    assert before == 1

    async def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("asked")

    for method in ("next", "position", "page", "info"):
        monkeypatch.setattr(memory.MemoryStore, method, fail)
    for hold in TRANSPORTS:
        await refused(site, "/updates/public", hold)
    assert len(rules.calls) == before
    end(held)
    await held.end()


async def test_a_denial_comes_before_the_channel(serve: Serve) -> None:
    """Who may not listen gets 403 below the limit, and a limit tells of no channel."""
    path = "tests.server.rules.may_listen"
    site = serve(subscriber={"authorize": path, "create_on_get": False}, max_held=1)
    for channel_id in ("there", "missing"):
        assert (await site.ask("GET", f"/updates/{channel_id}")).status == 403
    await site.ask("PUT", "/send-update/public")
    held = await site.hold("/updates/public", [(b"x-user", b"anna")])
    answers = [await site.ask("GET", f"/updates/{each}") for each in ("public", "none")]
    assert {(each.status, each.body) for each in answers} == {
        (503, answers[0].body),
    }
    end(held)
    await held.end()


async def test_refusals_are_logged_once_with_numbers(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line for many refusals, which names the setting and its value."""
    site = serve(max_held=2, max_held_per_client=1)
    held = [await site.hold("/updates/a")]
    for _ in range(20):
        await site.ask("GET", "/updates/a")
    held.append(await site.hold("/updates/a", client=["192.0.2.1", 1]))
    for _ in range(20):
        await site.ask("GET", "/updates/a", client=["192.0.2.2", 1])
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert "their addresses hold 1 requests" in lines[0]
    assert "came from 127.0.0.1" in lines[0]
    assert "holds 2 requests, streams and sockets: PUSH_SERVER['max_held']" in lines[1]
    for each in held:
        end(each)
        await each.end()


@pytest.mark.parametrize(("max_held", "warns"), [(None, 0), (0, 0), (99, 0), (100, 1)])
def test_limit_above_the_open_files_is_a_warning(
    max_held: int | None,
    warns: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log warns at the start if the process cannot open so many files."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 100))
    HeldLimits(read_settings({"max_held": max_held}))
    assert [each for each in caplog.messages if "may open 100 files" in each] == (
        caplog.messages[:warns]
    )
    assert len(caplog.messages) == warns


# The count after every kind of end


async def is_empty(limits: list[HeldLimits]) -> None:
    await until_idle()
    assert (limits[-1].held, limits[-1].clients) == (0, {})


@pytest.mark.parametrize("hold", TRANSPORTS)
@pytest.mark.parametrize("how", ["leave", "cancel", "stop", "delete"])
async def test_nothing_is_counted_after_the_end(
    serve: Serve, limits: list[HeldLimits], hold: Hold, how: str
) -> None:
    """Nothing is counted after a client left, a cancellation, a stop or a deletion."""
    site = serve()
    held = [await hold(site, "/updates/a") for _ in range(3)]
    await until_held("a", 3)
    if how == "stop":
        await hubs.stop()
    elif how == "delete":
        await site.ask("DELETE", "/send-update/a")
    for each in held:
        if how == "leave":
            end(each)
        elif how == "cancel":
            each.future.cancel()
    await asyncio.wait([each.future for each in held], timeout=10)
    hubs.reset()
    await is_empty(limits)


@pytest.mark.parametrize("hold", TRANSPORTS)
@pytest.mark.parametrize("concurrency", ["first", "last"])
async def test_nothing_is_counted_after_a_conflict(
    serve: Serve, limits: list[HeldLimits], hold: Hold, concurrency: str
) -> None:
    """A request that loses against another one is no longer counted."""
    site = serve(subscriber={"concurrency": concurrency})
    first = await hold(site, "/updates/a")
    await until_held("a")
    await until(lambda: limits[-1].held == 1)
    second = await hold(site, "/updates/a")
    lost, kept = (first, second) if concurrency == "last" else (second, first)
    await lost.end()
    assert limits[-1].held == 1
    end(kept)
    await kept.end()
    await is_empty(limits)


@pytest.mark.parametrize("hold", TRANSPORTS)
@pytest.mark.parametrize("channel_id", ["failing", "short", "other", "exit"])
async def test_nothing_is_counted_without_the_right(
    serve: Serve, limits: list[HeldLimits], hold: Hold, channel_id: str
) -> None:
    """Nothing is counted after a refusal, a failure, or the end of the right."""
    path = "tests.server.rules.may_listen"
    site = serve(subscriber={"authorize": path})
    exchange = await hold(site, f"/updates/{channel_id}")
    await exchange.end()
    await is_empty(limits)


@pytest.mark.parametrize("hold", TRANSPORTS)
async def test_nothing_is_counted_after_an_error(
    serve: Serve,
    limits: list[HeldLimits],
    hold: Hold,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is counted after an error in the server."""
    site = serve()

    def fail(self: Any, *args: Any, **options: Any) -> None:
        raise ValueError("a fault")

    for method in ("next", "position"):
        monkeypatch.setattr(memory.MemoryStore, method, fail)
    await (await hold(site, "/updates/a")).end()
    assert "Traceback" in caplog.text
    await is_empty(limits)


async def test_nothing_is_counted_after_a_failed_send(
    serve: Serve, limits: list[HeldLimits]
) -> None:
    """Nothing is counted if an answer or the head of a stream cannot be sent."""
    site = serve()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise OSError("closed")

    for headers in ((), (EVENTS,)):
        scope = site.exchange("GET", "/updates/a", headers).scope
        await site.post("a")
        await site.application(scope, receive, send)
        await is_empty(limits)


async def test_stream_that_ends_while_catching_up(
    serve: Serve, limits: list[HeldLimits]
) -> None:
    """A stream that ends while it sends old messages is no longer counted."""
    site = serve()
    for number in range(300):
        await site.post("a", json.dumps(number).encode())
    streaming = await open_stream(site, "/updates/a")
    assert limits[-1].held == 1
    streaming.disconnect()
    await streaming.end()
    await is_empty(limits)


async def test_every_request_is_released_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is released once, whatever it is."""
    released = []
    monkeypatch.setattr(PushConsumer, "release", lambda self: released.append(self))
    site = serve()
    await site.post("a")
    await site.ask("GET", "/send-update/a")
    assert len(released) == 2
