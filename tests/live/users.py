"""A site with users and private channels: its settings, URLs and views."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from pushserver.access import revoke_on_logout
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    *_APPS,
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", ":memory:"),
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "tests.live.users"


def may_listen(request: HttpRequest, channel_id: str) -> bool:
    """Let each user listen to the channel of the same name."""
    from django.db import connection

    assert not connection.in_atomic_block
    return request.user.is_authenticated and channel_id == request.user.username


def log_in(request: HttpRequest, name: str) -> HttpResponse:
    from django.contrib.auth import login
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username=name)
    login(request, user)
    return HttpResponse()


def log_out(request: HttpRequest) -> HttpResponse:
    from django.contrib.auth import logout

    revoke_on_logout()
    logout(request)
    return HttpResponse()


def page(request: HttpRequest, channel_id: str) -> HttpResponse:
    tag = "{% load pushserver %}{% channel_url channel_id location='signed' %}"
    template = engines["django"].from_string(tag)
    return HttpResponse(template.render({"channel_id": channel_id}, request))


for _view in (log_in, log_out):
    _view.login_required = False  # type: ignore[attr-defined]

urlpatterns = [
    path("login/<name>", log_in),
    path("logout", log_out),
    path("page/<channel_id>", page),
]
