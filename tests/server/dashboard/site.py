"""A site with the dashboard, whose users are named in a header."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from pushserver.dashboard.access import CHANGE, VIEW

#: The permissions of each user.
USERS = {
    "boss": {VIEW, CHANGE},
    "reader": {VIEW},
    "staff": set[str](),
    "customer": {VIEW, CHANGE},
}

urlpatterns = [path("push/", include("pushserver.dashboard.urls"))]


class User:
    """A user with some permissions, of the staff but for the customer."""

    is_authenticated = is_active = True

    def __init__(self, name: str) -> None:
        self.pk = name
        self.is_staff = name != "customer"

    def get_username(self) -> str:
        return self.pk

    def has_perm(self, permission: str) -> bool:
        return permission in USERS[self.pk]


def add_user(get_response: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give a request the user whom its header names, and others none."""

    def answer(request: HttpRequest) -> HttpResponse:
        if "X-User" in request.headers:
            request.user = User(request.headers["X-User"])  # type: ignore[assignment]
        return get_response(request)

    return answer


class Browser:
    """A browser of a user, whose requests are answered in threads.

    Args:
        user: The name of the user, None for none.
        checks: Whether tokens against forged requests are checked.
    """

    def __init__(self, user: str | None = "boss", *, checks: bool = False) -> None:
        headers = {} if user is None else {"X-User": user}
        self._client = Client(headers=headers, enforce_csrf_checks=checks)

    async def get(self, page: str = "", /, **query: Any) -> Any:
        """Return the answer to a GET of a page of the dashboard."""
        return await asyncio.to_thread(self._client.get, f"/push/{page}", query)

    async def post(self, page: str, /, accept: str = "text/html", **form: Any) -> Any:
        """Return the answer to a POST."""
        return await asyncio.to_thread(
            self._client.post, f"/push/{page}", form, headers={"Accept": accept}
        )

    async def read(self, page: str = "", /, **query: Any) -> str:
        """Return a page."""
        answer = await self.get(page, **query)
        assert answer.status_code == 200, answer
        text: str = answer.content.decode()
        return text
