"""The operator, who may see the dashboard: logged in by one click, while DEBUG is on.

A site with accounts has users of the staff instead, and needs nothing of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods


class Visitor:
    """Somebody who has not logged in."""

    pk: str | None = None
    is_authenticated = is_active = is_staff = False

    def get_username(self) -> str:
        return self.pk or ""

    def has_perm(self, permission: str) -> bool:
        return self.is_staff


class Operator(Visitor):
    """Somebody who may see and do everything."""

    pk = "operator"
    is_authenticated = is_active = is_staff = True


def find_user(request: HttpRequest) -> Visitor:
    """Return who makes a request."""
    is_operator = settings.DEBUG and request.session.get("is_operator")
    return Operator() if is_operator else Visitor()


@sync_and_async_middleware
def add_user(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    """Give each request a user, as AuthenticationMiddleware does with accounts."""

    def add(request: HttpRequest) -> None:
        user = SimpleLazyObject(lambda: find_user(request))
        cast(Any, request).user = user

    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponse:
            add(request)
            return await cast(Awaitable[HttpResponse], get_response(request))

        return answer_async

    def answer(request: HttpRequest) -> HttpResponse:
        add(request)
        return cast(HttpResponse, get_response(request))

    return answer


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def log_in(request: HttpRequest) -> HttpResponse:
    """Log in by one click, and lead to the page that wanted a login."""
    if not settings.DEBUG:
        raise Http404
    if request.method != "POST":
        to = request.GET.get("next", "")
        return render(request, "example_project/operator.html", {"next": to})
    request.session["is_operator"] = True
    to = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(to, {request.get_host()}):
        return redirect(to)
    return redirect("pushserver_dashboard:overview")
