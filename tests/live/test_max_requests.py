"""Servers that exit, or whose workers exit, after a number of requests."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests import http
from tests.servers import LOCATIONS, ServerProcess, wait_until, wait_until_held
from tests.tiers import in_tier

#: More requests than the test makes to find out that polls are held.
REQUESTS = 200

GUNICORN = ("gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}")
SERVERS = {
    "uvicorn": ("uvicorn", "--port", "{port}", "--limit-max-requests"),
    "gunicorn, uvicorn": (
        *(*GUNICORN, "-k", "uvicorn_worker.UvicornWorker"),
        "--max-requests",
    ),
    "gunicorn, asgi": (*GUNICORN, "-k", "asgi", "--max-requests"),
}


def need(module: str) -> None:
    """Skip the test if a package is missing; in CI, fail."""
    if importlib.util.find_spec(module) is None:
        missing = f"{module} is not installed: pip install -e .[tests]"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.mark.parametrize(
    "name",
    [in_tier(each, {"uvicorn", "gunicorn, asgi"}, "workers") for each in SERVERS],
)
def test_held_requests_get_503_when_a_worker_is_replaced(name: str) -> None:
    """Held requests get 503 at once, and a new worker replaces the old one."""
    command = SERVERS[name]
    need(command[0])
    if "uvicorn_worker.UvicornWorker" in command:
        need("uvicorn_worker")
    server = ServerProcess(
        *(sys.executable, "-m", *command, f"{REQUESTS}", "tests.asgi:application"),
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": json.dumps({"locations": LOCATIONS}),
        },
    )
    with ExitStack() as stack:
        stack.enter_context(server)
        pool = stack.enter_context(ThreadPoolExecutor())
        # A poll without this 503 ends with 304, or when its worker exits.
        client = stack.enter_context(http.Client(base_url=server.url, timeout=60))
        held = [pool.submit(client.get, "/updates/a") for _ in range(3)]
        wait_until_held(f"{server.url}/send-update/a", 3)

        with suppress(httpx.TransportError):  # uvicorn has stopped accepting.
            while not all(each.done() for each in held):
                client.get("/interval/b")
        wait_until(lambda: all(each.done() for each in held))
        for each in held:
            assert each.result().status_code == 503
            assert int(each.result().headers["Retry-After"]) > 0
        if command[0] == "gunicorn":
            response = client.get("/interval/b")
            assert response.status_code == 304
