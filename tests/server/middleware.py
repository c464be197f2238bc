"""Middleware of a site, for tests of who may listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import async_only_middleware

Respond = Callable[[HttpRequest], Any]

#: How many instances there are of each middleware of this module.
instances: list[str] = []


class OtherUrls:
    """Sets other URLs for the request, as sites with several hosts do."""

    def __init__(self, get_response: Respond) -> None:
        self._get_response = get_response
        instances.append("OtherUrls")

    def __call__(self, request: HttpRequest) -> Any:
        request.urlconf = "tests.urls"
        return self._get_response(request)


class OtherRequest(OtherUrls):
    """Replaces the request."""

    def __call__(self, request: HttpRequest) -> Any:
        other = HttpRequest()
        other.META = request.META
        other.method = request.method
        other.path = other.path_info = request.path
        other.session = request.session  # type: ignore[attr-defined]
        return self._get_response(other)


class RefusesAfterwards(OtherUrls):
    """Redirects after the view has answered."""

    def __call__(self, request: HttpRequest) -> Any:
        self._get_response(request)
        return HttpResponseRedirect("/login")


class Exits(OtherUrls):
    """Raises SystemExit."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        raise SystemExit(3)


@async_only_middleware
def asynchronous(get_response: Respond) -> Respond:
    """Return a middleware that is only async."""

    async def respond(request: HttpRequest) -> Any:
        return await get_response(request)

    return respond
