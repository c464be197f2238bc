"""The example of a configuration for gunicorn."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from . import http
from .conformance.servers import need
from .servers import ServerProcess, wait_until_held

CONFIGURATION = "example_project/gunicorn.conf.py"


@pytest.mark.process
def test_gunicorn_serves_the_example() -> None:
    """A message reaches a poll, and SIGTERM answers those that are held."""
    need(find_spec("gunicorn"), "gunicorn", "pip install gunicorn")
    need(find_spec("uvicorn_worker"), "uvicorn-worker", "pip install uvicorn-worker")
    server = ServerProcess(
        *(sys.executable, "-m", "gunicorn", "--no-control-socket"),
        *("-c", CONFIGURATION, "-b", "127.0.0.1:{port}"),
        env={"DJANGO_SETTINGS_MODULE": "example_project.settings"},
    )
    with server, ThreadPoolExecutor() as threads:
        publisher, subscriber = (
            f"{server.url}/{path}/board" for path in ("send-update", "updates")
        )
        held = threads.submit(http.get, subscriber, timeout=30)
        wait_until_held(publisher)
        assert http.post(publisher, content=b'{"type": "a"}').status_code == 201
        last = held.result()
        assert last.content == b'{"type": "a"}'
        names = {
            "If-Modified-Since": last.headers["Last-Modified"],
            "If-None-Match": last.headers["ETag"],
        }
        held = threads.submit(http.get, subscriber, headers=names, timeout=30)
        wait_until_held(publisher)
        assert server.stop(signal.SIGTERM) == 0
        assert held.result().status_code == 503
