"""Servers with several processes, each with a store in its own memory."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.servers import LOCATIONS, ServerProcess, wait_until

SERVERS = {
    "uvicorn": ("uvicorn", "--port", "{port}"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}"),
}
TOLD = "Several processes serve at 127.0.0.1:"


def test_several_workers_with_a_memory_store_log_one_error() -> None:
    """Two workers log one error with the remedy; one worker logs none."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_PUSH_SERVER": json.dumps({"locations": LOCATIONS}),
        "TEST_GRACE": "0.5",
    }
    servers = {
        (name, workers): ServerProcess(
            *(sys.executable, "-m", *command, "--workers", workers),
            "tests.asgi:application",
            env=env,
        )
        for name, command in SERVERS.items()
        for workers in ("1", "2")
        if (name, workers) != ("granian", "1")
    }
    with ThreadPoolExecutor() as pool:
        list(pool.map(ServerProcess.start, servers.values()))
        for name in SERVERS:
            wait_until(lambda name=name: TOLD in servers[name, "2"].log())
        logs = {key: server.log() for key, server in servers.items()}
        list(pool.map(ServerProcess.stop, servers.values()))
    for (_, workers), log in logs.items():
        assert log.count(TOLD) == (0 if workers == "1" else 1), log
        assert ("the type 'redis'" in log) is (workers != "1")
    for server in servers.values():
        server.output.close()
