"""Settings of the tests; each test sets its own ``PUSH_SERVER``.

A server that a test starts as a process gets its ``PUSH_SERVER`` as JSON in the
environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

SECRET_KEY = "tests"
# With "*" alone no page could publish, since any host name would be allowed.
ALLOWED_HOSTS = ["*", "127.0.0.1"]
INTERNAL_IPS = ["127.0.0.1"]
INSTALLED_APPS = ["django.contrib.staticfiles", "pushserver"]
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    for alias in ("default", "archive")
}
STATIC_URL = "/static/"
#: Static files as after collectstatic, for nginx and for a view.
STATIC_ROOT = Path(__file__).resolve().parent.parent / "pushserver/static"
MIDDLEWARE = [
    *json.loads(os.environ.get("TEST_MIDDLEWARE", "[]")),
    "django.contrib.sessions.middleware.SessionMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
FORCE_SCRIPT_NAME = os.environ.get("TEST_SCRIPT_NAME")
PUSH_SERVER = json.loads(os.environ.get("TEST_PUSH_SERVER", "{}"))
