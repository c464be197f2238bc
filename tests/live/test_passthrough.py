from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from pushserver_channels.passthrough import CONCURRENCY
from tests.conformance import servers
from tests.servers import LOCATIONS, ServerProcess, daphne
from tests.waiting import PATIENCE, until

from .wire import Answer, Wire, publish, request, until_held

CONF = {"locations": LOCATIONS}

FUTURE = (
    "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
    'If-None-Match: W/"7"',
)


async def heard(port: int, channel_id: str) -> list[dict[str, Any]]:
    """Return the passthrough events of a channel, oldest first."""
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", f"/heard?channel={channel_id}")
    told: list[dict[str, Any]] = json.loads(answer.body)["heard"]
    return told


async def until_heard(port: int, channel_id: str, *counts: int) -> list[dict[str, Any]]:
    """Wait for a number of passthrough events of a channel, and return them.

    Args:
        counts: The numbers of events to wait for, of which any will do.
    """

    async def is_heard() -> bool:
        async with await Wire.open(port) as wire:
            answer = await wire.ask("GET", f"/heard?channel={channel_id}&count")
        return json.loads(answer.body)["heard"] in counts

    # Each check is a request to the same server, so there must not be too many.
    # Each event is a request to Django, which takes a while on a busy machine.
    patience = PATIENCE + max(counts) / 20
    await until(is_heard, timeout=patience, interval=max(counts) / 20_000)
    return await heard(port, channel_id)


def events(told: list[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in told]


async def hold(port: int, channel_id: str, *headers: str) -> Wire:
    wire = await Wire.open(port)
    await wire.send(request("GET", f"/updates/{channel_id}", *headers))
    await until_held(port, channel_id)
    return wire


def headers_after(answer: Answer) -> list[str]:
    return [
        f"If-Modified-Since: {answer['last-modified']}",
        f"If-None-Match: {answer['etag']}",
    ]


@pytest.mark.parametrize("headers", [(), FUTURE, FUTURE[:1]])
async def test_both_events_have_the_subscribers_request(
    port: int, channel_id: str, headers: tuple[str, ...]
) -> None:
    """Both events of a pair have the subscriber's cookies, ids and address."""
    wire = await hold(port, channel_id, "Cookie: sessionid=1; a=b", *headers)
    assert events(await until_heard(port, channel_id, 1)) == ["subscribe"]
    await publish(port, channel_id)
    assert (await wire.answer()).status == 200
    told = await until_heard(port, channel_id, 2)
    assert events(told) == ["subscribe", "unsubscribe"]
    sent = dict(header.split(": ", 1) for header in headers)
    for each in told:
        assert each["cookies"] == {"sessionid": "1", "a": "b"}
        assert each["if_modified_since"] == sent.get("If-Modified-Since")
        assert each["if_none_match"] == sent.get("If-None-Match")
        assert each["address"] == "127.0.0.1"


async def test_requests_answered_at_once_have_no_events(
    port: int, channel_id: str
) -> None:
    """A request that is answered at once, with or without error, has no events."""
    await publish(port, channel_id)
    async with await Wire.open(port) as wire:
        path = f"/updates/{channel_id}"
        assert (await wire.ask("GET", path)).status == 200
        assert (await wire.ask("GET", path, "If-None-Match: x")).status == 400
        assert (await wire.ask("PUT", path)).status == 405
        assert (await wire.ask("OPTIONS", path)).status == 204
        assert (await wire.ask("GET", f"/interval/{channel_id}")).status == 200
        # Events are sent in order, so this one would come after the others.
        await wire.send(request("GET", path, *FUTURE))
        await until_held(port, channel_id)
        told = await until_heard(port, channel_id, 1)
    assert told[0]["if_none_match"] == 'W/"7"'


async def test_client_that_disconnects_has_an_unsubscribe_event(
    port: int, channel_id: str
) -> None:
    """A client that disconnects has an unsubscribe event, too."""
    wire = await hold(port, channel_id)
    wire.reset()
    told = await until_heard(port, channel_id, 2)
    assert events(told) == ["subscribe", "unsubscribe"]


async def test_any_channel_id_reaches_the_view(port: int, channel_id: str) -> None:
    """Any channel id reaches the site unchanged."""
    for encoded in ("%E2%82%AC", "a%2Fb", "a%26subscribe%3D1", "a+b%20c", "%25"):
        async with await Wire.open(port) as wire:
            path = f"{channel_id}{encoded}"
            await wire.send(request("GET", f"/updates/{path}"))
            await until_held(port, path)
            await publish(port, path)
            await wire.answer()
        query = path.replace("+", "%2B")
        told = await until_heard(port, query, 2)
        assert events(told) == ["subscribe", "unsubscribe"]


async def test_events_of_a_reconnecting_subscriber_are_in_order(
    port: int, channel_id: str
) -> None:
    """The events of a subscriber that reconnects are in order."""
    headers: list[str] = []
    for number in range(20):
        wire = await hold(port, channel_id, "Cookie: id=1", *headers)
        # A subscriber that leaves before its turn has no events.
        await until_heard(port, channel_id, 2 * number + 1)
        await publish(port, channel_id)
        headers = headers_after(await wire.answer())
        wire.abort()
    told = await until_heard(port, channel_id, 40)
    assert events(told) == ["subscribe", "unsubscribe"] * 20
    seen = [each["if_none_match"] for each in told]
    assert seen[::2] == seen[1::2]


async def test_slow_view_delays_no_message(port: int, channel_id: str) -> None:
    """A slow view does not delay messages, not even those of its own subscriber."""
    wires = [
        await hold(port, f"{channel_id}-{number}", "X-Slow: 0.5")
        for number in range(10)
    ]
    for number in range(10):
        assert await publish(port, f"{channel_id}-{number}") == 201
    for wire in wires:
        assert (await wire.answer()).status == 200
    told = [await heard(port, f"{channel_id}-{number}") for number in range(10)]
    assert sum(map(len, told)) < 20
    # The first subscribers have events; the others left before their turn.
    for number in range(CONCURRENCY):
        told[number] = await until_heard(port, f"{channel_id}-{number}", 2)
        assert events(told[number]) == ["subscribe", "unsubscribe"]
    for number in range(CONCURRENCY, 10):
        await until_heard(port, f"{channel_id}-{number}", 0, 2)


async def test_failing_receiver_is_logged(channel_id: str) -> None:
    """An error in a signal receiver is logged, and has no other effect."""
    with daphne() as server:
        wire = await hold(server.port, channel_id, "X-Fail: 1")
        assert await publish(server.port, channel_id) == 201
        assert (await wire.answer()).status == 200
        await until_heard(server.port, channel_id, 2)
        wire.abort()
        assert await publish(server.port, channel_id) == 202

        async def is_logged() -> bool:
            return server.log().count("ValueError: a receiver that fails") == 2

        await until(is_logged)


MIDDLEWARE = ["tests.exits.exiting_in_a_task", "tests.exits.exiting"]


@pytest.mark.parametrize(
    "serve",
    [
        lambda: servers.daphne(CONF),
        lambda: servers.uvicorn(CONF, "--http", "h11"),
        lambda: servers.uvicorn(CONF, "--http", "httptools", "--loop", "asyncio"),
        lambda: servers.granian(CONF),
    ],
    ids=["daphne", "uvicorn-h11", "uvicorn-httptools", "granian"],
)
async def test_exit_of_a_receiver_is_logged(serve: Callable[[], ServerProcess]) -> None:
    """An exception that would end the process is logged, and has no other effect.

    It is raised by a receiver of a passthrough signal and by middleware, in a thread
    and in a task of the server's event loop.
    """
    server = serve()
    server.env["TEST_MIDDLEWARE"] = json.dumps(MIDDLEWARE)
    with server:
        port = server.port
        other = await hold(port, "another")
        for place in ("receiver", "async-receiver", "middleware", "async-middleware"):
            for name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
                channel_id = f"{place}-{name}"
                said = server.log()
                wire = await hold(port, channel_id, f"X-Exit: {place} {name}")
                # The subscribe request has been started.
                await until(logged(server, said, name))
                said = server.log()
                assert await publish(port, channel_id) == 201
                assert (await wire.answer()).status == 200
                await until(logged(server, said, name))
                wire.abort()
        assert await publish(port, "another") == 201
        assert (await other.answer()).status == 200
        assert server.process.poll() is None
        # The other receivers are called, too.
        assert len(await heard(port, "async-receiver-SystemExit")) == 2


def logged(server: ServerProcess, before: str, name: str) -> Callable[[], Any]:
    """Return a function that checks for an exception in the new part of the log."""

    async def is_logged() -> bool:
        return name in server.log()[len(before) :]

    return is_logged


async def state(port: int) -> dict[str, int]:
    async with await Wire.open(port) as wire:
        found: dict[str, int] = json.loads((await wire.ask("GET", "/state")).body)
    return found


async def test_many_clients_that_poll_again_lose_no_events(
    channel_id: str, crowd: int
) -> None:
    """Many clients that poll again on a message lose no pair and use few threads."""
    path = f"/updates/{channel_id}"
    # Each makes three requests to Django, in threads; it may use fewer than 50.
    crowd //= 3

    async def poll_all(wires: list[Wire], *headers: str) -> None:
        for number, wire in enumerate(wires):
            await wire.send(request("GET", path, f"Cookie: id={number}", *headers))
        await until_held(port, channel_id, crowd)

    with daphne() as server:
        port = server.port
        before = await state(port)
        wires: list[Wire] = []
        for _ in range(crowd // 50):
            wires += await asyncio.gather(*(Wire.open(port) for _ in range(50)))
        crowd = len(wires)
        await poll_all(wires)
        await until_heard(port, channel_id, crowd)
        assert await publish(port, channel_id) == 201
        answers = [await wire.answer() for wire in wires]
        assert {answer.body for answer in answers} == {b"news"}
        await poll_all(wires, *headers_after(answers[0]))
        told = await until_heard(port, channel_id, crowd * 3)
        for wire in wires:
            wire.abort()
        await until_held(port, channel_id, 0)

        async def is_idle() -> bool:
            return (await state(port))["tasks"] <= before["tasks"] + 5

        await until(is_idle)
    pairs = defaultdict(list)
    for each in told:
        pairs[each["cookies"]["id"]].append(each["event"])
    assert len(pairs) == crowd
    expected = ["subscribe", "unsubscribe", "subscribe"]
    assert all(events == expected for events in pairs.values())
    assert max(each["threads"] for each in told) < 50
