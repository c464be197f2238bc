"""Code of a site that would end the process, where a request's ``X-Exit`` says so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware


def fail_at(place: str, request: HttpRequest) -> None:
    """Raise what ``X-Exit: <place> <exception>`` names, if this is the place."""
    wanted, _, name = request.headers.get("X-Exit", "").partition(" ")
    if wanted != place or request.method != "POST":
        return
    if name == "SystemExit":
        sys.exit("a site that exits")
    raise {
        "KeyboardInterrupt": KeyboardInterrupt,
        "GeneratorExit": GeneratorExit,
        "CancelledError": asyncio.CancelledError,
    }[name]


def exiting(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Return a middleware that fails in a thread."""

    def answer(request: HttpRequest) -> HttpResponse:
        fail_at("middleware", request)
        return get_response(request)

    return answer


@async_only_middleware
def exiting_in_a_task(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Return a middleware that fails in a task of the event loop."""

    async def answer(request: HttpRequest) -> HttpResponse:
        fail_at("async-middleware", request)
        return await get_response(request)

    return answer
