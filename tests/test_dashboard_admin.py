"""The dashboard on a site with accounts, a database and Django's admin."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .servers import ROOT

pytestmark = pytest.mark.process

SITE = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "pushserver",
        "pushserver.dashboard",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    STATIC_URL="/static/",
    USE_TZ=True,
    PUSH_SERVER={"publisher": "direct"},
)
django.setup()

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("push/", include("pushserver.dashboard.urls")),
]

call_command("check")
call_command("migrate", verbosity=0)
call_command("makemigrations", "--check", verbosity=0)

boss = User.objects.create_superuser("boss")
reader = User.objects.create_user("reader", is_staff=True)
other = User.objects.create_user("other", is_staff=True)
view = Permission.objects.get(codename="view_dashboard")
reader.user_permissions.add(view)


def visit(user):
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


for user, may in ((boss, True), (reader, True), (other, False)):
    client = visit(user)
    index = client.get("/admin/")
    assert (b"/admin/pushserver_dashboard/dashboard/" in index.content) is may, user
    entry = client.get("/admin/pushserver_dashboard/dashboard/")
    assert entry.status_code == (302 if may else 403), (user, entry)
    if may:
        assert entry["Location"] == "/push/"
    assert client.get("/push/").status_code == (200 if may else 403)
assert visit(reader).post("/push/delete/", {"channel": "a"}).status_code == 403
assert visit(None).get("/push/")["Location"] == "/admin/login/?next=%2Fpush%2F"

from urllib.parse import urlencode

from pushserver.dashboard.records import CHANGE, DELETION, record

request = RequestFactory().get("/")
request.user = boss
record(request, "Deleted the channel.", "x" * 300, DELETION)
entry = LogEntry.objects.get()
assert entry.user == boss and entry.is_deletion()
assert (entry.object_id, entry.object_repr) == ("x" * 300, "x" * 200)
assert entry.change_message == "Deleted the channel."
assert b"x" * 200 in visit(boss).get("/admin/").content

record(request, "Published a message.", "7", CHANGE)
record(request, "Published a message.", "a/<b>", CHANGE)
for channel_id in ("7", "a/<b>"):
    url = LogEntry.objects.get(object_id=channel_id).get_admin_url()
    assert url in visit(boss).get("/admin/").content.decode()
    query = urlencode({"channel": channel_id})
    assert visit(reader).get(url)["Location"] == f"/push/channel/?{query}"
    assert visit(other).get(url).status_code == 403
for page in ("add/", "7/history/", "7/delete/"):
    answer = visit(boss).get(f"/admin/pushserver_dashboard/dashboard/{page}")
    assert answer.status_code == 404, page

forger = Client(enforce_csrf_checks=True)
forger.force_login(boss)
for page in ("publish", "revoke", "delete"):
    form = {"channel": "a", "user": "1", "body": "b"}
    assert forger.post(f"/push/{page}/", form).status_code == 403, page
print("done")
"""


def test_a_site_with_the_admin() -> None:
    """The admin links to the dashboard, has its permissions, and logs what is done.

    The site has no middleware against forged requests; the pages need none.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SITE],
        cwd=ROOT,
        env={name: each for name, each in os.environ.items() if "DJANGO" not in name},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")
