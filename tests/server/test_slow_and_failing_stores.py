from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from pushserver.conf import MemoryStoreSettings
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.stores.memory import MemoryStore

from .exchanges import FUTURE, PAGE, Exchange, Serve, http_scope, id_headers
from .gated_store import GatedStore

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_unavailable_store_gets_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store does not respond, each request gets 503 with Retry-After."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise StoreUnavailable

    site = serve()
    for name in ("append", "next", "info", "create", "delete"):
        monkeypatch.setattr(MemoryStore, name, fail)
    for method, path in (
        ("GET", "/send-update/a"),
        ("PUT", "/send-update/a"),
        ("POST", "/send-update/a"),
        ("DELETE", "/send-update/a"),
        ("GET", "/updates/a"),
        ("GET", "/interval/a"),
    ):
        answer = await site.ask(method, path)
        assert answer.status == 503
        assert answer["retry-after"]
        assert answer.body == b"The message store is unavailable.\n"


async def test_failing_store_gets_500(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error gets 500, is logged, and leaves nothing behind."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("secret")

    site = serve(subscriber={"allow_origin": PAGE.decode()})
    monkeypatch.setattr(MemoryStore, "next", fail)
    answer = await site.ask("GET", "/updates/a", [(b"origin", PAGE)])
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert "Cannot answer GET /updates/a" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.fixture
async def slow_store(monkeypatch: pytest.MonkeyPatch) -> GatedStore:
    """A gated store, which the site uses."""
    store = GatedStore(MemoryStoreSettings(type="memory"))
    monkeypatch.setattr("pushserver_channels.hub.registry.make_store", lambda _: store)
    return store


@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_message_published_during_a_lookup_is_not_lost(
    serve: Serve, slow_store: GatedStore, headers: list[tuple[bytes, bytes]]
) -> None:
    """A message published while the store is looking is not lost.

    With a future id, only the lookup shows that this is the client's next message, so
    its publisher may get 202.
    """
    site = serve()
    exchange = site.exchange("GET", "/updates/a", headers).start()
    await slow_store.looked.wait()
    assert (await site.post("a")).status in ((201, 202) if headers else (201,))
    slow_store.gate.set()
    answer = await exchange.answer()
    assert (answer.status, answer.body) == (200, b"news")


async def test_channel_deleted_during_a_lookup_gets_410(
    serve: Serve, slow_store: GatedStore
) -> None:
    """A request whose channel is deleted while the store is looking gets 410."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looked.wait()
    assert (await site.ask("DELETE", "/send-update/a")).status == 200
    slow_store.gate.set()
    assert (await exchange.answer()).status == 410


@pytest.mark.usefixtures("watched_soon")
async def test_client_that_disconnects_during_a_lookup_is_forgotten(
    serve: Serve, slow_store: GatedStore
) -> None:
    """A client that disconnects while the store is looking is forgotten."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looked.wait()
    exchange.disconnect()
    slow_store.gate.set()
    await exchange.end()
    assert exchange.is_silent
    assert (await site.post("a")).status == 202


async def test_request_cancelled_during_a_lookup_gets_503(
    serve: Serve, slow_store: GatedStore
) -> None:
    """A request that is cancelled while the store is looking gets 503."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looked.wait()
    exchange.future.cancel()
    answer = await exchange.answer()
    assert answer.status == 503
    assert answer["retry-after"]


async def test_request_cancelled_during_a_lookup_gets_no_newer_message(
    serve: Serve, slow_store: GatedStore
) -> None:
    """A request that is cancelled during the lookup does not get a newer message.

    The client would skip the older ones, or get a Push-Gap.
    """
    site = serve()
    await site.post("a", b"1")
    await site.post("a", b"2")
    exchange = site.exchange("GET", "/updates/a").start()
    await slow_store.looked.wait()
    assert (await site.post("a", b"3")).status == 201
    exchange.future.cancel()
    assert (await exchange.answer()).status == 503


@pytest.mark.parametrize("path", ["/updates/a", "/interval/a", "/send-update/a"])
async def test_disconnect_during_a_response_logs_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A client that disconnects during a response causes no error in the log."""
    site = serve()
    await site.post("a")
    body = {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> dict[str, Any]:
        return body

    async def send(message: dict[str, Any]) -> None:
        raise OSError("the connection is closed")

    # As a server with ASGI 2.4 does, which allows that error to be raised again.
    with suppress(OSError):
        await site.application(http_scope("GET", path), receive, send)
    assert [each.getMessage() for each in caplog.records] == []


@pytest.mark.parametrize("watch_after", [0.0, 0.005])
async def test_concurrent_clients_and_publishers_lose_no_message(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, watch_after: float
) -> None:
    """Many concurrent clients and publishers lose no message and leave nothing."""
    monkeypatch.setattr(
        "pushserver_channels.consumers.long_poll.WATCH_AFTER", watch_after
    )
    site = serve(store={"max_messages": 1000})
    readers: list[list[bytes]] = [[] for _ in range(20)]

    async def read(seen: list[bytes]) -> None:
        headers: list[tuple[bytes, bytes]] = []
        while len(seen) < 100:
            answer = await site.ask("GET", "/updates/a", headers)
            assert answer.status == 200
            assert answer["push-gap"] is None
            seen.append(answer.body)
            headers = id_headers(answer)

    async def come_and_leave() -> None:
        for _ in range(50):
            exchange = site.exchange("GET", "/updates/a", FUTURE).start()
            await asyncio.sleep(0)
            exchange.disconnect()
            await exchange.end()

    async def publish(publisher: int) -> None:
        for number in range(20):
            await site.post("a", b"%d:%d" % (publisher, number))

    await asyncio.gather(
        *(read(seen) for seen in readers),
        *(come_and_leave() for _ in range(10)),
        *(publish(publisher) for publisher in range(5)),
    )
    assert all(seen == readers[0] for seen in readers)
    for publisher in range(5):
        mine = [each for each in readers[0] if each.startswith(b"%d:" % publisher)]
        assert mine == [b"%d:%d" % (publisher, number) for number in range(20)]


async def test_other_paths_go_to_django(serve: Serve) -> None:
    """A path that is no push location goes to Django."""
    exchange = Exchange(serve().application, "GET", "/elsewhere")
    answer = await exchange.answer()
    assert (answer.status, answer.body) == (299, b"/elsewhere")
