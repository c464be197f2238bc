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
    """A server that tells an application when it starts and when it stops."""

    def __init__(self, application: Application) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self.lifespan = ApplicationCommunicator(application, scope)

    async def tell(self, event: str) -> dict[str, Any]:
        """Tell the application of an event, and return what it says."""
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
    """What the server's own handler of SIGTERM has heard."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse what it does not know, as Django does."""
    if scope["type"] != "http":
        raise ValueError("What is this?")
    await django(scope, receive, send)


async def is_silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Leave what it does not know alone."""


def check_sent_away(answer: Answer) -> None:
    assert answer.status == 503
    assert answer["retry-after"]


@pytest.mark.parametrize("inner", [fails, is_silent])
async def test_the_server_is_answered(inner: Application) -> None:
    """Where the site has nothing to say to the server, the push server answers it."""
    server = Server(get_application(inner))
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    await server.stop()


async def test_the_end_of_the_server_ends_held_requests() -> None:
    """Who is still held when the server says that it stops is answered 503."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    held = await Site(application).hold("/updates/a")
    await server.stop()
    check_sent_away(await held.answer())


async def test_an_application_takes_part() -> None:
    """One that wants to hear of the server does, when held requests have been ended."""
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
    """A site's own router hears of the server's end as well as Django does."""
    router = ProtocolTypeRouter({"http": URLRouter([re_path("", django)])})
    application = get_application(router)
    server = Server(application)
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    held = await Site(application).hold("/updates/a")
    os.kill(os.getpid(), signal.SIGTERM)
    check_sent_away(await held.answer())
    await server.stop()


async def test_an_application_fails_to_start() -> None:
    """Its failure is the server's to hear of."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise OSError("no database")

    server = Server(get_application(inner))
    await server.lifespan.send_input({"type": "lifespan.startup"})
    with pytest.raises(OSError, match="no database"):
        await server.lifespan.wait(10)


async def test_a_signal_ends_held_requests(signals: list[int]) -> None:
    """Who is held is answered 503 at once, and the server hears the signal, too."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    held = await Site(application).hold("/updates/a")
    os.kill(os.getpid(), signal.SIGTERM)
    check_sent_away(await held.answer())
    newcomer = await Site(application).ask("GET", "/updates/b")
    check_sent_away(newcomer)
    # Of a store that nobody has asked for before, neither.
    check_sent_away(await Site(application).ask("GET", "/late/b"))
    assert signals == [signal.SIGTERM]
    await server.stop()


async def test_a_signal_comes_before_the_first_request(signals: list[int]) -> None:
    """Who comes when the server stops is answered 503, also as the first of all."""
    application = get_application(fails)
    server = Server(application)
    await server.tell("startup")
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: signals)
    check_sent_away(await Site(application).ask("GET", "/updates/a"))
    await server.stop()


async def test_the_handlers_of_signals_are_given_back(signals: list[int]) -> None:
    """After the server's end, signals are what they were before its start."""
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    server = Server(get_application(fails))
    await server.tell("startup")
    assert signal.getsignal(signal.SIGTERM) is not before[0]
    await server.stop()
    after = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    assert after == before


async def test_a_signal_that_nobody_handles_is_left_alone(signals: list[int]) -> None:
    """A process that a signal would end is still ended by it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = Server(get_application(fails))
    await server.tell("startup")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    await server.stop()


async def test_in_another_thread_signals_are_left_alone(signals: list[int]) -> None:
    """A server that does not run in the main thread is not in charge of signals."""
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
