"""The site of the benchmarks with an interval location, and with or without limits."""

from __future__ import annotations

import os

from benchmarks.site.settings import *  # noqa: F403
from benchmarks.site.settings import PUSH_SERVER as _PUSH_SERVER
from pushserver.conf.limits import MAX_HELD_PER_CLIENT, find_max_held

#: The limits, off.
NO_LIMITS = {"max_held": 0, "max_held_per_client": 0}
NO_LIMITS_OF_STORES = {"max_empty_channels": 0, "max_bytes": 0}

#: The defaults. That of clients does not apply to this machine, which may be a proxy.
LIMITS = {"max_held": find_max_held(), "max_held_per_client": MAX_HELD_PER_CLIENT}

PUSH_SERVER = {
    **_PUSH_SERVER,
    "locations": (
        *_PUSH_SERVER["locations"],
        {
            "type": "subscriber",
            "url": r"/interval/([^/]+)",
            "polling": "interval",
            "create_on_get": True,
        },
    ),
}
if os.environ.get("ATTACKS_WITHOUT_LIMITS"):
    PUSH_SERVER |= NO_LIMITS
    PUSH_SERVER["store"] = {**PUSH_SERVER["store"], **NO_LIMITS_OF_STORES}
else:
    PUSH_SERVER |= LIMITS
