"""Settings of the site: the defaults, without passthrough."""

from __future__ import annotations

import os
from typing import Any

SECRET_KEY = "benchmarks"
ALLOWED_HOSTS = ["127.0.0.1"]
INTERNAL_IPS = ["127.0.0.1"]
INSTALLED_APPS = ["pushserver"]
ROOT_URLCONF = "benchmarks.site.urls"
USE_TZ = True

PUSH_SERVER: dict[str, Any] = {
    # As many clients as the scenario has, whatever the shell's limit of open files.
    "max_held": 0,
    "store": {
        "type": "memory",
        "max_messages": int(os.environ.get("BENCHMARK_MAX_MESSAGES", "100")),
    },
    "locations": (
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
        {"type": "subscriber", "url": r"/updates/([^/]+)", "create_on_get": True},
        {
            "type": "subscriber",
            "url": r"/several/([^/]+)",
            "separator": ",",
            "create_on_get": True,
        },
    ),
}

if "BENCHMARK_METRICS" in os.environ:
    PUSH_SERVER["locations"] += ({"type": "metrics", "url": "/metrics"},)

if "BENCHMARK_REDIS" in os.environ:
    PUSH_SERVER["store"]["type"] = "redis"
    PUSH_SERVER["store"]["url"] = os.environ["BENCHMARK_REDIS"]
