"""Who listens, for the tests of presence: whoever a page says that it is."""

from __future__ import annotations

from django.http import HttpRequest

from pushserver.access import Grant


def may_listen(request: HttpRequest, channel_id: str) -> Grant:
    """Allow everything, under the name in the query or in a cookie."""
    name = request.GET.get("user") or request.COOKIES.get("user")
    return Grant(user=name, info=name and {"name": name.title()})
