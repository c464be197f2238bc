"""Settings of a small site with push locations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

#: The port and host of this site.
PORT = int(os.environ.get("PORT", "8000"))
HOST = f"127.0.0.1:{PORT}"
#: The host of a separate push server (runpushserver), None if this site is one itself.
PUSH_HOST = os.environ.get("PUSH_HOST")
#: The store: a URL such as redis://127.0.0.1:6379/0, or layer://default for a channel
#: layer, to share messages between processes. Empty for this process's memory.
STORE_URL = os.environ.get("PUSH_STORE_URL", "")
#: The origins whose pages may subscribe: this site's, for a push server on another
#: port.
ORIGINS = [
    f"http://{HOST}",
    f"http://localhost:{PORT}",
    "http://127.0.0.1:8000",
    "http://localhost:8000",
]

SECRET_KEY = "this-example-keeps-no-secrets"
DEBUG = True
ALLOWED_HOSTS = ["*"]
INTERNAL_IPS = ["127.0.0.1", "::1"]

INSTALLED_APPS = [
    "daphne",  # Its runserver uses ASGI. It must be before staticfiles.
    "django.contrib.staticfiles",
    "pushserver",
    "pushserver.dashboard",
    "example_project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "example_project.operators.add_user",
]
# There is no database: the session is in a signed cookie.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]
ROOT_URLCONF = "example_project.urls"
LOGIN_URL = "operator"
ASGI_APPLICATION = "example_project.asgi.application"
STATIC_URL = "/static/"
USE_TZ = True

# For layer://default. The layer in memory serves one process. For several processes set
# CHANNEL_LAYER_URL to a Redis URL, and install channels_redis.
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
if "CHANNEL_LAYER_URL" in os.environ:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["CHANNEL_LAYER_URL"]]},
    }

STORE: dict[str, Any] = {
    "type": "memory",
    "min_messages": 0,
    "max_messages": 100,
    "message_timeout": 10,
}
if STORE_URL.startswith("layer://"):
    STORE |= {"type": "channel_layer", "alias": STORE_URL.removeprefix("layer://")}
elif STORE_URL:
    STORE |= {"type": "redis", "url": STORE_URL}

PUSH_SERVER = {
    # Without a separate push server, this site publishes into its own memory.
    "publisher": "http" if PUSH_HOST else "auto",
    "publisher_host": PUSH_HOST or HOST,
    "subscriber_host": PUSH_HOST or HOST,
    "store": STORE,
    # Who may listen, at all subscriber locations.
    "authorize": "example_project.rooms.may_listen",
    "locations": (
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "polling": "long",
            "separator": ",",
            "create_on_get": True,
            "allow_origin": ORIGINS,
            "allow_credentials": True,
            # Who is on the board. A channel layer cannot tell it.
            "presence": not STORE_URL.startswith("layer://"),
            "presence_grace": 3,
        },
        {
            "type": "subscriber",
            "url": r"/interval/([^/]+)",
            "polling": "interval",
            "create_on_get": True,
            "allow_origin": ORIGINS,
            "allow_credentials": True,
        },
    ),
}
