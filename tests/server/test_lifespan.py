from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.routing import ProtocolTypeRouter, URLRouter
from django.test import override_settings
from django.urls import re_path

from pushserver_channels.routing import get_application
from pushserver_channels.types import Application, Receive, Scope, Send
from tests.waiting import until

from .exchanges import Answer, Exchange, Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "url": "/send-update/([^/]+)"},
    {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
    {
        "type": "subscriber",
        "url": "/late/([^/]+)",
        "create_on_get": True,
        "store": "late",
    },
]
STORES = {"default": {"type": "memory"}, "late": {"type": "memory"}}


class Server:
    """A server that sends lifespan events to an application."""

    def __init__(self, application: Application) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self.lifespan = ApplicationCommunicator(application, scope)

    async def tell(self, event: str) -> dict[str, Any]:
        """Send an event to the application, and return its answer."""
        await self.lifespan.send_input({"type": f"lifespan.{event}"})
        answer: dict[str, Any] = await self.lifespan.receive_output(10)
        return answer

    async def stop(self) -> None:
        assert await self.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
        await self.lifespan.wait(10)


@pytest.fixture(autouse=True)
def locations() -> Iterator[None]:
    with override_settings(PUSH_SERVER={"store": STORES, "locations": LOCATIONS}):
        yield


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that the server's own handler of SIGTERM received."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise an error for other scopes than HTTP, as Django does."""
    if scope["type"] != "http":
        raise ValueError("What is this?")
    await django(scope, receive, send)


async def is_silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Return at once, without an answer."""


def check_sent_away(answer: Answer) -> None:
    assert answer.status == 503
    assert answer["retry-after"]


@pytest.mark.parametrize("inner", [fails, is_silent])
async def test_push_server_answers_lifespan_events(inner: Application) -> None:
    """If the site does not answer lifespan events, the push server does."""
    server = Server(get_application(inner))
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    await server.stop()


async def test_shutdown_ends_held_requests() -> None:
    """Held requests get 503 when the server announces its shutdown."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    held = await Site(application).hold("/updates/a")
    await server.stop()
    check_sent_away(await held.answer())


async def test_site_gets_lifespan_events() -> None:
    """The site gets lifespan events, shutdown after held requests were answered."""
    heard: list[str] = []
    held: list[Exchange] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            event = (await receive())["type"]
            heard.append(event)
            assert all(not each.is_silent for each in held)
            await send({"type": f"{event}.complete"})

    application = get_application(inner)
    server = Server(application)
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    held.append(await Site(application).hold("/updates/a"))
    await server.stop()
    assert heard == ["lifespan.startup", "lifespan.shutdown"]
    check_sent_away(await held[0].answer())


async def test_a_router_can_be_wrapped(signals: list[int]) -> None:
    """The application of a site may be a router: it gets the events, too."""
    router = ProtocolTypeRouter({"http": URLRouter([re_path("", django)])})
    application = get_application(router)
    server = Server(application)
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    held = await Site(application).hold("/updates/a")
    os.kill(os.getpid(), signal.SIGTERM)
    check_sent_away(await held.answer())
    await server.stop()


async def test_exception_of_a_site_that_fails_to_start() -> None:
    """The server gets the exception of a site that fails to start."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise OSError("no database")

    server = Server(get_application(inner))
    await server.lifespan.send_input({"type": "lifespan.startup"})
    with pytest.raises(OSError, match="no database"):
        await server.lifespan.wait(10)


async def test_signal_ends_held_requests(signals: list[int]) -> None:
    """On a signal, requests get 503 at once, and the server's handler is called."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    held = await Site(application).hold("/updates/a")
    os.kill(os.getpid(), signal.SIGTERM)
    check_sent_away(await held.answer())
    newcomer = await Site(application).ask("GET", "/updates/b")
    check_sent_away(newcomer)
    # The same for a store that has not been used before.
    check_sent_away(await Site(application).ask("GET", "/late/b"))
    assert signals == [signal.SIGTERM]
    await server.stop()


async def test_signal_before_the_first_request(signals: list[int]) -> None:
    """After a signal, even the first request of all gets 503."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: signals)
    check_sent_away(await Site(application).ask("GET", "/updates/a"))
    await server.stop()


async def test_signal_handlers_are_restored(signals: list[int]) -> None:
    """After the shutdown, the signal handlers are those from before the startup."""
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    server = Server(get_application(fails))
    await server.tell("startup")
    assert signal.getsignal(signal.SIGTERM) is not before[0]
    await server.stop()
    after = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    assert after == before


async def test_unhandled_signal_ends_the_process(signals: list[int]) -> None:
    """A signal without a handler still ends the process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = Server(get_application(fails))
    await server.tell("startup")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    await server.stop()


async def test_signal_handlers_are_unchanged_in_another_thread(
    signals: list[int],
) -> None:
    """A server outside the main thread does not change the signal handlers."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def serve() -> None:
        async def run() -> None:
            server = Server(get_application(fails))
            await server.tell("startup")
            seen.append(signal.getsignal(signal.SIGTERM))
            await server.stop()

        asyncio.run(run())

    thread = threading.Thread(target=serve)
    thread.start()
    await until(lambda: not thread.is_alive())
    assert seen == [before]
