"""Run code that publishes in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.servers import ROOT


def run_code(code: str, before: str = "", **push_server: Any) -> str:
    """Run code of a site in a process of its own and return its output.

    Args:
        code: The code; it may use ``send_update`` and ``asend_update``.
        before: Code to run before anything else, such as the patches of gevent.
        push_server: The settings.
    """
    begin = "import django\ndjango.setup()\n"
    begin += "from pushserver.updates import asend_update, send_update\n"
    return run_python("-c", before + begin + code, push_server=push_server)


def run_python(*arguments: str, push_server: dict[str, Any]) -> str:
    """Run Python with settings in a process of its own and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": json.dumps(push_server),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
