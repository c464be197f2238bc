"""Ask the site's function ``authorize`` who may listen, through its middleware.

The function gets a Django request of the subscriber, with session and user. All the
site's middleware runs, but no URL of the site is needed. It runs in the thread that
calls :func:`authorize`, where Django opens and closes its database connections as for
any other request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import lru_cache
from inspect import isawaitable
from io import BytesIO
from math import inf
from threading import Lock
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    PermissionDenied,
    SuspiciousOperation,
)
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_finished, request_started, setting_changed
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import (
    ResolverMatch,
    URLPattern,
    URLResolver,
    get_resolver,
    re_path,
    set_script_prefix,
    set_urlconf,
)
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from .grants import Grant, build_session_digest, find_user_key
from .permissions import Permission

logger = logging.getLogger(__name__)

#: The function of a site that decides: of a request and a channel id, to a bool or a
#: :class:`Grant`.
Authorize = Callable[[HttpRequest, str], Any]

#: What the function raises to deny: what Django answers with a 4xx.
_DENIALS = (PermissionDenied, Http404, BadRequest, SuspiciousOperation)

#: Held while the middleware is loaded, so that all threads share one instance of each.
_loading = Lock()


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


#: The question that the view answers. A middleware may replace the request.
_asked: ContextVar[_Question] = ContextVar("pushserver_question")


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
    with _loading:
        handler = _load_handler()
    token = _asked.set(question)
    try:
        status = _run(handler, scope)
    finally:
        _asked.reset(token)
    if question.has_failed or status >= 500:
        raise AuthorizationFailed
    # A middleware that answered itself, for example with a redirect, has denied all:
    # before the view, or instead of its answer. (304 is an answer of the view.)
    permissions = question.permissions
    if status >= 300 and status != 304:
        permissions = {}
    return {each: permissions.get(each) for each in question.channel_ids}


def _run(handler: BaseHandler, scope: dict[str, Any]) -> int:
    """Run the view in the site's middleware; return the status of the response."""
    set_script_prefix(get_script_prefix(scope))
    request_started.send(sender=_SiteHandler, scope=scope)
    try:
        request = ASGIRequest(scope, BytesIO())
        urlconf: Any = _build_urlconf(settings.ROOT_URLCONF)
        request.urlconf = urlconf
        response = handler.get_response(request)
    except BaseException:
        request_finished.send(sender=_SiteHandler)  # As response.close() does.
        raise
    response.close()  # It sends request_finished, which closes database connections.
    status: int = response.status_code
    return status


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

    A right that has ended already is denied.

    Args:
        request: A request to a view of the site.
        path: The dotted path of the function.
        channel_id: The channel.

    Raises what the function raises, and ``TypeError`` if it returns something else.
    """
    grant = _find_grant(load_authorize(path), request, channel_id)
    if grant is None:
        return None
    permission = _build_permission(request, grant)
    return permission if permission.until > time.time() else None


class _SiteHandler(BaseHandler):
    """Runs a view in the site's middleware, without an event loop."""

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Return the view, whatever URLs a middleware has set for the request."""
        set_urlconf(getattr(request, "urlconf", settings.ROOT_URLCONF))
        request.resolver_match = ResolverMatch(_answer, (), {})
        return request.resolver_match


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
@never_cache  # A cached answer would reach no function.
def _answer(request: HttpRequest) -> HttpResponse:
    """Answer a question with the permissions for its channels."""
    question = _asked.get()
    try:
        for channel_id in question.channel_ids:
            grant = _find_grant(question.function, request, channel_id)
            permission = None if grant is None else _build_permission(request, grant)
            question.permissions[channel_id] = permission
    except BaseException:  # A SystemExit would end the server.
        question.has_failed = True
        extra = {"channel_id": ",".join(question.channel_ids), "reason": "failed"}
        text = "authorize has failed, so the subscriber is not let in"
        logger.exception(text, extra=extra)
    return HttpResponse()


def _find_grant(
    function: Authorize, request: HttpRequest, channel_id: str
) -> Grant | None:
    """Return what the site's function grants, None if it denies it."""
    try:
        result = function(request, channel_id)
        if isawaitable(result):
            result = async_to_sync(_wait_for)(result)
    except _DENIALS:
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


async def _wait_for(result: Awaitable[Any]) -> Any:
    return await result


def _build_permission(request: HttpRequest, grant: Grant) -> Permission:
    session: Any = getattr(request, "session", None)
    now = time.time()
    until = inf
    if grant.until is not None:
        until = grant.until.timestamp()
    elif session is not None and session.session_key is not None:
        age = session.get_expiry_age()  # It loads the session, which may not exist.
        if session.session_key is not None:
            until = now + age
    key = None if session is None else session.session_key
    return Permission(
        user=find_user_key(grant.user),
        session=None if key is None else build_session_digest(key),
        until=until,
        issued_at=now,
        info=grant.info,
    )
