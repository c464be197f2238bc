"""Settings of the example in containers: see ``compose.yaml`` beside this file."""

from __future__ import annotations

import os
from typing import Any

from example_project.settings import *  # noqa: F403
from example_project.settings import BASE_DIR
from example_project.settings import PUSH_SERVER as EXAMPLE

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")

#: Static files, which nginx serves.
STATIC_ROOT = BASE_DIR / "staticfiles"

#: All pages are served by nginx, so no other origin needs to be allowed.
OF_OTHER_ORIGINS = ("allow_origin", "allow_credentials")

PUSH_SERVER: dict[str, Any] = {
    **EXAMPLE,
    # Updates are published into Valkey; pages find the push locations on their host.
    "publisher": "auto",
    "publisher_host": None,
    "subscriber_host": None,
    "store": {
        **EXAMPLE["store"],
        "type": "redis",
        "url": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
        "message_timeout": 3600,
    },
    # The network of the containers: nginx says which address a client has.
    "trusted_proxies": [os.environ.get("PROXIES", "127.0.0.1")],
    "locations": (
        *(
            {key: location[key] for key in location if key not in OF_OTHER_ORIGINS}
            for location in EXAMPLE["locations"]
        ),
        {"type": "health", "url": "/health"},
    ),
}
