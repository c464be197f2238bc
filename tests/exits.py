"""Code of a site that would end the process, if a request's ``X-Exit`` asks for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware


def fail_at(place: str, request: HttpRequest) -> None:
    """Raise the exception of ``X-Exit: <place> <exception>`` if the place matches."""
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
    """Return a middleware that raises the exception in a thread."""

    def answer(request: HttpRequest) -> HttpResponse:
        fail_at("middleware", request)
        return get_response(request)

    return answer


@async_only_middleware
def exiting_in_a_task(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Return a middleware that raises the exception in a task of the event loop."""

    async def answer(request: HttpRequest) -> HttpResponse:
        fail_at("async-middleware", request)
        return await get_response(request)

    return answer
