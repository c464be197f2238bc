"""Functions of a site that decide who may listen, for tests."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied
from django.http import HttpRequest
from django.utils import timezone

from pushserver.access import Grant

#: The calls since the test began: the channel and the request.
calls: list[tuple[str, HttpRequest]] = []

#: Users whose right has ended.
banned: set[str] = set()

#: Set while calls may return.
gate = threading.Event()
gate.set()


def may_listen(request: HttpRequest, channel_id: str) -> bool | Grant:
    """Allow the user who is named in a header what the channel's name says."""
    calls.append((channel_id, request))
    gate.wait(10)
    user = request.headers.get("X-User") or request.COOKIES.get("sessionid")
    if channel_id == "failing":
        raise ValueError("a fault of the site")
    if channel_id == "exit":
        raise SystemExit(3)
    if channel_id == "undecided":
        return None  # type: ignore[return-value]
    if channel_id == "short":
        return Grant(user=user, until=timezone.now() + timedelta(seconds=0.3))
    if user is None or user in banned:
        raise PermissionDenied
    if channel_id == "public":
        return True
    is_own = channel_id == user or channel_id.startswith(f"{user}-")
    return Grant(user=user) if is_own else False


async def amay_listen(request: HttpRequest, channel_id: str) -> Any:
    """Decide as :func:`may_listen` does, in async code."""
    await asyncio.sleep(0)
    return may_listen(request, channel_id)


class Redirect:
    """A middleware that redirects all requests, as for a login."""

    def __init__(self, get_response: Any) -> None:
        pass

    def __call__(self, request: HttpRequest) -> Any:
        from django.http import HttpResponseRedirect

        return HttpResponseRedirect("/login")


class Failing:
    """A middleware that fails."""

    def __init__(self, get_response: Any) -> None:
        pass

    def __call__(self, request: HttpRequest) -> Any:
        raise RuntimeError("a fault of a middleware")


async def is_async(request: HttpRequest, channel_id: str) -> bool:
    await asyncio.sleep(0)
    return True


def returns_coroutine(request: HttpRequest, channel_id: str) -> Any:
    return is_async(request, channel_id)


def bad_host(request: HttpRequest, channel_id: str) -> bool:
    raise DisallowedHost


def far_away(request: HttpRequest, channel_id: str) -> Grant:
    """Grant a right until the last moment that can be named, in the far west."""
    west = datetime_timezone(timedelta(hours=-12))
    return Grant(until=datetime.max.replace(tzinfo=west))


def past(request: HttpRequest, channel_id: str) -> Grant:
    return Grant(user="anna", until=timezone.now() - timedelta(seconds=1))


def stop_iteration(request: HttpRequest, channel_id: str) -> bool:
    raise StopIteration


async def cancelled(request: HttpRequest, channel_id: str) -> bool:
    raise asyncio.CancelledError


def endless_recursion(request: HttpRequest, channel_id: str) -> bool:
    return endless_recursion(request, channel_id)


def by_other_cookie(request: HttpRequest, channel_id: str) -> bool:
    """Allow the user who is named in a cookie of the site's own."""
    return request.COOKIES.get("who") == channel_id
