from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest

from pushserver_channels.hub import hubs
from tests.waiting import until

from .exchanges import FUTURE, JSON, Serve, until_held, until_idle, unwatched

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.usefixtures("watched_soon")
async def test_held_client_that_disconnects_is_forgotten(serve: Serve) -> None:
    """A held client that disconnects is forgotten: the next POST gets 202."""
    site = serve()
    held = await site.hold("/updates/a")
    held.disconnect()
    await held.end()
    assert held.is_silent
    answer = await site.post("a", b"news", JSON)
    assert answer.status == 202
    assert json.loads(answer.body)["subscribers"] == 0


@pytest.mark.usefixtures("watched_soon")
async def test_post_right_after_a_disconnect_gets_202(serve: Serve) -> None:
    """A POST right after a disconnect gets 202 if the server has noticed it."""
    site = serve()
    held = await site.hold("/updates/a")
    held.disconnect()
    await until(held.input_queue.empty)
    assert (await site.post("a")).status == 202
    await held.end()


@pytest.mark.parametrize("ending", ["disconnect", "delete", "conflict", "message"])
@pytest.mark.parametrize("passthrough", [None, "/hears/"])
async def test_ended_requests_need_no_garbage_collector(
    serve: Serve, ending: str, passthrough: str | None
) -> None:
    """A held request is freed when it ends, without the garbage collector."""
    options = {"concurrency": "last"} if ending == "conflict" else {}
    site = serve(subscriber={"passthrough": passthrough, **options})
    held = await site.hold("/updates/a")
    [consumer] = hubs.get("default").waiting["a"]
    freed = weakref.ref(consumer)
    del consumer
    gc.disable()
    try:
        if ending == "disconnect":
            held.disconnect()
            await held.end()
        elif ending == "delete":
            await site.ask("DELETE", "/send-update/a")
            assert (await held.answer()).status == 410
        elif ending == "conflict":
            newer = site.exchange("GET", "/updates/a").start()
            assert (await held.answer()).status == 409
            await site.post("a")
            await newer.answer()
        else:
            await site.post("a")
            assert (await held.answer()).status == 200
        del held
        await until_idle()
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "settings",
    [
        {"subscriber": {"concurrency": "last"}},
        {"subscriber": {"concurrency": "first"}},
        {"subscriber": {"timeout": 0.9}},
        {"subscriber": {"passthrough": "/hears/"}},
        {"publisher": {"store_messages": False}},
    ],
)
async def test_clients_that_are_watched_at_once(
    serve: Serve, settings: dict[str, Any]
) -> None:
    """A client is watched at once if its disconnect would have an immediate effect."""
    site = serve(**settings)
    held = await site.hold("/updates/a")
    await until(held.input_queue.empty)
    assert not unwatched()
    held.disconnect()
    await held.end()
    assert held.is_silent


async def test_clients_that_are_watched_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other clients are watched after a while, and still get their message.

    The timeout counts from the start of the request.
    """
    monkeypatch.setattr("pushserver_channels.consumers.long_poll.WATCH_AFTER", 0.5)
    site = serve(subscriber={"timeout": 1.1})
    held = [await site.hold("/updates/a") for _ in range(3)]
    hub = hubs.get("default")
    assert len(unwatched()) == 3
    await until(lambda: not unwatched())
    held[0].disconnect()
    await held[0].end()
    assert held[0].is_silent
    await site.post("a")
    assert [(await each.answer()).body for each in held[1:]] == [b"news"] * 2
    start = asyncio.get_running_loop().time()
    late = await site.ask("GET", "/updates/a", FUTURE)
    assert late.status == 304
    assert asyncio.get_running_loop().time() - start >= 1.1
    assert not hub.waiting


@pytest.mark.usefixtures("watched_soon")
async def test_disconnected_clients_among_many_are_forgotten(serve: Serve) -> None:
    """Of many held clients, only those that disconnect are forgotten."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(20)]
    for each in held[::2]:
        each.disconnect()
    await until_held("a", 10)
    answer = await site.post("a", b"news", JSON)
    assert json.loads(answer.body)["subscribers"] == 10
    assert [(await each.answer()).body for each in held[1::2]] == [b"news"] * 10
    for each in held[::2]:
        await each.end()
        assert each.is_silent


@pytest.mark.parametrize("path", ["/updates/a", "/interval/a", "/send-update/a"])
async def test_client_that_disconnects_before_its_body_is_not_held(
    serve: Serve, path: str
) -> None:
    """A client that disconnects before its request was read is not held."""
    site = serve()
    exchange = site.exchange("GET", path, body=None)
    exchange.disconnect()
    assert (await exchange.answer()).status == 400
    assert await site.info("a") is None


@pytest.mark.usefixtures("watched_soon")
async def test_client_that_disconnects_right_after_its_request_is_not_held(
    serve: Serve,
) -> None:
    """A client that disconnects right after its request is not held."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a")
    exchange.disconnect()
    await exchange.end()
    assert exchange.is_silent
    assert (await site.post("a")).status == 202


@pytest.mark.usefixtures("watched_soon")
async def test_body_parts_do_not_end_a_held_request(serve: Serve) -> None:
    """Parts of a body that arrive while the request is held do not end it."""
    site = serve()
    held = await site.hold("/updates/a")
    held.put_body(b"rest", more=True)
    held.put_body(b"", more=False)
    await until(held.input_queue.empty)
    await site.post("a")
    assert (await held.answer()).status == 200
