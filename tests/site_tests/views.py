"""The views of the site: they publish, also in a transaction."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from pushserver.updates import asend_update, send_update, subscriber_url
from tests.live.users import log_in, log_out


def add_group(request: HttpRequest, name: str) -> HttpResponse:
    """Add a row, and publish it when it is committed."""
    Group.objects.create(name=name)
    transaction.on_commit(lambda: send_update("groups", {"name": name}))
    return HttpResponse()


def count_groups(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Group.objects.count()))


@transaction.non_atomic_requests
async def say(request: HttpRequest, channel_id: str) -> HttpResponse:
    receipt = await asend_update(channel_id, "<b>hi</b>", content_type="text/html")
    assert receipt is not None
    return HttpResponse(f"{receipt.status} {subscriber_url(channel_id)}")


for _view in (add_group, count_groups, say):
    _view.login_required = False  # type: ignore[attr-defined]

urlpatterns = [
    path("login/<name>", log_in),
    path("logout", log_out),
    path("groups/<name>", add_group),
    path("count", count_groups),
    path("say/<channel_id>", say),
]
