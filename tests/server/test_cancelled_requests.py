from __future__ import annotations

from typing import Any

import pytest

from pushserver.publishers import Update
from pushserver_channels.hub import hubs
from tests.waiting import until

from .exchanges import Serve, Site, id_headers, unwatched

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_cancelled_held_request_gets_503(serve: Serve) -> None:
    """A held request that is cancelled, as Daphne does when it stops, gets 503."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(10)]
    for each in held:
        each.future.cancel()
    for each in held:
        answer = await each.answer()
        assert answer.status == 503
        assert answer["retry-after"] in ("1", "2", "3", "4", "5")
        assert answer.body == b"The server is shutting down.\n"
    assert (await site.post("a")).status == 202


async def test_request_cancelled_right_after_a_message_gets_it(serve: Serve) -> None:
    """A held request that is cancelled right after a message gets the message."""
    site = serve(publisher={"store_messages": False})
    held = await site.hold("/updates/a")
    assert (await site.post("a")).status == 201
    held.future.cancel()
    answer = await held.answer()
    assert (answer.status, answer.body) == (200, b"news")


async def test_stop_just_before_watching_clients(serve: Serve) -> None:
    """A server that stops also waits for requests whose watch starts just then."""
    site = serve()
    await site.post("a")
    seen = id_headers(await site.ask("GET", "/updates/a"))
    held = [await site.hold("/updates/a", seen) for _ in range(3)]
    hub = hubs.get("default")
    unwatched().expire_all()
    await hub.stop()
    assert [each.future.done() for each in held] == [True] * 3
    assert [(await each.answer()).status for each in held] == [503] * 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/send-update/a", 202),
        ("GET", "/send-update/a", 404),
        ("PUT", "/updates/a", 405),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        OSError("the connection is closed"),
        # The error of uvloop.
        RuntimeError(
            "unable to perform operation on <TCPTransport closed=True reading=False>;"
            " the handler is closed"
        ),
    ],
)
async def test_response_to_a_disconnected_client_logs_no_error(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    method: str,
    path: str,
    status: int,
) -> None:
    """A response to a client that has disconnected causes no error in the log."""
    site = serve()
    began = []

    async def send(message: dict[str, Any]) -> None:
        began.append(message["status"])
        raise error

    async def application(scope: Any, receive: Any, _: Any) -> None:
        await site.application(scope, receive, send)

    exchange = Site(application).exchange(method, path).start()
    await exchange.end()
    assert began == [status]
    assert [each.getMessage() for each in caplog.records] == []


async def test_cancelled_response_to_a_disconnected_client_logs_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A message to a disconnected client whose request is cancelled logs no error."""
    site = serve()

    async def send(message: dict[str, Any]) -> None:
        raise OSError("the connection is closed")

    async def application(scope: Any, receive: Any, _: Any) -> None:
        await site.application(scope, receive, send)

    held = await Site(application).hold("/updates/a")
    await hubs.get("default").publish(Update("a", b"news"))
    held.future.cancel()
    await held.end()
    assert held.is_silent
    assert [each.getMessage() for each in caplog.records] == []


async def test_request_cancelled_before_it_was_read_gets_503(serve: Serve) -> None:
    """A request that is cancelled before it was read gets 503 and is not held."""
    site = serve()
    exchange = site.exchange("GET", "/updates/a", body=None).start()
    await until(lambda: exchange.input_queue._getters)  # type: ignore[attr-defined]
    exchange.future.cancel()
    assert (await exchange.answer()).status == 503
    assert (await site.post("a")).status == 202


@pytest.mark.parametrize(
    ("method", "body"), [("POST", None), ("PUT", None), ("GET", None)]
)
async def test_publisher_cancelled_before_it_was_read_gets_503(
    serve: Serve, method: str, body: bytes | None
) -> None:
    """A publisher whose request has had no effect yet may come back."""
    exchange = serve().exchange(method, "/send-update/a", body=body).start()
    await until(lambda: exchange.input_queue._getters)  # type: ignore[attr-defined]
    exchange.future.cancel()
    answer = await exchange.answer()
    assert (answer.status, answer.body) == (503, b"The server is shutting down.\n")
