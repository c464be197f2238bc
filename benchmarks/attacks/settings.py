"""The site of the benchmarks with an interval location, and with or without limits."""

from __future__ import annotations

import os

from benchmarks.site.settings import *  # noqa: F403
from benchmarks.site.settings import PUSH_SERVER as _PUSH_SERVER

#: The limits, off.
NO_LIMITS: dict[str, int] = {}
NO_LIMITS_OF_STORES: dict[str, int] = {}

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
