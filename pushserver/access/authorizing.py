"""Ask the site's function ``authorize`` who may listen, through its middleware.

The function gets a Django request of the subscriber, with session and user. All the
site's middleware runs, but no URL of the site is needed. It runs in the thread that
calls :func:`authorize`, where Django opens and closes its database connections as for
any other request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timezone
from functools import lru_cache
from inspect import iscoroutinefunction
from io import BytesIO
from math import inf
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started, setting_changed
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import (
    URLPattern,
    URLResolver,
    get_resolver,
    re_path,
    set_script_prefix,
)
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from .grants import Grant, build_session_digest, find_user_key
from .permissions import Permission

logger = logging.getLogger(__name__)

#: The function of a site that decides: of a request and a channel id, to a bool or a
#: :class:`Grant`.
Authorize = Callable[[HttpRequest, str], Any]

#: The key in the ASGI scope of the request, under which the view finds the question.
_QUESTION = "pushserver.question"


class AuthorizationFailed(Exception):
    """Whether a subscriber may listen could not be found out; the log says why."""


class _Question:
    """What a view is asked, and what it answered.

    Attributes:
        function: The site's function.
        channel_ids: The channels.
        permissions: The answers; None where it was denied.
        has_failed: Whether the function failed.
    """

    def __init__(self, function: Authorize, channel_ids: Iterable[str]) -> None:
        self.function = function
        self.channel_ids = channel_ids
        self.permissions: dict[str, Permission | None] = {}
        self.has_failed = False


def authorize(
    path: str, scope: dict[str, Any], channel_ids: Iterable[str]
) -> dict[str, Permission | None]:
    """Return the permission for each channel, None where it was denied.

    Args:
        path: The dotted path of the site's function.
        scope: The ASGI scope of the subscriber's request, without tokens.
        channel_ids: The channels.

    Raises :class:`AuthorizationFailed` if the function or a middleware failed.
    """
    question = _Question(load_authorize(path), list(channel_ids))
    scope = {**scope, _QUESTION: question}
    set_script_prefix(get_script_prefix(scope))
    request_started.send(sender=_SiteHandler, scope=scope)
    request = ASGIRequest(scope, BytesIO())
    request.urlconf = _build_urlconf(settings.ROOT_URLCONF)
    response = _load_handler().get_response(request)
    response.close()  # It sends request_finished, which closes database connections.
    if question.has_failed or response.status_code >= 500:
        raise AuthorizationFailed
    # A middleware that answered itself, for example with a redirect, has denied all.
    return {each: question.permissions.get(each) for each in question.channel_ids}


def load_authorize(path: str) -> Authorize:
    """Return the site's function, given its dotted path.

    Raises ``ImproperlyConfigured`` if it cannot be imported or called.
    """
    try:
        function: Authorize = import_string(path)
    except Exception as error:  # Its module may raise anything.
        raise ImproperlyConfigured(
            f"PUSH_SERVER's authorize {path!r} cannot be imported: {error}"
        ) from error
    if not callable(function):
        raise ImproperlyConfigured(f"PUSH_SERVER's authorize {path!r} is no function.")
    return function


def find_permission(
    request: HttpRequest, path: str, channel_id: str
) -> Permission | None:
    """Return what the site's function grants to a request, None if it denies it.

    Args:
        request: A request to a view of the site.
        path: The dotted path of the function.
        channel_id: The channel.

    Raises what the function raises, and ``TypeError`` if it returns something else.
    """
    function = load_authorize(path)
    if iscoroutinefunction(function):
        function = async_to_sync(function)
    grant = _find_grant(function, request, channel_id)
    return None if grant is None else _build_permission(request, grant)


class _SiteHandler(BaseHandler):
    """Runs a view in the site's middleware, without an event loop."""


@lru_cache(maxsize=1)
def _load_handler() -> _SiteHandler:
    handler = _SiteHandler()
    handler.load_middleware()
    return handler


@lru_cache(maxsize=1)
def _build_urlconf(root: str) -> tuple[URLPattern | URLResolver, ...]:
    """Return the site's URLs after one that matches every path.

    So middleware that looks up the request's path finds a view, and ``reverse()`` works
    as elsewhere.
    """
    return re_path("", _answer), *get_resolver(root).url_patterns


def _forget(**change: Any) -> None:
    if change["setting"] in ("MIDDLEWARE", "ROOT_URLCONF"):
        _load_handler.cache_clear()
        _build_urlconf.cache_clear()


setting_changed.connect(_forget)


@transaction.non_atomic_requests  # The function may be async, and chooses itself.
@csrf_exempt
@login_not_required
def _answer(request: HttpRequest) -> HttpResponse:
    """Answer a question with the permissions for its channels."""
    question: _Question = request.scope[_QUESTION]
    function = question.function
    if iscoroutinefunction(function):
        function = async_to_sync(function)
    try:
        for channel_id in question.channel_ids:
            grant = _find_grant(function, request, channel_id)
            permission = None if grant is None else _build_permission(request, grant)
            question.permissions[channel_id] = permission
    except BaseException:  # A SystemExit would end the server.
        question.has_failed = True
        logger.exception("authorize has failed, so the subscriber is not let in")
    return HttpResponse()


def _find_grant(
    function: Authorize, request: HttpRequest, channel_id: str
) -> Grant | None:
    """Return what the site's function grants, None if it denies it."""
    try:
        result = function(request, channel_id)
    except (PermissionDenied, Http404):
        return None
    if isinstance(result, Grant):
        return result
    if result is True:
        return Grant(user=getattr(request, "user", None))
    if result is False:
        return None
    raise TypeError(
        f"authorize returned {result!r} for the channel {channel_id!r}. It returns"
        " True, False or a pushserver.access.Grant."
    )


def _build_permission(request: HttpRequest, grant: Grant) -> Permission:
    session: Any = getattr(request, "session", None)
    key = None if session is None else session.session_key
    now = time.time()
    until = inf
    if grant.until is not None:
        until = grant.until.astimezone(timezone.utc).timestamp()
    elif key is not None:
        until = now + session.get_expiry_age()
    return Permission(
        user=find_user_key(grant.user),
        session=None if key is None else build_session_digest(key),
        until=until,
        issued_at=now,
        info=grant.info,
    )
