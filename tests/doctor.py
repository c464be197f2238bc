"""The command pushserver_doctor, and settings for it to examine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from .conformance.servers import environment
from .servers import ROOT

ORIGIN = "https://pages.example"


#: Seconds for which the server holds a poll.
TIMEOUT = 3

#: Seconds between two comments in a stream.
KEEP_ALIVE = 1

CONF: dict[str, Any] = {
    "store": {"type": "memory", "max_messages": 100},
    "locations": [
        {
            "type": "publisher",
            "url": "/send-update/([^/]+)",
            "max_message_size": 4000,
            "create_on_post": False,
        },
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "timeout": TIMEOUT,
            "timeout_status": 408,
            "keep_alive": KEEP_ALIVE,
            "allow_origin": ORIGIN,
            "allow_credentials": True,
            "passthrough": "/passthrough",
        },
        {
            "type": "subscriber",
            "url": "/quiet/([^/]+)",
            "create_on_get": True,
            "timeout": TIMEOUT,
            "allow_origin": ORIGIN,
            "allow_credentials": True,
        },
        {
            "type": "subscriber",
            "url": "/interval/([^/]+)",
            "create_on_get": True,
            "polling": "interval",
        },
        {
            "type": "subscriber",
            "url": "/idle/([^/]+)",
            "create_on_get": True,
            "transports": ["eventsource", "websocket"],
            "keep_alive": 30,
        },
    ],
}

#: Seconds for which the doctor of these tests waits. It is long, since the machine may
#: be busy, and costs no time, since no test relies on the wait to run out.
PATIENCE, DELAY = 6.0, 2.0


def locations(publisher: dict[str, Any]) -> dict[str, Any]:
    """Return the test settings with changes to the publisher location."""
    first, *others = CONF["locations"]
    return {"locations": [{**first, **publisher}, *others]}


def examine(
    url: str, conf: dict[str, Any], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py pushserver_doctor``."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "django", "pushserver_doctor", url),
            *("--patience", f"{PATIENCE}", "--delay", f"{DELAY}", *arguments),
        ],
        env={**os.environ, **environment(conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
