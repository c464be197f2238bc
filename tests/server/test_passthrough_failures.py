from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from pushserver_channels import passthrough
from pushserver_channels.passthrough import CONCURRENCY, Dispatcher, Subscription
from pushserver_channels.types import Receive, Scope, Send
from tests.waiting import until

from .passthrough_view import View, fail, numbers, respond, subscribe

pytestmark = pytest.mark.usefixtures("nothing_left")


async def end_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Return without a response."""


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
async def test_failing_view_is_logged(
    view: View, caplog: pytest.LogCaptureFixture, broken: Any, logged: str
) -> None:
    """A view that fails or exits is logged, and the other requests are made."""

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
    # asyncio logs its errors when the tasks are freed.
    gc.collect()
    caplog.records[:] = [each for each in caplog.records if each.name != "asyncio"]


async def test_task_factory_is_used_for_other_tasks(view: View) -> None:
    """Other tasks are still created by the task factory of the event loop."""
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
async def test_error_status_is_logged(
    view: View, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A view that responds with an error is logged with the body of its request."""
    view.status = status
    dispatcher = Dispatcher(view)
    subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert f"answered {status}" in caplog.text
    assert "channel_id=a&subscribe=1" in caplog.text


@pytest.mark.parametrize("status", [200, 204])
async def test_success_status_is_not_logged(
    view: View, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A view that responds with any success is not logged."""
    view.status = status
    dispatcher = Dispatcher(view)
    subscribe(dispatcher, 1, "me")
    await dispatcher.drain()
    assert caplog.records == []


async def test_view_without_a_response_times_out(
    view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A view that never responds times out and is logged, and the queues go on."""
    monkeypatch.setattr(passthrough, "VIEW_TIMEOUT", 0.01)
    view.gate.clear()
    dispatcher = Dispatcher(view)
    for number in range(2 * CONCURRENCY):
        subscribe(dispatcher, number, number)
    await until(lambda: view.running > CONCURRENCY)
    view.gate.set()
    await dispatcher.drain()
    assert "takes too long" in caplog.text


async def test_blocking_view_without_a_response_times_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Django view that blocks its thread times out and delays no other request."""
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


def test_dispatcher_continues_on_a_new_event_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A dispatcher continues on a new event loop."""
    views = []
    left: list[Subscription] = []

    async def subscribe_and_leave() -> None:
        view = View()
        views.append(view)
        view.gate.clear()
        left.extend(subscribe(dispatcher, number, "me") for number in range(2))
        await until(lambda: view.running)

    async def subscribe_again() -> None:
        view = View()
        views.append(view)
        subscribe(dispatcher, 2, "me")
        left[1].unsubscribe()  # Its subscribe was never sent, so this is not.
        await dispatcher.drain()

    async def application(*arguments: Any) -> None:
        await views[-1](*arguments)

    dispatcher = Dispatcher(application)
    asyncio.run(subscribe_and_leave())
    asyncio.run(subscribe_again())
    assert numbers(views[-1].scopes) == [2]
