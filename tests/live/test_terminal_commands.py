"""Publish and watch from a terminal, at a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack

from tests.conformance.servers import environment
from tests.servers import (
    ROOT,
    ServerProcess,
    daphne,
    hear_interrupts,
    wait_until_held,
)

from .conftest import CONF


def start(server: ServerProcess, command: str, *words: str) -> subprocess.Popen[str]:
    """Start a management command of the site whose publishers reach a server."""
    conf = {**CONF, "publisher_host": f"127.0.0.1:{server.port}"}
    return subprocess.Popen(
        [sys.executable, "-m", "django", command, *words],
        cwd=ROOT,
        env={**server.env, **environment(conf), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )


def test_what_one_terminal_publishes_another_one_shows() -> None:
    """A message is printed as it comes, and Ctrl-C ends without a traceback."""
    with ExitStack() as stack:
        server = stack.enter_context(daphne(CONF))
        watching = start(server, "pushserver_watch", "a", "--url", server.url)
        stack.enter_context(watching)
        stack.callback(watching.kill)
        wait_until_held(f"{server.url}/send-update/a")
        publishing = start(server, "pushserver_publish", "a", '{"n": 1}')
        out, errors = publishing.communicate(timeout=30)
        assert "Traceback" not in errors
        message_id, _, state = out.strip().partition(" ")
        assert state == "delivered"
        assert watching.stdout is not None
        assert watching.stdout.readline() == f'{message_id} {{"n": 1}}\n'
        watching.send_signal(signal.SIGINT)
        out, errors = watching.communicate(timeout=30)
        assert (out, watching.returncode) == ("", 0)
        assert errors.splitlines()[-1] == f"Listening at {server.url}/updates/a"
