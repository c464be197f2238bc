"""Whose tabs share a connection."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.sessions.backends import cache, signed_cookies
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from pushserver.tab_sharing import find_share

NOBODY = SimpleNamespace(pk=None, is_authenticated=False)


def make_request(pk: Any = None, session: Any = "") -> HttpRequest:
    """Return the request of a user, who is logged in if there is a primary key."""
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(pk=pk, is_authenticated=True) if pk else NOBODY
    if isinstance(session, str):
        session = cache.SessionStore(session or None)
    request.session = session
    return request


def test_tabs_of_a_session_share() -> None:
    """Each page of a session has the same key, which does not tell the session's."""
    share = find_share(make_request(7, "session-a"))
    assert share is not None
    assert share == find_share(make_request(7, "session-a"))
    assert len(share) == 32
    assert "session-a" not in share


def test_other_users_sessions_and_sites_do_not_share(settings: LazySettings) -> None:
    """Another user, session or site, and a visitor, all have keys of their own."""
    requests = [
        make_request(pk, session)
        for pk in (7, 8, "anonymous", None)
        for session in ("session-a", "session-b", "")
    ]
    shares = {find_share(request) for request in requests}
    assert len(shares) == len(requests)
    settings.SECRET_KEY = "of another site"
    assert not shares & {find_share(request) for request in requests}


def test_visitors_without_a_session_share() -> None:
    """Those without a session have one key, also where there are no sessions at all."""
    request = RequestFactory().get("/")
    assert find_share(request) == find_share(make_request())


def test_cookie_sessions_share_by_user() -> None:
    """A session that is a cookie is another text on each page, but one user."""

    def make_session(count: int) -> Any:
        session = signed_cookies.SessionStore()
        session["count"] = count
        session.save()
        return session

    shares = [find_share(make_request(7, make_session(count))) for count in range(2)]
    assert shares[0] == shares[1]
    assert shares[0] != find_share(make_request(8, make_session(1)))


def test_the_response_varies() -> None:
    """Whoever asks for the user has read the session, so that ``Vary`` says so."""
    request = make_request(session="session-a")
    request.user = SimpleLazyObject(lambda: request.session.get("user") or NOBODY)
    find_share(request)
    assert request.session.accessed


def render(request: HttpRequest | None) -> dict[str, Any]:
    tag = "{% load pushserver %}{% push_channels news='news' since=since %}"
    context = Context({"since": {"news": "0:0"}})
    if request is not None:
        context["request"] = request
    html: str = Template(tag).render(context)
    found: dict[str, Any] = json.loads(html.partition(">")[2].partition("<")[0])
    return found["news"]


def test_the_tag_writes_the_key(settings: LazySettings) -> None:
    """The tag takes the request of its context, if there is one."""
    settings.PUSH_SERVER = {}
    request = make_request(7, "session-a")
    assert render(request)["share"] == find_share(request)
    assert "share" not in render(None)


async def test_user_cannot_be_loaded_in_an_event_loop(settings: LazySettings) -> None:
    """In an event loop the database cannot be asked; the page is still rendered."""

    def ask_database() -> object:
        raise SynchronousOnlyOperation

    settings.PUSH_SERVER = {}
    request = make_request(session="session-a")
    request.user = SimpleLazyObject(ask_database)
    assert "share" not in render(request)
    with pytest.raises(SynchronousOnlyOperation):
        str(request.user)
    assert "share" in await asyncio.to_thread(render, make_request(7))
