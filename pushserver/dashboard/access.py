"""Who may see the dashboard, and who may change something there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.csrf import csrf_protect

from .policy import HEADER, build_policy

#: The permission to see everything, and the one to publish, revoke and delete.
VIEW = "pushserver_dashboard.view_dashboard"
CHANGE = "pushserver_dashboard.change_dashboard"

View = Callable[..., HttpResponse]


def may_view(user: Any) -> bool:
    """Return whether a user is of the staff and may see the dashboard."""
    return _is_staff(user) and bool(user.has_perm(VIEW))


def may_change(user: Any) -> bool:
    """Return whether a user may also publish, revoke rights and delete channels."""
    return may_view(user) and bool(user.has_perm(CHANGE))


def for_staff(allows: Callable[[Any], bool]) -> Callable[[View], View]:
    """Restrict a view; visitors are asked to log in, and others get 403.

    Args:
        allows: Returns whether a user may see it.
    """

    def decorate(view: View) -> View:
        @never_cache
        @csrf_protect  # As in Django's admin: the site may lack the middleware.
        @xframe_options_deny  # No other page may lead a click of the staff.
        @login_not_required  # It is checked here, and the staff may log in elsewhere.
        @wraps(view)
        def restricted(request: HttpRequest) -> HttpResponse:
            # (A site without accounts has no users.)
            user = getattr(request, "user", None)
            if user is None or not user.is_authenticated:
                query = urlencode({"next": request.get_full_path()})
                return HttpResponseRedirect(f"{_find_login_url()}?{query}")
            if not allows(user):
                raise PermissionDenied
            response = view(request)
            # A site that has a policy of its own knows better.
            response.headers.setdefault(HEADER, build_policy())
            return response

        return restricted

    return decorate


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and user.is_staff)


def _find_login_url() -> str:
    """Return the login of the admin, where the staff logs in, or else of the site."""
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return resolve_url(settings.LOGIN_URL)
